"""Who is up, who is gone and who is refused, by a clock that the tests hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.hello import Fill, Hello, parse_hello
from chunkstore.cluster.membership import GONE_S, HEARTBEAT_S, Membership, Refused
from chunkstore.cluster.meta import NodeRecord

CLUSTER = "c" * 32
FILL = Fill(1000, 300, 200, 700)


def hello(node: str = "a", process: str = "1", cluster: str = CLUSTER) -> Hello:
    """What a node says."""
    return Hello(node * 32, cluster, process * 16, "h", 1, FILL)


class Desk:
    """A gateway without its listener."""

    def __init__(self) -> None:
        self.records: dict[str, NodeRecord] = {}
        self.now_s = 100.0
        self.membership = Membership(CLUSTER, [], self.now_s)

    def register(self, one: Hello, address: str = "h:1") -> Refused | None:
        """Let it in, or not."""
        refused = self.membership.judge(one, address, self.now_s)
        if refused is None:
            before = self.records.get(one.id)
            number = before.number if before else len(self.records) + 1
            record = NodeRecord(number, one.id, address, 1000, one.incarnation, 5.0)
            self.records[one.id] = record
            self.membership.enter(record, one.fill, self.now_s)
        return refused

    def beat(self, one: Hello) -> int:
        """The status of a heartbeat."""
        refused = self.membership.heartbeat(one, self.now_s)
        return 200 if refused is None else refused.status

    def restart(self) -> None:
        """The gateway's process is another one."""
        self.membership = Membership(CLUSTER, self.records.values(), self.now_s)

    @property
    def up(self) -> list[int]:
        """The numbers of those that are up."""
        return [one.record.number for one in self.membership.up(self.now_s)]


@given(
    st.builds(
        Hello,
        st.just("a" * 32),
        st.sampled_from(["", "b" * 32]),
        st.just("1" * 16),
        st.sampled_from(["", "10.0.0.1", "::1", "a.example"]),
        st.integers(0, 65535),
        st.builds(Fill, *[st.integers(0, 2**62)] * 4),
        st.booleans(),
    )
)
def test_what_a_node_says_is_read_back(one: Hello) -> None:
    assert parse_hello(one.encode()) == one


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_what_no_node_says_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_hello(body)


@pytest.mark.parametrize(
    "change",
    [{"id": "x"}, {"port": 65536}, {"port": True}, {"fill": Fill(-1, 0, 0, 0)}]
    + [{"incarnation": ""}, {"host": "a/b"}, {"cluster_id": "zz"}],
)
def test_a_word_that_is_wrong_is_named(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_hello(hello()._replace(**change).encode())  # type: ignore[arg-type]  # on purpose


def test_a_node_is_up_while_it_says_so_and_known_for_good() -> None:
    desk = Desk()
    assert desk.register(hello()) is None
    for _ in range(5):
        desk.now_s += HEARTBEAT_S
        assert desk.beat(hello()) == 200
        assert desk.up == [1]
    desk.now_s += GONE_S - 0.1
    assert desk.up == [1]
    desk.now_s += 0.1
    assert desk.up == []
    assert list(desk.membership.members) == [1]
    assert desk.beat(hello()) == 200
    assert desk.up == [1]


def test_a_node_that_ends_is_gone_at_once() -> None:
    desk = Desk()
    desk.register(hello())
    desk.beat(hello()._replace(is_ending=True))
    assert desk.up == []
    assert desk.register(hello(process="2"), "h:2") is None
    assert desk.up == [1]


def test_after_the_gateways_restart_a_node_is_up_when_it_was_heard() -> None:
    desk = Desk()
    desk.register(hello())
    desk.restart()
    assert desk.up == []
    assert desk.beat(hello()) == 200
    assert desk.up == [1]


def test_a_node_of_another_cluster_is_refused_for_good() -> None:
    desk = Desk()
    refused = desk.register(hello(cluster="d" * 32))
    assert refused is not None
    assert refused.status == 409
    assert "d" * 32 in refused.detail
    assert CLUSTER in refused.detail
    assert desk.up == []
    assert desk.beat(hello(cluster="d" * 32)) == 404
    assert desk.register(hello(cluster="")) is None


def test_a_restart_at_the_same_address_is_in_at_once() -> None:
    desk = Desk()
    desk.register(hello())
    assert desk.register(hello(process="2")) is None
    assert desk.beat(hello(process="1")) == 409
    assert desk.beat(hello(process="2")) == 200


def test_a_restart_elsewhere_is_in_when_the_old_one_was_silent() -> None:
    desk = Desk()
    desk.register(hello())
    until_s = desk.now_s + GONE_S
    while desk.now_s < until_s:
        refused = desk.register(hello(process="2"), "h:2")
        assert refused is not None
        assert refused.status == 503
        desk.now_s += 1
    assert desk.register(hello(process="2"), "h:2") is None
    assert desk.membership.members[1].record.address == "h:2"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_duplicate_is_refused_for_good_once_both_were_heard(restarts: bool) -> None:
    desk = Desk()
    desk.register(hello())
    if restarts:  # the gateway doesn't know yet that the first is alive
        desk.restart()
    first = desk.register(hello(process="2"), "h:2")
    assert first is not None
    assert first.status == 503
    desk.now_s += HEARTBEAT_S
    assert desk.beat(hello()) == 200
    refused = desk.register(hello(process="2"), "h:2")
    assert refused is not None
    assert refused.status == 409
    assert "h:1" in refused.detail
    assert "h:2" in refused.detail
    assert desk.beat(hello(process="2")) == 409
    assert desk.up == [1]


@pytest.mark.parametrize("restarts", [False, True])
def test_one_at_the_address_of_another_is_refused_for_good_once_both_were_heard(
    restarts: bool,
) -> None:
    desk = Desk()
    desk.register(hello())
    if restarts:
        desk.restart()
        desk.beat(hello())
    first = desk.register(hello("b"), "h:1")
    assert first is not None
    assert first.status == 503
    desk.now_s += HEARTBEAT_S
    assert desk.beat(hello()) == 200
    refused = desk.register(hello("b"), "h:1")
    assert refused is not None
    assert refused.status == 409
    assert "h:1, where node 1 (" + "a" * 32 in refused.detail
    assert desk.register(hello("b"), "h:2") is None
    assert desk.up == [1, 2]
    desk.now_s += 1000
    desk.beat(hello())
    much_later = desk.register(hello("c"), "h:1")
    assert much_later is not None
    assert much_later.status == 503


@pytest.mark.parametrize("ends_well", [False, True])
def test_a_new_node_may_have_the_address_of_one_that_is_gone(ends_well: bool) -> None:
    desk = Desk()
    desk.register(hello())
    if ends_well:
        desk.beat(hello()._replace(is_ending=True))
    else:
        refused = desk.register(hello("b"), "h:1")
        assert refused is not None
        assert refused.status == 503
        desk.now_s += GONE_S
    assert desk.register(hello("b"), "h:1") is None
    assert desk.up == [2]
    assert desk.register(hello(), "h:2") is None
    assert desk.up == [1, 2]


@pytest.mark.parametrize("restarts", [False, True])
def test_one_whose_address_was_taken_while_it_was_silent_does_not_come_back_there(
    restarts: bool,
) -> None:
    desk = Desk()
    desk.register(hello())
    desk.now_s += GONE_S
    desk.register(hello("b"), "h:1")
    if restarts:
        desk.restart()
        desk.beat(hello("b"))
    assert desk.beat(hello()) == 503
    assert desk.up == [2]
    desk.now_s += HEARTBEAT_S
    desk.beat(hello("b"))
    assert desk.beat(hello()) == 409
    desk.now_s += GONE_S
    desk.beat(hello("b"))
    assert desk.register(hello(process="2"), "h:2") is None
    assert desk.up == [1, 2]


def test_one_that_never_registered_is_told_to() -> None:
    assert Desk().beat(hello()) == 404


@given(
    phase_s=st.floats(0, HEARTBEAT_S),
    retry_s=st.floats(0.25, 5),
    dies_s=st.none() | st.floats(0, 30),
    restarts=st.booleans(),
)
def test_a_second_process_is_let_in_if_the_first_is_dead_and_refused_if_it_lives(
    phase_s: float, retry_s: float, dies_s: float | None, restarts: bool
) -> None:
    desk, second = Desk(), hello(process="2")
    desk.register(hello())
    if restarts:
        desk.restart()
    began_s = desk.now_s
    last_beat_s = math.inf if dies_s is None else began_s + dies_s
    beats = [when for n in range(30) if (when := began_s + phase_s + 3 * n) < last_beat_s]
    tries = [began_s + retry_s * n for n in range(1, 200)]
    outcome: tuple[float, int] | None = None
    for when, is_beat in sorted([(when, True) for when in beats] + [(t, False) for t in tries]):
        desk.now_s = when
        if is_beat:
            assert desk.beat(hello()) == 200, "the first was displaced while it lived"
        elif (refused := desk.register(second, "h:2")) is None or refused.status == 409:
            outcome = when, 200 if refused is None else 409
            break
    assert outcome is not None
    silent_s = outcome[0] - max([began_s, *[when for when in beats if when <= outcome[0]]])
    if outcome[1] == 200:
        assert GONE_S <= silent_s <= GONE_S + retry_s + 0.01
    else:  # it was heard after the second had come
        assert any(when > tries[0] for when in beats)
        assert outcome[0] <= began_s + tries[0] + HEARTBEAT_S + 2 * retry_s


def test_a_node_is_up_since_it_came_or_came_back() -> None:
    desk = Desk()
    desk.register(hello())
    member = desk.membership.members[1]
    assert member.up_since_s == 100.0
    for _ in range(5):
        desk.now_s += HEARTBEAT_S
        desk.beat(hello())
    assert member.up_since_s == 100.0
    desk.now_s += GONE_S
    desk.beat(hello())
    assert member.up_since_s == desk.now_s
    desk.beat(hello()._replace(is_ending=True))
    desk.now_s += 1
    desk.register(hello(process="2"))
    assert member.up_since_s == desk.now_s

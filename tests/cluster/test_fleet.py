"""What is on its way to a node counts until that has said so itself; and who lacks what is told."""

from __future__ import annotations

from random import Random

from chunkstore.cluster.fleet import Fleet
from chunkstore.cluster.hello import Fill
from chunkstore.cluster.membership import GONE_S, Membership
from chunkstore.cluster.meta import NodeRecord
from chunkstore.errors import QuorumError

GIB = 2**30


def fleet_of(count: int, *, capacity_bytes: int = GIB) -> tuple[Membership, Fleet, list[float]]:
    """Nodes 1 to `count`, and a clock to be set."""
    clock = [0.0]
    membership = Membership("c" * 32, [], 0.0)
    for number in range(1, count + 1):
        record = NodeRecord(
            number, f"{number:032x}", f"n{number}:80", capacity_bytes, "i" * 16, 0.0
        )
        membership.enter(record, Fill(capacity_bytes, 0, 0, capacity_bytes), 0.0)
    return membership, Fleet(membership, lambda: clock[0], Random(1).random), clock


def test_what_is_sent_counts_until_the_node_has_said_so() -> None:
    membership, fleet, _ = fleet_of(7)
    before = fleet.free_bytes()
    fleet.note(3, 7 * 2**20)
    assert before - fleet.free_bytes() == fleet.live_bytes() == 5 * 2**20
    fill = Fill(GIB, 2**20, 2**20, GIB - 2**20)
    membership.members[3].fill, membership.members[3].heard_s = fill, 3.0
    assert fleet.live_bytes() == 2**20 * 5 // 7


def test_what_moves_bring_and_take_away_counts_until_it_is_taken_back() -> None:
    membership, fleet, _ = fleet_of(7)
    membership.members[1].fill = Fill(GIB, 5000, 5000, GIB - 5000)
    fleet.expect(1, -3000)
    fleet.expect(2, 3000)
    assert [node.used_bytes for node in fleet.nodes()][:3] == [2000, 3000, 0]
    membership.members[1].heard_s = membership.members[2].heard_s = 3.0
    assert [node.used_bytes for node in fleet.nodes()][:3] == [2000, 3000, 0]
    fleet.expect(1, 3000)
    fleet.note(1, -3000)  # it is gone there, and will be from the next heartbeat on
    fleet.expect(2, -3000)
    fleet.note(2, 3000)
    assert [node.used_bytes for node in fleet.nodes()][:3] == [2000, 3000, 0]
    membership.members[1].fill = Fill(GIB, 2000, 2000, GIB - 2000)
    membership.members[1].heard_s = membership.members[2].heard_s = 6.0
    assert [node.used_bytes for node in fleet.nodes()][:3] == [2000, 0, 0]
    fleet.expect(1, -9000)
    assert fleet.nodes()[0].used_bytes == 0, "never below nothing"


def test_a_node_that_says_that_it_has_no_room_is_up_and_gets_nothing() -> None:
    """Parts may be moved away from it."""
    membership, fleet, _ = fleet_of(7)
    membership.members[4].fill = Fill(GIB, GIB // 2, GIB // 2, 0)
    node = fleet.nodes()[3]
    assert node.is_up
    assert not node.has_room(1)
    assert 4 not in fleet.place(7, 1)


def test_objects_that_come_between_two_heartbeats_go_everywhere() -> None:
    _, fleet, _ = fleet_of(8)
    for _ in range(400):
        for number in fleet.place(7, 2**20):
            fleet.note(number, 2**20)
    sent = [fleet._sent_to(number) for number in range(1, 9)]
    assert max(sent) - min(sent) <= 3 * 2**20


def test_too_few_nodes_and_full_ones_are_told_apart() -> None:
    for count, missing in [(0, 5), (3, 2), (4, 1)]:
        refusal = fleet_of(count)[1].refusal()
        assert isinstance(refusal, QuorumError)
        assert f"{count} are up: {missing} of them" in str(refusal)
    assert fleet_of(5)[1].refusal() is None
    membership, fleet, clock = fleet_of(7)
    clock[0] = GONE_S
    for number in range(1, 7):
        membership.members[number].heard_s = GONE_S
    assert fleet.refusal() is None
    assert [one.record.number for one in fleet.down()] == [7]
    membership.members[1].fill = Fill(GIB, GIB, GIB, 0)
    assert str(fleet.refusal()).endswith("6 storage nodes with room, and 5 have it: node 1 is full")
    membership.members[3].fill = Fill(GIB, GIB, GIB, 0)
    assert str(fleet.refusal()).endswith("and 4 have it: nodes 1 and 3 are full")
    membership.members[2].heard_s = 0.0
    refusal = fleet.refusal()
    assert isinstance(refusal, QuorumError)
    assert (refusal.needed, refusal.found) == (6, 5)

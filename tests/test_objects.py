"""The namespace against a naive one: a dictionary, sorted anew for each listing."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chunkstore.objects import Abort, Generation, Namespace, State, next_state
from chunkstore.policy import Policy
from tests.examples import examples

CAP_S = 5.0
KEYS = st.sampled_from(
    ["/a", "/a/", "/a/1", "/a/2", "/a/b/1", "/a/b/2", "/ab", "/b/1", "/b/é", "/b/\U0010ffff/1"]
)
POLICIES = st.sampled_from([Policy(), Policy(atomic=True), Policy(hold_s=2.0), Policy(hold_s=9.0)])

# Event -> the states it may happen in -> the state it leads to. All else is a mistake.
EVENTS = {
    "commit": {State.OPEN: State.COMPLETE},
    "abort": {State.OPEN: State.ABORTED, State.SUPERSEDED: State.ABORTED},
    "supersede": {State.OPEN: State.SUPERSEDED},
    "delete": dict.fromkeys((State.OPEN, State.SUPERSEDED, State.COMPLETE), State.DELETED),
    "expire": {State.COMPLETE: State.EXPIRED},
    "evict": {State.COMPLETE: State.GONE},
    "replace": {State.COMPLETE: State.GONE},
}


@pytest.mark.parametrize(("state", "event"), list(product(State, [*EVENTS, "reopen"])))
def test_every_state_and_event(state: State, event: str) -> None:
    following = EVENTS.get(event, {}).get(state)
    if following is None:
        with pytest.raises(ValueError, match=state.value):
            next_state(state, event)
    else:
        assert next_state(state, event) is following


def folder_of(key: str) -> str:
    """All but the last segment."""
    return "/".join(key.removesuffix("/").split("/")[:-1]) + "/"


@dataclass
class Name:
    """What the model knows of one name."""

    complete: Generation | None = None
    writing: Generation | None = None
    is_shown: bool = False  # the open one has published


@dataclass
class Model:
    """The namespace, said without an index or a bound."""

    names: dict[str, Name] = field(default_factory=dict)
    bytes_at: dict[str, float] = field(default_factory=dict)
    gone_at: dict[str, float] = field(default_factory=dict)

    def visible(self, key: str) -> Generation | None:
        """What a GET gets."""
        name = self.names.get(key, Name())
        if name.writing is not None and name.is_shown and not name.writing.policy.atomic:
            return name.writing
        return name.complete

    def hold_s(self, key: str, policy: Policy, asked_s: float | None, now_s: float) -> float:
        """DESIGN.md section 5, the line of a GET of nothing."""
        if asked_s is not None:
            return min(asked_s, CAP_S)
        if key in self.names:
            return CAP_S
        folder = folder_of(key)
        if now_s - self.bytes_at.get(folder, -100) >= 10:
            return 0
        return 0 if now_s - self.gone_at.get(key, -100) < 10 else min(policy.hold_s, CAP_S)

    def listing(self, prefix: str, after: str, delimiter: str) -> list[str]:
        """All that a LIST shows, names and common prefixes, in bytewise order."""
        found = set()
        for key in self.names:
            if key.startswith(prefix) and self.visible(key) is not None:
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                found.add(key if cut < 0 else key[: cut + len(delimiter)])
        return sorted((one for one in found if one > after), key=str.encode)


class NamespaceMachine(RuleBasedStateMachine):
    """Any order of what writers, deletes and time do to a few names."""

    def __init__(self) -> None:
        super().__init__()
        self.namespace = Namespace("boot", CAP_S)
        self.model = Model()
        self.now_s = 0.0
        self.states: dict[Generation, State] = {}
        self.calls: dict[Generation, int] = {}
        self.etags: set[str] = set()

    def changed(self, generation: Generation, state: State) -> None:
        """Note what must have happened; the watcher was called once for it."""
        self.states[generation] = state
        assert self.calls.pop(generation) == 1
        self.watch(generation)

    def watch(self, generation: Generation) -> None:
        """Count the calls: one for whoever registers twice, none for whoever goes back."""
        self.calls[generation] = 0

        def called() -> None:
            self.calls[generation] += 1

        def taken_back() -> None:
            raise AssertionError("it was taken back")

        for call in (called, called, taken_back):
            generation.watch(call)
        generation.unwatch(taken_back)
        generation.unwatch(taken_back)

    def writing(self, draw: st.DataObject) -> Generation:
        """One that is being written."""
        return draw.draw(
            st.sampled_from([one.writing for one in self.model.names.values() if one.writing])
        )

    def complete(self, draw: st.DataObject) -> Generation:
        """One that is complete."""
        return draw.draw(
            st.sampled_from([one.complete for one in self.model.names.values() if one.complete])
        )

    def tidy(self, key: str) -> None:
        """A name that has nothing isn't one."""
        name = self.model.names[key]
        if name.complete is None and name.writing is None:
            del self.model.names[key]

    @property
    def is_writing(self) -> bool:
        """Somebody is."""
        return any(one.writing for one in self.model.names.values())

    @property
    def has_complete(self) -> bool:
        """There is one."""
        return any(one.complete for one in self.model.names.values())

    @rule(key=KEYS, policy=POLICIES)
    def begin(self, key: str, policy: Policy) -> None:
        """The newest wins."""
        generation = self.namespace.begin(key, policy, created_s=self.now_s)
        assert generation.etag not in self.etags
        self.etags.add(generation.etag)
        self.states[generation] = State.OPEN
        self.watch(generation)
        name = self.model.names.setdefault(key, Name())
        displaced, name.writing, name.is_shown = name.writing, generation, False
        self.model.gone_at.pop(key, None)
        if displaced is not None:
            assert displaced.abort is Abort.DISPLACED
            self.changed(displaced, State.ABORTED)

    @precondition(lambda self: self.is_writing)
    @rule(draw=st.data())
    def publish(self, draw: st.DataObject) -> None:
        """A first byte shows it; each byte makes its folder live."""
        generation = self.writing(draw)
        generation.ring.append(b"x", chunk_end=True)
        self.namespace.published(generation, self.now_s)
        self.model.names[generation.key].is_shown = True
        self.model.bytes_at[folder_of(generation.key)] = self.now_s

    @precondition(lambda self: self.is_writing)
    @rule(draw=st.data())
    def commit(self, draw: st.DataObject) -> None:
        """It takes the place of the complete one."""
        generation = self.writing(draw)
        name = self.model.names[generation.key]
        generation.head = b"made for the open one"
        replaced = self.namespace.commit(generation, modified_s=self.now_s)
        assert replaced is name.complete
        assert not generation.head
        assert generation.ring.is_sealed
        name.complete, name.writing = generation, None
        self.changed(generation, State.COMPLETE)
        if replaced is not None:
            self.changed(replaced, State.GONE)

    @precondition(lambda self: self.is_writing)
    @rule(draw=st.data(), cause=st.sampled_from(Abort), is_read=st.booleans())
    def abort(self, draw: st.DataObject, cause: Abort, is_read: bool) -> None:
        """The name falls back to what was complete; readers may hope for a retry."""
        generation = self.writing(draw)
        generation.readers = int(is_read)
        self.namespace.abort(generation, cause)
        assert generation.abort is cause
        self.model.names[generation.key].writing = None
        self.tidy(generation.key)
        has_hope = is_read and cause.metric in ("writer_gone", "bad_framing", "idle", "displaced")
        self.changed(generation, State.SUPERSEDED if has_hope else State.ABORTED)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        """All the name has goes, the open one with a word for its writer."""
        ended = self.namespace.delete(key, self.now_s)
        name = self.model.names.pop(key, None)
        expected = [] if name is None else [one for one in (name.writing, name.complete) if one]
        assert ended == expected
        self.model.gone_at[key] = self.now_s
        for generation in ended:
            assert generation.abort is (
                Abort.DELETED if name and generation is name.writing else None
            )
            self.changed(generation, State.DELETED)

    @precondition(lambda self: self.has_complete)
    @rule(draw=st.data(), is_expiry=st.booleans())
    def drop(self, draw: st.DataObject, is_expiry: bool) -> None:
        """A complete one goes by itself; one that is written stays."""
        generation = self.complete(draw)
        if is_expiry:
            self.namespace.expire(generation, self.now_s)
            self.model.gone_at[generation.key] = self.now_s
        else:
            self.namespace.evict(generation)
        self.model.names[generation.key].complete = None
        self.tidy(generation.key)
        self.changed(generation, State.EXPIRED if is_expiry else State.GONE)

    @rule(after_s=st.sampled_from([0.1, 4.0, 5.0, 9.9, 10.0, 30.0]))
    def wait(self, after_s: float) -> None:
        """Time passes."""
        self.now_s += after_s

    @rule(
        prefix=st.sampled_from(["/", "/a", "/a/", "/a/b", "/b/", "/zz"]),
        after=KEYS | st.just("") | st.sampled_from(["/a/b/", "/zzz", "/a/11"]),
        delimiter=st.sampled_from(["", "/", "b", "\U0010ffff", "b/"]),
        limit=st.integers(1, 4),
    )
    def list_all(self, prefix: str, after: str, delimiter: str, limit: int) -> None:
        """Pages of any size are the whole, each full but the last."""
        expected = self.model.listing(prefix, after, delimiter)
        found: list[str] = []
        while True:
            page = self.namespace.page(prefix, after, delimiter, limit)
            found += [one if isinstance(one, str) else one.key for one in page.items]
            for one in page.items:
                assert isinstance(one, str) or one is self.model.visible(one.key)
            if page.next_after is None:
                break
            assert len(page.items) == limit
            after = page.next_after
        assert found == expected

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Names, what they show, who lives, and how long a GET would hold."""
        assert len(self.namespace) == len(self.model.names)
        for generation, state in self.states.items():
            assert generation.state is state
            assert generation.is_open is (state is State.OPEN)
            assert generation.is_stored is (state in (State.OPEN, State.COMPLETE))
            assert generation.is_cut is (state in (State.ABORTED, State.DELETED))
            assert self.calls[generation] == 0
        for key in ("/a", "/a/1", "/a/b/1", "/b/é", "/c/nothing"):
            assert self.namespace.visible(key) is self.model.visible(key)
            entry, name = self.namespace.entry(key), self.model.names.get(key)
            assert (entry and (entry.complete, entry.open)) == (
                name and (name.complete, name.writing)
            )
            if self.model.visible(key) is None:
                for policy, asked_s in product(
                    (Policy(), Policy(hold_s=2.0)), (None, 0.0, 3.0, 99.0)
                ):
                    assert self.namespace.hold_s(
                        key, policy, asked_s, self.now_s
                    ) == self.model.hold_s(key, policy, asked_s, self.now_s)


TestNamespace = NamespaceMachine.TestCase
TestNamespace.settings = examples(40, stateful_step_count=40)


@given(
    st.sets(
        st.text("ab/\ud7ff\ue000\U0010ffff", min_size=1, max_size=5).map("/".__add__), max_size=30
    ),
    st.text("ab/", max_size=2).map("/".__add__),
    st.text("ab/\ud7ff\U0010ffff", max_size=2),
    st.integers(1, 5),
)
@example({"/a\U0010ffffb", "/a\U0010ffffc", "/b"}, "/", "\U0010ffff", 1)
@examples(100)
def test_listing_of_any_names(keys: set[str], prefix: str, delimiter: str, limit: int) -> None:
    namespace = Namespace("boot", CAP_S)
    model = Model()
    for key in keys:
        generation = namespace.begin(key, Policy(), created_s=0)
        namespace.commit(generation, modified_s=0)
        model.names[key] = Name(complete=generation)
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = namespace.page(prefix, after, delimiter, limit)
        found += [one if isinstance(one, str) else one.key for one in page.items]
        after = page.next_after
    assert found == model.listing(prefix, "", delimiter)


class Counted(str):
    """A string that counts how often it is compared; what an ordered index costs."""

    __slots__ = ()
    compared = 0

    def __lt__(self, other: str) -> bool:
        Counted.compared += 1
        return str.__lt__(self, other)


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_a_page_costs_its_answers_and_not_the_names_there_are(count: int) -> None:
    namespace = Namespace("boot", CAP_S)
    for index in range(count):
        key = Counted(f"/{index % 100:02}/{index:06}")
        namespace.commit(namespace.begin(key, Policy(), created_s=0), modified_s=0)
    Counted.compared = 0
    assert len(namespace.page("/50/", "", "", 10).items) == 10
    assert len(namespace.page("/", "", "/", 10).items) == 10  # each rolls up count / 100 names
    namespace.delete("/50/000050", 0)
    namespace.commit(namespace.begin(Counted("/50/000050"), Policy(), created_s=0), modified_s=0)
    assert Counted.compared < 2000


def test_what_is_remembered_of_folders_and_gone_names_is_bounded() -> None:
    namespace = Namespace("boot", CAP_S)
    policy = Policy(hold_s=2.0)
    for index in range(10_001):
        generation = namespace.begin(f"/{index}/x", policy, created_s=0)
        namespace.published(generation, 1.0)
        namespace.delete(f"/{index}/x", 1.0)
    assert len(namespace._gone) == len(namespace._folders) == 10_000
    # The oldest was forgotten both ways; the newest is remembered as gone.
    assert namespace.hold_s("/0/y", policy, None, 1.0) == 0
    assert namespace.hold_s("/1/y", policy, None, 1.0) == 2.0
    assert namespace.hold_s("/10000/x", policy, None, 1.0) == 0
    # Time forgets as well.
    generation = namespace.begin("/new/x", policy, created_s=0)
    namespace.published(generation, 11.0)
    assert len(namespace._folders) == 1


def test_etags_of_two_processes_differ() -> None:
    etags = {Namespace(boot, 5).begin("/a", Policy(), created_s=0).etag for boot in ("1", "2")}
    assert len(etags) == 2


def test_every_cause_of_an_abort_has_a_name_and_a_status_of_its_own_kind() -> None:
    assert len({cause.metric for cause in Abort}) == len(Abort)
    for cause in Abort:
        assert 400 <= cause.status < 600
        assert cause.text

"""Records tell the same in any order in which volumes may be met."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.stored import Extent, Stored, Tombstone

KEYS = ["/a", "/b"]


def told(records: list[tuple[str, int]]) -> Ledger:
    """A ledger that hears of commits (of one run) and tombstones, named by key and sequence."""
    ledger = Ledger()
    for key, sequence in records:
        volume = sequence // 4
        if sequence % 3:
            ledger.run(sequence, Extent(0, volume, sequence * 100, 10, 5))
            ledger.commit(key, Stored(sequence, sequence, 10, b"", volume, 70))
        else:
            ledger.tombstone(key, Tombstone(sequence, volume, 60))
    ledger.settle()
    return ledger


@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS), st.integers(1, 30)),
        max_size=12,
        unique_by=lambda one: one[1],
    ),
    st.randoms(use_true_random=False),
)
def test_the_highest_sequence_holds_in_any_order(
    records: list[tuple[str, int]], chance: object
) -> None:
    ledger = told(records)
    for key in KEYS:
        last = max((sequence for name, sequence in records if name == key), default=0)
        if last % 3:
            assert ledger.objects[key].sequence == last
            assert ledger.objects[key].is_whole
        else:
            assert key not in ledger.objects
    shuffled = list(records)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # it is a Random
    other = told(shuffled)
    assert dict(other.objects) == dict(ledger.objects)
    assert other.dead == ledger.dead
    assert +other.live_bytes == +ledger.live_bytes
    needed = sum(stored.commit_bytes + 62 for stored in ledger.objects.values())
    needed += sum(one.record_bytes for one in ledger.tombstones.values())
    assert sum(ledger.live_bytes.values()) == needed


def test_a_tombstone_stays_as_long_as_a_dead_commit_does() -> None:
    ledger = told([("/a", 1), ("/a", 6)])
    assert ledger.dead == {"/a": frozenset({0})}
    ledger.forget(1)
    assert "/a" in ledger.tombstones
    ledger.forget(0)
    assert not ledger.tombstones
    assert not +ledger.live_bytes


def test_what_compaction_wrote_again_takes_the_place_of_what_it_read() -> None:
    ledger = told([("/a", 1)])
    ledger.commit("/a", Stored(1, 1, 10, b"", 9, 70))
    ledger.run(1, Extent(0, 9, 5000, 10, 5))
    stored = ledger.objects["/a"]
    assert (stored.commit_volume, [one.volume for one in stored.extents]) == (9, [9])
    assert +ledger.live_bytes == {9: 70 + 62}


def test_runs_may_come_behind_their_commit() -> None:
    ledger = Ledger()
    ledger.commit("/a", Stored(3, 2, 30, b"", 1, 70))
    for offset in (20, 0, 10):
        ledger.run(2, Extent(offset, 2, 100 + offset, 10, 5))
    assert [one.offset for one in ledger.objects["/a"].extents] == [0, 10, 20]
    assert ledger.objects["/a"].is_whole
    assert not ledger.open


def test_an_upload_without_a_commit_is_forgotten() -> None:
    ledger = Ledger()
    ledger.run(2, Extent(0, 1, 100, 10, 5))
    assert list(ledger.extents_of(2)) == [Extent(0, 1, 100, 10, 5)]
    ledger.settle()
    assert not ledger.open
    assert not +ledger.live_bytes


def test_what_lacks_bytes_is_told() -> None:
    ledger = Ledger()
    ledger.run(2, Extent(10, 1, 100, 10, 5))
    ledger.commit("/a", Stored(3, 2, 20, b"", 1, 70))
    assert ledger.not_whole() == ["/a"]

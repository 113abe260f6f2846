"""The journal: what is remembered, and what is said to be forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.journal import KEPT_COUNT, KINDS, Journal

COUNTS = st.sampled_from([0, 1, 5, KEPT_COUNT - 1, KEPT_COUNT, KEPT_COUNT + 7])


@given(COUNTS, st.integers(-2, KEPT_COUNT + 20))
def test_since_against_a_list(count: int, last_id: int) -> None:
    journal = Journal()
    for index in range(count):
        journal.note(KINDS[index % len(KINDS)], f"/{index}", index, bytes=index)
    assert journal.last_id == count
    forgotten_count, events = journal.since(last_id)
    seen = last_id if 0 <= last_id <= count else 0  # an id of an earlier process
    assert [event.id for event in events] == list(range(seen + forgotten_count + 1, count + 1))
    assert len(events) <= KEPT_COUNT
    assert forgotten_count == max(0, count - seen - KEPT_COUNT)
    assert all(event.facts == {"bytes": event.generation} for event in events)


def test_watchers_are_told_until_they_go() -> None:
    journal = Journal()
    told: list[int] = []

    def watch() -> None:
        told.append(journal.last_id)

    journal.watchers.add(watch)
    journal.note("created", "/x", 1)
    journal.watchers.discard(watch)
    journal.note("complete", "/x", 1)
    assert told == [1]

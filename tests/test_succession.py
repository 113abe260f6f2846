"""Claims: what readers of an upload that broke off may expect, against naive comparisons."""

from __future__ import annotations

import math
from os.path import commonprefix

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.objects import Abort, Claim, Generation
from chunkstore.policy import Policy
from chunkstore.ring import Ring


def generation(data: bytes = b"", *, is_published: bool = True) -> Generation:
    """An open generation of /x with these bytes."""
    made = Generation("/x", 1, '"x"', Policy(), 0.0)
    if data:
        made.ring.append(data, chunk_end=is_published)
    return made


def ring_of(pieces: list[bytes]) -> Ring:
    """A ring with these chunks."""
    ring = Ring()
    for piece in pieces:
        ring.append(piece, chunk_end=True)
    return ring


bodies = st.lists(st.sampled_from([b"a", b"b", b"ab" * 3, b"x" * 70_000]), max_size=6)


@given(bodies, bodies, st.booleans())
def test_a_claim_agrees_with_comparing_all(old: list[bytes], new: list[bytes], ends: bool) -> None:
    """However the successor's bytes come, the claim says what a comparison of the whole says."""
    before, after = generation(), generation()
    for piece in old:
        before.ring.append(piece, chunk_end=True)
    claim = Claim(before, 0.0)
    claim.begin(after)
    data = b"".join(old)
    for index, piece in enumerate(new):
        after.ring.append(piece, chunk_end=True)
        claim.compare(0.0)
        check(claim, data, b"".join(new[: index + 1]), ends=False)
    if ends:
        after.ring.seal()
        after.enter("commit")
    claim.compare(0.0)
    check(claim, data, b"".join(new), ends=ends)


def check(claim: Claim, old: bytes, new: bytes, *, ends: bool) -> None:
    """The claim's answers for every offset that matters, from the bytes alone."""
    same = len(commonprefix([old, new]))
    differs = same < min(len(old), len(new)) or (ends and len(new) < len(old))
    assert claim.matched_bytes == same
    assert claim.differs_at == (same if differs else None)
    for offset in {0, same - 1, same, same + 1, len(old)}:
        if 0 <= offset <= len(old):
            assert claim.allows(offset) == (offset <= same)
            assert claim.forbids(offset) == (differs and offset > same)
    assert claim.is_decided == (differs or same == len(old))


@pytest.mark.parametrize("at", [0, 1, 1000, 65_535, 65_536, 65_537, 150_000 - 1])
def test_the_first_difference_is_found_wherever_it_is(at: int) -> None:
    data = bytes(150_000)
    claim = Claim(generation(data), 0.0)
    claim.begin(generation(data[:at] + b"\1" + data[at + 1 :]))
    claim.compare(0.0)
    assert claim.differs_at == at


def test_only_published_bytes_are_compared() -> None:
    claim = Claim(generation(b"abc"), 0.0)
    successor = generation(b"ab", is_published=False)
    claim.begin(successor)
    claim.compare(0.0)
    assert (claim.matched_bytes, claim.allows(2)) == (0, False)
    successor.ring.publish()
    claim.compare(0.0)
    assert claim.allows(2)


def test_the_grace_stands_still_while_a_successor_matches() -> None:
    claim = Claim(generation(b"abc"), 10.0)
    assert claim.deadline_s == 11.0
    first = generation()
    claim.begin(first)
    claim.compare(10.25)
    assert claim.deadline_s == 11.0  # it has no byte yet: nothing matches
    first.ring.append(b"ab", chunk_end=True)
    claim.compare(10.5)
    assert claim.deadline_s == math.inf
    first.abort = Abort.WRITER_GONE
    claim.compare(60.0)
    assert (claim.successor, claim.matched_bytes) == (None, 0)
    assert claim.deadline_s == 60.5
    second = generation(b"ax")
    claim.begin(second)
    claim.compare(60.25)
    assert (claim.differs_at, claim.deadline_s) == (1, 60.5)
    assert claim.is_decided

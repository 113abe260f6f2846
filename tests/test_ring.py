"""The ring against a naive model: one byte string, and the list of where its chunks end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chunkstore.ring import LAST_CHUNK, OWN_BLOCK_BYTES, PIECES_MAX, Position, Ring
from tests.examples import examples

# Sizes around every bound: a merge, a publication, a block.
SIZES = st.one_of(
    st.integers(1, 3),
    st.sampled_from([1023, 1024, 1025, 65535, 65536, 65537, 2**20 - 1, 2**20, 2**20 + 1]),
    st.integers(1, 200_000),
)


def payload(start: int, size: int) -> bytes:
    """Bytes that differ at any two offsets less than 251 apart."""
    pattern = bytes(range(251))
    first = start % 251
    return (pattern * (size // 251 + 2))[first : first + size]


def framed(data: bytes, ends: list[int], *, is_sealed: bool) -> bytes:
    """The framed stream, made the slow way (RFC 9112 section 7.1)."""
    starts = [0, *ends]
    frames = [
        format(stop - start, "x").encode() + b"\r\n" + data[start:stop] + b"\r\n"
        for start, stop in zip(starts, ends, strict=False)
    ]
    return b"".join(frames) + (b"0\r\n\r\n" if is_sealed else b"")


class RingMachine(RuleBasedStateMachine):
    """Any appends, looked at by readers in any step; what they saw once stays what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring()
        self.data = b""
        self.ends: list[int] = []
        self.base = 0
        self.held: list[tuple[list[memoryview], bytes]] = []
        self.position = Position()
        self.read = b""

    @property
    def end(self) -> int:
        """The last published offset."""
        return self.ends[-1] if self.ends else 0

    def expect_published(self, published: bool, due: bool) -> None:
        """Hold the model's end against the ring's."""
        assert published is due
        if due:
            self.ends.append(len(self.data))
        assert self.ring.ends == [end for end in self.ends if end > self.base]

    @precondition(lambda self: not self.ring.is_sealed)
    @rule(size=SIZES, chunk_end=st.booleans(), kind=st.sampled_from([bytes, bytearray, memoryview]))
    def append(self, size: int, chunk_end: bool, kind: type) -> None:
        """The publish rule: the chunk is over, or 64 KiB wait."""
        data = payload(len(self.data), size)
        reused = bytearray(data)
        published = self.ring.append(
            memoryview(reused) if kind is memoryview else kind(data),
            chunk_end=chunk_end,
            is_lasting=kind is bytes,
        )
        reused[:] = bytes(size)  # it was copied
        self.data += data
        self.expect_published(published, chunk_end or len(self.data) - self.end >= 65536)

    @precondition(lambda self: not self.ring.is_sealed)
    @rule()
    def publish(self) -> None:
        """The third case, whose clock the caller has."""
        self.expect_published(self.ring.publish(), len(self.data) > self.end)
        assert not self.ring.publish()

    @precondition(lambda self: not self.ring.is_sealed)
    @rule()
    def seal(self) -> None:
        """It is whole: all is published, and nothing of a block is left unused."""
        self.ring.seal()
        if len(self.data) > self.end:
            self.ends.append(len(self.data))
        if not self.base:
            assert sum(map(len, self.ring._blocks)) == len(self.data)

    @rule(draw=st.data())
    def trim(self, draw: st.DataObject) -> None:
        """Whole chunks are let go of, from the first on; the reader may be among them."""
        upto = draw.draw(st.integers(0, len(self.data)) | st.sampled_from([0, *self.ends]))
        self.ring.trim(upto)
        self.base = max([self.base, *(end for end in self.ends if end <= upto)])
        here = len(self.data) - self.base
        assert self.ring.base == self.base
        held = sum(map(len, self.ring._blocks))
        assert held <= 2 * here + 2**21  # two blocks that are used in part
        if not here and self.ring.is_sealed:
            assert not self.ring._blocks

    @rule(draw=st.data())
    def look(self, draw: st.DataObject) -> None:
        """Views of any range, kept for later."""
        start = draw.draw(st.integers(self.base, len(self.data)))
        stop = draw.draw(st.integers(start, len(self.data)))
        views = self.ring.views(start, stop)
        assert all(views)
        assert sum(map(len, views)) == stop - start
        self.held.append((views, self.data[start:stop]))
        assert self.ring.locate(start) == sum(1 for end in self.ends if end <= start)

    @precondition(lambda self: self.ring.first <= self.position.index < self.ring.frame_count)
    @rule(draw=st.data(), limit=st.sampled_from([0, 1, 1000, 65536, 2**20]))
    def send(self, draw: st.DataObject, limit: int) -> None:
        """A reader's gathered send, of which the kernel took any part."""
        last = draw.draw(st.integers(self.position.index + 1, self.ring.frame_count))
        pieces = self.ring.pieces(self.position, last, limit)
        assert all(pieces)
        offered = b"".join(pieces)
        everything = framed(self.data, self.ends, is_sealed=self.ring.is_sealed)
        assert everything.startswith(self.read + offered)
        rest_of_frame = sum(map(len, self.ring.frame(self.position.index))) - self.position.skip
        assert len(offered) >= rest_of_frame
        taken = draw.draw(st.integers(0, len(offered)) | st.just(len(offered)))
        self.ring.advance(self.position, taken)
        self.read += offered[:taken]
        self.expect_position()

    def expect_position(self) -> None:
        """It knows its chunk by payload offsets, too."""
        at = self.position
        starts = [0, *self.ends]
        assert at.start == starts[min(at.index, len(self.ends))]
        if at.skip and at.index < len(self.ends):
            assert at.stop == self.ends[at.index]

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Sizes, the edge, and the charge."""
        ring = self.ring
        assert (ring.size_bytes, ring.end) == (len(self.data), self.end)
        assert ring.unpublished_bytes == len(self.data) - self.end
        assert ring.frame_count == len(self.ends) + ring.is_sealed
        kept = [end for end in self.ends if end > self.base]
        assert ring.chunk_count == len(self.ends)
        assert ring.charge_bytes() == len(self.data) - self.base + 128 * len(kept)
        for index in range(ring.first, len(self.ends)):
            assert ring.start_of(index) == [0, *self.ends][index]

    def teardown(self) -> None:
        """What was seen is unchanged; whoever reads on gets the whole framed stream."""
        for views, expected in self.held:
            assert b"".join(views) == expected
        if self.position.index < self.ring.first:  # the window has left it behind
            return
        while self.position.index < self.ring.frame_count:
            pieces = self.ring.pieces(self.position, self.ring.frame_count, 65536)
            self.read += b"".join(pieces)
            self.ring.advance(self.position, sum(map(len, pieces)))
        assert self.read == framed(self.data, self.ends, is_sealed=self.ring.is_sealed)


@given(st.binary(max_size=300_000))
@examples(20)
def test_a_ring_whose_payload_is_elsewhere_is_filled_again(payload: bytes) -> None:
    ring = Ring(len(payload))
    assert ring.is_sealed
    assert (ring.base, ring.end, ring.charge_bytes()) == (len(payload), len(payload), 0)
    ring.fill(payload)
    assert b"".join(ring.views(0, len(payload))) == payload
    assert b"".join(ring.pieces(Position(), ring.frame_count, 2**20)) == framed(
        payload, [len(payload)] if payload else [], is_sealed=True
    )
    ring.trim(len(payload))
    assert (ring.base, ring.end, ring._blocks) == (len(payload), len(payload), [])


TestRing = RingMachine.TestCase
TestRing.settings = examples(60, stateful_step_count=25)


@given(
    st.lists(st.tuples(st.integers(1, 1500) | st.just(1), st.booleans()), min_size=1, max_size=120)
)
@examples(60)
def test_boundaries_merge_only_past_4096_chunks_and_below_1_kib(
    appends: list[tuple[int, bool]],
) -> None:
    ring = Ring()
    for _ in range(4090):
        assert ring.append(b"x", chunk_end=True)
    waiting = 0
    for size, chunk_end in appends:
        waiting += size
        is_due = chunk_end and (len(ring.ends) < 4096 or waiting >= 1024)
        assert ring.append(bytes(size), chunk_end=chunk_end) is (is_due or waiting >= 65536)
        if is_due or waiting >= 65536:
            waiting = 0
        assert ring.unpublished_bytes == waiting
    ring.seal()
    assert ring.end == ring.size_bytes


def test_a_flood_of_tiny_chunks_costs_a_bounded_number_of_boundaries() -> None:
    ring = Ring()
    for _ in range(100_000):
        ring.append(b"x", chunk_end=True)
    assert len(ring.ends) == 4096 + (100_000 - 4096) // 1024


def test_a_gathered_send_has_a_bounded_number_of_pieces() -> None:
    ring = Ring()
    for _ in range(5000):
        ring.append(b"x", chunk_end=True)
    assert PIECES_MAX <= len(ring.pieces(Position(), ring.frame_count, 2**20)) < PIECES_MAX + 3


def test_blocks_grow_with_the_object_and_never_move() -> None:
    ring = Ring()
    for _ in range(4096):
        ring.append(bytes(1024), chunk_end=True)
    sizes = [len(block) for block in ring._blocks]
    assert sizes == sorted(sizes)
    assert max(sizes) == 2**20
    assert len(sizes) < 16
    unused = sum(sizes) - ring.size_bytes
    assert unused <= ring.size_bytes


@given(st.lists(st.sampled_from([1, 100, 4095, 4096, 70_000]), max_size=60))
@examples(60)
def test_no_more_memory_is_unused_than_the_last_small_runs_fill_twice(sizes: list[int]) -> None:
    ring = Ring()
    for size in sizes:
        ring.append(bytes(size), chunk_end=True)
    small = 0
    for size in reversed(sizes):
        if size >= OWN_BLOCK_BYTES:
            break
        small += size
    held = sum(len(block) for block in ring._blocks)
    assert held - ring.size_bytes <= 2 * small
    ring.seal()
    assert sum(len(block) for block in ring._blocks) == ring.size_bytes


def test_an_empty_object_is_a_last_chunk_alone() -> None:
    ring = Ring()
    assert ring.frame_count == 0
    ring.seal()
    assert ring.is_sealed
    assert (ring.frame_count, ring.end, ring.views(0, 0)) == (1, 0, [])
    assert b"".join(ring.pieces(Position(), 1, 65536)) == LAST_CHUNK

"""Records and the search for them: what was written is found, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.store.disk.record import (
    HEAD_BYTES,
    HEADER_BYTES,
    Header,
    Kind,
    Named,
    VolumeHead,
    checksum,
)
from chunkstore.store.disk.scan import Found, Scan

HEAD = VolumeHead(bytes(range(16)), 7)
U64 = st.integers(0, 2**64 - 1)


def test_checksum_is_crc_32c() -> None:
    """The check value of the polynomial (RFC 3720 appendix B.4 has others)."""
    assert checksum(b"123456789") == 0xE3069283
    assert checksum(bytes(32)) == 0x8A9136AA
    assert checksum(memoryview(bytearray(32))) == 0x8A9136AA


@given(st.sampled_from(Kind), st.integers(0, 2**20), U64, U64, U64, U64)
def test_a_header_is_one_where_it_was_written_and_nowhere_else(
    kind: Kind, size: int, sequence: int, generation: int, offset: int, synced: int
) -> None:
    header = Header(kind, size, 5, sequence, generation, offset, synced)
    data = header.encode(HEAD.place(100))
    assert len(data) == HEADER_BYTES
    assert Header.decode(data, HEAD.place(100)) == header
    assert Header.decode(data, HEAD.place(101)) is None
    assert Header.decode(data, VolumeHead(HEAD.dir_id, 8).place(100)) is None
    assert Header.decode(data, VolumeHead(bytes(16), 7).place(100)) is None
    assert Header.decode(data[:-1], HEAD.place(100)) is None


@given(st.integers(0, HEADER_BYTES * 8 - 1))
def test_no_bit_of_a_header_may_differ(bit: int) -> None:
    data = bytearray(Header(Kind.RUN, 1, 2, 3, 4, 5, 6).encode(HEAD.place(100)))
    data[bit // 8] ^= 1 << bit % 8
    assert Header.decode(bytes(data), HEAD.place(100)) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.binary(max_size=99))
def test_names_and_facts(key: str, facts: bytes) -> None:
    assert Named.decode(Named(key, facts).encode()) == Named(key, facts)


class Written:
    """A volume's content, and what was put into it."""

    def __init__(self) -> None:
        self.data = bytearray(HEAD.encode())
        self.records: list[tuple[int, int]] = []  # position and size
        self.synced = 0

    def add(self, kind: Kind, payload: bytes, sequence: int) -> None:
        """Behind the last one."""
        position = len(self.data)
        header = Header(kind, len(payload), checksum(payload), sequence, 1, 0, self.synced)
        self.data += header.encode(HEAD.place(position)) + payload
        self.records.append((position, len(self.data) - position))

    def scan(self, durable: int = 0) -> Scan:
        """From the beginning."""
        return Scan(HEAD, self.read, len(self.data), start=HEAD_BYTES, durable_bytes=durable)

    def read(self, size: int, position: int) -> bytes:
        """As a file does."""
        return bytes(self.data[position : position + size])


PAYLOADS = st.sampled_from([0, 1, 52, 700]).flatmap(lambda n: st.binary(min_size=n, max_size=n))


@st.composite
def volumes(draw: st.DrawFn) -> Written:
    """Records of all kinds, synced now and then; some payloads look like records."""
    written = Written()
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from([Kind.RUN, Kind.RUN, Kind.COMMIT, Kind.TOMBSTONE, Kind.MARK]))
        payload = draw(PAYLOADS)
        if kind is Kind.RUN and draw(st.booleans()) and written.records:
            payload = bytes(written.data[written.records[-1][0] :])  # as an upload of a volume is
        elif kind in (Kind.COMMIT, Kind.TOMBSTONE):
            payload = Named("/a", payload).encode()
        if draw(st.booleans()):
            written.synced = len(written.data)
        written.add(kind, b"" if kind is Kind.MARK else payload, number)
    return written


def found_in(scan: Scan) -> tuple[list[int], list[tuple[int, int]]]:
    """Positions of records, and what is damaged."""
    records, damages = [], []
    for one in scan:
        if isinstance(one, Found):
            records.append(one.position)
        else:
            damages.append((one.position, one.size))
    return records, damages


@given(volumes())
def test_a_volume_that_is_whole(written: Written) -> None:
    scan = written.scan()
    assert found_in(scan) == ([position for position, _ in written.records], [])
    assert scan.end == len(written.data)


@given(volumes(), st.data())
def test_what_was_not_durable_ends_where_it_is_torn(written: Written, draw: st.DataObject) -> None:
    """A crash leaves any beginning of what follows the last sync, and perhaps rubbish behind it."""
    durable = max(written.synced, HEAD_BYTES)
    end = draw.draw(st.integers(durable, len(written.data)))
    rubbish = draw.draw(st.binary(max_size=80))
    del written.data[end:]
    written.data += rubbish
    scan = written.scan(durable)
    kept = [(at, size) for at, size in written.records if at + size <= end]
    records, damages = found_in(scan)
    assert not damages
    assert records[: len(kept)] == [at for at, _ in kept]
    if not written.records[len(kept) :] or not rubbish:  # rubbish may be what was torn off
        assert len(records) == len(kept)
        assert scan.end == sum(kept[-1]) if kept else HEAD_BYTES


@given(volumes(), st.data())
def test_damage_costs_the_records_that_it_hit(written: Written, draw: st.DataObject) -> None:
    hit = draw.draw(st.sampled_from(written.records))
    at = hit[0] + draw.draw(st.integers(0, HEADER_BYTES - 1))
    written.data[at] ^= 1 << draw.draw(st.integers(0, 7))
    scan = written.scan(durable=len(written.data))
    records, damages = found_in(scan)
    assert records == [position for position, _ in written.records if position != hit[0]]
    assert damages == [hit]
    assert scan.end == len(written.data)


@given(volumes(), st.data())
def test_a_cut_of_what_was_durable_is_damage(written: Written, draw: st.DataObject) -> None:
    whole = len(written.data)
    end = draw.draw(st.integers(HEAD_BYTES, whole - 1))
    del written.data[end:]
    records, damages = found_in(written.scan(durable=whole))
    kept = [(at, size) for at, size in written.records if at + size <= end]
    assert records == [at for at, _ in kept]
    start = sum(kept[-1]) if kept else HEAD_BYTES
    assert sum(size for _, size in damages) == whole - start
    assert min(position for position, _ in damages) == start

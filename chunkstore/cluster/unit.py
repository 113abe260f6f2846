"""What a part is made of, and how it says of itself what it is. Pure: bytes in, values out.

A part is records, one a stripe, and a description behind the last one::

    record        magic "CSu1" | part u8, 3 zeros | generation u64 | stripe u32 | payload bytes u32
                  | CRC-32C u32 of all that and the payload | payload: a unit
    description   what `Description` has | its length u32, all of it | CRC-32C u32 of all before
                  | magic "CSd1"

All little-endian; a magic's last character is the format's version. A record is bound to the one
place that it belongs to, because a codec decodes what is damaged or mixed up without a word. Where
the records are is known by arithmetic, so a damaged one costs itself alone. A description is found
from a part's end, its length standing there, so that metadata which was lost can be made again.

Source: CRC-32C as in RFC 3720 section 12.1, by google-crc32c: the processor has an instruction.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple

import google_crc32c

from chunkstore.cluster.stripe import HEADER_BYTES, Layout

__all__ = ["FOOT_BYTES", "Description", "Flaw", "Record", "RecordReader", "verify"]

_HEADER = struct.Struct("<4sBxxxQII")
_CRC = struct.Struct("<I")
_MAGIC = b"CSu1"
assert _HEADER.size + _CRC.size == HEADER_BYTES

_FIXED = struct.Struct("<QBBBxQ32sHH")
_LENGTH = struct.Struct("<I")
_FOOT_MAGIC = b"CSd1"
FOOT_BYTES = _LENGTH.size + _CRC.size + len(_FOOT_MAGIC)
"""At a part's very end: they say how long its description is."""


class Flaw(Enum):
    """What is wrong with a record; the value is for people."""

    BROKEN = "its bytes are not what was written"
    OTHER_GENERATION = "it is of another generation"
    OTHER_PART = "it is of another part"
    OTHER_STRIPE = "it is of another stripe"


class Record(NamedTuple):
    """A unit, and where it belongs.

    Attributes:
        generation: of the object.
        part: index of the part.
        stripe: index of the stripe.
        payload: the unit.
    """

    generation: int
    part: int
    stripe: int
    payload: bytes

    def header(self) -> bytes:
        """HEADER_BYTES, to be followed by the payload. Cost: O(n), no copy."""
        fixed = _HEADER.pack(_MAGIC, self.part, self.generation, self.stripe, len(self.payload))
        return fixed + _CRC.pack(_checksum(fixed, self.payload))

    @classmethod
    def parse(cls, header: bytes, payload: bytes) -> Record | None:
        """None: these bytes are not what was written.

        Args:
            header: HEADER_BYTES.
            payload: what follows it, as far as the record should go.
        """
        fixed = header[: _HEADER.size]
        magic, part, generation, stripe, size = _HEADER.unpack(fixed)
        if magic != _MAGIC or size != len(payload):
            return None
        if _CRC.unpack_from(header, _HEADER.size)[0] != _checksum(fixed, payload):
            return None
        return cls(generation, part, stripe, payload)


def verify(header: bytes, payload: bytes, generation: int, part: int, stripe: int) -> bytes | Flaw:
    """The payload, if this record is what should be there.

    Args:
        header, payload: as `Record.parse` takes them.
        generation, part, stripe: what is expected.
    """
    record = Record.parse(header, payload)
    if record is None:
        return Flaw.BROKEN
    if record.generation != generation:
        return Flaw.OTHER_GENERATION
    if record.part != part:
        return Flaw.OTHER_PART
    return payload if record.stripe == stripe else Flaw.OTHER_STRIPE


class RecordReader:
    """Units of one part, from a range of its bytes that comes in any pieces.

    Args:
        layout: of the object.
        generation, part: of the object, and the index of the part in it.
        stripes: consecutive; the bytes are those of `layout.extent(stripes)`.

    Cost: no copy of a unit that comes in one piece; holds what was fed and is less than a record.
    """

    __slots__ = (
        "_due_bytes",
        "_generation",
        "_header",
        "_layout",
        "_next",
        "_part",
        "_pieces",
        "_stop",
        "_unit_bytes",
    )

    def __init__(self, layout: Layout, generation: int, part: int, stripes: range) -> None:
        self._layout = layout
        self._generation = generation
        self._part = part
        self._next, self._stop = stripes.start, stripes.stop
        self._header = b""
        self._pieces: list[bytes] = []
        self._expect()

    @property
    def due_bytes(self) -> int:
        """What the next record lacks; 0: all units that were asked for were given."""
        return self._due_bytes

    @property
    def limit_bytes(self) -> int:
        """What `feed` takes next at most: of a record the header, then the unit."""
        return max(self._due_bytes - self._unit_bytes, 0) or self._due_bytes

    def feed(self, data: bytes) -> tuple[int, bytes | Flaw] | None:
        """The stripe whose unit is whole now, and the unit or why it can't be had.

        Args:
            data: at most `limit_bytes`.
        """
        self._pieces.append(data)
        self._due_bytes -= len(data)
        if self._due_bytes > self._unit_bytes:
            return None
        if self._due_bytes == self._unit_bytes:
            self._header, self._pieces = b"".join(self._pieces), []
        if self._due_bytes:
            return None
        stripe, pieces = self._next, self._pieces
        payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        header, self._pieces, self._next = self._header, [], stripe + 1
        self._expect()
        return stripe, verify(header, payload, self._generation, self._part, stripe)

    def _expect(self) -> None:
        """The next record, if there is one."""
        is_over = self._next == self._stop
        self._unit_bytes = 0 if is_over else self._layout.unit_bytes(self._next)
        self._due_bytes = 0 if is_over else HEADER_BYTES + self._unit_bytes


class Description(NamedTuple):
    """What a part knows of its object; as long in every part of it.

    Attributes:
        key: the object's name, in normal form.
        generation: higher than that of what this replaced.
        k, m: how many parts of data and parity the object was written with. Parity may have been
            added since, and only the parts added know of it: the highest m is right.
        part: index of this one.
        size_bytes: of the object.
        sha256: of the object, 32 bytes.
        facts: what else is to be known of the object; not looked into here.
    """

    key: str
    generation: int
    k: int
    m: int
    part: int
    size_bytes: int
    sha256: bytes
    facts: bytes

    def encode(self) -> bytes:
        """As it stands behind a part's last record."""
        assert len(self.sha256) == 32
        key = self.key.encode("utf-8")
        fixed = _FIXED.pack(
            self.generation,
            self.k,
            self.m,
            self.part,
            self.size_bytes,
            self.sha256,
            len(key),
            len(self.facts),
        )
        body = fixed + key + self.facts
        body += _LENGTH.pack(len(body) + FOOT_BYTES)
        return body + _CRC.pack(_checksum(body, b"")) + _FOOT_MAGIC

    @classmethod
    def parse(cls, tail: bytes) -> Description | None:
        """From a part's last bytes: the description, or more. None: it isn't whole."""
        size = cls.size_of(tail)
        if size is None or size > len(tail):
            return None
        data = tail[-size:]
        body = data[: -_CRC.size - len(_FOOT_MAGIC)]
        if _CRC.unpack_from(data, len(body))[0] != _checksum(body, b""):
            return None
        generation, k, m, part, size_bytes, sha256, key_bytes, _ = _FIXED.unpack_from(body)
        facts_at = _FIXED.size + key_bytes
        facts = body[facts_at : -_LENGTH.size]
        try:
            key = body[_FIXED.size : facts_at].decode("utf-8")
        except UnicodeDecodeError:
            return None
        return cls(key, generation, k, m, part, size_bytes, sha256, facts)

    @staticmethod
    def size_of(tail: bytes) -> int | None:
        """How long the description is that a part ends with; None: it ends with none.

        Args:
            tail: the part's last FOOT_BYTES, or more.
        """
        if len(tail) < FOOT_BYTES or not tail.endswith(_FOOT_MAGIC):
            return None
        size = int(_LENGTH.unpack_from(tail, len(tail) - FOOT_BYTES)[0])
        return size if size >= _FIXED.size + FOOT_BYTES else None


def _checksum(first: bytes, second: bytes) -> int:
    """The CRC-32C of both, as if they were one."""
    return int(google_crc32c.extend(google_crc32c.value(first), second))

"""What a volume is made of. Pure: bytes in, typed records out.

A volume is a head, then records, each a header, a payload, and nothing between them::

    RUN        bytes of an upload: `generation`, `offset` in the object, up to 1 MiB of payload
    COMMIT     the upload is whole: its name and facts; the object is there from here on
    TOMBSTONE  all that was committed under a name before this is gone
    MARK       first in a volume: so much (`offset`) of the one before was durable; and at a clean
               end, where it carries `synced`

Each has a *sequence*, one counter for the whole data dir; of two commits of a name, the higher one
holds. `synced` says how much of this volume was durable when the record was written: what isn't
whole before the highest of them was damaged, what isn't whole behind it was never acknowledged.

A header's checksum covers where it stands: the data dir's id, the volume's number, the position. So
a record is one nowhere else: neither in a payload, whoever made that, nor in another volume.

Source: CRC-32C as in RFC 3720 section 12.1, by google-crc32c: the processor has an instruction.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import google_crc32c

from chunkstore.store.disk.files import Buffer

__all__ = [
    "HEADER_BYTES",
    "HEAD_BYTES",
    "ID_BYTES",
    "MAGIC",
    "PAYLOAD_BYTES",
    "Header",
    "Kind",
    "Named",
    "VolumeHead",
    "checksum",
]

MAGIC = b"CSr1"
PAYLOAD_BYTES = 1 << 20
"""Most payload of a record."""
_HEADER = struct.Struct("<4sBxxxIIQQQQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
_HEAD = struct.Struct("<16sI4x16sQ")
HEAD_BYTES = _HEAD.size + _CRC.size
ID_BYTES = 16
_HEAD_MAGIC = b"chunkstore vol\r\n"
_FORMAT = 1
_PLACE = struct.Struct("<QQ")
_LENGTH = struct.Struct("<H")


class Kind(IntEnum):
    """What a record is."""

    RUN = 1
    COMMIT = 2
    TOMBSTONE = 3
    MARK = 4


def checksum(data: Buffer) -> int:
    """The CRC-32C of `data`. Cost: O(n); a copy unless it is `bytes`."""
    return int(google_crc32c.value(data if type(data) is bytes else bytes(data)))


@dataclass(frozen=True, slots=True)
class VolumeHead:
    """The first bytes of a volume; all of it is known without them, so they can be damaged.

    Attributes:
        dir_id: of the data dir, 16 random bytes.
        number: the volume's own, never used again.
    """

    dir_id: bytes
    number: int

    def encode(self) -> bytes:
        """As it stands in the file."""
        head = _HEAD.pack(_HEAD_MAGIC, _FORMAT, self.dir_id, self.number)
        return head + _CRC.pack(checksum(head))

    def place(self, position: int) -> bytes:
        """What a header at `position` of this volume is bound to."""
        return self.dir_id + _PLACE.pack(self.number, position)


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before a payload.

    Attributes:
        payload_bytes, payload_crc: of what follows.
        sequence: one counter for the data dir.
        generation: whose record it is; 0 for TOMBSTONE; MARK: number of the volume before, or 0.
        offset: RUN: of its first byte in the object; COMMIT: the object's size; MARK: bytes of the
            volume before.
        synced_bytes: of this volume; durable when this was written.
    """

    kind: Kind
    payload_bytes: int
    payload_crc: int
    sequence: int
    generation: int
    offset: int
    synced_bytes: int

    @property
    def record_bytes(self) -> int:
        """Of the whole record."""
        return HEADER_BYTES + self.payload_bytes

    def encode(self, place: bytes) -> bytes:
        """As it stands in a volume, at `place`."""
        assert self.payload_bytes <= PAYLOAD_BYTES
        fixed = _HEADER.pack(
            MAGIC,
            self.kind,
            self.payload_bytes,
            self.payload_crc,
            self.sequence,
            self.generation,
            self.offset,
            self.synced_bytes,
        )
        return fixed + _CRC.pack(checksum(fixed + place))

    @classmethod
    def decode(cls, data: bytes, place: bytes) -> Header | None:
        """None: no record's header stands here.

        Args:
            data: HEADER_BYTES, or fewer where the volume ends.
            place: `VolumeHead.place` of where it stands.
        """
        if len(data) != HEADER_BYTES or not data.startswith(MAGIC):
            return None
        fixed = data[: _HEADER.size]
        if _CRC.unpack_from(data, _HEADER.size)[0] != checksum(fixed + place):
            return None
        _, kind, *rest = _HEADER.unpack(fixed)
        return cls(Kind(kind), *rest)


class Named(NamedTuple):
    """The payload of a COMMIT or a TOMBSTONE.

    Attributes:
        key: the object's name, in normal form.
        facts: what else is to be known of it; not looked into here. Empty in a TOMBSTONE.
    """

    key: str
    facts: bytes

    def encode(self) -> bytes:
        """As it stands in the volume."""
        name = self.key.encode("utf-8")
        return _LENGTH.pack(len(name)) + name + self.facts

    @classmethod
    def decode(cls, payload: bytes) -> Named:
        """From what `encode` made: the payload's checksum was right."""
        [length] = _LENGTH.unpack_from(payload)
        stop = _LENGTH.size + length
        return cls(payload[_LENGTH.size : stop].decode("utf-8"), payload[stop:])

"""What is kept of a generation beside its bytes, packed for whoever stores it."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["Facts", "etag_of", "expires_of"]

_FIXED = struct.Struct("<4sddd")
_EXPIRES = struct.Struct("<d")
_EXPIRES_AT = _FIXED.size - _EXPIRES.size


class Facts(NamedTuple):
    """A complete generation, its name, number and size apart.

    Attributes:
        boot: of the process that took it in, 8 hex digits: with the number they are its ETag.
        created_s, modified_s, expires_s: Unix time; the last is infinite if it never expires.
        content_type: its media type.
    """

    boot: str
    created_s: float
    modified_s: float
    expires_s: float
    content_type: str

    def encode(self) -> bytes:
        """Packed: 28 bytes and the media type."""
        fixed = _FIXED.pack(
            bytes.fromhex(self.boot), self.created_s, self.modified_s, self.expires_s
        )
        return fixed + self.content_type.encode("utf-8")

    @classmethod
    def decode(cls, packed: bytes) -> Facts:
        """From what `encode` made."""
        boot, created_s, modified_s, expires_s = _FIXED.unpack_from(packed)
        times = created_s, modified_s, expires_s
        return cls(boot.hex(), *times, packed[_FIXED.size :].decode("utf-8"))


def expires_of(packed: bytes) -> float:
    """`expires_s` alone: a start asks a million objects for it."""
    expires_s: float = _EXPIRES.unpack_from(packed, _EXPIRES_AT)[0]
    return expires_s


def etag_of(boot: str, number: int) -> str:
    """The ETag of a generation: strong, and never another one's.

    A number may come twice, where a crash took what had it before it was stored; with another boot.
    """
    return f'"{boot}-{number:x}"'

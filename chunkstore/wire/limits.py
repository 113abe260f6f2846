"""The bounds of one connection's input, each with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["METHOD_BYTES", "WireLimits"]

METHOD_BYTES: Final = 32  # the longest registered method has 17

# A request line has room for the longest method, a version and the shortest useful target.
_LEAST_TARGET_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class WireLimits:
    """How much of a request is read before it is refused.

    Args:
        head_bytes: request line, header fields and the empty line together; over it 431.
        target_bytes: the request line without its CRLF; over it 414.
        fields: header lines of a head; over it 431.
        chunk_bytes: the size of one chunk; over it 413 at once, whatever was received.
        body_bytes: a body's data, declared or summed over its chunks; over it 413. The default is
            what a JSON number holds exactly; the real bound of an object is the store's.
    Raises:
        ValueError: a bound that no request could keep.
    """

    head_bytes: int = 65536
    target_bytes: int = 8192
    fields: int = 100
    chunk_bytes: int = 2**53
    body_bytes: int = 2**53

    def __post_init__(self) -> None:
        if self.target_bytes < _LEAST_TARGET_BYTES:
            raise ValueError(f"target_bytes must be at least {_LEAST_TARGET_BYTES}")
        if self.head_bytes < self.target_bytes:
            raise ValueError("head_bytes must be at least target_bytes")
        if self.fields < 1 or self.body_bytes < 0 or self.chunk_bytes < 1:
            raise ValueError("fields must be positive and body_bytes not negative")

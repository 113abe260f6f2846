"""What chunks and their files are called on disk, and which names are let in. Pure.

::

    ready/<dataset>/<start>-<stop>-<id>.<number>-<identity>/   a chunk that is whole
    ready/<dataset>/<the same>.doomed                          it is to go, once nobody holds it
    incoming/<the same>/                                       one on its way
    incoming/<the same>/.<file>.part, .<file>.state            a file of it on its way
    trash/<the same>/                                          one that goes
    wanted/<id>-<identity>                                     one that was asked for

Ids are lower-case hex, so that they are the same on disks that don't tell cases apart; numbers have
leading zeros, so that names sort by their blocks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "DESCRIPTOR",
    "DOOMED",
    "NAME_BYTES",
    "PART",
    "ChunkName",
    "check_names",
    "parse_chunk_name",
    "parse_wanted_name",
    "partial_names",
    "wanted_name",
]

DESCRIPTOR = ".chunk.json"
"""In a chunk's folder, beside its files: none of these begins with a dot."""
DOOMED = ".doomed"
PART = ".part"
NAME_BYTES = 200
"""Of a file: what a file system takes is 255, and a partial one has a dot and a suffix."""
_CHUNK = re.compile(r"\d{19}-\d{19}-[0-9a-f]{64}\.0\d{11}-[0-9a-f]{16}", re.ASCII)
"""Its number begins with a 0, so that one more than any that lies there has 12 digits, too."""


class ChunkName(NamedTuple):
    """A generation of a chunk, as the name of its folder says.

    Attributes:
        start, stop: its blocks, the end excluded.
        id: of the chunk.
        number: of the generation; never used twice at a time.
        identity: as `DataChunk.identity`.
    """

    start: int
    stop: int
    id: bytes
    number: int
    identity: str

    def __str__(self) -> str:
        """The name."""
        blocks = f"{self.start:019d}-{self.stop:019d}"
        return f"{blocks}-{self.id.hex()}.{self.number:012d}-{self.identity}"


def parse_chunk_name(name: str) -> ChunkName | None:
    """What the name of a folder says; None: it isn't one of a chunk. Cost: 2 us."""
    if _CHUNK.fullmatch(name) is None:
        return None
    # Where each part lies is known by then: a third faster than five groups.
    id_bytes = bytes.fromhex(name[40:104])
    return ChunkName(int(name[:19]), int(name[20:39]), id_bytes, int(name[105:117]), name[118:])


_WANTED = re.compile(r"([0-9a-f]{64})-([0-9a-f]{16})", re.ASCII)


def wanted_name(chunk_id: bytes, identity: str) -> str:
    """What the file of a chunk that was asked for is called."""
    return f"{chunk_id.hex()}-{identity}"


def parse_wanted_name(name: str) -> tuple[bytes, str] | None:
    """Id and identity of a chunk that was asked for; None: it isn't the name of one."""
    match = _WANTED.fullmatch(name)
    return None if match is None else (bytes.fromhex(match[1]), match[2])


def partial_names(name: str) -> tuple[str, str]:
    """What a file is called while it is on its way, and its state: as none may be that is whole."""
    return f".{name}{PART}", f".{name}.state"


def check_names(names: Iterable[object]) -> None:
    """Whether files of one chunk may have these names: each one's own, in the folder itself.

    Raises:
        ValueError: names the one that may not be, and why.
    """
    seen: dict[str, str] = {}
    for name in names:
        problem = _problem(name) if isinstance(name, str) else "it is no string"
        if not isinstance(name, str) or problem is not None:
            shown = name[:80] if isinstance(name, str) else type(name).__name__
            raise ValueError(f"files: {shown!r} can't be the name of a file: {problem}")
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            raise ValueError(f"files: {name!r} and {seen[folded]!r} are one name on some disks")
        seen[folded] = name


def _problem(name: str) -> str | None:
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError:
        return "it is not Unicode"
    if not 1 <= size_bytes <= NAME_BYTES:
        return f"it has {size_bytes} bytes, expected 1 to {NAME_BYTES}"
    if "/" in name or "\\" in name:
        return "it leads to another folder"
    if name.startswith("."):
        return "it begins with a dot"
    if name != name.strip() or name.endswith("."):
        return "it ends, or begins, with what some disks drop"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in name):
        return "it has a character that can't be seen"
    return None

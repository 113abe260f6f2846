"""What a part is called on a node: `/parts/` and its generation and index; and what a copy of the
metadata is.

::

    /parts/000000000000002a.3
    /backup/0123456789abcdef0123456789abcdef.0000019b3c7a5e10

The folder says by which rules its names and its units are made: others would get another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "BACKUPS",
    "GENERATION_MAX",
    "PARTS",
    "Part",
    "backup_path",
    "parse_backup",
    "parse_part",
    "part_path",
]

PARTS = "/parts/"
"""The folder that all parts of a node lie in."""
BACKUPS = "/backup/"
"""The folder that copies of the metadata lie in."""
GENERATION_MAX = 2**62
"""What is numbered higher isn't of this program: metadata counts to 2**63, and leaves some out."""
_PART = re.compile(r"/parts/([0-9a-f]{16})\.(0|[1-9][0-9]{0,2})")
_BACKUP = re.compile(r"/backup/([0-9a-f]{32})\.([0-9a-f]{16})")


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One of the equal pieces of an object.

    Attributes:
        generation: of the object, never used for another one in this cluster.
        index: which piece, from 0; first the data, then the parity.
    """

    generation: int
    index: int


def part_path(part: Part) -> str:
    """The path of a part on its node, and its key there."""
    return f"{PARTS}{part.generation:016x}.{part.index}"


def parse_part(path: str) -> Part | None:
    """The part that a path names; None: it is the path of none."""
    found = _PART.fullmatch(path)
    if found is None or (generation := int(found[1], 16)) > GENERATION_MAX:
        return None
    return Part(generation, int(found[2]))


def backup_path(cluster_id: str, number: int) -> str:
    """The path of a copy of a cluster's metadata; a newer one has a higher number."""
    return f"{BACKUPS}{cluster_id}.{number:016x}"


def parse_backup(path: str) -> tuple[str, int] | None:
    """The cluster's id and the number that a path has; None: it is that of no copy."""
    found = _BACKUP.fullmatch(path)
    return (found[1], int(found[2], 16)) if found else None

"""What a path means. Pure."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from chunkstore.worker.core.chunk import BLOCK_MAX

__all__ = ["METHODS", "Kind", "Target", "block_path", "file_path", "parse_id", "parse_target"]

_ID = re.compile(r"[0-9a-f]{64}", re.ASCII | re.IGNORECASE)
_BLOCK = re.compile(r"[0-9]{1,19}", re.ASCII)


class Kind(Enum):
    """What there is; the value is for people."""

    BLOCK = "the chunk that has a block"
    FILE = "a file of it"
    CHUNKS = "all chunks"
    CHUNK = "a chunk"
    STATUS = "the status"


_READ = ("GET", "HEAD")
METHODS = {**dict.fromkeys(Kind, _READ), Kind.CHUNK: (*_READ, "PUT", "DELETE")}
"""What may be done to each."""


class Target(NamedTuple):
    """What a request is for.

    Attributes:
        kind: of it.
        key: its path in one form, against which tokens and signatures are held.
        id: of the dataset, or of the chunk; else nothing.
        block: of the dataset.
        name: of the file.
    """

    kind: Kind
    key: str
    id: bytes = b""
    block: int = 0
    name: str = ""


def parse_target(path: str) -> Target | None:
    """What a path is for; None: there is no such thing.

    Args:
        path: as it came, percent-encoded.
    Raises:
        ValueError: an id, a number or a name in it is none.
    """
    match path.split("/")[1:]:
        case ["chunks"]:
            return Target(Kind.CHUNKS, "/chunks/")
        case ["status"]:
            return Target(Kind.STATUS, "/status")
        case ["chunks", text]:
            chunk_id = parse_id(text, "a chunk's id")
            return Target(Kind.CHUNK, f"/chunks/{chunk_id.hex()}", chunk_id)
        case ["datasets", text, "blocks", number]:
            dataset_id, block = parse_id(text, "a dataset's id"), _block(number)
            return Target(Kind.BLOCK, block_path(dataset_id, block), dataset_id, block)
        case ["datasets", text, "blocks", number, "files", escaped]:
            dataset_id, block = parse_id(text, "a dataset's id"), _block(number)
            name = _name(escaped)
            key = f"{block_path(dataset_id, block)}/files/{name}"
            return Target(Kind.FILE, key, dataset_id, block, name)
    return None


def parse_id(text: str, what: str) -> bytes:
    """The 32 bytes that 64 hex digits stand for.

    Args:
        what: it is to be, for messages.
    Raises:
        ValueError: they aren't that.
    """
    if not _ID.fullmatch(text):
        raise ValueError(f"{what} has 64 hex digits, and {text[:80]!r} is none")
    return bytes.fromhex(text)


def block_path(dataset_id: bytes, block: int) -> str:
    """Where the chunk is that has a block."""
    return f"/datasets/{dataset_id.hex()}/blocks/{block}"


def file_path(dataset_id: bytes, block: int, name: str) -> str:
    """Where a file of it is, percent-encoded."""
    return f"{block_path(dataset_id, block)}/files/{quote(name, safe='')}"


def _block(text: str) -> int:
    if not _BLOCK.fullmatch(text) or int(text) >= BLOCK_MAX:
        raise ValueError(f"a block is a number below {BLOCK_MAX}, and {text[:80]!r} is none")
    return int(text)


def _name(escaped: str) -> str:
    try:
        return unquote_to_bytes(escaped).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("a file's name is percent-encoded UTF-8") from None

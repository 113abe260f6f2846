"""What lies beside a chunk's files and says what they are; and what was asked for. Pure.

Written as JSON. What is read comes from a disk that others may have written: it is checked as what
a caller gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from chunkstore.worker.core.chunk import SHA256_BYTES, DataChunk, FileRecord

__all__ = [
    "DESCRIPTOR_BYTES",
    "Descriptor",
    "FileFacts",
    "chunk_members",
    "encode_chunk",
    "load_members",
    "parse_chunk",
    "parse_descriptor",
]

FORMAT = 1
DESCRIPTOR_BYTES = 2**20
"""Longer ones aren't ours: ten URLs of 8 KiB, and their names, are a tenth of it."""


class FileFacts(NamedTuple):
    """A file as it was downloaded.

    Attributes:
        url: where it came from.
        size_bytes, sha256: of it.
        sha256_source: "declared": it is what was asked for; "computed": it is what came.
        etag: of the server; "" if it gave none.
    """

    url: str
    size_bytes: int
    sha256: bytes
    sha256_source: Literal["declared", "computed"]
    etag: str


class Descriptor(NamedTuple):
    """A chunk that is whole.

    Attributes:
        chunk: as it was asked for.
        files: as they came, by name.
    """

    chunk: DataChunk
    files: Mapping[str, FileFacts]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(facts.size_bytes for facts in self.files.values())

    def encode(self) -> bytes:
        """As JSON, to be read by `parse_descriptor`."""
        members = chunk_members(self.chunk)
        members["stored"] = {
            name: {**facts._asdict(), "sha256": facts.sha256.hex()}
            for name, facts in self.files.items()
        }
        return _encode(members)


def chunk_members(chunk: DataChunk) -> dict[str, Any]:
    """A chunk as the members of a JSON object: the form of assignments, too."""
    return {
        "format": FORMAT,
        "id": chunk.id.hex(),
        "dataset_id": chunk.dataset_id.hex(),
        "block_range": [chunk.block_range.start, chunk.block_range.stop],
        "files": {name: _record_members(record) for name, record in chunk.records.items()},
    }


def encode_chunk(chunk: DataChunk) -> bytes:
    """A chunk as JSON."""
    return _encode(chunk_members(chunk))


def parse_chunk(members: object) -> DataChunk:
    """A chunk from the members of a JSON object.

    Raises:
        ValueError: names the field that is wrong, and how.
    """
    if not isinstance(members, dict):
        raise ValueError(f"expected an object, got {type(members).__name__}")
    expected = {"id", "dataset_id", "block_range", "files"}
    if missing := sorted(expected - set(members)):
        raise ValueError(f"{missing[0]}: it is missing")
    if strangers := sorted(set(members) - expected - {"format", "stored"}):
        raise ValueError(f"{strangers[0]}: there is no such field")
    if members.get("format", FORMAT) != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {members['format']!r}")
    files = members["files"]
    if not isinstance(files, dict):
        raise ValueError(f"files: expected an object, got {type(files).__name__}")
    return DataChunk(
        _hex(members["id"], "id"),
        _hex(members["dataset_id"], "dataset_id"),
        _range(members["block_range"]),
        {name: _record(name, found) for name, found in files.items()},
    )


def load_members(data: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    """JSON from outside.

    Raises:
        ValueError: it is none, has a member twice, or is nested too deep.
    """
    try:
        return json.loads(data, object_pairs_hook=_members)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r}: it is there twice")
    return members


def parse_descriptor(data: bytes) -> Descriptor:
    """A chunk that is whole, as it was written.

    Raises:
        ValueError: it wasn't written so; says what is wrong.
    """
    members = load_members(data)
    chunk = parse_chunk(members)
    stored = members.get("stored")
    if not isinstance(stored, dict) or set(stored) != set(chunk.records):
        raise ValueError("stored: expected an object with each of the files")
    return Descriptor(chunk, {name: _facts(name, stored[name]) for name in sorted(stored)})


def _facts(name: str, found: object) -> FileFacts:
    where = f"stored[{name!r}]"
    if not isinstance(found, dict) or set(found) != set(FileFacts._fields):
        raise ValueError(f"{where}: expected an object with {', '.join(FileFacts._fields)}")
    digest = _hex(found["sha256"], f"{where}.sha256")
    size_bytes, source = found["size_bytes"], found["sha256_source"]
    are_right = (
        all(isinstance(found[one], str) for one in ("url", "etag"))
        and type(size_bytes) is int
        and size_bytes >= 0
        and len(digest) == SHA256_BYTES
        and source in ("declared", "computed")
    )
    if not are_right:
        raise ValueError(f"{where}: a value is out of its bounds")
    return FileFacts(found["url"], size_bytes, digest, source, found["etag"])


def _record_members(record: FileRecord) -> dict[str, Any]:
    members: dict[str, Any] = {"url": record.url}
    if record.size_bytes is not None:
        members["size_bytes"] = record.size_bytes
    if record.sha256 is not None:
        members["sha256"] = record.sha256.hex()
    return members


def _record(name: str, found: object) -> FileRecord | str:
    if isinstance(found, str):
        return found
    where = f"files[{name!r}]"
    if not isinstance(found, dict) or "url" not in found:
        raise ValueError(f"{where}: expected a URL, or an object with one")
    if strangers := sorted(set(found) - {"url", "size_bytes", "sha256"}):
        raise ValueError(f"{where}.{strangers[0]}: there is no such field")
    digest = found.get("sha256")
    sha256 = None if digest is None else _hex(digest, f"{where}.sha256")
    return FileRecord(found["url"], found.get("size_bytes"), sha256)


def _hex(found: object, where: str) -> bytes:
    try:
        if isinstance(found, str) and (not found or found.isalnum()):  # it would skip spaces
            return bytes.fromhex(found)
    except ValueError:
        pass
    raise ValueError(f"{where}: expected hex digits, got {str(found)[:80]!r}")


def _range(found: object) -> range:
    match found:
        case [int(start), int(stop)] if not isinstance(start, bool) and not isinstance(stop, bool):
            return range(start, stop)
    raise ValueError(f"block_range: expected [start, stop], got {str(found)[:80]!r}")


def _encode(members: dict[str, Any]) -> bytes:
    return (json.dumps(members, indent=1) + "\n").encode("ascii")

"""What a chunk is, and what makes two of them the same. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from chunkstore.worker.core.names import check_names

__all__ = ["BLOCK_MAX", "FILES_MAX", "ID_BYTES", "SHA256_BYTES", "DataChunk", "FileRecord"]

ID_BYTES = 32
FILES_MAX = 10
BLOCK_MAX = 2**63 - 1
"""The end of a range; 19 digits, as names on disk have them."""
URL_CHARS = 8192
SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Where a file of a chunk comes from, and what is known of it before.

    Attributes:
        url: of http or https; only a hint: signed ones rotate, so it isn't part of what a chunk is.
        size_bytes: None: what the server says counts.
        sha256: 32 bytes; None: any content counts that has the size.
    """

    url: str
    size_bytes: int | None = None
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class DataChunk:
    """Files that belong together: some blocks of a dataset.

    Args:
        id, dataset_id: 32 bytes each.
        block_range: the blocks, the end excluded; `range(start, stop)`, not empty.
        files: 1 to 10, by their names; a string is a URL.
    Raises:
        ValueError: names the field that is wrong, and how.

    Attributes:
        identity: 16 hex digits, the same for the same chunk: ids, range, names, and the sizes and
            digests that were declared; not the URLs.
    """

    id: bytes
    dataset_id: bytes
    block_range: range
    files: Mapping[str, FileRecord | str]
    identity: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("id", "dataset_id"):
            value = getattr(self, name)
            if not isinstance(value, bytes) or len(value) != ID_BYTES:
                raise ValueError(f"{name}: expected {ID_BYTES} bytes, got {_shown(value)}")
        _check_range(self.block_range)
        records = _checked_files(self.files)
        object.__setattr__(self, "files", MappingProxyType(records))
        object.__setattr__(self, "identity", _identity(self, records))

    @property
    def records(self) -> Mapping[str, FileRecord]:
        """`files`, each as a record, by name in order."""
        return self.files  # type: ignore[return-value]  # __post_init__ has made them records

    @property
    def declared_bytes(self) -> int:
        """Of all files whose size is known before."""
        return sum(record.size_bytes or 0 for record in self.records.values())


def _check_range(blocks: object) -> None:
    if not isinstance(blocks, range) or blocks.step != 1:
        raise ValueError(f"block_range: expected range(start, stop), got {blocks!r}")
    if not 0 <= blocks.start < blocks.stop <= BLOCK_MAX:
        detail = f"expected 0 <= start < stop <= {BLOCK_MAX}"
        raise ValueError(f"block_range: {detail}, got {blocks.start} to {blocks.stop}")


def _checked_files(files: object) -> dict[str, FileRecord]:
    if not isinstance(files, Mapping) or not 1 <= len(files) <= FILES_MAX:
        found = len(files) if isinstance(files, Mapping) else _shown(files)
        raise ValueError(f"files: expected 1 to {FILES_MAX} by name, got {found}")
    check_names(files)
    return {name: _checked_file(name, files[name]) for name in sorted(files)}


def _checked_file(name: str, given: object) -> FileRecord:
    record = FileRecord(given) if isinstance(given, str) else given
    if not isinstance(record, FileRecord):
        raise ValueError(f"files[{name!r}]: expected a URL or a FileRecord, got {_shown(given)}")
    if (problem := _url_problem(record.url)) is not None:
        raise ValueError(f"files[{name!r}].url: {problem}")
    size: object = record.size_bytes
    if size is not None and not (type(size) is int and 0 <= size < 2**63):
        raise ValueError(f"files[{name!r}].size_bytes: expected 0 or more, got {size!r}")
    digest: object = record.sha256
    if digest is not None and not (isinstance(digest, bytes) and len(digest) == SHA256_BYTES):
        raise ValueError(f"files[{name!r}].sha256: expected 32 bytes, got {_shown(digest)}")
    return record


def _url_problem(url: object) -> str | None:
    """What is wrong with a URL; without repeating it, since it may have credentials."""
    if not isinstance(url, str) or len(url) > URL_CHARS:
        return f"expected a URL of at most {URL_CHARS} characters"
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
        url.encode()
    except ValueError as error:
        return f"expected a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return f"expected http or https, got {parts.scheme[:20]!r}"
    if not parts.hostname or not has_port or re.search(r"[^\x21-\x7e]", parts.hostname):
        return "expected a host in ASCII, and a port from 1 on"
    try:
        parts.hostname.encode("idna")  # as look-ups and TLS will
    except UnicodeError:
        return "no host has such a name: its parts have 1 to 63 characters"
    return None


def _identity(chunk: DataChunk, records: Mapping[str, FileRecord]) -> str:
    digest = hashlib.sha256()
    blocks = f"{chunk.block_range.start}-{chunk.block_range.stop}"
    digest.update(b"\0".join([b"chunk 1", chunk.id, chunk.dataset_id, blocks.encode()]))
    for name, record in records.items():
        size = "?" if record.size_bytes is None else str(record.size_bytes)
        known = "?" if record.sha256 is None else record.sha256.hex()
        digest.update(f"\n{len(name)} {name} {size} {known}".encode())
    return digest.hexdigest()[:16]


def _shown(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__

"""The settings that a worker alone takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from chunkstore.config.setting import declare

__all__ = ["WorkerSettings"]

_declare = partial(declare, commands=("worker",))


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What chunks a worker has, and how it gets them; a part of `Settings`."""

    assignment: str | None = _declare(
        "path",
        None,
        "Of a worker: a file, or a URL, that says which chunks it is to have; none: callers say.",
        is_flag=True,
    )
    assignment_poll_s: float = _declare(
        "duration",
        10.0,
        "How often an assignment's URL is asked for; a file is looked at once a second.",
        least=0.1,
        most=86400,
        is_flag=True,
    )
    assignment_bytes: int = _declare(
        "size",
        256 * 2**20,
        "Largest assignment; past it the one in force stays.",
        least=1024,
        most=2**32,
        key="max_assignment",
    )
    quota_bytes: int | None = _declare(
        "size",
        None,
        "Most that chunks may take, those on their way too; past it downloads wait; none: all.",
        least=1,
        most=2**60,
        is_flag=True,
    )
    fetch_chunks: int = _declare(
        "count",
        8,
        "Chunks that a worker downloads at a time.",
        least=1,
        most=1024,
        is_flag=True,
    )
    fetch_files: int = _declare(
        "count",
        16,
        "Files that it downloads at a time, of all chunks together.",
        least=1,
        most=1024,
        is_flag=True,
    )
    fetch_per_chunk: int = _declare(
        "count",
        4,
        "Files that it downloads at a time of one chunk.",
        least=1,
        most=1024,
        is_flag=True,
    )
    fetch_per_host: int = _declare(
        "count",
        8,
        "Files that it downloads at a time from one host.",
        least=1,
        most=1024,
        is_flag=True,
    )
    fetch_stall_s: float = _declare(
        "duration",
        30.0,
        "How long a download may bring nothing before it is begun anew where it ended.",
        least=0.001,
        most=3600,
    )
    refuse_private: bool = _declare(
        "switch",
        False,
        "Download from public addresses alone, redirects included.",
        is_flag=True,
    )

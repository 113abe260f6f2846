"""Chunks as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from chunkstore.worker.core.generation import ChunkInfo
from chunkstore.worker.core.states import State
from chunkstore.worker.descriptor import Descriptor
from chunkstore.worker.face.target import file_path
from chunkstore.worker.manager import ChunkStatus, WorkerStatus

__all__ = ["block_members", "chunk_members", "encode", "info_members", "lines", "status_members"]


def encode(members: Mapping[str, Any]) -> bytes:
    """On one line."""
    return json.dumps(members).encode("ascii") + b"\n"


def info_members(info: ChunkInfo) -> dict[str, Any]:
    """Which chunk it is."""
    blocks = info.block_range
    return {
        "id": info.id.hex(),
        "dataset_id": info.dataset_id.hex(),
        "block_range": [blocks.start, blocks.stop],
    }


def lines(infos: Iterable[ChunkInfo]) -> bytes:
    """A line of JSON for each."""
    return b"".join(encode(info_members(info)) for info in infos)


def block_members(descriptor: Descriptor, block: int) -> dict[str, Any]:
    """A chunk that is here, and where its files are.

    Args:
        block: it was asked for by.
    """
    chunk = descriptor.chunk
    files = {
        name: {
            "size_bytes": facts.size_bytes,
            "sha256": facts.sha256.hex(),
            "url": file_path(chunk.dataset_id, block, name),
        }
        for name, facts in descriptor.files.items()
    }
    info = ChunkInfo(chunk.id, chunk.dataset_id, chunk.block_range)
    return {**info_members(info), "files": files}


def chunk_members(status: ChunkStatus) -> dict[str, Any]:
    """How it stands with a chunk."""
    return {
        **info_members(status.chunk),
        "state": status.state.name.lower(),
        "written_bytes": status.written_bytes,
        "references": status.hold_count,
        "error": status.error,
    }


def status_members(
    status: WorkerStatus, assignment: Mapping[str, Any] | None, troubles: list[str]
) -> dict[str, Any]:
    """How it stands with all."""
    return {
        "chunks": {
            state.name.lower(): count
            for state in State
            if (count := status.counts.get(state, 0)) or state is State.READY
        },
        "stored_bytes": status.stored_bytes,
        "claimed_bytes": status.claimed_bytes,
        "references": status.hold_count,
        "downloads": status.published_count,
        "failures": status.failure_count,
        "fetched_bytes": status.fetched_bytes,
        "assignment": assignment,
        "troubles": troubles,
        "others": [chunk_members(one) for one in status.others],
    }

"""The table of what may be asked for, and who may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from chunkstore.auth import Denial, Gate
from chunkstore.server import CHALLENGE, Exchange
from chunkstore.wire import Request, field_block
from chunkstore.worker.face.blocks import Blocks
from chunkstore.worker.face.chunks import Chunks
from chunkstore.worker.face.status import Reporter
from chunkstore.worker.face.target import METHODS, Kind, Target, parse_target
from chunkstore.worker.manager import ChunkManager

__all__ = ["Face"]

_PATHS = "/chunks, /chunks/ID, /datasets/ID/blocks/N, /datasets/ID/blocks/N/files/NAME, /status"


class Face:
    """Answers requests about the chunks of one manager.

    Args:
        manager: has them.
        reporter: says how it stands.
        gate: who may do what; GET /chunks is LIST to it.
        in_thread: calls what waits for the disk, in a thread.
        wall_s: Unix time.
    """

    def __init__(
        self,
        manager: ChunkManager,
        reporter: Reporter,
        gate: Gate,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        wall_s: Callable[[], float],
    ) -> None:
        self._gate = gate
        self._wall_s = wall_s
        self._reporter = reporter
        self._blocks = Blocks(manager, in_thread)
        self._chunks = Chunks(manager)

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request: credentials before all else."""
        request = exchange.request
        problem = ""
        target = None
        try:
            target = parse_target(request.path)
        except ValueError as error:
            problem = str(error)
        denial = self._judge(request, target)
        if denial is not None:
            challenge = CHALLENGE if denial.status == 401 else b""
            await exchange.refuse(denial.status, denial.detail, challenge)
        elif problem:
            await exchange.refuse(400, problem)
        elif target is None:
            await exchange.refuse(404, f"there are {_PATHS}")
        elif request.method not in METHODS[target.kind]:
            methods = ", ".join(METHODS[target.kind])
            allow = field_block([("Allow", methods)])
            await exchange.refuse(405, f"the methods of {target.kind.value} are {methods}", allow)
        else:
            await self._dispatch(exchange, target)

    def _judge(self, request: Request, target: Target | None) -> Denial | None:
        method = request.method
        if method == "OPTIONS":
            return None
        if target is not None and target.kind is Kind.CHUNKS and method in ("GET", "HEAD"):
            method = "LIST"
        return self._gate.judge(
            method,
            "/" if target is None else target.key,
            authorization=request.fields.get("authorization"),
            query=request.query,
            now_s=self._wall_s(),
        )

    async def _dispatch(self, exchange: Exchange, target: Target) -> None:
        method = exchange.request.method
        match target.kind:
            case Kind.BLOCK:
                await self._blocks.chunk(exchange, target)
            case Kind.FILE:
                await self._blocks.file(exchange, target)
            case Kind.CHUNKS:
                await self._chunks.list(exchange)
            case Kind.STATUS:
                await self._reporter.answer(exchange)
            case Kind.CHUNK if method == "PUT":
                await self._chunks.put(exchange, target)
            case Kind.CHUNK if method == "DELETE":
                await self._chunks.delete(exchange, target)
            case Kind.CHUNK:
                await self._chunks.state(exchange, target)

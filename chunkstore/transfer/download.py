"""GET, to the object's end or an honest failure."""

from __future__ import annotations

from collections.abc import Callable

from chunkstore.client import Client, expect
from chunkstore.errors import CutError, FetchError
from chunkstore.transfer.resume import Resume, Step
from chunkstore.transfer.retry import Retrying
from chunkstore.transfer.sink import Sink

__all__ = ["download"]


async def download(
    client: Client,
    target: str,
    sink: Sink,
    retrying: Retrying,
    *,
    wait_s: int = 0,
    on_bytes: Callable[[int, int | None], None] = lambda offset, total: None,
) -> int:
    """Bring an object into a sink, following it while it grows.

    After a cut it goes on where it ended, if the object is still the same; else a sink that can
    begins anew. Failures in a row are bounded; each that comes after new bytes is a first one.

    Args:
        wait_s: ask the server to wait so long for the object to appear.
        on_bytes: told how many bytes are there, and how many there will be if that is known.
    Returns:
        the object's size in bytes; the sink has exactly these.
    Raises:
        FetchError: the sink has not got the object.
        OSError: the sink took no more.
    Cancellation: the connection is closed; the sink has some of it.
    """
    resume = Resume()
    best = 0
    wish = [("Prefer", f"wait={wait_s}")] if wait_s else []
    while True:
        began = resume.offset
        try:
            if await _read(client, target, sink, resume, wish, wait_s, on_bytes):
                return resume.offset
            if resume.offset <= began:
                raise CutError(f"GET {target}: an answer without bytes")
        except FetchError as error:
            resume.cut()
            if resume.offset > best:
                best = resume.offset
                retrying.progressed()
            is_lost = resume.offset and not (resume.fields() or sink.can_restart)
            why_not = "there is no strong ETag to go on by" if is_lost else ""
            try:
                await retrying.pause(error, why_not)
            except FetchError as last:
                if not best:
                    raise
                raise FetchError(f"cut after {best} bytes, and not to be resumed: {last}") from last
            if resume.fields():
                retrying.note(f"going on from byte {resume.offset}")


async def _read(
    client: Client,
    target: str,
    sink: Sink,
    resume: Resume,
    wish: list[tuple[str, str]],
    wait_s: int,
    on_bytes: Callable[[int, int | None], None],
) -> bool:
    """One request and as much as comes of it; whether the object is whole."""
    answer = await client.request("GET", target, [*wish, *resume.fields()], hold_s=wait_s)
    step = resume.answered(answer.status, answer.fields)
    if step is None:
        await expect(answer)
    if step is Step.WHOLE:
        await answer.body()
        return True
    if step in (Step.RESTART, Step.REPEAT):
        if not sink.can_restart:
            await client.aclose()
            raise FetchError(f"GET {target}: {resume.why}")
        sink.restart()
        if step is Step.REPEAT:
            await client.aclose()
            raise CutError(f"GET {target}: {resume.why}; beginning anew")
    on_bytes(resume.offset, resume.total)
    while (piece := await answer.piece()) is not None:
        await sink.write(resume.take(piece.data))
        on_bytes(resume.offset, resume.total)
    return resume.ended()

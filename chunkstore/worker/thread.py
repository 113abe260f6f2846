"""A manager for callers without Trio: the same one, in a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

import trio

from chunkstore.errors import ChunkError, ChunkGoneError
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.generation import ChunkInfo
from chunkstore.worker.manager import ChunkManager, WorkerStatus, open_manager
from chunkstore.worker.reference import ChunkRef

__all__ = ["DataManager"]


class DataManager:
    """Downloads, keeps and hands out chunks, from any thread.

    ::

        with DataManager("chunks") as manager:
            manager.download_chunk(chunk)
            manager.wait_for(chunk.id, timeout_s=60)
            with manager.find_chunk(chunk.dataset_id, 17_000_000) as reference:
                print(sorted(reference.path.iterdir()))

    Args:
        data_dir: a folder of its own, made if it isn't there; what is whole in it is there at once.
        config: limits.
    Raises:
        DataDirError: the folder is another's, in use, of another version, or can't be used.
    """

    def __init__(
        self, data_dir: str | os.PathLike[str], config: WorkerConfig | None = None
    ) -> None:
        self._manager: ChunkManager | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._closing: trio.Event | None = None
        self._failure: BaseException | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(
            target=self._main, args=(data_dir, config), name="chunkstore-worker", daemon=True
        )
        self._thread.start()
        self._started.wait()
        self._raise_failure()

    # --- as ChunkManager has them --------------------------------------------------------------

    def download_chunk(self, chunk: DataChunk) -> None:
        """As `ChunkManager.download_chunk`."""
        self._open.download_chunk(chunk)

    def delete_chunk(self, chunk_id: bytes) -> None:
        """As `ChunkManager.delete_chunk`."""
        self._open.delete_chunk(chunk_id)

    def set_desired(self, chunks: Iterable[DataChunk]) -> None:
        """As `ChunkManager.set_desired`."""
        self._open.set_desired(chunks)

    def list_chunks(self) -> list[ChunkInfo]:
        """As `ChunkManager.list_chunks`."""
        return self._open.list_chunks()

    def find_chunk(self, dataset_id: bytes, block: int) -> ChunkRef | None:
        """As `ChunkManager.find_chunk`."""
        return self._open.find_chunk(dataset_id, block)

    def status(self) -> WorkerStatus:
        """As `ChunkManager.status`."""
        return self._open.status()

    # --- what waits ----------------------------------------------------------------------------

    def wait_for(self, chunk_id: bytes, timeout_s: float = float("inf")) -> None:
        """Wait until a chunk is wholly here.

        Raises:
            ChunkFailedError, ChunkGoneError: as `ChunkManager.wait_for`.
            TimeoutError: it isn't by then.
        """
        manager = self._open
        self._wait(lambda: manager.wait_for(chunk_id), timeout_s)

    def settled(self, timeout_s: float = float("inf")) -> None:
        """Wait until nothing is under way; as `ChunkManager.settled`.

        Raises:
            ChunkGoneError: as `ChunkManager.settled`.
            TimeoutError: something still is by then.
        """
        self._wait(self._open.settled, timeout_s)

    def close(self) -> None:
        """End it: downloads end where they are, and go on in the next life. Once is enough."""
        if self._token is not None and self._closing is not None:
            try:
                self._token.run_sync_soon(self._closing.set)
            except trio.RunFinishedError:
                pass  # it has ended by itself
        self._thread.join()
        self._manager = None
        self._raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside --------------------------------------------------------------------------------

    def _raise_failure(self) -> None:
        """What ended the thread, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            self._thread.join()
            raise failure

    @property
    def _open(self) -> ChunkManager:
        if self._manager is None:
            raise ValueError("the manager was closed")
        return self._manager

    def _wait(self, call: Callable[[], Awaitable[None]], timeout_s: float) -> None:
        async def wait() -> ChunkError | None:
            with trio.fail_after(timeout_s):
                try:
                    await call()
                except ChunkError as error:
                    return error
            return None

        assert self._token is not None
        try:
            error = trio.from_thread.run(wait, trio_token=self._token)
        except trio.TooSlowError:
            raise TimeoutError(f"not within {timeout_s:g} s") from None
        except trio.RunFinishedError:  # before it began, or in its midst
            raise ChunkGoneError("the manager has ended") from None
        if error is not None:
            raise error

    def _main(self, data_dir: str | os.PathLike[str], config: WorkerConfig | None) -> None:
        """The thread's."""
        try:
            trio.run(self._run, data_dir, config)
        except BaseException as error:  # raised in the thread that waits for this one
            self._failure = error
        finally:
            self._started.set()

    async def _run(self, data_dir: str | os.PathLike[str], config: WorkerConfig | None) -> None:
        async with open_manager(data_dir, config) as manager:
            self._token = trio.lowlevel.current_trio_token()
            self._closing = trio.Event()
            self._manager = manager
            self._started.set()
            await self._closing.wait()

"""One drill from its start to its end: a storage, three workers, readers."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random

import trio

from chunkstore.drill.figures import Display, Figures, Row, make_display
from chunkstore.drill.scene import Scene
from chunkstore.worker import ChunkManager, ChunkRef, DataChunk, WorkerConfig, open_manager

__all__ = ["run"]

WORKERS = 3
READERS = 2
"""Of each worker."""
CHANGE_S = 1.0
SHOW_S = 0.5
SETTLE_S = 60.0
"""How long it may take until everything is as it was last said to be."""
_CONFIG = WorkerConfig(backoff_s=0.1, backoff_most_s=1.0, retries=3, reserve_bytes=0)


def run(seconds: float, *, echo: Callable[[str], None], is_live: bool) -> int:
    """Run a drill.

    Args:
        seconds: how long assignments change.
        echo: prints a line.
        is_live: somebody looks at a terminal.
    Returns:
        0: every answer was right, and everything settled at the end; 1: not so.
    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM ended it, after everything was taken down.
        OSError: so did what it was shown on.
    """
    display = make_display(echo, is_live=is_live)
    with tempfile.TemporaryDirectory(prefix="chunkstore-") as folder:
        drill = _Drill(Path(folder), seconds, display)
        try:
            trio.run(drill.run)
        finally:
            display.close()
    if drill.failure is not None:
        raise drill.failure
    for line in drill.figures.wrong[:20]:
        echo(f"wrong: {line}")
    if not drill.figures.wrong:
        echo("every answer was right, and everything settled")
    return 1 if drill.figures.wrong else 0


class _Drill:
    def __init__(self, folder: Path, seconds: float, display: Display) -> None:
        self.figures = Figures()
        self.failure: BaseException | None = None
        self._everything = trio.CancelScope()
        self._folder = folder
        self._seconds = seconds
        self._display = display
        self._scene = Scene(Random())
        self._assigned: list[list[DataChunk]] = [[] for _ in range(WORKERS)]

    async def run(self) -> None:
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            self._everything = nursery.cancel_scope
            await nursery.start(self._obey_signal)
            self._scene.open(await self._scene.storage.listen(nursery))
            managers = [
                await stack.enter_async_context(open_manager(self._folder / str(n), _CONFIG))
                for n in range(WORKERS)
            ]
            nursery.start_soon(self._show, managers, began_s)
            async with trio.open_nursery() as readers:
                for manager in managers * READERS:
                    readers.start_soon(self._read, manager)
                while trio.current_time() < began_s + self._seconds:
                    self._change(managers)
                    await trio.sleep(CHANGE_S)
                readers.cancel_scope.cancel()
            self._scene.is_calm = True
            for number, manager in enumerate(managers):
                await self._settle(number, manager)
            self._look(managers, began_s)
            nursery.cancel_scope.cancel()

    async def _obey_signal(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self._fail(KeyboardInterrupt())

    def _fail(self, failure: BaseException) -> None:
        """Take everything down because of this."""
        self.failure = self.failure or failure
        self._everything.cancel()

    def _change(self, managers: list[ChunkManager]) -> None:
        for number, manager in enumerate(managers):
            self._assigned[number] = self._scene.assignment(self._assigned[number])
            manager.set_desired(self._assigned[number])

    # --- readers -------------------------------------------------------------------------------

    async def _read(self, manager: ChunkManager) -> None:
        while True:
            dataset_id, block = self._scene.question()
            reference = manager.find_chunk(dataset_id, block)
            if reference is None:
                self.figures.misses += 1
                await trio.sleep(0.005)
                continue
            with reference:
                await trio.sleep(0.02)  # while it is held, it may be taken away from the worker
                problem = await trio.to_thread.run_sync(
                    partial(self._problem, reference, dataset_id, block)
                )
            self.figures.answers += 1
            if problem:
                self.figures.wrong.append(problem)

    def _problem(self, reference: ChunkRef, dataset_id: bytes, block: int) -> str:
        """In a thread: what is wrong with an answer; "" if nothing is."""
        info = reference.info
        if info.dataset_id != dataset_id or block not in info.block_range:
            return f"block {block} was answered with another chunk's blocks, {info.block_range}"
        try:
            paths = [path for path in reference.path.iterdir() if path.name[0] != "."]
            files = {path.name: path.read_bytes() for path in paths}
        except OSError as error:
            return f"a chunk that was held could not be read: {error}"
        is_right = self._scene.is_right(info.id, files)
        return "" if is_right else f"the files of chunk {info.id.hex()} are not what they were"

    # --- the end -------------------------------------------------------------------------------

    async def _settle(self, number: int, manager: ChunkManager) -> None:
        with trio.move_on_after(SETTLE_S):
            await manager.settled()
            for chunk in self._assigned[number]:  # those that the storage has made fail for good
                manager.download_chunk(chunk)
            await manager.settled()
        desired = {chunk.id for chunk in self._assigned[number]}
        listed = {info.id for info in manager.list_chunks()}
        if listed != desired:
            missing, more = len(desired - listed), len(listed - desired)
            self.figures.wrong.append(f"worker {number + 1}: {missing} missing, {more} too many")
        folder = self._folder / str(number)
        for name in ("incoming", "trash"):
            if any((folder / name).iterdir()):
                self.figures.wrong.append(f"worker {number + 1}: something is left in {name}")
        stored = sum(1 for _ in (folder / "ready").glob("*/*"))
        if stored != len(desired):
            self.figures.wrong.append(f"worker {number + 1}: {stored} chunks on disk")

    async def _show(self, managers: list[ChunkManager], began_s: float) -> None:
        while True:
            self._look(managers, began_s)
            await trio.sleep(SHOW_S)

    def _look(self, managers: list[ChunkManager], began_s: float) -> None:
        self.figures.seconds = trio.current_time() - began_s
        self.figures.faults = self._scene.fault_count
        self.figures.workers = [
            Row.of(len(assigned), manager.status())
            for assigned, manager in zip(self._assigned, managers, strict=True)
        ]
        try:
            self._display.show(self.figures)
        except OSError as error:  # nobody looks any more
            self._fail(error)

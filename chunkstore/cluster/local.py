"""A gateway and its nodes as processes on this machine, started and ended together.

Each has a session of its own, so that what a terminal sends reaches only who started them: it ends
the gateway first, whose last uploads still need nodes. A process that ends by itself ends all; and
who started them may be killed: they have its end on a leash.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import trio

from chunkstore.errors import ChunkstoreError, DataDirError

__all__ = ["LocalCluster", "make_secret"]

START_S = 60.0
STOP_S = 30.0
"""Longer than a drain; then a process is killed."""
_NODES_AT = re.compile(r"nodes at (http://\S+)")
_LISTENING = re.compile(r"listening on (http://\S+)")
_IS_UP = re.compile(r"node (\d+) at \S+ is up")


def make_secret(folder: Path) -> Path:
    """The file with the secret, made by chance where there is none; nobody else may read it.

    Raises:
        DataDirError: it can't be made.
    """
    path, part = folder / "secret", folder / f".secret-{secrets.token_hex(4)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(path):
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32) + "\n")
            part.rename(path)  # whole, whatever happens: half a secret would be refused for good
    except OSError as error:
        raise DataDirError(folder, error.strerror or str(error)) from error
    return path


class _Child:
    """A process, and what it says on stderr."""

    def __init__(self, name: str, words: Sequence[str], say: Callable[[str], None]) -> None:
        self.name = name
        self.process: trio.Process | None = None
        self.is_over = trio.Event()
        self._words = words
        self._say = say
        self._lines: list[str] = []
        self._came = trio.Event()

    async def run(self) -> None:
        """Until it ends; killed, if this is cancelled."""
        self.process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "chunkstore.cluster.leash", *self._words],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert self.process.stderr is not None
            rest = b""
            async for some in self.process.stderr:
                *lines, rest = (rest + some).split(b"\n")
                for line in lines:
                    self._heard(line.decode("utf-8", "replace"))
            await self.process.wait()
        finally:
            self.process.kill()  # by its id, and nothing happens if it has ended
            with trio.CancelScope(shield=True):
                await self.process.wait()
            self.is_over.set()
            self._came.set()

    def _heard(self, line: str) -> None:
        self._lines.append(line)
        self._came.set()
        self._came = trio.Event()
        if not any(one.search(line) for one in (_NODES_AT, _LISTENING, _IS_UP)):
            self._say(f"{self.name}: {line}")

    async def until(self, pattern: re.Pattern[str], count: int = 1) -> list[str]:
        """Wait until it has said so many different things of a kind.

        Raises:
            ChunkstoreError: it ended first.
        """
        while True:
            found = dict.fromkeys(m[1] for line in self._lines if (m := pattern.search(line)))
            if len(found) >= count:
                return list(found)
            if self.is_over.is_set():
                raise ChunkstoreError(f"{self.name} ended before it was ready")
            await self._came.wait()


class LocalCluster:
    """Processes of one cluster.

    Args:
        folder: for all their data; with the same one, a cluster goes on.
        listen: addresses of the gateway.
        count: of nodes.
        announce: called with `nodes at URL`, how to look at them, and `listening on URL`, once all
            nodes are there.
        say: called with what processes say besides.

    Attributes:
        pids: by name: "gateway", "node-1" and so on; those that run.
    """

    def __init__(
        self,
        folder: Path,
        listen: Sequence[str],
        count: int,
        *,
        announce: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._listen = listen
        self._count = count
        self._announce = announce
        self._say = say
        self._children: list[_Child] = []

    @property
    def pids(self) -> dict[str, int]:
        """As above."""
        return {
            one.name: one.process.pid
            for one in self._children
            if one.process is not None and not one.is_over.is_set()
        }

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, and end well.

        Raises:
            ChunkstoreError: a process ended by itself, or the folder can't be used.
            OSError: a process can't be started.
        Cancellation: all are killed.
        """
        failure: ChunkstoreError | None = None
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                try:
                    with trio.CancelScope() as scope:
                        nursery.start_soon(_cancel_at, signals, scope)
                        with trio.fail_after(START_S):
                            await self._start(nursery)
                        await self._until_one_ends()
                except trio.TooSlowError:
                    failure = ChunkstoreError(f"the cluster was not ready within {START_S:g} s")
                except ChunkstoreError as error:
                    failure = error
                await self._stop()
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _start(self, nursery: trio.Nursery) -> None:
        secret = make_secret(self._folder).absolute()
        shared = ["--secret-file", str(secret)]
        listen = [word for address in self._listen for word in ("--listen", address)]
        inside = ["--cluster-listen", "127.0.0.1:0"]
        gateway = self._child(nursery, "gateway", ["gateway", *listen, *inside, *shared])
        [nodes_at] = await gateway.until(_NODES_AT)
        for number in range(1, self._count + 1):
            words = ["node", "--listen", "127.0.0.1:0", "--join", nodes_at, *shared]
            self._child(nursery, f"node-{number}", [*words, "--log", "off"])
        urls = await gateway.until(_LISTENING, len(self._listen))
        await gateway.until(_IS_UP, self._count)
        self._announce(f"nodes at {nodes_at}")
        words = ["chunkstore", "cluster", "status", nodes_at, "--secret-file", str(secret)]
        self._announce(f"status: {shlex.join(words)}")
        for url in urls:
            self._announce(f"listening on {url}")

    def _child(self, nursery: trio.Nursery, name: str, words: Sequence[str]) -> _Child:
        child = _Child(name, [*words, "--data", str(self._folder / name)], self._say)
        self._children.append(child)
        nursery.start_soon(child.run)
        return child

    async def _until_one_ends(self) -> None:
        async with trio.open_nursery() as nursery:
            ended: list[str] = []

            async def watch(child: _Child) -> None:
                await child.is_over.wait()
                ended.append(child.name)
                nursery.cancel_scope.cancel()

            for child in self._children:
                nursery.start_soon(watch, child)
        raise ChunkstoreError(f"{ended[0]} ended by itself, and the others with it")

    async def _stop(self) -> None:
        """The gateway, then the nodes; who doesn't end in time is killed."""
        with trio.CancelScope(shield=True):
            for group in (self._children[:1], self._children[1:]):
                for child in group:
                    if child.process is not None and not child.is_over.is_set():
                        child.process.terminate()
                with trio.move_on_after(STOP_S):
                    for child in group:
                        if child.process is not None:
                            await child.is_over.wait()


async def _cancel_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return

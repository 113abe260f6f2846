"""A real gateway and real nodes, each of which may be killed and started again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from chunkstore.client import Client, Timeouts, Url
from chunkstore.cluster.local import make_secret

__all__ = ["Cluster", "Process"]

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 60.0


class Process:
    """One of them.

    Attributes:
        said: what came on stderr so far.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self.said = bytearray()

    async def start(self, nursery: trio.Nursery) -> None:
        """Have it run, and listen to it."""
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "chunkstore", *self._words], stderr=subprocess.PIPE, cwd=ROOT
        )
        self._trio_process = process
        self.said.clear()
        nursery.start_soon(self._listen, process)

    async def _listen(self, process: trio.Process) -> None:
        assert process.stderr is not None
        while some := await process.stderr.receive_some():
            self.said += some

    async def until(self, pattern: bytes, count: int = 1) -> list[bytes]:
        """Wait until it has said so many different things."""
        with trio.fail_after(START_S):
            while len(found := sorted(set(re.findall(pattern, self.said)))) < count:
                assert self._trio_process.returncode is None, self.said.decode()
                await trio.sleep(0.02)
        return found

    def stop(self) -> None:
        """SIGSTOP: its connections stand, and nothing moves on them."""
        self._trio_process.send_signal(signal.SIGSTOP)

    async def kill(self) -> None:
        """SIGKILL, and gone."""
        self._trio_process.kill()
        with trio.CancelScope(shield=True):
            await self._trio_process.wait()

    async def end(self) -> int:
        """SIGTERM; its exit code."""
        self._trio_process.terminate()
        with trio.fail_after(START_S):
            return await self._trio_process.wait()


class Cluster:
    """All of them, in a folder.

    Attributes:
        gateway: the one.
        nodes: by what their folders are called, from 1 on.
        port: of the gateway.
        nodes_at: where nodes look for it.
    """

    def __init__(self, folder: Path, nursery: trio.Nursery, flags: Sequence[str] = ()) -> None:
        self._folder = folder
        self._flags = flags
        self._nursery = nursery
        self._shared = ["--log", "off", "--secret-file", str(make_secret(folder))]
        self.nodes_at = "127.0.0.1:0"
        self.gateway = Process([])
        self.nodes: dict[int, Process] = {}
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, count: int, *flags: str) -> AsyncIterator[Cluster]:
        """A gateway, with these flags, and nodes 1 to `count`, all there; killed at the end."""
        async with trio.open_nursery() as nursery:
            cluster = cls(folder, nursery, flags)
            try:
                await cluster.start_gateway()
                for number in range(1, count + 1):
                    await cluster.start_node(number)
                await cluster.all_up()
                yield cluster
            finally:
                for process in (cluster.gateway, *cluster.nodes.values()):
                    await process.kill()
                print(cluster.gateway.said.decode())  # for who asks why a test failed
            nursery.cancel_scope.cancel()

    async def start_gateway(self) -> None:
        """Start it, with the data that it had, where nodes know it."""
        listen = ["--listen", "127.0.0.1:0", "--cluster-listen", self.nodes_at]
        data = ["--data", str(self._folder / "gateway")]
        self.gateway = Process(["gateway", *listen, *data, *self._shared, *self._flags])
        await self.gateway.start(self._nursery)
        [port] = await self.gateway.until(rb"listening on http://127.0.0.1:(\d+)")
        [nodes_at] = await self.gateway.until(rb"nodes at http://(127.0.0.1:\d+)")
        self.port, self.nodes_at = int(port), nodes_at.decode()

    async def start_node(self, number: int) -> None:
        """Start one, with the data that it had."""
        data = ["--listen", "127.0.0.1:0", "--data", str(self._folder / f"node-{number}")]
        join = ["--join", f"http://{self.nodes_at}"]
        node = self.nodes[number] = Process(["node", *data, *join, *self._shared])
        await node.start(self._nursery)

    async def all_up(self) -> None:
        """Wait until the gateway in this life of it has heard from all."""
        await self.gateway.until(rb"node (\d+) at \S+ is up", len(self.nodes))

    def client(self) -> Client:
        """A client of the gateway."""
        return Client(Url("http", "127.0.0.1", self.port, "/"), timeouts=Timeouts(stall_s=30.0))

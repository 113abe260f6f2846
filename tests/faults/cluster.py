"""A real gateway and real nodes, each of which may be killed and started again."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from chunkstore.client import Client, Timeouts, Url
from chunkstore.cluster.links import Links
from chunkstore.cluster.local import make_secret
from chunkstore.cluster.sign import Signer

__all__ = ["Cluster", "Process"]

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 60.0
_AS_JSON = [("Accept", "application/json")]


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

    def go_on(self) -> None:
        """SIGCONT."""
        self._trio_process.send_signal(signal.SIGCONT)

    async def port(self) -> int:
        """Where it listens; that it does so it says once."""
        [port] = await self.until(rb"listening on http://127.0.0.1:(\d+)")
        return int(port)

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
        secret_file = make_secret(folder)
        self._secret = secret_file.read_bytes().strip()
        self._shared = ["--log", "off", "--secret-file", str(secret_file)]
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
                for process in (cluster.gateway, *cluster.nodes.values()):
                    print(process.said.decode())  # for who asks why a test failed
            nursery.cancel_scope.cancel()

    async def start_gateway(self) -> None:
        """Start it, with the data that it had, where nodes know it."""
        listen = ["--listen", "127.0.0.1:0", "--cluster-listen", self.nodes_at]
        data = ["--data", str(self._folder / "gateway")]
        self.gateway = Process(["gateway", *listen, *data, *self._shared, *self._flags])
        await self.gateway.start(self._nursery)
        self.port = await self.gateway.port()
        [nodes_at] = await self.gateway.until(rb"nodes at http://(127.0.0.1:\d+)")
        self.nodes_at = nodes_at.decode()

    async def start_node(self, number: int, *flags: str) -> None:
        """Start one, with the data that it had."""
        data = ["--listen", "127.0.0.1:0", "--data", str(self._folder / f"node-{number}")]
        join = ["--join", f"http://{self.nodes_at}"]
        node = self.nodes[number] = Process(["node", *data, *join, *self._shared, *flags])
        await node.start(self._nursery)

    async def all_up(self) -> None:
        """Wait until the gateway in this life of it has heard from all."""
        await self.gateway.until(rb"node (\d+) at \S+ is up", len(self.nodes))

    @asynccontextmanager
    async def links(self) -> AsyncIterator[Links]:
        """To the nodes, by what they are called here, as a gateway has them."""
        addresses = {number: f"127.0.0.1:{await one.port()}" for number, one in self.nodes.items()}
        async with Links(addresses.get, Signer(self._secret), wall_s=time.time) as links:
            yield links

    async def parts(self) -> dict[int, dict[str, int]]:
        """What each node has: its parts, and their sizes; asked as a gateway asks."""
        found: dict[int, dict[str, int]] = {}
        async with self.links() as links:
            for number in self.nodes:
                async with links.request(
                    number, "LIST", "/parts/", generation=None, fields=_AS_JSON
                ) as answer:
                    assert answer.status == 200
                    rows = json.loads(await answer.body())["objects"]
                    found[number] = {row["path"]: row["size"] for row in rows}
        return found

    def client(self) -> Client:
        """A client of the gateway."""
        return Client(Url("http", "127.0.0.1", self.port, "/"), timeouts=Timeouts(stall_s=30.0))

"""Real nodes in processes, and a gateway's reception in the test's own loop."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from chunkstore.client import Answer, Client, parse_url
from chunkstore.cluster.membership import Member, Membership
from chunkstore.cluster.names import parse_part
from chunkstore.cluster.reception import Reception
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.config import Settings, parse_listen
from chunkstore.server import Log, bind

__all__ = ["DEADLINE_S", "SECRET", "Field", "NodeProcess", "Notes", "ask", "gateway"]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
SECRET = secrets.token_bytes(16).hex().encode()


class Notes(Log):
    """Keeps what a person should know."""

    def __init__(self) -> None:
        super().__init__("off")
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """As the real one, which says it."""
        self.lines.append(text)


class NodeProcess:
    """A `chunkstore node`.

    Attributes:
        url: of it, once it listens.
        lines: of its stderr so far.
    """

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.url = ""
        self.lines: list[str] = []
        self.has_ended = trio.Event()

    async def read(self) -> None:
        """Read what it says, to its end."""
        assert self.process.stderr is not None
        left = b""
        async with self.process.stderr:
            async for data in self.process.stderr:
                *lines, left = (left + bytes(data)).split(b"\n")
                for line in lines:
                    self.lines.append(line.decode())
                    if found := re.search(r"listening on (http://\S+)", self.lines[-1]):
                        self.url = found[1]
        await self.process.wait()
        self.has_ended.set()

    async def end(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        return await self.code()

    async def kill(self) -> None:
        """End it at once; it is dead when this returns."""
        self.process.kill()
        await self.code()

    async def code(self) -> int:
        """Wait for its end."""
        with trio.fail_after(DEADLINE_S):
            await self.has_ended.wait()
        assert self.process.returncode is not None
        return self.process.returncode


class Field:
    """A gateway that lets nodes register, and starts them.

    Attributes:
        url: of its listener for nodes.
        membership: what it knows.
        notes: what it would tell its operator.
    """

    def __init__(
        self, folder: Path, nursery: trio.Nursery, url: str, membership: Membership
    ) -> None:
        self.folder = folder
        self.url = url
        self.membership = membership
        self.notes = Notes()
        self._nursery = nursery
        self._nodes: list[NodeProcess] = []
        self.secret_file = folder / "secret"

    async def start(self, data: str, *flags: str, secret_file: Path | None = None) -> NodeProcess:
        """Start one; it reads along in the nursery."""
        command = [sys.executable, "-m", "chunkstore", "node", "--data", str(self.folder / data)]
        command += ["--join", self.url, "--secret-file", str(secret_file or self.secret_file)]
        command += ["--log", "off", *flags]
        if "--listen" not in flags:
            command += ["--listen", "127.0.0.1:0"]
        process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, cwd=ROOT)
        node = NodeProcess(process)
        self._nodes.append(node)
        self._nursery.start_soon(node.read)
        return node

    async def kill_all(self) -> None:
        """Leave no process behind."""
        with trio.CancelScope(shield=True):
            for node in self._nodes:
                await node.kill()

    @property
    def up(self) -> list[Member]:
        """Those that are up now."""
        return self.membership.up(trio.current_time())

    async def until_up(self, count: int) -> list[Member]:
        """Wait until so many are up."""
        with trio.fail_after(DEADLINE_S):
            while len(self.up) != count:  # noqa: ASYNC110 - real processes, looked at
                await trio.sleep(0.05)
        return self.up

    async def until_said(self, node: NodeProcess, text: str) -> None:
        """Wait until a node has said something."""
        with trio.fail_after(DEADLINE_S):
            while not any(text in line for line in node.lines):  # noqa: ASYNC110 - as above
                await trio.sleep(0.05)


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Field]:
    """A gateway without data, and its nodes, which are killed at the end."""
    (folder / "secret").write_bytes(SECRET + b"\n")
    (folder / "secret").chmod(0o600)
    meta = SqliteMeta(folder / "meta.sqlite")
    listener = bind(parse_listen("127.0.0.1:0"), backlog=64, send_buffer_bytes=65536)
    membership = Membership(meta.cluster_id, meta.nodes(), trio.current_time())
    try:
        async with trio.open_nursery() as nursery:
            field = Field(folder, nursery, listener.url, membership)
            scribe = Scribe(meta)
            await nursery.start(scribe.run)
            reception = Reception(
                Settings(log="off"), membership, scribe, Signer(SECRET), field.notes
            )
            await nursery.start(reception.run, (listener,))
            try:
                yield field
            finally:
                await field.kill_all()
                nursery.cancel_scope.cancel()
    finally:
        meta.close()


async def ask(
    url: str, method: str, path: str, body: bytes | None = None, *, secret: bytes | None = SECRET
) -> tuple[Answer, bytes]:
    """A request, signed unless there is no secret, and its whole answer."""
    part = parse_part(path)
    length = 0 if body is None else len(body)

    async def pieces() -> AsyncIterator[bytes]:
        yield body or b""

    field = Signer(secret or SECRET).field(
        method,
        path,
        now_s=time.time(),
        length=length,
        generation=part.generation if part else None,
    )
    options: dict[str, Any] = {} if body is None else {"body": pieces(), "length": length}
    async with Client(parse_url(url)) as client:
        answer = await client.request(method, path, [field] if secret else [], **options)
        return answer, await answer.body()

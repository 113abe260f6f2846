"""`chunkstore cluster`: one command, and nothing is left of it behind its end."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from chunkstore.client import Client, Url
from tests.faults.running import ROOT, reading

pytestmark = pytest.mark.real

LISTENING = re.compile(rb"listening on http://127\.0\.0\.1:(\d+)")
NODES_AT = re.compile(rb"nodes at (http://\S+)\n")
STATUS = re.compile(rb"status: chunkstore (.*)\n")
END_S = 60.0
"""Longer than a drain."""


class Local:
    """One that runs.

    Attributes:
        process: of the command.
        said: until it listened.
        pids: of the processes that it has started.
    """

    def __init__(self, process: trio.Process, said: bytes) -> None:
        self.process = process
        self.said = said
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        self.pids = [int(one) for task in tasks for one in task.read_text("ascii").split()]

    def found(self, pattern: re.Pattern[bytes]) -> str:
        """What it said."""
        match = pattern.search(self.said)
        assert match is not None, self.said.decode()
        return match[1].decode()

    def client(self) -> Client:
        """A client of its gateway."""
        return Client(Url("http", "127.0.0.1", int(self.found(LISTENING)), "/"))

    @property
    def is_any_left(self) -> bool:
        """Something that it has started still runs."""
        return any(map(runs, self.pids))

    async def until_all_gone(self) -> None:
        """Wait until nothing is left."""
        with trio.fail_after(END_S):
            while self.is_any_left:  # noqa: ASYNC110 - looked at
                await trio.sleep(0.1)


def runs(pid: int) -> bool:
    """A process is there, and not only its end, which nobody has asked for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@asynccontextmanager
async def local(folder: Path, count: int) -> AsyncIterator[Local]:
    """One with its data there, which ends when this does."""
    words = ["cluster", "--nodes", str(count), "--listen", "127.0.0.1:0", "--data", str(folder)]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "chunkstore", *words], stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stderr is not None
        said = b""
        with trio.fail_after(90):
            while not LISTENING.search(said):
                some = await process.stderr.receive_some()
                assert some, said.decode()
                said += some
        yield Local(process, said)
    finally:
        if process.returncode is None:
            process.terminate()  # which ends what it started, too
            with trio.CancelScope(shield=True):
                await process.wait()


async def chunkstore(*words: str) -> tuple[int, str, str]:
    """Run a command to its end: exit code, stdout, stderr."""
    with trio.fail_after(120):
        ended = await trio.run_process(
            [sys.executable, "-m", "chunkstore", *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
        )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def looked_at(cluster: Local) -> None:
    """What its status and its check say, and what they say to who has not the right words."""
    words = shlex.split(cluster.found(STATUS))
    code, out, err = await chunkstore(*words)
    assert (code, err) == (0, "")
    assert "7 nodes, 7 up; 7 parts an object, 2 of them parity" in out
    assert "objects: 1 (100 kB); whole 1," in out
    code, out, err = await chunkstore(*words, "--json")
    assert (code, err) == (0, "")
    assert [row["is_up"] for row in json.loads(out)["nodes"]] == [True] * 7
    secret, nodes_at = words[-1], cluster.found(NODES_AT)
    url = f"http://127.0.0.1:{cluster.found(LISTENING)}"
    code, out, err = await chunkstore("cluster", "status", url, "--secret-file", secret)
    assert (code, out) == (1, "")
    assert "is no gateway's address for nodes" in err
    code, out, err = await chunkstore(
        "cluster", "check", url, "--nodes-at", nodes_at, "--secret-file", secret
    )
    assert (code, err) == (0, ""), out
    assert re.search(r"all \d\d ok\n$", out)
    assert "joined from there" in out


async def test_one_command_runs_all_and_ends_all(tmp_path: Path) -> None:
    async with local(tmp_path, 7) as cluster:

        async def body() -> AsyncIterator[bytes]:
            yield b"a" * 100_000

        async with cluster.client() as client:
            answer = await client.request("PUT", "/a", body=body(), length=100_000)
            await answer.body()
            assert answer.fields["chunkstore-redundancy"] == "7/7"
            await looked_at(cluster)
            assert await reading(client, "/a") == b"a" * 100_000
        assert len(cluster.pids) == 8
        cluster.process.terminate()
        assert cluster.process.stderr is not None
        while await cluster.process.stderr.receive_some():
            pass
        assert await cluster.process.wait() == 0
        assert not cluster.is_any_left
    # Another one goes on with what that one had; and when it is killed, what it started ends.
    async with local(tmp_path, 7) as cluster:
        async with cluster.client() as client:
            assert await reading(client, "/a") == b"a" * 100_000
        assert len(cluster.pids) == 8
        assert cluster.is_any_left
        cluster.process.kill()
        await cluster.process.wait()
        await cluster.until_all_gone()

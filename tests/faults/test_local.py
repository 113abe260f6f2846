"""`chunkstore cluster`: one command, and nothing is left of it behind its end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from chunkstore.client import Client, Url
from tests.faults.running import ROOT, reading

LISTENING = re.compile(rb"listening on http://127\.0\.0\.1:(\d+)")


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(one) for task in tasks for one in task.read_text(encoding="ascii").split()]


def are_gone(pids: list[int]) -> bool:
    """None of these runs any more."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.trio
async def test_one_command_runs_all_and_ends_all(tmp_path: Path) -> None:
    for life in range(2):  # the second one goes on with what the first one had
        words = ["cluster", "--nodes", "5", "--listen", "127.0.0.1:0", "--data", str(tmp_path)]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "chunkstore", *words], stderr=subprocess.PIPE, cwd=ROOT
        )
        try:
            assert process.stderr is not None
            said = b""
            with trio.fail_after(90):
                while (found := LISTENING.search(said)) is None:
                    some = await process.stderr.receive_some()
                    assert some, said.decode()
                    said += some
                async with Client(Url("http", "127.0.0.1", int(found[1]), "/")) as client:
                    if not life:

                        async def body() -> AsyncIterator[bytes]:
                            yield b"a" * 100_000

                        answer = await client.request("PUT", "/a", body=body(), length=100_000)
                        await answer.body()
                        assert answer.fields["chunkstore-redundancy"] == "5/5"
                    assert await reading(client, "/a") == b"a" * 100_000
                pids = children(process.pid)
                assert len(pids) == 6
                process.terminate()
                while await process.stderr.receive_some():
                    pass
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.terminate()  # which ends what it started, too
                with trio.CancelScope(shield=True):
                    await process.wait()
        assert are_gone(pids)

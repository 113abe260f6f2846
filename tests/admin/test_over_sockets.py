"""`chunkstore serve --admin`: beside the data port, over real sockets, from start to drain."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from chunkstore.client import Client, Url
from tests.jumping import run_for_real

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = [sys.executable, "-m", "chunkstore", "serve", "--listen", "127.0.0.1:0"]
DEADLINE_S = 30
NOBODY = {"connections": [], "count": 0}
PUT = b"PUT /live/1.m4s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


RUN = run_for_real


@asynccontextmanager
async def serving(
    *flags: str, is_stopped: bool = False
) -> AsyncIterator[tuple[trio.Process, int, int]]:
    """A `chunkstore serve` with an admin listener; its process, data port and admin port.

    Args:
        is_stopped: by the test: a second signal may come when nobody listens to it any more.
    """
    command = [*SERVE, "--admin", "127.0.0.1:0", "--log", "off", *flags]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stderr is not None
    try:
        with trio.fail_after(DEADLINE_S):
            said = b""
            while said.count(b"\n") < 2:
                some = await process.stderr.receive_some()
                assert some, said
                said += some
            ports = dict(re.findall(rb"(\w+) on http://127\.0\.0\.1:(\d+)\n", said))
            yield process, int(ports[b"listening"]), int(ports[b"admin"])
            if not is_stopped:
                process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


def client_of(port: int) -> Client:
    return Client(Url("http", "127.0.0.1", port, "/"))


async def get(port: int, target: str) -> tuple[int, str]:
    async with client_of(port) as client:
        answer = await client.request("GET", target)
        return answer.status, (await answer.body()).decode()


async def sample(port: int, name: str) -> float:
    """A metric now; 0 if it has no such sample yet."""
    _, text = await get(port, "/metrics")
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_ages_and_connections() -> None:
    async with serving() as (_, port, admin), await trio.open_tcp_stream("127.0.0.1", port) as put:
        await put.send_all(PUT + b"3\r\none\r\n")
        async with client_of(port) as client:
            answer = await client.request("GET", "/live/1.m4s", [("Prefer", "wait=5")])
            assert answer.status == 200
            assert (await answer.piece() or pytest.fail("cut")).data == b"one"
            while await sample(admin, 'chunkstore_readers{place="edge"}') < 1:
                pass
            assert not await sample(admin, "chunkstore_sent_age_seconds_count")
            await put.send_all(b"3\r\ntwo\r\n")
            assert (await answer.piece() or pytest.fail("cut")).data == b"two"
            assert await sample(admin, "chunkstore_sent_age_seconds_count") == 1
            assert 0 < await sample(admin, "chunkstore_sent_age_seconds_sum") < DEADLINE_S
            assert await sample(admin, "chunkstore_connections_total") == 2
            await put.send_all(b"0\r\n\r\n")
            assert await answer.body() == b""


async def test_slow_are_those_that_wait_for_their_client() -> None:
    async with serving() as (_, port, admin), await trio.open_tcp_stream("127.0.0.1", port) as put:
        body = bytes(16 * 2**20)  # more than both ends' buffers take
        await put.send_all(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body))
        await put.send_all(body)
        assert (await put.receive_some()).startswith(b"HTTP/1.1 201")
        raw = trio.socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with raw:
            await raw.connect(("127.0.0.1", port))
            assert json.loads((await get(admin, "/connections?slow"))[1]) == NOBODY
            await raw.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            while (found := json.loads((await get(admin, "/connections?slow"))[1])) == NOBODY:
                pass
            [row] = found["connections"]
            assert (row["method"], row["path"], found["count"]) == ("GET", "/a", 1)
            assert row["unsent_bytes"] > 0
            assert json.loads((await get(admin, "/connections"))[1])["count"] == 2


async def test_connections_beyond_the_limit(tmp_path: Path) -> None:
    settings = tmp_path / "chunkstore.toml"
    settings.write_text("max_connections = 1\n")
    async with serving("--config", str(settings)) as (_, port, admin):
        async with await trio.open_tcp_stream("127.0.0.1", port):
            while await sample(admin, "chunkstore_open_connections") < 1:
                pass
            assert (await get(port, "/x"))[0] == 503
            assert await sample(admin, "chunkstore_connections_refused_total") == 1


async def test_still_there_while_the_origin_drains() -> None:
    async with serving(is_stopped=True) as (process, port, admin):
        async with await trio.open_tcp_stream("127.0.0.1", port) as put:
            await put.send_all(PUT + b"3\r\none\r\n")
            while await sample(admin, "chunkstore_open_uploads") < 1:
                pass
            assert (await get(admin, "/health/ready"))[0] == 200
            process.send_signal(signal.SIGTERM)
            while (await get(admin, "/health/ready"))[0] == 200:
                pass
            assert (await get(admin, "/health/live"))[0] == 200
            await put.send_all(b"0\r\n\r\n")
            assert b" 201 " in await put.receive_some()


def refusal(address: str) -> str:
    """What `serve` says, that doesn't start with this for its admin listener."""
    run = subprocess.run(
        [*SERVE, "--admin", address], capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE_S
    )
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    return run.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:1"])
def test_beyond_loopback_it_refuses_to_start(address: str) -> None:
    assert f"admin: other machines could see every name and client on {address}" in refusal(address)


def test_a_port_in_use_is_said_before_anything_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"can't listen on {address}" in refusal(address)

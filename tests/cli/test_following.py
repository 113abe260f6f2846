"""Commands while an object is being written: chunks at once, cuts, Ctrl-C, pipes, terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.cli.server import COMMAND, DEADLINE_S, ROOT, Command, serving, store


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of an origin."""
    with serving() as url:
        yield url


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs, with pipes."""
    pipe = subprocess.PIPE
    command = [*COMMAND, *argv]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def give(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write to a command's stdin."""
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


def take(stream: IO[bytes] | None, size: int) -> bytes:
    """Read so much, as it comes."""
    assert stream is not None
    data = b""
    while len(data) < size and (some := os.read(stream.fileno(), size - len(data))):
        data += some
    return data


def lines_of(stream: IO[bytes] | None) -> Iterator[str]:
    """The lines of a command's output as they come."""
    assert stream is not None
    for line in stream:
        yield line.decode().rstrip("\n")


def is_there(url: str) -> bool:
    """Whether something has this URL."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=DEADLINE_S).close()
    except HTTPError as error:
        error.close()
        if error.code != 404:
            raise
        return False
    return True


def until_there(url: str) -> None:
    """Wait until it has."""
    limit_s = time.monotonic() + DEADLINE_S
    while not is_there(url):
        assert time.monotonic() < limit_s
        time.sleep(0.01)


def test_stdin_is_followed_chunk_by_chunk(server: str) -> None:
    url = f"{server}/followed"
    with running("put", "-", url) as put:
        give(put, b"first")
        until_there(url)
        with running("get", url, "--wait", "5") as get, running("tail", "--json", url) as tail:
            assert take(get.stdout, 5) == b"first"
            chunks = map(json.loads, lines_of(tail.stdout))
            assert next(chunks)["end"] == 5
            give(put, b"second")
            assert take(get.stdout, 6) == b"second"
            chunk = next(chunks)
            assert (chunk["size"], chunk["live"]) == (6, True)
            assert chunk["open_for_s"] is not None
            assert put.stdin is not None
            put.stdin.close()
            assert [process.wait(DEADLINE_S) for process in (put, get, tail)] == [0, 0, 0]


def test_a_writer_that_dies_fails_its_readers(server: str, tmp_path: Path) -> None:
    url, path = f"{server}/dying", tmp_path / "a"
    with running("put", "-", url) as put:
        give(put, b"some")
        until_there(url)
        with running("get", url, "-o", str(path)) as get, running("tail", url) as tail:
            chunks = lines_of(tail.stdout)
            assert "open" in next(chunks)
            assert [next(chunks), next(chunks)][1].split()[1] == "1"
            while not (part := tmp_path / "a.part").exists() or not part.stat().st_size:
                time.sleep(0.01)
            put.send_signal(signal.SIGINT)
            assert put.wait(DEADLINE_S) == 130
            assert put.stderr is not None
            assert put.stderr.read().strip() == b""
            assert tail.wait(DEADLINE_S) == 1
            assert "1 chunks, 4 bytes; " in next(chunks)
            assert get.wait(DEADLINE_S) == 1
            assert get.stderr is not None
            last = get.stderr.read().decode().splitlines()[-1]
    assert "cut after 4 bytes, and not to be resumed" in last
    assert last.endswith(f"4 bytes that came are in {path}.part")
    assert not path.exists()
    assert part.read_bytes() == b"some"


@pytest.mark.parametrize("command", ["get", "tail", "ls"])
def test_ctrl_c_is_130_and_says_nothing(command: str, server: str, tmp_path: Path) -> None:
    url = f"{server}/{command}-interrupted"
    flags = {"get": ["-o", str(tmp_path / "a")], "ls": ["--watch"]}.get(command, [])
    with running("put", "-", url) as put:
        give(put, b"some")
        until_there(url)
        with running(command, url, *flags) as process:
            if command == "get":
                while not (tmp_path / "a.part").exists():
                    time.sleep(0.01)
            else:
                assert take(process.stdout, 1)
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
            assert process.stderr is not None
            assert process.stderr.read().strip() == b""
    assert not (tmp_path / "a").exists()


def test_ctrl_c_is_heard_while_nobody_reads(server: str, here: Command, tmp_path: Path) -> None:
    """The loop stands still in a write of a line then, and heard of nothing."""
    for index in range(400):
        (tmp_path / f"{index:0200}").touch()
    assert here("put", "-q", str(tmp_path), f"{server}/many/").returncode == 0
    with running("ls", f"{server}/many/") as process:
        assert process.stdout is not None
        waiting, end_s = 0, time.monotonic() + DEADLINE_S
        while waiting < 60_000:  # a pipe takes 64 KiB
            assert time.monotonic() < end_s
            time.sleep(0.01)
            answer = fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4))
            waiting = int.from_bytes(answer, sys.byteorder)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == b""


@pytest.mark.parametrize("command", ["get", "ls"])
def test_a_pipe_that_nobody_reads_ends_it_quietly(command: str, server: str) -> None:
    for index in range(3 if command == "ls" else 1):
        url = f"{server}/pipe/{index}"
        store(url, b"x" * 1_000_000)
    with running(command, f"{server}/pipe/" if command == "ls" else url) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("command", ["get", "ls", "put"])
def test_standard_streams_that_are_closed(command: str, server: str) -> None:
    url = f"{server}/closed"
    store(url, b"x")
    source = ["-"] if command == "put" else []
    shell = f'exec {sys.executable} -m chunkstore "$@" <&- >&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", command, *source, url, "--retries", "0"],
        stderr=subprocess.PIPE,
        timeout=DEADLINE_S,
        cwd=ROOT,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1)


def test_watching_what_changes(server: str, here: Command) -> None:
    url = f"{server}/watched"
    store(f"{url}/a", b"x")
    with running("ls", "--watch", f"{url}/") as watch:
        lines = lines_of(watch.stdout)
        assert next(lines) == "+ /watched/a"
        store(f"{url}/b", b"x")
        assert next(lines) == "+ /watched/b"
        store(f"{url}/a", b"xy")
        assert next(lines) == "~ /watched/a"
        assert here("rm", f"{url}/b").returncode == 0
        assert next(lines) == "- /watched/b"


class Cutter:
    """Passes connections on to the server, and breaks each answer after so many bytes."""

    def __init__(self, server: str, cuts: list[int]) -> None:
        self._to = (urlsplit(server).hostname or "", urlsplit(server).port or 0)
        self._cuts = cuts
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        """Until all cuts were made."""
        for cut in self._cuts:
            client, _ = self.listener.accept()
            with client, socket.create_connection(self._to) as server:
                server.sendall(client.recv(65536))
                while cut:
                    readable, _, _ = select.select([server, client], [], [])
                    data = readable[0].recv(min(65536, cut))
                    if readable[0] is client or not data:
                        break  # the client has all it wanted
                    client.sendall(data)
                    cut -= len(data)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_download_goes_on_after_cuts(server: str, tmp_path: Path, here: Command) -> None:
    data = os.urandom(1_000_000)
    store(f"{server}/resumed", data)
    cutter = Cutter(server, [100_000, 0, 300_000, 2_000_000])
    thread = Thread(target=cutter.run, daemon=True)
    thread.start()
    path = tmp_path / "a"
    with cutter.listener:
        done = here("get", f"{cutter.url}/resumed", "-o", str(path))
    thread.join(DEADLINE_S)
    assert done.returncode == 0
    assert path.read_bytes() == data
    notes = done.stderr.decode().splitlines()
    assert sum("trying again" in note for note in notes) == 3
    assert sum("going on from byte" in note for note in notes) == 3


def on_a_terminal(*argv: str, typed: bytes = b"") -> tuple[int, str]:
    """Run a command on a terminal; its exit code, and all that it showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [*COMMAND, *argv], {**os.environ, "TERM": "xterm"})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shown, is_stopped = b"", False
    while True:
        try:
            some = os.read(fd, 65536)
        except OSError:
            break  # how a terminal's end looks on Linux
        if not some:
            break
        shown += some
        if typed and b"[y/N]" in shown:
            os.write(fd, typed)
            typed = b""
        if b"watched" in shown and not is_stopped:
            os.kill(pid, signal.SIGINT)
            is_stopped = True
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_on_a_terminal_there_are_bars_columns_and_a_question(server: str, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    url = f"{server}/terminal/"
    code, shown = on_a_terminal("put", str(tmp_path / "a"), url, "--rate", "200kB/s")
    assert code == 0
    assert "━" in shown
    assert "/terminal/a 100000 bytes, new" in shown
    code, shown = on_a_terminal("ls", url)
    assert shown.split()[:2] == ["100000", "complete"]
    code, shown = on_a_terminal("get", f"{url}a", "-o", str(tmp_path / "b"))
    assert code == 0
    code, shown = on_a_terminal("ls", "--watch", f"{server}/watched-terminal")
    assert code == 130
    code, shown = on_a_terminal("rm", "-r", url, typed=b"n\n")
    assert (code, "Delete 1 objects below" in shown) == (1, True)
    code, shown = on_a_terminal("rm", "-r", url, typed=b"y\n")
    assert (code, "deleted /terminal/a" in shown) == (0, True)

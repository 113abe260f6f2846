"""Raw readers against servers that do well, break off, lie about lengths, or have nothing yet."""

from __future__ import annotations

import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from subprocess import DEVNULL, Popen
from typing import Any

import pytest

from bench.build import NoCompilerError, build
from bench.harness import Server
from bench.studio.audience import Names, follow

pytestmark = pytest.mark.real

NAMES = Names("/live/x-", ".m4s", digits=3)
READERS = 4
LAST = 8
DEADLINE_S = 20
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Answers = Callable[[int, int], bytes | None]
"""What the n-th question for a number is answered; None: the connection is closed."""


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    try:
        build("follow")
    except NoCompilerError as error:
        pytest.skip(str(error))


def chunked(size: int, pieces: int = 3) -> bytes:
    """A whole answer in chunks, one of them with an extension."""
    chunk = b"%x;a=b\r\n%b\r\n" % (size // pieces, bytes(size // pieces))
    return CHUNKED + chunk * pieces + b"0\r\n\r\n"


def sized(size: int) -> bytes:
    """A whole answer with a length."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)


def whole(number: int, turn: int) -> bytes:
    """Chunks to some and a length to others, of the same size."""
    return (chunked if turn % 2 else sized)(3000 * number)


class Scripted:
    """A server that answers by number; nothing to numbers past the last."""

    def __init__(self, answers: Answers) -> None:
        self.is_done = threading.Event()
        self._answers = answers
        self._turns = {number: count() for number in range(100)}
        self._past: Counter[int] = Counter()
        self._lock = threading.Lock()

    def serve(self, request: socketserver.StreamRequestHandler) -> None:
        """Answer a connection until its reader is past the last one, or broken off."""
        while line := request.rfile.readline():
            while request.rfile.readline().strip():
                pass
            number = int(line.split()[1].removeprefix(b"/live/x-").removesuffix(b".m4s"))
            with self._lock:
                turn = next(self._turns[number])
                self._past[number] += 1
                if self._past[LAST + 1] == READERS:
                    self.is_done.set()
            if number > LAST:
                continue
            if (answer := self._answers(number, turn)) is None:
                return
            request.wfile.write(answer)
            if b"\r\n\r\n" in answer and not is_whole(answer):
                return


def is_whole(answer: bytes) -> bool:
    """The connection can carry another one."""
    return answer.endswith(b"0\r\n\r\n") or b"Content-Length" in answer


@contextmanager
def scripted(answers: Answers) -> Iterator[tuple[Server, Scripted]]:
    """A server for the length of the block."""
    script = Scripted(answers)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            script.serve(self)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # readers leave when they have had enough

    with Listener(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        with Popen(["true"], stderr=DEVNULL, text=True) as process:
            yield Server("scripted", process, "127.0.0.1", listener.server_address[1]), script
        listener.shutdown()
        thread.join()


def read_all(answers: Answers) -> dict[str, Any]:
    """What readers of numbers 1 to LAST have counted."""
    with scripted(answers) as (server, script), follow(server, NAMES, READERS, 1) as audience:
        assert script.is_done.wait(DEADLINE_S)
        return audience.report()


def test_all_is_read_whole() -> None:
    counted = read_all(whole)
    assert counted["statuses"] == {"200": READERS * LAST}
    assert counted["segments"] == READERS * LAST
    assert counted["bytes"] == READERS * sum(3000 * number for number in range(1, LAST + 1))
    assert (counted["cut"], counted["wrong_length"], counted["wrong_frames"]) == (0, 0, 0)


@pytest.mark.parametrize("upto", [-5, -100, len(CHUNKED) + 700])
def test_an_answer_that_breaks_off_is_counted_and_the_next_number_asked_for(upto: int) -> None:
    def answers(number: int, turn: int) -> bytes:
        return chunked(9000)[:upto] if (number, turn) == (3, 1) else chunked(9000)

    counted = read_all(answers)
    assert counted["cut"] == 1
    assert counted["segments"] == READERS * LAST - 1
    assert counted["wrong_length"] == 0


def test_a_connection_that_ends_before_an_answer_is_counted_and_made_anew() -> None:
    counted = read_all(lambda number, turn: None if turn == 0 else whole(number, turn))
    assert counted["cut"] == LAST
    assert counted["segments"] == READERS * LAST


def test_one_length_that_differs_is_noticed() -> None:
    counted = read_all(lambda number, turn: sized(3000 if (number, turn) == (5, 3) else 9000))
    # Whichever is read first is what the others are held against.
    assert counted["wrong_length"] in (1, READERS - 1)


def test_what_is_not_there_yet_is_asked_for_again() -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    counted = read_all(lambda number, turn: missing if turn < READERS else whole(number, turn))
    assert counted["statuses"] == {"200": READERS * LAST, "404": READERS * LAST}
    assert (counted["segments"], counted["cut"]) == (READERS * LAST, 0)

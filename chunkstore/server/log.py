"""One line a request, on stderr, never on the loop.

A terminal or pipe that nobody reads would stop the server if the loop wrote to it. Lines wait in a
bounded queue; one task hands them to a thread; what doesn't fit is counted and said.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque

import trio

__all__ = ["Log"]

LINES_MAX = 10_000
"""Lines that may wait to be written."""
LAST_LINES_S = 1.0
PAUSE_S = 0.1
"""Lines are gathered for so long, so that a thread is asked ten times a second and not per line."""


class Log:
    """Where lines go.

    Args:
        form: "human", "json", "off", or "auto": human if `descriptor` is a terminal, else json.
        descriptor: the open file to write to.

    Attributes:
        dropped_count: lines that did not fit, since the start.
    """

    def __init__(self, form: str, descriptor: int = 2) -> None:
        if form == "auto":
            form = "human" if os.isatty(descriptor) else "json"
        self._form = form
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self.dropped_count = 0
        self._unsaid_count = 0
        self._written = trio.Event()
        self._writing = threading.Lock()

    @property
    def is_on(self) -> bool:
        """Whether request lines are wanted at all."""
        return self._form != "off"

    def request(self, **members: str | int | float) -> None:
        """A request ended. Members in the order they are to be read."""
        if self._form == "json":
            self._put(json.dumps({"time": _now(), **members}))
        elif self._form == "human":
            self._put(" ".join([_now(), *map(str, members.values())]))

    def note(self, text: str) -> None:
        """Something the operator must know, whatever the form: also with "off"."""
        if self._form == "json":
            self._put(json.dumps({"time": _now(), "note": text}))
        else:
            self._put(f"{_now()} {text}")

    def _put(self, line: str) -> None:
        if len(self._lines) >= LINES_MAX:
            self.dropped_count += 1
            self._unsaid_count += 1
        else:
            self._lines.append(line)
            self._written.set()

    async def run(self) -> None:
        """Write lines until cancelled; what waits then gets one more second to be written."""
        try:
            while True:
                await self._written.wait()
                self._written = trio.Event()
                await trio.to_thread.run_sync(self._flush, abandon_on_cancel=True)
                await trio.sleep(PAUSE_S)
        finally:
            with trio.move_on_after(LAST_LINES_S, shield=True):
                await trio.to_thread.run_sync(self._flush, abandon_on_cancel=True)

    def _flush(self) -> None:
        with self._writing:  # in a thread; one that was abandoned may still be at it
            self._write()

    def _write(self) -> None:
        while self._lines or self._unsaid_count:
            batch = [self._lines.popleft() for _ in range(min(len(self._lines), 1000))]
            if self._unsaid_count:
                batch.append(f"{_now()} log: {self._unsaid_count} lines dropped")
                self._unsaid_count = 0
            data = "".join(line + "\n" for line in batch).encode("utf-8", "backslashreplace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                return  # nobody can read the log any more: not a reason to stop serving


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

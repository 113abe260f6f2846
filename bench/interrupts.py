"""Ctrl-C and SIGTERM end a run once, and never between the start of a process and its ending.

Whoever starts a process does so, up to the promise that it will be ended, in `hold_signals()`, and
keeps that promise in it as well.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

__all__ = ["catch_signals", "hold_signals"]


class _Signals:
    """Ctrl-C and SIGTERM: the first one raises, or does so once nobody holds it; later ones don't.

    A terminal's Ctrl-C reaches a run and who asked for it, who then ends the run as well: were the
    second signal to raise, it would break off the stopping of a server.
    """

    def __init__(self) -> None:
        self._came: int | None = None
        self._holders = 0
        self._is_raised = False

    def catch(self) -> None:
        """Takes the two signals over, for the rest of the process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is raised in the block, but at its end."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            self._raise()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A signal may come in before the handler of the one before it has noted anything.
        while frame is not None and frame.f_code is _Signals._on_signal.__code__:
            number, frame = frame.f_locals["number"], frame.f_back
        self._came = self._came or number
        self._raise()

    def _raise(self) -> None:
        if self._came is None or self._holders or self._is_raised:
            return
        self._is_raised = True
        if self._came == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self._came)


_signals = _Signals()


def hold_signals() -> contextlib.AbstractContextManager[None]:
    """For the length of the block neither Ctrl-C nor SIGTERM ends the run; at its end they do."""
    return _signals.held()


def catch_signals() -> None:
    """Takes Ctrl-C and SIGTERM over, for the rest of the process.

    Raises, once one has come: KeyboardInterrupt, or SystemExit(143).
    """
    _signals.catch()

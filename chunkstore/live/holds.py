"""Requests that wait for something to appear: a name, a byte, a newer version, a retry."""

from __future__ import annotations

from collections.abc import Callable

import trio

from chunkstore.live.broadcast import Broadcast
from chunkstore.metrics import Metrics
from chunkstore.objects import Generation, Namespace

__all__ = ["Holds"]


class Holds:
    """Who waits for what.

    Args:
        namespace: decides what a name shows.
        metrics: how holds ended is counted there.
        max_waiters: bound on those that wait.

    Attributes:
        waiter_count: those that wait now.
        is_draining: nobody may wait any more.
    """

    def __init__(self, namespace: Namespace, metrics: Metrics, max_waiters: int) -> None:
        self._namespace = namespace
        self._metrics = metrics
        self._max_waiters = max_waiters
        self._held: dict[str, tuple[trio.Event, int]] = {}
        self.waiter_count = 0
        self.is_draining = False

    @property
    def can_wait(self) -> bool:
        """Whether one more GET may wait: not when draining, and not beyond the bound."""
        return not self.is_draining and self.waiter_count < self._max_waiters

    @property
    def why_not_wait(self) -> str:
        """The sentence for a GET that may not wait."""
        if self.is_draining:
            return "the server is shutting down; ask again, or elsewhere"
        return "too many requests wait for bytes that have not come yet"

    async def wait_visible(self, key: str, timeout_s: float) -> Generation | None:
        """Wait until `key` shows something; None at the timeout or when draining.

        Cancellation: nothing remains; a hold creates no placeholder.
        """
        await self.wait_until(key, lambda: self._namespace.visible(key) is not None, timeout_s)
        return self._namespace.visible(key)

    async def wait_until(self, key: str, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something holds that depends on what `key` shows.

        Returns:
            whether it does; False at the timeout or when draining.
        Cancellation: nothing remains; a hold creates no placeholder.
        """
        self.waiter_count += 1
        try:
            with trio.move_on_after(timeout_s):
                # What appears may be gone before this task runs: an upload cut in its first bytes.
                while not holds() and not self.is_draining:
                    await self._wait_for_change(key)
        finally:
            self.waiter_count -= 1
        is_met = holds()
        self.count_hold(is_met=is_met)
        return is_met

    async def _wait_for_change(self, key: str) -> None:
        event, count = self._held.get(key) or (trio.Event(), 0)
        self._held[key] = (event, count + 1)
        try:
            await event.wait()
        finally:
            event_now, count = self._held.get(key, (None, 0))
            if event_now is event:  # nobody was woken: take this one waiter back
                if count == 1:
                    del self._held[key]
                else:
                    self._held[key] = (event, count - 1)

    async def wait_grown(self, broadcast: Broadcast, offset: int, timeout_s: float) -> None:
        """Wait until byte `offset` exists, the generation is no longer open, or the timeout.

        Cancellation: nothing remains.
        """
        generation, ring = broadcast.generation, broadcast.generation.ring
        self.waiter_count += 1
        try:
            with trio.move_on_after(timeout_s):
                if generation.is_open and offset >= ring.end and not self.is_draining:
                    await broadcast.reached(offset)
        finally:
            self.waiter_count -= 1
        self.count_hold(is_met=ring.is_sealed or offset < ring.end)

    async def wait_retried(self, generation: Generation, timeout_s: float) -> Generation | None:
        """What a reader that was sent nothing yet goes on with, if its upload broke off.

        Waits for the next upload of the path, for the grace at most. None: it has not broken off,
        or nothing came.

        Cancellation: nothing remains.
        """
        if not generation.is_superseded:
            return None
        key = generation.key

        def is_over() -> bool:
            return not generation.is_superseded or self._namespace.visible(key) is not None

        await self.wait_until(key, is_over, min(timeout_s, generation.policy.abort_grace_s))
        return self._namespace.visible(key)

    def count_hold(self, *, is_met: bool) -> None:
        """Count a hold that ended."""
        if is_met:
            self._metrics.holds_met += 1
        else:
            self._metrics.holds_unmet += 1

    def changed(self, key: str) -> None:
        """`key` shows something else than before: wake those who wait for that."""
        held = self._held.pop(key, None)
        if held is not None:
            held[0].set()

    def drain(self) -> None:
        """Release all who wait for a name; nobody may wait any more."""
        self.is_draining = True
        for event, _ in self._held.values():
            event.set()
        self._held.clear()

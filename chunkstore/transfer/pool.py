"""Several at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

__all__ = ["for_each"]

_T = TypeVar("_T")
_W = TypeVar("_W")


async def for_each(
    next_item: Callable[[], Awaitable[_T | None]],
    work: Callable[[_W, _T], Awaitable[None]],
    workers: list[_W],
) -> None:
    """Work through items, as many at a time as there are workers.

    Args:
        next_item: gives the next one, None when there is none; never called twice at a time.
        work: does one with one of the workers.
        workers: what one item needs for itself, such as a connection.
    Raises:
        Exception: the first that one of the two raised; the others are cancelled then.
    Cancellation: all work is cancelled.
    """
    turn = trio.Lock()
    failures: list[Exception] = []

    async def run(worker: _W) -> None:
        try:
            while True:
                async with turn:
                    item = await next_item()
                if item is None:
                    return
                await work(worker, item)
        except Exception as error:  # kept: the caller gets it without a group around it
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(run, worker)
    if failures:
        raise failures[0]

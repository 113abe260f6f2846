"""The whole life of `chunkstore serve`."""

from __future__ import annotations

import gc
import resource
import signal
from collections.abc import Callable
from contextlib import ExitStack

import trio

from chunkstore.config import ListenAddress, Settings
from chunkstore.origin import Origin
from chunkstore.server import Listener, Log, bind

__all__ = ["run"]

SPARE_DESCRIPTORS = 64
"""Beside the connections: listeners, the event loop's own, the log."""


def run(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Listen, serve, and drain at SIGTERM or SIGINT; a second signal ends everything at once.

    Args:
        announce: called with `listening on URL`, or `admin on URL`, for each once it accepts.
    Raises:
        OSError: an address can't be had; nothing listens then.
        KeyboardInterrupt: SIGINT ended it, after the drain.
    """
    _raise_descriptor_limit(settings.max_connections + SPARE_DESCRIPTORS)
    with ExitStack() as stack:

        def listen(addresses: tuple[ListenAddress, ...]) -> tuple[Listener, ...]:
            made = []
            for address in addresses:
                size = settings.send_buffer_bytes
                listener = bind(address, backlog=settings.backlog, send_buffer_bytes=size)
                stack.callback(listener.close)
                made.append(listener)
            return tuple(made)

        listeners, admin_listeners = listen(settings.addresses), listen(settings.admin_addresses)
        _calm_garbage_collector()
        was_interrupted = trio.run(_serve, settings, listeners, admin_listeners, announce)
    if was_interrupted:
        raise KeyboardInterrupt


async def _serve(
    settings: Settings,
    listeners: tuple[Listener, ...],
    admin_listeners: tuple[Listener, ...],
    announce: Callable[[str], None],
) -> bool:
    origin = Origin(settings, Log(settings.log))
    first: list[int] = []

    async def obey_signals(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if first:
                    origin.server.abort()
                else:
                    first.append(number)
                    origin.server.stop()

    async with trio.open_nursery() as nursery:
        await nursery.start(obey_signals)
        for listener in listeners:  # it is bound, and from here on a signal drains
            announce(f"listening on {listener.url}")
        if admin_listeners:
            from chunkstore.admin import Admin  # 3 MiB, for those alone who ask for it

            admin = Admin(settings, origin.catalog, origin.server)
            await nursery.start(admin.run, admin_listeners)
            for listener in admin_listeners:
                announce(f"admin on {listener.url}")
        await origin.run(listeners)  # the admin listener answers until the drain is over
        nursery.cancel_scope.cancel()
    return first == [signal.SIGINT]


def _calm_garbage_collector() -> None:
    """Keep full collections from stopping the loop: 25 ms at 4096 readers, seconds at 1M names.

    Connections, uploads and objects leave no cycles behind (a test holds that), so reference counts
    free them, and the two young generations are enough for what little else there is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 1_000_000)


def _raise_descriptor_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))

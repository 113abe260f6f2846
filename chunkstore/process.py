"""The whole life of a server: `chunkstore serve`, `chunkstore node`, `chunkstore gateway`."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from chunkstore.config import ListenAddress, Settings
from chunkstore.errors import DiskError, JoinError, SettingsError
from chunkstore.origin import Origin
from chunkstore.server import Certificate, Listener, Log, bind

if TYPE_CHECKING:
    from chunkstore.client import Url
    from chunkstore.store.disk import DataDir, DiskStore

__all__ = ["listen_for_nodes", "run", "run_gateway", "run_node"]

SPARE_DESCRIPTORS = 64
"""Beside the connections: listeners, the event loop's own, the log."""
FILES = 1024
"""And of a data dir: one a volume, and one a large object that is being read."""
MALLOC_MMAP_BYTES = 32 * 1024 * 1024
"""Smaller blocks come from the heap, where they are reused."""
MALLOC_TRIM_BYTES = 64 * 1024 * 1024
"""The heap keeps so much that is free at its end."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def run(
    settings: Settings, sign_keys: Sequence[bytes] = (), *, announce: Callable[[str], None]
) -> None:
    """Listen, serve, and drain at SIGTERM or SIGINT; a second signal ends everything at once.

    SIGHUP reads the certificate again; without one, it ends who runs in a terminal, and no service.

    Args:
        sign_keys: what signed URLs are checked with.
        announce: called with `listening on URL`, or `admin on URL`, for each once it accepts.
    Raises:
        SettingsError: the certificate or its key is wrong; nothing listens then.
        DataDirError: the data dir can't be used; it is untouched.
        OSError: an address can't be had; nothing listens then.
        KeyboardInterrupt: SIGINT ended it, after the drain.
    """

    def prepare(log: Log, stack: ExitStack) -> Callable[[], Origin]:
        disk = None
        if settings.data is not None:
            disk = _open_disk(_open_data(settings.data, stack), settings, log, stack)
        return partial(Origin, settings, log, sign_keys, disk=disk)

    _host(settings, prepare, announce)


def run_node(
    settings: Settings, secret: bytes, gateway: Url, *, announce: Callable[[str], None]
) -> None:
    """The same for a storage server, which registers with its gateway.

    Args:
        settings: with a data dir.
        secret: of the cluster.
        gateway: URL of the gateway's listener for nodes.
    Raises: as `run`, and
        JoinError: the gateway refuses this node.
    """
    from chunkstore.cluster.identity import Identity  # only who is one
    from chunkstore.cluster.node import Node

    def prepare(log: Log, stack: ExitStack) -> Callable[[], Origin]:
        assert settings.data is not None
        data = _open_data(settings.data, stack)
        identity = Identity(Path(settings.data), data.dir_id)
        disk = _open_disk(data, settings, log, stack)
        return partial(
            Node, settings, log, disk=disk, identity=identity, secret=secret, gateway=gateway
        )

    _host(settings, prepare, announce)


def run_gateway(
    settings: Settings,
    secret: bytes,
    sign_keys: Sequence[bytes] = (),
    *,
    announce: Callable[[str], None],
) -> None:
    """The same for the gateway of a cluster, whose nodes are told to come to `cluster_listen`.

    Args:
        settings: with a folder for the metadata.
        secret: of the cluster.
        announce: called with `nodes at URL` as well.
    Raises: as `run`.
    """
    from chunkstore.cluster.gateway import Gateway, open_meta  # only who is one

    def prepare(log: Log, stack: ExitStack) -> Callable[[], Origin]:
        assert settings.data is not None
        meta = open_meta(Path(settings.data))
        stack.callback(meta.close)
        nodes_at = listen_for_nodes(settings, stack, announce)
        return partial(
            Gateway, settings, log, sign_keys, meta=meta, secret=secret, nodes_at=nodes_at
        )

    _host(settings, prepare, announce)


def listen_for_nodes(
    settings: Settings, stack: ExitStack, announce: Callable[[str], None]
) -> tuple[Listener, ...]:
    """Have `cluster_listen`, until the stack is closed.

    Args:
        announce: called with `nodes at URL` for each.
    Raises:
        OSError: an address can't be had.
    """
    listeners = []
    for address in settings.cluster_addresses:
        listener = bind(
            address, backlog=settings.backlog, send_buffer_bytes=settings.send_buffer_bytes
        )
        stack.callback(listener.close)
        listeners.append(listener)
        announce(f"nodes at {listener.url}")  # it is bound: who comes is answered soon
    return tuple(listeners)


def _host(
    settings: Settings,
    prepare: Callable[[Log, ExitStack], Callable[[], Origin]],
    announce: Callable[[str], None],
) -> None:
    """Everything around an origin, from the first check to the last close; as `run`.

    Args:
        prepare: opens what the origin needs, which the stack closes; what it gives makes the
            origin, inside the loop.
    """
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
    log = Log(settings.log)
    spare = SPARE_DESCRIPTORS if settings.data is None else SPARE_DESCRIPTORS + FILES
    wanted = settings.max_connections + spare
    limit = _raise_descriptor_limit(wanted)
    if limit < wanted:  # at it, connections wait unanswered instead of being turned away
        log.note(
            f"the limit on open files is {limit}: enough for"
            f" {max(0, limit - spare)} connections, not for max_connections"
            f" ({settings.max_connections}); raise the limit, or lower max_connections"
        )
    with ExitStack() as stack:

        def listen(address: ListenAddress, shown: Certificate | None) -> Listener:
            listener = bind(
                address,
                backlog=settings.backlog,
                send_buffer_bytes=settings.send_buffer_bytes,
                certificate=shown,
            )
            stack.callback(listener.close)
            return listener

        listeners = tuple(listen(address, certificate) for address in settings.addresses)
        # Scrapers and probes on this machine know it by a name that no certificate has.
        admin_listeners = tuple(
            listen(address, None if address.is_loopback else certificate)
            for address in settings.admin_addresses
        )
        make_origin = prepare(log, stack)
        _calm_garbage_collector()
        _keep_freed_memory()
        was_interrupted = trio.run(
            _serve, make_origin, listeners, admin_listeners, certificate, announce
        )
    if was_interrupted:
        raise KeyboardInterrupt


def _open_data(folder: str, stack: ExitStack) -> DataDir:
    """The data dir, which nobody else uses; `stack` gives it back.

    Raises:
        DataDirError: it can't be used; it is untouched.
    """
    from chunkstore.store.disk import DataDir  # only who has a disk

    data = DataDir(Path(folder))
    stack.callback(data.close)
    return data


def _open_disk(data: DataDir, settings: Settings, log: Log, stack: ExitStack) -> DiskStore:
    """What is in the data dir, started; `stack` closes it.

    Raises:
        DiskError: the system can't read or write it.
    """
    from chunkstore.store.disk import DiskStore, Engine, Files, Sync

    folder = str(settings.data)
    with _disk_errors(folder):
        engine = Engine(data, Files(), capacity_bytes=settings.disk_bytes)

    def close() -> None:
        with _disk_errors(folder):
            engine.close()

    stack.callback(close)
    for line in engine.report.lines():
        log.note(f"{folder}: {line}")
    return DiskStore(
        engine,
        sync=Sync(settings.sync),
        limit_bytes=settings.disk_bytes,
        reserve_bytes=settings.disk_reserve_bytes,
        scrub_s=settings.scrub_s or 0.0,
        note=log.note,
    )


@contextmanager
def _disk_errors(folder: str) -> Iterator[None]:
    """An OSError of the disk isn't one of an address."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{folder}: {error.strerror or error}") from error


async def _serve(
    make_origin: Callable[[], Origin],
    listeners: tuple[Listener, ...],
    admin_listeners: tuple[Listener, ...],
    certificate: Certificate | None,
    announce: Callable[[str], None],
) -> bool:
    origin = make_origin()
    first: list[int] = []
    refusal: JoinError | None = None

    async def obey_signals(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if first:
                    origin.server.abort()
                else:
                    first.append(number)
                    _tell_supervisor("STOPPING=1")
                    origin.server.stop()

    async with trio.open_nursery() as nursery:
        await nursery.start(obey_signals)
        if certificate is not None or not os.isatty(2):
            await nursery.start(_reload_at_hangup, certificate, origin.server.log)
        for listener in listeners:  # it is bound, and from here on a signal drains
            announce(f"listening on {listener.url}")
        if admin_listeners:
            from chunkstore.admin import Admin  # 3 MiB, for those alone who ask for it

            urls = tuple(listener.url for listener in listeners if not listener.unix_path)
            admin = Admin(
                origin.server.settings,
                origin.catalog,
                origin.server,
                origin.gate,
                data_urls=urls,
                figures=origin.figures,
            )
            await nursery.start(admin.run, admin_listeners)
            for listener in admin_listeners:
                announce(f"admin on {listener.url}")
        _tell_supervisor("READY=1")
        try:
            await origin.run(listeners)  # the admin listener answers until the drain is over
        except JoinError as error:
            refusal = error
        nursery.cancel_scope.cancel()
    if refusal is not None:
        raise refusal
    return first == [signal.SIGINT]


async def _reload_at_hangup(
    certificate: Certificate | None, log: Log, *, task_status: trio.TaskStatus[None]
) -> None:
    """Read the certificate again at each SIGHUP; a bad one changes nothing and is said."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            if certificate is None:  # "reload" of a service must not be its end
                log.note("SIGHUP changes nothing: there is no certificate to read again")
                continue
            try:
                await trio.to_thread.run_sync(certificate.reload)
            except SettingsError as error:
                log.note(f"the certificate in force stays, since the new one is wrong: {error}")
            else:
                log.note("the certificate was read again: new connections get it")


def _tell_supervisor(state: str) -> None:
    """Tell systemd, if it wants to be told (`Type=notify`), what the service is doing.

    Source: sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract name, which begins with a zero byte
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as raw:
        raw.setblocking(False)
        with suppress(OSError):  # a supervisor that doesn't listen is no reason not to serve
            raw.sendto(state.encode("ascii"), address)


def _calm_garbage_collector() -> None:
    """Keep full collections from stopping the loop: 25 ms at 4096 readers, seconds at 1M names.

    Connections, uploads and objects leave no cycles behind (tests/live/test_cycles.py holds that),
    so reference counts free them, and the two young generations are enough for what else there is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 1_000_000)


def _keep_freed_memory() -> None:
    """Have the C library reuse what objects leave, where it is glibc.

    By itself it gives large blocks back to the system at once and asks anew: clearing and mapping
    their pages is a tenth of what an upload costs.

    Source: mallopt(3).
    """
    with suppress(AttributeError, OSError):  # another C library: as fast as it is
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, MALLOC_MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, MALLOC_TRIM_BYTES)


def _raise_descriptor_limit(wanted: int) -> int:
    """Raise the soft limit as far as is wanted and the hard one lets it be; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft

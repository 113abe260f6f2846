"""The whole life of a server: `chunkstore serve`, `node`, `gateway`, `worker`."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from chunkstore.config import ListenAddress, Settings
from chunkstore.errors import DataDirError, DiskError, JoinError, SettingsError
from chunkstore.origin import Origin
from chunkstore.server import Certificate, Listener, Log, Server, bind
from chunkstore.tuning import calm_garbage_collector, keep_freed_memory, raise_descriptor_limit

if TYPE_CHECKING:
    from chunkstore.admin import Desk
    from chunkstore.client import Url
    from chunkstore.store.disk import DataDir, DiskStore
    from chunkstore.worker.face import Worker

__all__ = ["listen_for_nodes", "run", "run_gateway", "run_node", "run_worker"]


class _Service(Protocol):
    """What is served, as origins are."""

    server: Server

    async def run(self, listeners: tuple[Listener, ...] = ()) -> None:
        """Serve until `server.stop()` and the drain after it."""


_S = TypeVar("_S", bound=_Service)

SPARE_DESCRIPTORS = 64
"""Beside the connections: listeners, the event loop's own, the log."""
FILES = 1024
"""And of a data dir: one a volume, and one a large object that is being read."""


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

    _host(settings, prepare, _admin_of_origin, announce)


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

    _host(settings, prepare, _admin_of_origin, announce)


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

    _host(settings, prepare, _admin_of_origin, announce)


def run_worker(
    settings: Settings, sign_keys: Sequence[bytes] = (), *, announce: Callable[[str], None]
) -> None:
    """The same for a worker, which has the chunks that it is assigned.

    Args:
        settings: with a data dir.
        sign_keys: what signed URLs are checked with.
    Raises: as `run`.
    """
    from chunkstore.worker.disk.folder import ChunkFolder  # only who is one
    from chunkstore.worker.face import Worker

    def prepare(log: Log, stack: ExitStack) -> Callable[[], Worker]:
        assert settings.data is not None
        ChunkFolder(Path(settings.data)).close()  # said before anybody is told that this listens
        return partial(Worker, settings, log, sign_keys)

    def make_admin(worker: Worker, urls: tuple[str, ...]) -> Desk:
        from chunkstore.worker.face.office import Office

        return Office(worker)

    _host(settings, prepare, make_admin, announce)


def _admin_of_origin(origin: Origin, urls: tuple[str, ...]) -> Desk:
    from chunkstore.admin import Admin  # 3 MiB, for those alone who ask for it

    return Admin(
        origin.server.settings,
        origin.catalog,
        origin.server,
        origin.gate,
        data_urls=urls,
        figures=origin.figures,
    )


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
    prepare: Callable[[Log, ExitStack], Callable[[], _S]],
    make_admin: Callable[[_S, tuple[str, ...]], Desk],
    announce: Callable[[str], None],
) -> None:
    """Everything around a service, from the first check to the last close; as `run`.

    Args:
        prepare: opens what the service needs, which the stack closes; what it gives makes the
            service, inside the loop.
        make_admin: makes what answers on the admin listener, for a service and its URLs.
    """
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
    log = Log(settings.log)
    spare = SPARE_DESCRIPTORS if settings.data is None else SPARE_DESCRIPTORS + FILES
    wanted = settings.max_connections + spare
    limit = raise_descriptor_limit(wanted)
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
        make_service = prepare(log, stack)
        calm_garbage_collector()
        keep_freed_memory()
        was_interrupted = trio.run(
            _serve, make_service, make_admin, listeners, admin_listeners, certificate, announce
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
    make_service: Callable[[], _S],
    make_admin: Callable[[_S, tuple[str, ...]], Desk],
    listeners: tuple[Listener, ...],
    admin_listeners: tuple[Listener, ...],
    certificate: Certificate | None,
    announce: Callable[[str], None],
) -> bool:
    service = make_service()
    first: list[int] = []
    refusal: DataDirError | JoinError | None = None

    async def obey_signals(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if first:
                    service.server.abort()
                else:
                    first.append(number)
                    _tell_supervisor("STOPPING=1")
                    service.server.stop()

    async with trio.open_nursery() as nursery:
        await nursery.start(obey_signals)
        if certificate is not None or not os.isatty(2):
            await nursery.start(_reload_at_hangup, certificate, service.server.log)
        for listener in listeners:  # it is bound, and from here on a signal drains
            announce(f"listening on {listener.url}")
        if admin_listeners:
            urls = tuple(listener.url for listener in listeners if not listener.unix_path)
            admin = make_admin(service, urls)
            await nursery.start(admin.run, admin_listeners)
            for listener in admin_listeners:
                announce(f"admin on {listener.url}")
        _tell_supervisor("READY=1")
        try:
            await service.run(listeners)  # the admin listener answers until the drain is over
        except (DataDirError, JoinError) as error:
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

"""Sockets that accept: TCP and Unix, raw, with the options that low latency needs."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from typing import NamedTuple

import trio

from chunkstore.config import ListenAddress
from chunkstore.server.tls import Certificate, TlsTransport
from chunkstore.server.transport import SocketTransport

__all__ = ["Listener", "accept_forever", "bind"]

OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Failures of accept that pass when a connection closes."""
RETRY_S = 0.1
ACCEPTS_PER_YIELD = 512


class Listener(NamedTuple):
    """A bound, listening socket and the URL it serves; with a certificate, over TLS."""

    raw: socket.socket
    url: str
    unix_path: str
    certificate: Certificate | None = None

    def close(self) -> None:
        """Stop listening; a Unix socket's name is removed."""
        if self.raw.fileno() < 0:
            return  # closed before, and the name may be another process's by now
        self.raw.close()
        if self.unix_path and os.path.exists(self.unix_path):
            os.unlink(self.unix_path)


def bind(
    address: ListenAddress,
    *,
    backlog: int,
    send_buffer_bytes: int,
    certificate: Certificate | None = None,
) -> Listener:
    """Bind and listen; to be called before the loop runs, since names are looked up.

    Args:
        backlog: connections that may wait to be accepted.
        send_buffer_bytes: what the kernel may hold for a slow reader; unbounded, it takes 4 MB.
        certificate: to speak TLS with; a Unix socket stays plain, since it leaves no machine.
    Raises:
        OSError: the address can't be had; its text names the address.
    """
    try:
        if address.unix_path:
            raw = _bind_unix(address.unix_path)
            url, certificate = f"unix:{address.unix_path}", None
        else:
            raw, url = _bind_tcp(address.host, address.port)
            if certificate is not None:
                url = url.replace("http", "https", 1)
    except OSError as error:
        where = address.unix_path or f"{address.host}:{address.port}"
        raise OSError(error.errno, f"can't listen on {where}: {error.strerror or error}") from error
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)  # accepted ones inherit
    raw.listen(backlog)
    raw.setblocking(False)
    return Listener(raw, url, address.unix_path, certificate)


def _bind_tcp(host: str, port: int) -> tuple[socket.socket, str]:
    family, kind, protocol, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    raw = socket.socket(family, kind, protocol)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        raw.bind(where)
    except OSError:
        raw.close()
        raise
    port = raw.getsockname()[1]
    return raw, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind_unix(path: str) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            raw.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            os.unlink(path)  # left behind by a process that was killed
            raw.bind(path)
    except OSError:
        raw.close()
        raise
    return raw


def _is_stale(path: str) -> bool:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False  # connecting to a file is refused just as well
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


async def accept_forever(
    listener: Listener, admit: Callable[[SocketTransport | TlsTransport], None]
) -> None:
    """Accept until cancelled; running out of descriptors is survived.

    Args:
        admit: takes the connection over, without waiting.
    """
    accepted_count = 0
    while True:
        try:
            raw, peer = listener.raw.accept()
        except (BlockingIOError, InterruptedError):
            await trio.lowlevel.wait_readable(listener.raw)
            continue
        except OSError as error:
            # Anything else is the failure of one connection that was waiting (RFC 9293 reset etc.).
            await trio.sleep(RETRY_S if error.errno in OUT_OF_RESOURCES else 0)
            continue
        if listener.unix_path:
            admit(SocketTransport(raw, "unix"))  # the peer's name is a path of its own choosing
        else:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = SocketTransport(raw, f"{peer[0]}:{peer[1]}")
            if listener.certificate is None:
                admit(transport)
            else:
                admit(TlsTransport(transport, listener.certificate.context))
        accepted_count += 1
        if not accepted_count % ACCEPTS_PER_YIELD:
            await trio.lowlevel.checkpoint()

"""TLS: the certificate that listeners show, and a connection's bytes over it.

On `ssl.SSLObject` and the socket transport below rather than on `trio.SSLStream`: only so is the
stall deadline armed anew with every send, can a cut body end in a reset, and can one side say
close_notify and still read what the other sends, which lingering takes.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from chunkstore.errors import SettingsError
from chunkstore.live import Piece
from chunkstore.server.transport import (
    INBOX_BYTES,
    RECEIVE_BYTES,
    STREAM_BYTES,
    SocketTransport,
    Transport,
)

__all__ = ["Certificate", "TlsTransport"]


_NOTHING = memoryview(b"")


class Certificate:
    """A certificate chain and its key, for new connections.

    Args:
        cert_path: the chain in PEM, the server's own first.
        key_path: its key in PEM, without a password.
    Raises:
        SettingsError: a file can't be read, is no PEM, or the two don't fit together.

    Attributes:
        context: what new connections shake hands with.
    """

    def __init__(self, cert_path: str, key_path: str) -> None:
        self._paths = (cert_path, key_path)
        self.context = _load(cert_path, key_path)

    def reload(self) -> None:
        """Read both files again; connections that there are keep what they have.

        Raises:
            SettingsError: as at first; what was in force stays.
        """
        self.context = _load(*self._paths)


def _load(cert_path: str, key_path: str) -> ssl.SSLContext:
    for where, path in (("tls_cert", cert_path), ("tls_key", key_path)):
        try:
            with open(path, "rb"):
                pass  # OpenSSL wouldn't say which of the two it is
        except OSError as error:
            raise SettingsError(where, f"{path}: {error.strerror or error}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert_path, key_path, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            detail = f"{key_path} is not the key of the certificate in {cert_path}"
            raise SettingsError("tls_key", detail) from error
        detail = f"expected a certificate in {cert_path} and its key in {key_path}, both PEM"
        raise SettingsError("tls_cert", f"{detail} ({error.reason or error})") from error
    except OSError as error:  # replaced just now: who renews it writes two files
        raise SettingsError("tls_cert", f"{cert_path}: {error.strerror or error}") from error
    except _PasswordError as error:
        raise SettingsError("tls_key", f"{key_path} has a password; take it off") from error
    return context


class _PasswordError(Exception):
    """The key has a password, and a server has nobody to ask for it."""


def _no_password() -> str:
    raise _PasswordError


class TlsTransport(Transport):
    """TLS over a connected socket, which it owns. It has no `raw`: the pump can't push to it.

    One task uses it at a time.
    """

    def __init__(self, socket_transport: SocketTransport, context: ssl.SSLContext) -> None:
        self.peer = socket_transport.peer
        self._socket = socket_transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._left = _NOTHING  # sealed, and not sent yet
        self._is_finished = False

    async def handshake(self) -> None:
        """Agree on keys. As `receive` otherwise."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError as error:
                with suppress(trio.BrokenResourceError):
                    await self._flush()  # the alert that says why
                raise trio.BrokenResourceError(str(error)) from error
            else:
                await self._flush()
                return

    async def receive(self, limit_bytes: int = RECEIVE_BYTES) -> memoryview:
        """As `Transport.receive`; a client that leaves without close_notify has just left."""
        if (
            self._is_finished
        ):  # what comes now is thrown away by whoever lingers: no need to read it
            return await self._socket.receive(limit_bytes)
        while True:
            try:
                return memoryview(self._tls.read(min(limit_bytes, INBOX_BYTES)))
            except ssl.SSLWantReadError:
                await self._flush()  # an answer to what the peer asked of TLS itself
                await self._feed()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return memoryview(b"")  # clients leave without a close_notify; HTTP has lengths
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def send_some(self, pieces: Sequence[Piece], progress: Callable[[], None]) -> int:
        """As `Transport.send_some`, at most `STREAM_BYTES`: sealed here, for this client alone."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            sent = self._tls.write(memoryview(data)[:STREAM_BYTES])
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(str(error)) from error
        await self._flush(progress)
        return sent

    async def _feed(self) -> None:
        data = await self._socket.receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self, progress: Callable[[], None] = lambda: None) -> None:
        while self._left or self._outgoing.pending:
            if not self._left:
                self._left = memoryview(self._outgoing.read())
            sent = await self._socket.send_some([self._left], progress)
            self._left = self._left[sent:] or _NOTHING

    def unsent_bytes(self) -> int:
        """As `Transport.unsent_bytes`, sealed bytes."""
        return self._socket.unsent_bytes()

    def _say_goodbye(self) -> bytes:
        """The close_notify that tells a whole end from a cut one."""
        with suppress(ssl.SSLError):  # the peer hasn't said its own, or the handshake isn't over
            self._tls.unwrap()
        return self._outgoing.read()

    async def finish(self) -> None:
        """As `Transport.finish`: close_notify, then a half-close below."""
        goodbye = self._say_goodbye()
        self._is_finished = True
        if goodbye:
            await self._socket.send_some([goodbye], lambda: None)
        await self._socket.finish()

    async def close(self, *, reset: bool) -> None:
        """As `Transport.close`; with `reset` there is no close_notify either."""
        if not (reset or self._is_finished or self._left):
            raw = self._socket.raw
            with suppress(OSError):  # it is full, or gone: there is nobody to tell
                raw.send(self._say_goodbye())
        await self._socket.close(reset=reset)

    def acknowledge_soon(self) -> None:
        """As `Transport.acknowledge_soon`."""
        self._socket.acknowledge_soon()

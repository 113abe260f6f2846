"""TLS over real sockets: the same answers, truthful endings, handshakes with a bound and an end."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from chunkstore.config import parse_listen
from chunkstore.errors import SettingsError
from chunkstore.metrics import Ending
from chunkstore.origin import Origin
from chunkstore.server import Certificate, Listener, Log, bind, connection
from tests.origin.drive import Client, Site, Upload, make_settings
from tests.server.rig import all_closed, open_count, until

DEADLINE_S = 20.0
CA = trustme.CA()
MIB = 2**20


def write_pair(folder: Path, *names: str, ca: trustme.CA = CA) -> tuple[str, str]:
    """A certificate and its key as files."""
    made = ca.issue_cert(*names)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return str(cert), str(key)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """A certificate for localhost and its key."""
    return write_pair(tmp_path, "localhost")


class TlsSite(Site):
    """An origin that listens and speaks TLS."""

    def __init__(
        self, origin: Origin, nursery: trio.Nursery, listener: Listener, certificate: Certificate
    ) -> None:
        super().__init__(origin, nursery)
        self.listener = listener
        self.certificate = certificate
        self.streams: list[trio.abc.Stream] = []

    async def plain(self) -> trio.SocketStream:
        """A TCP connection without TLS."""
        stream = await trio.open_tcp_stream(*self.listener.raw.getsockname())
        self.streams.append(stream)
        return stream

    async def dial(self, **changes: object) -> Client:
        """A connection over TLS; `changes` to the client's context."""
        context = ssl.create_default_context()
        CA.configure_trust(context)
        for name, value in changes.items():
            setattr(context, name, value)
        stream = trio.SSLStream(await self.plain(), context, server_hostname="localhost")
        await stream.do_handshake()
        return Client(stream)

    async def begin_upload(self, target: str, *chunks: bytes) -> Upload:
        """A chunked PUT over TLS under way, its first chunks taken in."""
        upload = Upload(await self.dial())
        await upload.client.request("PUT", target, "Transfer-Encoding: chunked")
        await upload.chunk(*chunks)
        size = sum(map(len, chunks))
        await until(lambda: self.stored_bytes(target) == size)
        return upload

    def stored_bytes(self, target: str) -> int:
        """What of an object is there."""
        generation = self.origin.catalog.namespace.visible(target)
        return 0 if generation is None else generation.ring.end


@asynccontextmanager
async def listening(pair: tuple[str, str], **changes: object) -> AsyncIterator[TlsSite]:
    """An origin that speaks TLS on a port of the kernel's choice."""
    certificate = Certificate(*pair)
    listener = bind(
        parse_listen("127.0.0.1:0"),
        backlog=64,
        send_buffer_bytes=65536,
        certificate=certificate,
    )
    assert listener.url.startswith("https://127.0.0.1:")
    origin = Origin(make_settings(**changes), Log("off"))
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(origin.run, (listener,))
            site = TlsSite(origin, nursery, listener, certificate)
            try:
                yield site
            finally:
                for stream in site.streams:
                    await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_it_answers_as_without(pair: tuple[str, str], version: ssl.TLSVersion) -> None:
    async with listening(pair) as site:
        client = await site.dial(maximum_version=version)
        body = bytes(range(256)) * 4096 * 3
        assert (await client.ask("PUT", "/x", body=body)).status == 201
        answer = await client.ask("GET", "/x")
        assert (answer.status, answer.is_whole) == (200, True)
        assert answer.body == body
        assert (await client.ask("GET", "/x", "Range: bytes=70000-300000")).body == body[
            70000:300001
        ]
        assert (await client.ask("GET", "/none")).status == 404


async def test_readers_follow_and_the_end_is_whole(pair: tuple[str, str]) -> None:
    chunks = [b"%d" % number * (number * 997 % 30000 + 1) for number in range(40)]
    async with listening(pair) as site:
        writer = await site.begin_upload("/x", chunks[0])
        readers = [await site.dial() for _ in range(3)]
        for reader in readers:
            await reader.begin("/x")
        for chunk in chunks[1:]:
            await writer.chunk(chunk)
        assert (await writer.end()).json["chunks"] == len(chunks)
        for reader in readers:
            answer = await reader.rest()
            assert (answer.chunks, answer.is_whole) == (chunks, True)
            assert (await reader.ask("HEAD", "/x")).status == 200


async def test_a_cut_body_has_no_clean_end(pair: tuple[str, str]) -> None:
    async with listening(pair, policies=[{"match": "/", "abort_grace": "0s"}]) as site:
        writer = await site.begin_upload("/x", b"hello")
        reader = await site.dial()
        await reader.begin("/x")
        await reader.until(5)
        await writer.client.close()
        answer = await reader.rest()
        assert answer.is_whole is False
        assert answer.was_reset  # no close_notify, which `receive_some` would end with b"" for
        assert site.origin.metrics.endings[Ending.ABORTED.metric] == 1


async def test_a_whole_end_says_close_notify(pair: tuple[str, str]) -> None:
    async with listening(pair) as site:
        client = await site.dial()
        answer = await client.ask("GET", "/none", "Connection: close")
        assert (answer.status, answer.is_whole) == (404, True)
        assert await client.is_closed()  # else: BrokenResourceError
        idle = await site.dial()
        site.origin.server.stop()
        assert await idle.is_closed()


async def test_the_last_answer_outlives_what_is_still_sent(pair: tuple[str, str]) -> None:
    async with listening(pair) as site:
        client = await site.dial()
        await client.request(
            "PUT", "/x", "Transfer-Encoding: chunked", "Content-Range: bytes 0-1/*"
        )
        await client.send(b"zz\r\n" + b"x" * 65536)  # bad framing: an answer, then a close
        answer = await client.read("PUT")
        assert (answer.status, answer.is_whole) == (400, True)


async def test_a_stalled_reader_is_cut(pair: tuple[str, str]) -> None:
    async with listening(pair, reader_stall_s=0.3, memory_bytes=64 * MIB) as site:
        assert (await (await site.dial()).ask("PUT", "/x", body=bytes(32 * MIB))).status == 201
        client = await site.dial()
        await client.begin("/x")
        await until(lambda: site.origin.metrics.endings[Ending.STALLED.metric] == 1)


async def test_handshakes_have_a_deadline(pair: tuple[str, str]) -> None:
    async with listening(pair, header_timeout_s=0.2) as site:
        silent = await site.plain()
        assert not await silent.receive_some()
        await all_closed(site.origin.server)


async def test_past_the_bound_the_oldest_handshake_goes(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HANDSHAKES_MAX", 3)
    async with listening(pair) as site:
        silent = []
        for count in range(1, 4):
            silent.append(await site.plain())
            await until(lambda count=count: len(site.origin.server.handshakes) == count)  # type: ignore[misc]
        client = await site.dial()
        assert (await client.ask("GET", "/none")).status == 404
        assert not await silent[0].receive_some()
        assert len(site.origin.server.handshakes) == 2


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"x" * 600, b"\0"])
async def test_what_is_no_handshake_ends_and_harms_nobody(
    pair: tuple[str, str], data: bytes
) -> None:
    async with listening(pair, header_timeout_s=0.5) as site:
        before = open_count()
        for _ in range(5):
            stream = await site.plain()
            await stream.send_all(data)
            try:
                while await stream.receive_some():
                    pass  # an alert
            except trio.BrokenResourceError:
                pass
            await stream.aclose()
        await all_closed(site.origin.server)
        assert open_count() <= before
        assert (await (await site.dial()).ask("GET", "/none")).status == 404


async def test_old_versions_are_refused(pair: tuple[str, str]) -> None:
    async with listening(pair) as site:
        with (
            pytest.raises(trio.BrokenResourceError),
            pytest.warns(DeprecationWarning, match="TLSv1"),
        ):
            await site.dial(
                minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1
            )


async def test_connections_beyond_the_limit_are_closed(pair: tuple[str, str]) -> None:
    async with listening(pair, max_connections=1) as site:
        first = await site.dial()
        with pytest.raises(trio.BrokenResourceError):
            await site.dial()
        assert (await first.ask("GET", "/none")).status == 404
        assert site.origin.metrics.connections_refused == 1


async def test_a_new_certificate_is_for_new_connections(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    async with listening(pair) as site:
        old = await site.dial()
        other = trustme.CA()
        write_pair(tmp_path, "localhost", ca=other)
        site.certificate.reload()
        with pytest.raises(trio.BrokenResourceError):
            await site.dial()
        assert (await old.ask("GET", "/none")).status == 404
        (tmp_path / "key.pem").write_text("no key")
        context = site.certificate.context
        with pytest.raises(SettingsError):
            site.certificate.reload()
        assert site.certificate.context is context


def test_a_certificate_that_is_being_replaced_is_a_wrong_one(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other error at SIGHUP ended the server."""
    certificate = Certificate(*pair)
    in_force = certificate.context

    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", gone)
    with pytest.raises(SettingsError, match="tls_cert: .*: No such file or directory"):
        certificate.reload()
    assert certificate.context is in_force

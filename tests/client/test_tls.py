"""https over real sockets: trust, and the lack of it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from chunkstore.client import Client, Url, dial
from chunkstore.errors import ConnectError, FetchError
from tests.client.peer import LENGTH

PEM = Path(__file__).parent / "localhost.pem"


def with_server(test: Callable[[int], Awaitable[None]]) -> None:
    """Run a test beside a TLS server that answers one request a connection."""
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(PEM)

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(LENGTH + b"abc")
        except trio.BrokenResourceError:
            pass  # a client that doesn't trust it

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_ssl_over_tcp, answer, 0, own, host="127.0.0.1")
                [listener] = await nursery.start(serve)
                await test(listener.transport_listener.socket.getsockname()[1])
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_server_that_is_trusted() -> None:
    trusting = ssl.create_default_context(cafile=str(PEM))

    async def test(port: int) -> None:
        url = Url("https", "localhost", port, "/")
        async with Client(url, connect=partial(dial, tls=trusting)) as client:
            for _ in range(2):  # the server closes without a farewell: asked once more
                assert await (await client.request("GET", "/a")).body() == b"abc"

    with_server(test)


def test_a_server_that_is_not_trusted_is_not_asked_again() -> None:
    async def test(port: int) -> None:
        async with Client(Url("https", "localhost", port, "/")) as client:
            with pytest.raises(FetchError, match=r"no trust in localhost:\d+: self.signed") as one:
                await client.request("GET", "/a")
            assert not isinstance(one.value, ConnectError)

    with_server(test)


def test_a_server_without_tls() -> None:
    async def main() -> None:
        async def answer(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(LENGTH)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
                [listener] = await nursery.start(serve)
                port = listener.socket.getsockname()[1]
                async with Client(Url("https", "127.0.0.1", port, "/")) as client:
                    with pytest.raises(
                        ConnectError,
                        match=r"no connection to 127.0.0.1:\d+: .*(version|record|http)",
                    ):
                        await client.request("GET", "/a")
                nursery.cancel_scope.cancel()

    trio.run(main)

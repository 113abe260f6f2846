"""Where redirects lead, and where they may not; which addresses may be asked."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from chunkstore.client import Timeouts, Url, parse_url
from chunkstore.errors import FetchError
from chunkstore.worker.fetch.address import dial_public, is_public
from chunkstore.worker.fetch.source import REDIRECTS_MAX, Sources

PUBLIC = ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0"]
PRIVATE += ["100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1"]
PRIVATE += ["::127.0.0.1", "64:ff9b:1::7f00:1"]
PRIVATE += ["ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internets_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_others_are_not(address: str) -> None:
    assert not is_public(address)


class Resolver(trio.abc.HostnameResolver):
    """Knows one name's addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, host: Any, port: Any, *args: Any) -> Any:  # noqa: ANN401 - as the system's
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port))
            for one in self._addresses
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:  # noqa: ANN401 - as above
        raise AssertionError


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:10.0.0.1"])
@pytest.mark.parametrize("before", [(), ("1.1.1.1",)])
async def test_a_name_with_one_private_address_is_refused(
    before: tuple[str, ...], address: str
) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(*before, address))
    with pytest.raises(FetchError, match=f"x.test has the address {address}, which is not a publ"):
        await dial_public(Url("http", "x.test", 80, "/"))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
async def test_an_address_by_itself_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises((FetchError, OSError)) as failure:
        await dial_public(parse_url(f"http://{host}:1/"))
    assert isinstance(failure.value, (FetchError, socket.gaierror))


# --- redirects ---------------------------------------------------------------------------------


class Maze:
    """Servers that lead elsewhere.

    Attributes:
        asked: URLs that came.
        heads: of requests.
    """

    def __init__(self, doors: dict[str, str], *, closes: bool = False) -> None:
        self.doors = doors
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self._nursery: trio.Nursery | None = None
        self._closes = closes

    async def connect(self, url: Url) -> trio.abc.Stream:
        """To any of them."""
        ours, theirs = trio.testing.memory_stream_pair()
        assert self._nursery is not None
        self._nursery.start_soon(self._serve, url, theirs)
        return ours

    async def _serve(self, url: Url, stream: trio.abc.Stream) -> None:
        async with stream:
            while head := bytes(await stream.receive_some(65536)):
                target = head.split(b" ")[1].decode()
                asked = f"{url.scheme}://{url.authority}{target}"
                self.asked.append(asked)
                self.heads.append(head)
                door = self.doors.get(asked)
                length = "" if self._closes else "Content-Length: 0\r\n"
                there = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                leads = f"HTTP/1.1 302 Found\r\nLocation: {door}\r\n{length}\r\n".encode()
                await stream.send_all(there if door is None else leads)
                if self._closes and door is not None:
                    return

    @asynccontextmanager
    async def sources(self) -> AsyncGenerator[Sources]:
        """Ask them."""
        async with trio.open_nursery() as self._nursery:
            async with Sources(self.connect, Timeouts()) as sources:
                yield sources
            self._nursery.cancel_scope.cancel()


async def ask(maze: Maze, url: str) -> bytes:
    """Where it leads."""
    failure: FetchError | None = None
    async with maze.sources() as sources:
        try:
            async with sources.get(parse_url(url), ()) as answer:
                return await answer.body()
        except FetchError as error:
            failure = error
    assert failure is not None
    raise failure


def corridor(length: int) -> dict[str, str]:
    """So many redirects, one behind the other."""
    return {f"http://x.test/{n}": f"/{n + 1}" for n in range(length)}


async def test_so_many_redirects_and_no_more() -> None:
    assert await ask(Maze(corridor(REDIRECTS_MAX)), "http://x.test/0") == b"ok"
    maze = Maze(corridor(REDIRECTS_MAX + 1))
    with pytest.raises(FetchError, match="more than 5 redirects"):
        await ask(maze, "http://x.test/0")
    assert len(maze.asked) == REDIRECTS_MAX + 1


async def test_one_whose_end_is_the_connections_is_followed() -> None:
    maze = Maze(corridor(2), closes=True)
    assert await ask(maze, "http://x.test/0") == b"ok"
    assert all(b"Accept-Encoding: identity\r\n" in head for head in maze.heads)


@pytest.mark.parametrize(
    "location", ["", "ftp://x.test/", "http://", "http://x:99999/", "file:///x", "http://a..b/"]
)
async def test_what_leads_nowhere_is_refused(location: str) -> None:
    maze = Maze({"http://x.test/": location})
    with pytest.raises(FetchError, match="redirect"):
        await ask(maze, "http://x.test/")


async def test_from_https_nothing_leads_to_http() -> None:
    maze = Maze({"https://x.test/": "http://x.test/a", "http://x.test/": "https://x.test/b"})
    with pytest.raises(FetchError, match="from https to http"):
        await ask(maze, "https://x.test/")
    assert await ask(maze, "http://x.test/") == b"ok"


async def test_credentials_stay_behind() -> None:
    maze = Maze({"http://x.test/": "http://y.test/", "http://y.test/": "http://x.test/a"})
    assert await ask(maze, "http://user:secret@x.test/") == b"ok"
    assert [b"Authorization" in head for head in maze.heads] == [True, False, False]


async def test_private_addresses_are_refused_behind_a_redirect_too() -> None:
    async def connect(url: Url) -> trio.abc.Stream:
        return await (maze.connect(url) if url.host == "x.test" else dial_public(url))

    maze = Maze({"http://x.test/": "http://169.254.169.254/latest"})
    async with trio.open_nursery() as maze._nursery:
        failure: FetchError | None = None
        async with Sources(connect, Timeouts()) as sources:
            try:
                async with sources.get(parse_url("http://x.test/"), ()):
                    pass
            except FetchError as error:
                failure = error
        maze._nursery.cancel_scope.cancel()
    assert "169.254.169.254, which is not a public one" in str(failure)

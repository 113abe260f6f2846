"""Every check passes on a service that is right, and fails on one that is wrong there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import trio

from chunkstore.client import Client, Url
from chunkstore.cluster.check import (
    CHECKS,
    Outcome,
    Peer,
    front,
    own_prefix,
    parts_on_nodes,
    races,
    run_checks,
)
from chunkstore.cluster.check.checks import Check
from chunkstore.cluster.check.peer import Got
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.sign import Signer
from chunkstore.errors import CheckError, ConnectError, FetchError, StatusError
from chunkstore.paths import parse_prefix
from tests.cluster.check.service import PREFIX, Service


async def test_a_service_that_is_right_passes_and_is_left_as_it_was() -> None:
    async with Service.open(5) as service:
        await service.peer.put("mine", b"stays")
        mine = Peer(service.client, f"{PREFIX}checks/")
        parts = partial(parts_on_nodes, inquiry=service.inquiry(), link=service.links)
        told: list[Outcome] = []
        await run_checks(mine, told.append, [*CHECKS, ("parts", parts)])
        assert [one for one in told if one.flaw] == []
        assert len({one.name for one in told}) == len(told) > 10
        assert await service.peer.names() == [("mine", 5)]


async def test_nothing_is_begun_where_nobody_listens() -> None:
    told: list[Outcome] = []

    async def refuse(_: object) -> trio.abc.Stream:
        raise ConnectionRefusedError(111, "Connection refused")

    url = Url("http", "gateway.test", 80, "/")
    peer = Peer(partial(Client, url, connect=refuse), PREFIX)
    with pytest.raises(ConnectError):
        await run_checks(peer, told.append)
    assert told == []


async def test_what_was_written_is_taken_away_when_it_is_interrupted() -> None:
    async with Service.open(5) as service:
        told: list[Outcome] = []
        with trio.CancelScope() as scope:

            async def interrupt(peer: Peer) -> None:
                await peer.put("left", b"behind")
                scope.cancel()
                await peer.put("more", b"not written")

            await run_checks(service.peer, told.append, [("interrupt", interrupt)])
        assert scope.cancelled_caught
        assert [one.flaw for one in told] == [""]
        assert await service.peer.names() == []


async def test_one_that_never_ends_has_failed() -> None:
    async with Service.open(5) as service:

        async def hang(_: Peer) -> None:
            await trio.sleep_forever()

        told: list[Outcome] = []
        await run_checks(service.peer, told.append, [("hang", hang), ("listing", front.listing)])
        flaws = [one.flaw for one in told]
        assert flaws == ["expected an end within 300 s", "", ""]


# --- services that are wrong ------------------------------------------------------------------

Change = Callable[[str, str, Got], Got]


@dataclass(frozen=True, slots=True)
class Wrong(Peer):
    """A service some of whose answers are other ones."""

    change: Change = lambda _method, _name, got: got
    holds_back: bool = False

    async def put(
        self,
        name: str,
        body: object,
        fields: Sequence[tuple[str, str]] = (),
        *,
        is_length_known: bool = True,
    ) -> Got:
        got = await Peer.put(self, name, body, fields, is_length_known=is_length_known)  # type: ignore[arg-type]  # as it came
        return self.change("PUT", name, got)

    async def follow(
        self,
        method: str,
        name: str,
        fields: Sequence[tuple[str, str]],
        took: Callable[[bytes], Awaitable[None]],
    ) -> tuple[int, Mapping[str, str]]:
        came: list[bytes] = []

        async def keep(data: bytes) -> None:
            came.append(data)
            if not self.holds_back and len(came) == 1 and "followed" not in name:
                await took(b"")

        status, heads = await Peer.follow(self, method, name, fields, keep)
        got = self.change(method, name, Got(status, heads, b"".join(came)))
        await took(got.body)
        return got.status, got.fields


def flips(method: str, name: str, got: Got) -> Got:
    """The last byte of what is read is another one."""
    if method != "GET" or not got.body or got.status >= 300:
        return got
    return got._replace(body=got.body[:-1] + bytes([got.body[-1] ^ 1]))


def shortens(method: str, name: str, got: Got) -> Got:
    """Whatever is read ends early."""
    return got._replace(body=got.body[:-1]) if method == "GET" and got.status < 300 else got


def without(field: str) -> Change:
    """A field is never there."""

    def change(method: str, name: str, got: Got) -> Got:
        if method == "HEAD" and field != "repr-digest":
            return got
        return got._replace(fields={k: v for k, v in got.fields.items() if k != field})

    return change


def answers(method: str, was: int, status: int) -> Change:
    """A status is another one."""

    def change(asked: str, name: str, got: Got) -> Got:
        return got._replace(status=status) if (asked, got.status) == (method, was) else got

    return change


WRONG: list[tuple[Check, Wrong | Change, str]] = [
    (front.sizes, flips, "differ from byte"),
    (front.sizes, shortens, "differ from byte"),
    (front.sizes, without("repr-digest"), "Repr-Digest"),
    (front.sizes, without("etag"), "ETag of"),
    (front.sizes, answers("PUT", 201, 503), "expected 201 or 200, got 503"),
    (front.sizes, answers("GET", 200, 500), "expected 200, got 500"),
    (front.heads, without("etag"), "etag of HEAD"),
    (front.heads, answers("HEAD", 200, 404), "status of HEAD"),
    (front.some_ranges, flips, "range 0-0.*differ from byte"),
    (front.some_ranges, answers("GET", 206, 200), "expected 206, got 200"),
    (front.some_ranges, answers("GET", 416, 206), "expected 416"),
    (front.conditions, answers("GET", 304, 200), "expected 304"),
    (front.conditions, answers("PUT", 412, 200), "expected 412"),
    (front.deletion, answers("GET", 404, 200), "expected 404, got 200"),
    (front.deletion, answers("DELETE", 404, 200), "expected 404, got 200"),
    (front.bad_input, answers("PUT", 400, 201), "expected 400, got 201"),
    (front.broken_off, flips, "differ from byte"),
    (front.broken_off, answers("GET", 404, 200), "expected 404"),
    (races.overwritten, flips, "differ from byte"),
    (races.at_once, flips, "differ from byte"),
    (races.two_writers, flips, "neither of them"),
    (races.two_writers, answers("PUT", 409, 500), "expected 409"),
]


@pytest.mark.parametrize(
    ("check", "change", "expected"),
    WRONG,
    ids=[f"{check.__name__}-{number}" for number, (check, _, _) in enumerate(WRONG)],
)
async def test_what_is_wrong_is_found(check: Check, change: Change, expected: str) -> None:
    async with Service.open(5) as service:
        with pytest.raises(CheckError, match=f"(?s){expected}"):
            await check(Wrong(service.client, PREFIX, change))


async def test_one_that_holds_an_upload_back_until_it_is_complete_is_found() -> None:
    async with Service.open(5) as service:
        with pytest.raises(CheckError, match="of an upload under way its reader got 0 within"):
            await races.followed(Wrong(service.client, PREFIX, holds_back=True))


async def test_a_listing_that_lacks_a_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fewer(self: Peer) -> list[tuple[str, int]]:
        return (await names(self))[1:]

    names = Peer.names
    monkeypatch.setattr(Peer, "names", fewer)
    async with Service.open(5) as service:
        with pytest.raises(CheckError, match="names and sizes of LIST"):
            await front.listing(service.peer)


async def test_parts_that_are_not_right_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Service.open(7) as service:
        check = partial(parts_on_nodes, service.peer, inquiry=service.inquiry(), link=service.links)
        await check()
        ask = service.inquiry().manifest
        for change, expected in (
            (lambda one: one._replace(nodes=(1, 1, *one.nodes[2:])), "a node of its own"),
            (lambda one: one._replace(nodes=(0, *one.nodes[1:])), "a node of its own"),
            (lambda one: one._replace(k=4), "data parts"),
            (lambda one: one._replace(part_bytes=1), "lengths of the parts"),
        ):

            class Lying:
                """Says other things of where parts are."""

                addresses = staticmethod(service.inquiry().addresses)

                @staticmethod
                async def manifest(key: str, change: Callable[[object], object] = change) -> object:
                    return change(await ask(key))

            with pytest.raises(CheckError, match=expected):
                await parts_on_nodes(service.peer, Lying(), service.links)  # type: ignore[arg-type]  # as much as is asked


async def test_a_node_without_its_part_is_found() -> None:
    async with Service.open(7) as service:
        inquiry = service.inquiry()

        async def lose(name: str) -> None:
            manifest = await inquiry.manifest(service.peer.key(name))
            path = part_path(Part(manifest.generation, 2))
            site = service.gateway.nodes.sites[manifest.nodes[2]]
            site.origin.catalog.delete(path)

        put = Peer.put

        class Losing(Peer):
            """Loses a part of all that is written."""

            async def put(self, name: str, *args: object, **options: object) -> Got:
                got = await put(self, name, *args, **options)  # type: ignore[arg-type]  # as they came
                await lose(name)
                return got

        with pytest.raises(StatusError, match="404"):
            await parts_on_nodes(Losing(service.client, PREFIX), inquiry, service.links)


# --- who asks ---------------------------------------------------------------------------------


async def test_another_secret_and_another_port_are_told() -> None:
    async with Service.open(5) as service:
        with pytest.raises(StatusError, match="made with another secret"):
            await service.inquiry(Signer(b"fedcba9876543210")).status()
        with pytest.raises(FetchError, match="is no gateway's address for nodes"):
            await service.stranger().status()
        with pytest.raises(StatusError, match="404"):
            await service.inquiry().manifest("/none")


def test_a_prefix_is_a_good_name_and_new_each_time() -> None:
    for path in ("/", "/a%20b", "/a%20b/"):
        prefix = own_prefix(path)
        assert parse_prefix(prefix).endswith("/")
        assert prefix.startswith(path.rstrip("/") + "/.check-")
        assert prefix != own_prefix(path)

"""Who follows an upload through the gateway is told its digest at the end, if it asks for it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from chunkstore.cluster.stripe import STRIPE_BYTES
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway
from tests.cluster.test_upload import payload
from tests.examples import examples
from tests.origin.drive import Answer, Client, Site

WISH = "TE: trailers"
SIZES = st.integers(2, 300) | st.sampled_from([65_536, STRIPE_BYTES, STRIPE_BYTES + 1])


def digest_of(data: bytes) -> dict[str, str]:
    """What trailers say of it."""
    return {"repr-digest": f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"}


@asynccontextmanager
async def stage(count: int = 7) -> AsyncIterator[tuple[Gateway, Site]]:
    """Nodes, and an origin over them."""
    async with Gateway.open(count) as gateway, gateway.life() as store:
        async with trio.open_nursery() as nursery:
            yield gateway, await Site.open(nursery, disk=store)
            nursery.cancel_scope.cancel()


async def follow(site: Site, *lines: str) -> Client:
    """A GET of what is written, which has begun."""
    client = site.connect()
    head = await client.begin("/a", *lines)
    assert head.fields["chunkstore-state"] == "open"
    return client


def play(test: Callable[..., Awaitable[None]], *args: object) -> None:
    """On a clock that jumps."""
    trio.run(partial(test, *args), clock=MockClock(autojump_threshold=0))


@examples(25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SIZES, min_size=1, max_size=5), st.sampled_from([5, 7]))
def test_it_is_that_of_all_bytes_however_they_come(sizes: list[int], count: int) -> None:
    async def main() -> None:
        data, at = payload(sum(sizes)), 0
        async with stage(count) as (_, site):
            upload = await site.upload("/a")
            clients: list[tuple[Client, bool]] = []
            for size in sizes:
                await upload.chunk(data[at : at + size])
                at += size
                clients += [(await follow(site, WISH), True), (await follow(site), False)]
            ranged = await follow(site, WISH, "Range: bytes=1-9007199254740991")
            answer = await upload.end()
            assert answer.status == 201
            for client, is_told in clients:
                answer = await client.rest()
                assert answer.is_whole
                assert answer.body == data
                assert answer.fields.get("trailer") == ("Repr-Digest" if is_told else None)
                assert answer.trailers == (digest_of(data) if is_told else {})
            answer = await ranged.rest()
            assert (answer.body, answer.trailers) == (data[1:], digest_of(data))
            answer = await site.get("/a", WISH)
            assert answer.fields["repr-digest"] == digest_of(data)["repr-digest"]
            assert "trailer" not in answer.fields

    play(main)


@pytest.mark.parametrize("size", [1000, 3_000_000])
async def test_a_reader_does_not_wait_until_it_is_durable(size: int) -> None:
    data, is_taken = payload(size), trio.Event()

    async def late(exchange: Exchange, handler: Handler) -> None:
        await is_taken.wait()
        await handler(exchange)

    async with stage() as (gateway, site):
        gateway.nodes.mishaps = dict.fromkeys(gateway.nodes.sites, late)
        upload = await site.upload("/a")
        await upload.chunk(data)
        client = await follow(site, WISH)
        await upload.client.send(b"0\r\n\r\n")
        answer = await client.rest()
        assert (answer.is_whole, answer.trailers) == (True, digest_of(data))
        head = await site.ask("HEAD", "/a")  # nor is it a secret from then on
        assert head.fields["repr-digest"] == digest_of(data)["repr-digest"]
        is_taken.set()
        assert (await upload.answer()).status == 201


async def test_of_an_upload_that_broke_off_it_is_that_of_the_retry() -> None:
    data = payload(3 * STRIPE_BYTES)
    other = data[: 2 * STRIPE_BYTES] + payload(1000)
    async with stage() as (_, site):
        first = await site.upload("/a")
        await first.chunk(data[: STRIPE_BYTES + 7])
        clients = [await follow(site, WISH), await follow(site)]
        await first.kill()
        second = await site.upload("/a")
        await second.chunk(other)
        await wait_all_tasks_blocked()
        assert (await second.end()).status == 201
        for client, trailers in zip(clients, (digest_of(other), {}), strict=True):
            answer: Answer = await client.rest()
            assert answer.is_whole
            assert (answer.body, answer.trailers) == (other, trailers)


async def test_where_too_few_nodes_are_left_it_has_none_or_the_right_one() -> None:
    data = payload(1000)
    async with stage() as (gateway, site):
        upload = await site.upload("/a")
        await upload.chunk(data)
        client = await follow(site, WISH)
        gateway.nodes.down = set(gateway.nodes.sites)
        answer = await upload.end()
        assert answer.status == 503
        answer = await client.rest()
        assert answer.is_whole  # all its bytes had come, which nobody can take back
        assert answer.body == data
        assert answer.trailers in ({}, digest_of(data))

"""What the users of a service see of it while others write and read: old or new, never a mix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import trio

from chunkstore.cluster.check.cases import LONG_BYTES, content, expect_equal, expect_same
from chunkstore.cluster.check.peer import Peer, expect_taken, together
from chunkstore.cluster.stripe import STRIPE_BYTES
from chunkstore.errors import CheckError

__all__ = ["at_once", "followed", "overwritten", "two_writers"]

FOLLOW_S = 20.0
"""Bytes that were sent are read within so long, while their upload is under way."""
WRITERS = 12
READERS = 4


async def followed(peer: Peer) -> None:
    """An object is read while it is PUT: each piece comes before the next one is sent."""
    data = content("followed", 3 * STRIPE_BYTES + 5)
    sent = [0]
    came = bytearray()
    grown, begun = trio.Event(), trio.Event()

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(data), STRIPE_BYTES // 2):
            piece = data[start : start + STRIPE_BYTES // 2]
            yield piece
            sent[0] += len(piece)
            begun.set()
            with trio.move_on_after(FOLLOW_S):
                while len(came) < sent[0]:
                    await grown.wait()
            if len(came) < sent[0]:
                raise CheckError(
                    f"of {sent[0]} bytes of an upload under way its reader got {len(came)} within"
                    f" {FOLLOW_S:g} s"
                )

    async def write() -> None:
        put = await peer.put("followed", body())
        expect_taken("followed", put)

    async def read() -> None:
        nonlocal grown
        await begun.wait()

        async def took(piece: bytes) -> None:
            nonlocal grown
            came.extend(piece)
            grown.set()
            grown = trio.Event()

        status, fields = await peer.follow("GET", "followed", [("Prefer", "wait=5")], took)
        expect_equal("status of GET of an upload under way", 200, status)
        expect_equal(
            "Chunkstore-State of an upload under way", "open", fields.get("chunkstore-state")
        )
        expect_same("what was read of an upload under way", data, bytes(came))

    await together(write, read)


async def overwritten(peer: Peer) -> None:
    """Who reads what is replaced gets it to its end; who comes gets the old or the new, whole."""
    old, new = content("overwritten old", LONG_BYTES), content("overwritten new", LONG_BYTES - 1)
    expect_taken("overwritten", await peer.put("overwritten", old))
    has_begun, is_replaced = trio.Event(), trio.Event()

    async def replace() -> None:
        await has_begun.wait()
        expect_taken("overwritten", await peer.put("overwritten", new))
        is_replaced.set()

    async def read_slowly() -> None:
        came = bytearray()

        async def took(piece: bytes) -> None:
            came.extend(piece)
            has_begun.set()
            await is_replaced.wait()

        await peer.follow("GET", "overwritten", [], took)
        expect_same("what was read while it was replaced", old, bytes(came))

    async def read_often() -> None:
        await has_begun.wait()
        while not is_replaced.is_set():
            got = await peer.ask("GET", "overwritten")
            if got.body != new:
                expect_same("what was read while it was replaced", old, got.body)

    await together(replace, read_slowly, *[read_often] * READERS)
    expect_same("GET of what has replaced it", new, (await peer.ask("GET", "overwritten")).body)


async def two_writers(peer: Peer) -> None:
    """Of two that write one name at once, the name has what one was acknowledged for."""
    kept: list[bytes] = []

    async def write(seed: str) -> None:
        data = content(seed, 2 * STRIPE_BYTES)
        put = await peer.put("contested", data, is_length_known=False)
        if put.status in (200, 201):
            kept.append(data)
        else:
            expect_equal("status of a PUT that another one displaced", 409, put.status)

    await together(partial(write, "one"), partial(write, "two"))
    got = await peer.ask("GET", "contested")
    if got.body not in kept:
        raise CheckError(
            f"of two writers {len(kept)} were acknowledged, and the name has what neither of them"
            f" wrote: status {got.status}, {len(got.body)} bytes"
        )


async def at_once(peer: Peer) -> None:
    """Many write and read at once, and each gets what belongs to its name."""

    async def write_and_read(number: int) -> None:
        name = f"at-once-{number}"
        data = content(name, (number * 97_003) % STRIPE_BYTES * (number % 3))
        expect_taken(name, await peer.put(name, data, is_length_known=number % 2 == 0))
        for _ in range(2):
            expect_same(f"GET {name}", data, (await peer.ask("GET", name)).body)

    await together(*(partial(write_and_read, number) for number in range(WRITERS)))

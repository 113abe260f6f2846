"""What the users of a service see of it, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import trio

from chunkstore.cluster.check.cases import (
    SIZES,
    content,
    digest_field,
    expect_equal,
    expect_same,
    ranges,
)
from chunkstore.cluster.check.peer import Got, Peer, expect_taken
from chunkstore.cluster.stripe import STRIPE_BYTES
from chunkstore.errors import ChunkstoreError, CutError

__all__ = [
    "bad_input",
    "broken_off",
    "conditions",
    "deletion",
    "heads",
    "listing",
    "sizes",
    "some_ranges",
]

BREAK_TRIES = 20


async def _written(peer: Peer, name: str, data: bytes, *, is_length_known: bool = True) -> Got:
    """What a PUT was answered with; it was taken.

    Raises:
        CheckError: it wasn't.
    """
    put = await peer.put(name, data, is_length_known=is_length_known)
    expect_taken(name, put)
    return put


def _said(got: Got, expected: int) -> object:
    """The status; where it isn't the expected one, with what the service says of it."""
    return expected if got.status == expected else got.said


async def _read(peer: Peer, name: str, data: bytes) -> Got:
    """What a GET was answered with; it is what was written, to its last byte.

    Raises:
        CheckError: it isn't.
    """
    got = await peer.ask("GET", name)
    expect_equal(f"status of GET {name}", 200, _said(got, 200))
    expect_same(f"GET {name}", data, got.body)
    expect_equal(f"Content-Length of {name}", str(len(data)), got.fields.get("content-length"))
    expect_equal(f"Repr-Digest of {name}", digest_field(data), got.fields.get("repr-digest"))
    return got


async def sizes(peer: Peer) -> None:
    """Objects of every size that is special, whose length is known before or not, come back."""
    for size in SIZES:
        for is_known in (True, False):
            name = f"size-{size}-{'known' if is_known else 'unknown'}"
            data = content(name, size)
            put = await _written(peer, name, data, is_length_known=is_known)
            got = await _read(peer, name, data)
            etag = put.fields.get("etag", "what its PUT said, which is none")
            expect_equal(f"ETag of {name}", etag, got.fields.get("etag"))


async def heads(peer: Peer) -> None:
    """HEAD says what GET says."""
    data = content("head", STRIPE_BYTES + 1)
    await _written(peer, "head", data)
    got, head = await _read(peer, "head", data), await peer.ask("HEAD", "head")
    expect_equal("status of HEAD", 200, head.status)
    for field in ("content-length", "etag", "repr-digest", "content-type", "last-modified"):
        expect_equal(f"{field} of HEAD", got.fields.get(field), head.fields.get(field))


async def some_ranges(peer: Peer) -> None:
    """Ranges give what lies there, however they lie to what the object is cut by."""
    size = 3 * STRIPE_BYTES + 7
    data = content("ranges", size)
    await _written(peer, "ranges", data)
    for field, extent in ranges(size):
        got = await peer.ask("GET", "ranges", [("Range", f"bytes={field}")])
        place = got.fields.get("content-range")
        if extent is None:
            expect_equal(f"status of range {field}", 416, _said(got, 416))
            expect_equal(f"Content-Range of {field}", f"bytes */{size}", place)
        else:
            start, stop = extent
            expect_equal(f"status of range {field}", 206, _said(got, 206))
            expect_equal(f"Content-Range of {field}", f"bytes {start}-{stop - 1}/{size}", place)
            expect_same(f"range {field}", data[start:stop], got.body)


async def listing(peer: Peer) -> None:
    """LIST has every name once, in byte order, with its size."""
    sizes_by_name = {f"list/{name}": size for name, size in (("b", 1), ("a/b", 70), ("a", 0))}
    for name, size in sizes_by_name.items():
        await _written(peer, name, content(name, size))
    rows = await peer.names()
    expect_equal("order of LIST", sorted(rows), rows)
    listed = [row for row in rows if row[0].startswith("list/")]
    expect_equal("names and sizes of LIST", sorted(sizes_by_name.items()), listed)


async def conditions(peer: Peer) -> None:
    """What depends on what is there depends on it."""
    data = content("conditions", 1000)
    etag = (await _written(peer, "conditions", data)).fields.get("etag", "")
    got = await peer.ask("GET", "conditions", [("If-None-Match", etag)])
    expect_equal("status of GET with If-None-Match of what is there", 304, _said(got, 304))
    for name, value in (("If-None-Match", "*"), ("If-Match", '"another"')):
        put = await peer.put("conditions", b"other", [(name, value)])
        expect_equal(f"status of PUT with {name}: {value}", 412, _said(put, 412))
    await _read(peer, "conditions", data)


async def deletion(peer: Peer) -> None:
    """What is deleted is gone, from GET and LIST; a second time it isn't there."""
    await _written(peer, "deleted", content("deleted", STRIPE_BYTES))
    for method, status in (("DELETE", 200), ("GET", 404), ("DELETE", 404)):
        got = await peer.ask(method, "deleted")
        expect_equal(f"status of {method} of what is deleted", status, _said(got, status))
    listed = [name for name, _ in await peer.names() if name == "deleted"]
    expect_equal("names in LIST of what is deleted", [], listed)
    data = content("deleted again", 10)
    await _written(peer, "deleted", data)
    await _read(peer, "deleted", data)


async def bad_input(peer: Peer) -> None:
    """What is no name is refused, and nothing else happens."""
    for name in ("a/%2E%2E/b", "a//b", "a%2Fb", "%ff", "a%00"):
        got = await peer.put(name, b"bad")
        expect_equal(f"status of PUT {name}", 400, _said(got, 400))
    put = await peer.put("partial", b"bad", [("Content-Range", "bytes 0-2/9")])
    expect_equal("status of PUT with Content-Range", 400, _said(put, 400))


class _BreakError(ChunkstoreError):
    """An upload is broken off here."""


async def broken_off(peer: Peer) -> None:
    """An upload that breaks off leaves what was there before, or nothing."""
    old = content("old", STRIPE_BYTES + 9)
    await _written(peer, "broken", old)

    async def half() -> AsyncIterator[bytes]:
        yield content("new", STRIPE_BYTES)
        raise _BreakError("broken off")

    for name in ("broken", "broken-new"):
        with suppress(_BreakError):
            await peer.put(name, half())
    await _until(peer, "broken", 200, old)
    await _until(peer, "broken-new", 404, None)


async def _until(peer: Peer, name: str, status: int, data: bytes | None) -> None:
    """Readers of what was broken off may still be cut for a while, which is no wrong ending."""
    for _ in range(BREAK_TRIES):
        try:
            got = await peer.ask("GET", name)
        except CutError:
            await trio.sleep(0.2)
            continue
        expect_equal(f"status of GET {name} after its upload broke off", status, _said(got, status))
        if data is not None:
            expect_same(f"GET {name} after its upload broke off", data, got.body)
        return
    expect_equal(f"GET {name} after its upload broke off", status, "only cuts")

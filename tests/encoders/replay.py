"""Recordings played to an origin, cut as one likes, and what must then be there.

What must be there is reckoned from the recorded bytes alone, by `recording.parse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import trio
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.encoders.recording import Sent, parse
from tests.origin.drive import Answer, Client, Site

__all__ = [
    "MANIFESTS",
    "PAUSE_S",
    "Encoder",
    "check_objects",
    "cuts_of",
    "ends_of",
    "followers",
    "objects_of",
    "offsets_of",
    "pause",
]

MANIFESTS = (".mpd", ".m3u8")
"""Endings of the names that are shown only when they are complete."""
PAUSE_S = 0.025
"""Longer than bytes of an unfinished chunk stay unpublished."""


def objects_of(connections: Iterable[bytes | bytearray]) -> dict[str, Sent]:
    """What is stored once these connections came whole, one after the other, each to its end.

    An upload that isn't whole leaves what was there before.
    """
    found: dict[str, Sent] = {}
    for raw in connections:
        for one in parse(raw):
            if one.method == "DELETE":
                found.pop(one.path, None)
            elif one.is_whole:
                found[one.path] = one
    return found


def _seams(raw: bytes | bytearray) -> list[int]:
    """The offsets at which something begins or ends: heads, size lines, data, line ends."""
    found = {0}
    for one in parse(raw):
        at = one.body_start
        found |= {at, one.end}
        for chunk in one.chunks:
            at += len(b"%x\r\n" % len(chunk))
            found |= {at, at + len(chunk), at + len(chunk) + 2}
            at += len(chunk) + 2
    return sorted(one for one in found if one <= len(raw))


def offsets_of(raw: bytes | bytearray) -> st.SearchStrategy[int]:
    """Offsets in a connection's bytes, ends included, many of them at a seam or near one."""
    near = st.builds(int.__add__, st.sampled_from(_seams(raw)), st.integers(-2, 2))
    return (near | st.integers(0, len(raw))).map(lambda at: min(max(0, at), len(raw)))


def cuts_of(raw: bytes | bytearray, *, max_size: int) -> st.SearchStrategy[list[int]]:
    """Where to cut a connection's bytes."""
    inside = st.lists(offsets_of(raw), max_size=max_size)
    return inside.map(lambda cuts: sorted({*cuts} - {0, len(raw)}))


class Encoder:
    """An encoder's connection, replayed.

    Args:
        site: to whom.
        raw: all that it will send.
    """

    def __init__(self, site: Site, raw: bytes | bytearray) -> None:
        self.raw = bytes(raw)
        self.client: Client = site.connect()
        self.at = 0
        self.paused: set[int] = set()

    async def send(self, stop: int | None = None) -> None:
        """Send up to the offset `stop`, and let the origin take it in."""
        stop = len(self.raw) if stop is None else stop
        if stop > self.at:
            await self.client.send(self.raw[self.at : stop])
            self.at = stop
        await wait_all_tasks_blocked()

    async def send_cut(self, cuts: Sequence[int], stop: int | None = None) -> None:
        """As `send`, in pieces."""
        stop = len(self.raw) if stop is None else stop
        for cut in (*(cut for cut in cuts if self.at < cut < stop), stop):
            await self.send(cut)

    async def answers(self, count: int | None = None) -> list[Answer]:
        """The answers to all that was asked, or to the first `count`, in their order."""
        asked = parse(self.raw)[:count]
        return [await self.client.read(one.method) for one in asked]

    async def hang_up(self) -> None:
        """Close without reading what is left of the answers."""
        await self.client.close()
        await wait_all_tasks_blocked()

    def ends(self, one: Sent) -> list[int]:
        """Where the chunks of a request end as they are shown, all pauses considered.

        A pause shows what has come of a chunk, which is a boundary of its own.
        """
        found = set(one.ends)
        for offset in self.paused:
            if one.body_start < offset < one.end:
                [there] = parse(self.raw[one.start : offset])
                found |= {len(there.body)} - {0}
        return sorted(found)


async def pause(encoders: Iterable[Encoder]) -> None:
    """Let nothing come for long enough to have all shown that has come."""
    await trio.sleep(PAUSE_S)
    for encoder in encoders:
        encoder.paused.add(encoder.at)


def ends_of(answer: Answer) -> list[int]:
    """Where the chunks of an answer end."""
    return list(accumulate(map(len, answer.chunks)))


async def followers(site: Site, connections: Iterable[bytes | bytearray]) -> dict[str, Client]:
    """A reader of each media file that will be sent, each asking before the file is there."""
    sent = [one for raw in connections for one in parse(raw) if one.method != "DELETE"]
    readers: dict[str, Client] = {}
    for one in sent:
        if not one.path.endswith(MANIFESTS):
            client = readers[one.path] = site.connect()
            await client.request("GET", one.path, "Prefer: wait=5")
    await wait_all_tasks_blocked()
    return readers


async def check_objects(site: Site, objects: dict[str, Sent]) -> None:
    """The origin has these, to the byte, and nothing else."""
    assert await site.list() == sorted(objects)
    for path, one in objects.items():
        got = await site.get(path)
        assert (got.status, got.is_whole) == (200, True)
        assert got.body == one.body, path

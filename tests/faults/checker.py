"""A load on a real server, and what each name may have whenever that is killed.

Each name has one writer, who knows what was acknowledged and what was only asked for. A server that
is started anew says what came of the latter; from then on that is known, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

import trio

from chunkstore.client import Client
from chunkstore.errors import FetchError
from tests.faults.running import Body, Running, reading

__all__ = ["SETTINGS", "Checker"]

TTL_S = 3.0
LATE_S = 2.0
"""So much later than it is due an expiry may come: timers do, and a start looks at names first."""
SETTINGS = f"""
[[policies]]
match = "/short/"
ttl = "{TTL_S:g}s"
"""
SIZES = [0, 1, 1000, 1000, 70_000, 70_000, 300_000, 3_000_000]
LARGE_BYTES = 66 << 20
"""Its end goes to a file of its own."""
LARGE_SHARE = 0.01
PIECE_BYTES = 200_000
WRITERS = 6
KEYS_EACH = 8


@dataclass(frozen=True, slots=True)
class Version:
    """What one PUT made of a name, or a DELETE (no body).

    Attributes:
        gone_from_s, gone_by_s: between these it expires; infinite: it doesn't.
    """

    body: Body | None
    gone_from_s: float = math.inf
    gone_by_s: float = math.inf

    def may_be(self, content: bytes | None, asked_s: float, answered_s: float) -> bool:
        """Whether a GET between these times may have had `content`."""
        if content is None:
            return self.body is None or answered_s >= self.gone_from_s
        is_due = asked_s < self.gone_by_s
        return self.body is not None and is_due and content == self.body.content()


NOTHING = Version(None)
Step: TypeAlias = Callable[[], None]


class Checker:
    """What there may be.

    Args:
        seed: of all chance.

    Attributes:
        acknowledged: writes that were, by all servers so far.
        unsettled: writes that were asked for of which no answer came.
    """

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.acknowledged = self.unsettled = 0
        self._may: dict[str, list[Version]] = {}
        self._seeds = iter(range(seed * 1_000_000, (seed + 1) * 1_000_000))

    @property
    def names(self) -> int:
        """How many were ever written."""
        return len(self._may)

    async def load(self, server: Running, step: Step) -> None:
        """Write, delete and read until the server is gone.

        Args:
            step: called whenever something is sent or was answered.
        """
        async with trio.open_nursery() as nursery:
            for writer in range(WRITERS):
                nursery.start_soon(self._write, server, writer, step)

    async def check(self, server: Running) -> None:
        """All names, after a start; what is found is what is known from now on."""
        async with server.client() as client:
            for key in self._may:
                found = await self._look(client, key)
                if found.gone_from_s < found.gone_by_s == math.inf:  # it was committed by now
                    found = replace(found, gone_by_s=time.time() + TTL_S + LATE_S)
                self._may[key] = [found]

    # --- one writer's --------------------------------------------------------------------------

    async def _write(self, server: Running, writer: int, step: Step) -> None:
        async with server.client() as client:
            try:
                while True:
                    folder = self.chance.choice(["short", "kept", "kept"])
                    key = f"/{folder}/{writer}/{self.chance.randrange(KEYS_EACH)}"
                    act = self.chance.choice([self._put] * 6 + [self._delete, self._read])
                    await act(client, key, step)
                    step()
            except FetchError:
                assert server.is_killed, server.said.decode()

    async def _put(self, client: Client, key: str, step: Step) -> None:
        is_large = self.chance.random() < LARGE_SHARE
        size = LARGE_BYTES if is_large else self.chance.choice(SIZES)
        body, asked_s = Body(next(self._seeds), size), time.time()
        is_short = key.startswith("/short/")
        open_end = Version(body, asked_s + TTL_S) if is_short else Version(body)
        before = self._ask(key, open_end)
        length = self.chance.choice([None, size])
        answer = await client.request("PUT", key, body=self._pieces(body, step), length=length)
        await answer.body()
        assert answer.status in (200, 201), (key, answer.status)
        if is_short:
            open_end = Version(body, asked_s + TTL_S, time.time() + TTL_S + LATE_S)
        had = [one for one in before if one.body is not None]
        assert had or answer.status == 201, "nothing was replaced"
        self._settle(key, open_end)

    async def _pieces(self, body: Body, step: Step) -> AsyncIterator[bytes]:
        content = memoryview(body.content())
        for start in range(0, len(content), PIECE_BYTES):
            yield bytes(content[start : start + PIECE_BYTES])
            step()

    async def _delete(self, client: Client, key: str, step: Step) -> None:
        self._ask(key, NOTHING)
        answer = await client.request("DELETE", key)
        await answer.body()
        assert answer.status in (200, 404), (key, answer.status)
        self._settle(key, NOTHING)

    async def _read(self, client: Client, key: str, step: Step) -> None:
        await self._look(client, key)

    async def _look(self, client: Client, key: str) -> Version:
        asked_s = time.time()
        content = await reading(client, key)
        answered_s = time.time()
        may = self._may.get(key, [NOTHING])
        for version in may:
            if version.may_be(content, asked_s, answered_s):
                return NOTHING if content is None else version
        size = None if content is None else len(content)
        raise AssertionError(f"{key} has {size} bytes, and may be {may} at {answered_s}")

    def _ask(self, key: str, version: Version) -> list[Version]:
        """It may become so from now on; what it may be as yet."""
        before = self._may.setdefault(key, [NOTHING])
        self._may[key] = [*before, version]
        self.unsettled += 1
        return before

    def _settle(self, key: str, version: Version) -> None:
        """It is so."""
        self._may[key] = [version]
        self.unsettled -= 1
        self.acknowledged += 1

"""What a node says may be anything: no task of the gateway ends by it, and others are served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chunkstore.cluster.heal.backup import Backup
from chunkstore.cluster.heal.mover import Mover
from chunkstore.cluster.heal.repair import Repair
from chunkstore.cluster.heal.scrub import Scrub
from chunkstore.cluster.heal.survey import Survey
from chunkstore.config import Settings
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put
from tests.cluster.nodes import Mishap
from tests.cluster.test_upload import parts_of, payload, read
from tests.origin.drive import WALL_S


def listing(*rows: object, after: object = None) -> bytes:
    """A page of a node's list."""
    return json.dumps({"objects": rows, "next": after}).encode()


def row(generation: int = 1, index: int = 0, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A part as nodes list it, but for what is changed."""
    path = f"/parts/{generation:016x}.{index}"
    return {"path": path, "size": 3, "etag": '"x"', "state": "complete", **changes}


LISTS = {
    "nothing": b"",
    "html": b"<html>\xff",
    "cut": b'{"objects": [',
    "deep": b"[" * 100_000,
    "other": b"[1, 2]",
    "members": b'{"objects": {"a": 1}, "next": null}',
    "numbers": listing(1, 2),
    "no path": listing(row(path=7)),
    "no size": listing(row(1, size="3"), row(2, size=None), row(3, size=[])),
    "no etag": listing(row(50, etag=5), row(51, etag=None)),
    "an etag that is none": listing(row(60, etag="a\r\nb: c"), row(61, etag="\u20ac")),
    "out of order": listing(row(90), row(4), row(70)),
    "twice": listing(row(4), row(4)),
    "high": listing(row(2**64 - 1), row(2**63)),
    "going on for ever": listing(row(4), after="0"),
    "going on for ever with nothing": listing(after="0"),
    "going on nowhere": listing(row(4), after=7),
    "going on with a space": listing(row(4), after="a b\r\n"),
}
HEADS = {
    "404": (404, b""),
    "wrong": (206, b"Content-Range: bytes 0-1/7\r\n"),
    "no range": (206, b""),
    "no number": (206, b"Content-Range: bytes x-y/z\r\n"),
    "unknown": (206, b"Content-Range: bytes 0-0/*\r\n"),
    "all": (200, b""),
    "204": (204, b""),
    "302": (302, b"Location: http://elsewhere.test/\r\n"),
}


def saying(listed: bytes, status: int = 404, fields: bytes = b"") -> Mishap:
    """A node that answers everything so."""

    async def say(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.method == "LIST":
            await exchange.respond(200, b"Content-Type: application/json\r\n", listed)
        else:
            await exchange.respond(status, fields, b"" if status == 204 else b"what?")

    return say


async def work(mishap: Mishap, folder: Path, seconds: float) -> None:
    """Everything goes on while a node answers so; others are seen to."""
    async with Gateway.open(9) as gateway, gateway.life(stall_s=5.0) as store:
        async with trio.open_nursery() as nursery:
            for number in range(4):
                await put(store, f"/{number}", payload(number * 9_000))
            nursery.start_soon(gateway.beat)
            gateway.nodes.mishaps[3] = mishap
            membership, lines = gateway.membership, list[str]()
            survey = Survey(store, membership, lines.append)
            scrub = Scrub(store, 60.0, folder / "scrub", lines.append)
            repair = Repair(
                store,
                membership,
                lines.append,
                heal_after_s=60.0,
                rate_bytes=None,
                draw=lambda: 0.5,
            )
            mover = Mover(store, Settings(), lambda: repair.is_settled, lines.append)
            backup = Backup(
                store, gateway.meta, folder, 60.0, lines.append,
                wall_s=lambda: WALL_S + trio.current_time(),
            )  # fmt: skip
            for one in (survey, scrub, repair, mover, backup):
                nursery.start_soon(one.run)
            await trio.sleep(seconds)
            assert set(survey.surveyed_s) >= gateway.nodes.sites.keys() - {3}
            assert len(lines) < seconds
            for number in range(4):
                assert await read(store, f"/{number}") == payload(number * 9_000)
            gateway.nodes.mishaps.clear()
            await repair_all(repair)
            for number in range(4):
                assert len(await parts_of(gateway, store, f"/{number}")) == 7
            nursery.cancel_scope.cancel()


async def repair_all(repair: Repair) -> None:
    """Wait until there is nothing to be made."""
    with trio.fail_after(2_000):
        while not repair.is_settled:  # noqa: ASYNC110 - it tells nobody
            await trio.sleep(1)


@pytest.mark.parametrize("listed", LISTS.values(), ids=LISTS)
async def test_a_list_that_is_none(
    autojump_clock: MockClock, tmp_path: Path, listed: bytes
) -> None:
    await work(saying(listed), tmp_path, 40)


@pytest.mark.parametrize("said", HEADS.values(), ids=HEADS)
async def test_answers_that_are_none(
    autojump_clock: MockClock, tmp_path: Path, said: tuple[int, bytes]
) -> None:
    await work(saying(listing(), *said), tmp_path, 200)

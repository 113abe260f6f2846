"""/events: the journal as server-sent events (HTML Living Standard section 9.2)."""

from __future__ import annotations

import json
import re

import trio

from chunkstore.journal import Event, Journal
from chunkstore.paths import encode_key
from chunkstore.ring import LAST_CHUNK
from chunkstore.server import Exchange
from chunkstore.wire import field_block

__all__ = ["Events"]

GATHER_S = 0.1
"""Events of so long go out together: a flood of them costs ten sends a second."""
SILENCE_S = 15.0
"""A comment comes after so long without an event: whoever is gone is noticed, proxies stay calm."""
_STREAM = field_block([("Content-Type", "text/event-stream")])


class Events:
    """The handler of /events.

    Args:
        journal: what is told.
        fields: go into every answer.
    """

    def __init__(self, journal: Journal, fields: bytes) -> None:
        self._journal = journal
        self._fields = _STREAM + fields

    async def answer(self, exchange: Exchange) -> None:
        """Tell every event from now on, or from `Last-Event-ID` on, until the client leaves."""
        if exchange.request.method == "HEAD" or exchange.request.http_1_0:
            await exchange.refuse(400, "events are a stream: GET them with HTTP/1.1")
            return
        given = re.fullmatch("[0-9]{1,18}", exchange.request.fields.get("last-event-id") or "")
        last_id = int(given[0]) if given else self._journal.last_id
        await exchange.send([exchange.head(200, self._fields, None), _frame("retry: 1000\n\n")])
        woken = trio.Event()

        def wake() -> None:
            woken.set()

        self._journal.watchers.add(wake)
        try:
            while not exchange.connection.server.is_draining:
                woken = trio.Event()
                lost_count, events = self._journal.since(last_id)
                last_id = self._journal.last_id
                if events:
                    await exchange.send([_frame(_lost(lost_count) + "".join(map(_text, events)))])
                    await trio.sleep(GATHER_S)
                with trio.move_on_after(SILENCE_S) as scope:
                    await woken.wait()
                if scope.cancelled_caught:
                    await exchange.send([_frame(":\n\n")])
        finally:
            self._journal.watchers.discard(wake)
        await exchange.send([LAST_CHUNK])
        exchange.finish()


def _lost(count: int) -> str:
    return f'event: lost\ndata: {{"count": {count}}}\n\n' if count else ""


def _text(event: Event) -> str:
    members = {"path": encode_key(event.path), "generation": event.generation, **event.facts}
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(members)}\n\n"


def _frame(text: str) -> bytes:
    data = text.encode("ascii")
    return b"%x\r\n%b\r\n" % (len(data), data)

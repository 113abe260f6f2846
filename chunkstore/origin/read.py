"""GET and HEAD: complete objects, objects that grow, and objects that aren't there yet."""

from __future__ import annotations

import trio

from chunkstore.errors import PathError, StoreError
from chunkstore.live import Catalog, CutWatch, Reader, Visit
from chunkstore.metrics import Ending
from chunkstore.objects import KEPT_COUNT, FileRange, Generation
from chunkstore.origin.browser import CORS_FIELDS
from chunkstore.origin.fields import (
    TRAILER,
    digest_fields,
    generation_fields,
    prefer_wait_s,
    takes_trailers,
)
from chunkstore.origin.listing import Listing, asks_for_list
from chunkstore.origin.reload import BlockingReload
from chunkstore.paths import parent, parse_key
from chunkstore.policy import PolicyTable
from chunkstore.server import Exchange
from chunkstore.wire import (
    NO_LENGTH,
    RangeSpec,
    Slice,
    Streamed,
    Unsatisfiable,
    Wait,
    Whole,
    content_range,
    field_block,
    if_range_matches,
    parse_range,
    precondition,
    problem,
    resolve_complete,
    resolve_open,
)

__all__ = ["Reading"]

JOIN_BYTES = 16 * 1024
"""Bodies up to this size go out in one buffer with their head: cheaper than gathering."""
SLICE_BYTES = 1 << 20
"""Larger ones go out in gathered sends of so much."""
_RETRY = field_block([("Retry-After", "1")])


class Reading:
    """The handlers that answer with objects.

    Args:
        catalog: where objects live.
        policies: what holds for a name that isn't there.
        listing: answers `GET /prefix?list`.
        hold_cap_s: no GET waits longer for bytes that aren't there yet.
    """

    def __init__(
        self, catalog: Catalog, policies: PolicyTable, listing: Listing, hold_cap_s: float
    ) -> None:
        self._catalog = catalog
        self._policies = policies
        self._listing = listing
        self._reload = BlockingReload(catalog)
        self._hold_cap_s = hold_cap_s

    async def get(self, exchange: Exchange) -> None:
        """Answer GET (RFC 9110 section 9.3.1) of a complete, open or missing object.

        Bytes that are damaged on disk are never sent: 500 before the head, else the answer is cut.
        """
        try:
            request = exchange.request
            if request.query and asks_for_list(request.query):
                await self._listing.answer(exchange)
                return
            is_reload = "_HLS_" in request.query
            if is_reload and not await self._reload.admit(exchange):
                return
            # A path without escapes that names something is its own normal form.
            path = request.path
            generation = None if "%" in path else self._catalog.namespace.visible(path)
            if generation is None:
                generation = await self._find(exchange)
                if is_reload and generation is not None:
                    # It came just now: a first playlist, which may not have what was asked for.
                    if not await self._reload.admit(exchange):
                        return
                    generation = await self._find(exchange)
            for _ in range(1 + KEPT_COUNT):
                if generation is None:
                    return
                generation = await self._answer(exchange, generation)
            if generation is not None:  # thousands may wait here: a storm of retries wakes them all
                await exchange.refuse(503, "the upload was begun anew too often", _RETRY)
        except StoreError as error:
            self._catalog.metrics.reads_failed += 1
            exchange.connection.server.log.note(f"{exchange.request.path}: {error}")
            if not exchange.status:
                await exchange.refuse(500, "the object's bytes can't be read; the log says why")
            else:
                exchange.ending = Ending.DAMAGED

    async def head(self, exchange: Exchange) -> None:
        """Answer HEAD: GET's head, at once; it never waits for an object."""
        try:
            key = parse_key(exchange.request.path)
        except PathError as error:
            await exchange.refuse(400, str(error))
            return
        generation = self._catalog.namespace.visible(key)
        if generation is None:
            await self._missing(exchange, key)
        elif not await self._stopped_by_condition(exchange, generation):
            fields = generation_fields(generation)
            if generation.is_open:
                fields += field_block([("Chunkstore-Offset", str(generation.ring.end))])
                await exchange.send([exchange.head(200, fields, NO_LENGTH)])
            else:
                await exchange.send([exchange.head(200, fields, generation.ring.size_bytes)])
            exchange.finish()

    # --- what isn't there (yet) ----------------------------------------------------------------

    async def _find(self, exchange: Exchange) -> Generation | None:
        """Look a path up in its normal form, waiting for it where that is due; or answer."""
        request, catalog = exchange.request, self._catalog
        try:
            key = parse_key(request.path)
        except PathError as error:
            await exchange.refuse(400, str(error))
            return None
        generation = catalog.namespace.visible(key)
        if generation is not None:
            return generation
        hold_s = catalog.namespace.hold_s(
            key, self._policies.for_key(key), prefer_wait_s(request.fields), trio.current_time()
        )
        if hold_s:
            if catalog.holds.can_wait:
                generation = await catalog.holds.wait_visible(key, hold_s)
                if generation is not None:
                    return generation
            if not catalog.holds.can_wait:
                await exchange.refuse(503, self._catalog.holds.why_not_wait, _RETRY)
                return None
        await self._missing(exchange, key)
        return None

    async def _missing(self, exchange: Exchange, key: str) -> None:
        _, body = problem(404, "nothing has this path, or its first byte has not come yet")
        if self._catalog.namespace.is_live(parent(key), trio.current_time()):
            self._catalog.metrics.missed_at_edge += 1
        cache_control = self._policies.for_key(key).cache_missing
        fields = field_block(
            [("Content-Type", "application/problem+json"), ("Cache-Control", cache_control)]
        )
        await exchange.respond(404, fields + CORS_FIELDS, body)

    # --- what is there -------------------------------------------------------------------------

    async def _answer(self, exchange: Exchange, generation: Generation) -> Generation | None:
        """Answer with a generation; or what to answer with instead, if it broke off before."""
        fields = exchange.request.fields
        exchange.generation = generation.id
        spec: RangeSpec | None = None
        if not fields.is_plain:
            if await self._stopped_by_condition(exchange, generation):
                return None
            modified_s = int(generation.modified_s)
            if if_range_matches(fields, etag=generation.etag, modified_s=modified_s):
                spec = parse_range(fields.get("range"))
        with Visit(self._catalog, generation) as visit:
            if generation.is_open:
                return await self._answer_open(exchange, visit, spec)
            await self._answer_complete(exchange, generation, spec)
            return None

    async def _stopped_by_condition(self, exchange: Exchange, generation: Generation) -> bool:
        request = exchange.request
        status = precondition(
            request.fields,
            method=request.method,
            etag=generation.etag,
            modified_s=int(generation.modified_s),
            is_open=generation.is_open,
        )
        if status == 304:
            await exchange.respond(304, generation_fields(generation))
        elif status is not None:
            await exchange.refuse(status, "the request's condition does not hold for this object")
        return status is not None

    async def _answer_complete(
        self, exchange: Exchange, generation: Generation, spec: RangeSpec | None
    ) -> None:
        self._catalog.touch(generation)
        if generation.source is not None:
            await self._catalog.fill(generation)
        size = generation.ring.size_bytes
        part = resolve_complete(spec, size) if spec else Whole()
        if isinstance(part, Unsatisfiable):
            await self._unsatisfiable(exchange, generation, size)
        elif isinstance(part, Slice):
            fields = generation_fields(generation, is_partial=True)
            fields += field_block([("Content-Range", content_range(part, size))])
            await self._send(exchange, generation, 206, fields, part.start, part.stop)
        else:
            await self._send(exchange, generation, 200, generation_fields(generation), 0, size)

    async def _unsatisfiable(self, exchange: Exchange, generation: Generation, size: int) -> None:
        detail = f"the range begins at or behind the object's end; it has {size} bytes"
        fields = field_block([("Content-Range", f"bytes */{size}"), ("ETag", generation.etag)])
        await exchange.refuse(416, detail, fields)

    async def _answer_open(
        self, exchange: Exchange, visit: Visit, spec: RangeSpec | None
    ) -> Generation | None:
        generation = visit.generation
        ring = generation.ring
        part = resolve_open(spec, ring.end)
        awaited = part.offset if isinstance(part, Wait) else None
        if exchange.request.http_1_0 and not isinstance(part, Slice):
            awaited = 1 << 62  # HTTP/1.0 has no chunked: it waits for the whole
        if awaited is not None:
            if not self._catalog.holds.can_wait:
                await exchange.refuse(503, self._catalog.holds.why_not_wait, _RETRY)
                return None
            left_s = exchange.started_s + self._hold_cap_s - trio.current_time()
            broadcast = self._catalog.broadcast(generation)
            await self._catalog.holds.wait_grown(broadcast, awaited, left_s)
            if retry := await self._catalog.holds.wait_retried(generation, left_s):
                return retry
            part = resolve_open(spec, ring.end)
        if ring.is_sealed and not generation.is_cut:
            await self._answer_complete(exchange, generation, spec)
        elif not generation.is_open or (awaited is not None and awaited >= ring.end):
            await exchange.refuse(503, "the bytes asked for have not come in time", _RETRY)
        elif isinstance(part, Slice):
            fields = generation_fields(generation, is_partial=True)
            fields += field_block([("Content-Range", content_range(part, None))])
            await self._send(exchange, generation, 206, fields, part.start, part.stop)
        elif isinstance(part, Streamed):
            fields = generation_fields(generation, is_partial=True)
            fields += field_block([("Content-Range", content_range(part, None))])
            await self._follow(exchange, visit, 206, fields, part.start)
        else:
            await self._follow(exchange, visit, 200, generation_fields(generation), 0)
        return None

    # --- bodies --------------------------------------------------------------------------------

    async def _follow(
        self, exchange: Exchange, visit: Visit, status: int, fields: bytes, start: int
    ) -> None:
        """Send an open generation as it grows; its end is truthful."""
        broadcast = self._catalog.broadcast(visit.generation)
        trailer = None
        if broadcast.has_digest and takes_trailers(exchange.request.fields):
            trailer, fields = digest_fields, fields + TRAILER
        head = exchange.head(status, fields, None)
        reader = Reader(broadcast, visit, exchange.connection, head, start, trailer)
        try:
            exchange.ending = await reader.follow()
        finally:
            exchange.sent_bytes = max(0, reader.sent_bytes - start)
            exchange.generation = visit.generation.id
        if exchange.ending is Ending.COMPLETE:
            exchange.finish()

    async def _send(
        self,
        exchange: Exchange,
        generation: Generation,
        status: int,
        fields: bytes,
        start: int,
        stop: int,
    ) -> None:
        """Send payload [start, stop), all of which is there; cut if the object is deleted."""
        ring = generation.ring
        part: FileRange | bytes | memoryview | None = None
        if start < ring.base:
            part = await _part(generation, start, stop)  # before the head: it may be damaged
        head = exchange.head(status, fields, stop - start)
        if part is None and stop - start <= JOIN_BYTES:
            await exchange.send([b"".join([head, *ring.views(start, stop)])])
            exchange.finish()
            return
        with CutWatch(generation, exchange.connection.cut):
            while True:
                if isinstance(part, FileRange):
                    await exchange.send_file(head, part)
                    start += part.size
                elif part is not None:
                    await exchange.send([head, part] if head else [part])
                    start += len(part)
                else:
                    upto = min(start + SLICE_BYTES, stop)
                    await exchange.send([head, *ring.views(start, upto)])
                    start = upto
                if start == stop:  # it is whole, whatever becomes of the object now
                    break
                head = b""
                await trio.lowlevel.checkpoint()
                part = await _part(generation, start, stop)
        exchange.finish()


async def _part(
    generation: Generation, start: int, stop: int
) -> FileRange | bytes | memoryview | None:
    """The next bytes of [start, stop) that are stored; None: they are in the ring."""
    limit = min(stop, generation.ring.base) - start
    if limit <= 0:
        return None
    assert generation.source is not None
    return await generation.source.range(start, limit)

"""PUT, POST and DELETE: how a generation comes to be, and how a name goes away."""

from __future__ import annotations

import json

import trio

from chunkstore.config import Settings
from chunkstore.errors import (
    CapacityError,
    DiskError,
    DiskFullError,
    NodesFullError,
    PathError,
    QuorumError,
)
from chunkstore.live import Catalog, Upload
from chunkstore.metrics import Ending
from chunkstore.objects import Abort, Generation
from chunkstore.origin.fields import NO_STORE, content_type_of
from chunkstore.paths import encode_key, parse_key
from chunkstore.policy import PolicyTable
from chunkstore.ring import CHUNK_COST_BYTES
from chunkstore.server import Exchange
from chunkstore.wire import (
    Closed,
    Data,
    Fields,
    Refusal,
    cross_site_reason,
    field_block,
    precondition,
)

__all__ = ["Writing"]

CONTENT_TYPE_BYTES = 256
"""Longest Content-Type that is kept: it is not in the memory budget."""
_JSON = field_block([("Content-Type", "application/json")]) + NO_STORE
_RETRY = field_block([("Retry-After", "1")])


class Writing:
    """The handlers that change the namespace.

    Args:
        catalog: where objects live.
        policies: what holds for a name.
        settings: limits.
    """

    def __init__(self, catalog: Catalog, policies: PolicyTable, settings: Settings) -> None:
        self._catalog = catalog
        self._policies = policies
        self._settings = settings

    # --- PUT and POST --------------------------------------------------------------------------

    async def put(self, exchange: Exchange) -> None:
        """Store the request's body under its path, visible to readers while it comes in.

        Source: RFC 9110 section 9.3.4; POST means the same, since encoders send it.
        """
        # Encoders send size, data and CRLF apart: without this, Nagle meets delayed ACK (40 ms).
        exchange.connection.transport.acknowledge_soon()
        refused = self._refusal(exchange)
        if refused is not None:
            status, detail = refused
            self._catalog.metrics.uploads_refused[status] += 1
            await exchange.refuse(status, detail, _RETRY if status == 503 else b"")
            return
        key = parse_key(exchange.request.path)
        fields = exchange.request.fields
        upload = self._catalog.begin(key, self._policies.for_key(key))
        exchange.generation = upload.generation.id
        upload.generation.content_type = content_type_of(key, fields.get("content-type"))
        cause = Abort.WRITER_GONE
        try:
            # The decision holds from here: nobody else can have been let in during the send.
            await exchange.continue_if_asked()
            cause = await self._receive(exchange, upload) or cause
        except trio.Cancelled:
            cause = Abort.DRAIN
            raise
        finally:
            upload.abort(cause)  # nothing happens if it is complete
            self._catalog.metrics.upload_gap.add(upload.longest_gap_s)

    def _refusal(self, exchange: Exchange) -> tuple[int, str] | None:
        """Why a PUT is refused before its body is read: status and sentence; None to go on."""
        request, settings = exchange.request, self._settings
        fields = request.fields
        try:
            key = parse_key(request.path)
        except PathError as error:
            return 400, str(error)
        if reason := cross_site_reason(fields):
            return 403, reason
        if fields.get("content-range") is not None:
            return 400, (
                "a PUT with Content-Range is not supported (RFC 9110 section 14.5): send the object"
                " as one chunked PUT, which readers can follow while it grows"
            )
        if len(fields.get("content-type") or "") > CONTENT_TYPE_BYTES:
            return 400, f"Content-Type must be at most {CONTENT_TYPE_BYTES} bytes long"
        if exchange.connection.server.is_draining:
            return 503, "the server is shutting down and takes no new uploads"
        policy = self._policies.for_key(key)
        max_bytes = policy.max_object_bytes or settings.object_limit_bytes
        announced = fields.content_length or 0
        if announced > max_bytes:
            return 413, f"{announced} bytes announced, but an object may have {max_bytes} at most"
        entry = self._catalog.namespace.entry(key)
        writing, complete = (entry.open, entry.complete) if entry else (None, None)
        # Judged again when the upload is whole, against what is complete then: what can't hold
        # there must not displace the writer that is at it.
        if any(self._condition_fails(fields, one) for one in {writing or complete, complete}):
            return 412, "the request's condition does not hold for what the path has now"
        if writing is not None and policy.single_writer:
            return 409, "the path is being written, and its policy allows a single writer"
        try:
            self._catalog.reserve(key, announced + CHUNK_COST_BYTES)
        except CapacityError as error:
            return 507, f"no room for the upload: {error}"
        except DiskError as error:
            return _status_of(error), str(error)
        return None

    def _condition_fails(self, fields: Fields, there: Generation | None) -> bool:
        status = precondition(
            fields,
            method="PUT",
            etag=there.etag if there else None,
            modified_s=int(there.modified_s) if there else None,
            is_open=there is not None and there.is_open,
        )
        return status is not None

    async def _receive(self, exchange: Exchange, upload: Upload) -> Abort | None:
        """Take the body in and answer; the cause if the upload did not become complete."""
        connection, policy = exchange.connection, upload.generation.policy
        ended: Abort | Refusal | None = Abort.IDLE  # what it stays if the scope is cancelled
        with trio.CancelScope() as scope:
            upload.generation.watch(scope.cancel)  # displaced or deleted while it waits for bytes
            ended = await self._receive_body(exchange, upload, scope)
            upload.generation.unwatch(scope.cancel)
        connection.disarm()
        if scope.cancelled_caught:
            exchange.ending = Ending.COMPLETE  # the answer will be
        if isinstance(ended, Refusal):
            upload.abort(Abort.BAD_FRAMING)
            await exchange.refuse(ended.status, ended.detail)
            return Abort.BAD_FRAMING
        cause = upload.generation.abort or ended  # displaced or deleted, perhaps at the last byte
        if cause is Abort.IDLE:
            connection.protocol.close_after()
            if policy.on_idle == "complete" and connection.protocol.lacks_only_last_chunk:
                await upload.hand_over(is_whole=True)
                cause = upload.generation.abort or upload.cause
                self._catalog.metrics.completed_idle += cause is None
        entry = self._catalog.namespace.entry(upload.generation.key)
        if cause is None and self._condition_fails(
            exchange.request.fields, entry.complete if entry else None
        ):
            cause = Abort.PRECONDITION
        if cause is None:
            return await self._created(exchange, upload)
        upload.abort(cause)
        if cause is Abort.WRITER_GONE:
            raise trio.BrokenResourceError(cause.text)
        await self._refuse_for(exchange, upload, cause)
        return cause

    async def _receive_body(
        self, exchange: Exchange, upload: Upload, scope: trio.CancelScope
    ) -> Abort | Refusal | None:
        """Append the body as it comes; None when it is whole."""
        connection, policy = exchange.connection, upload.generation.policy
        idle_s = policy.upload_idle_s or self._settings.upload_idle_s
        max_bytes = policy.max_object_bytes or self._settings.object_limit_bytes
        while connection.protocol.has_body:
            connection.arm(idle_s, Ending.TIMEOUT, scope)
            if upload.publish_at_s is None:
                events = await exchange.receive()
            else:
                with trio.move_on_at(upload.publish_at_s) as due:
                    events = await exchange.receive()
                if due.cancelled_caught:
                    upload.publish()
                    continue
            runs = [event for event in events if type(event) is Data]
            if runs and (cause := upload.append(runs, max_bytes=max_bytes)) is not None:
                return cause
            if upload.has_run:
                connection.disarm()  # it isn't the client that is waited for
                await upload.hand_over()
            last = events[-1]
            if type(last) is Refusal:
                return last
            if type(last) is Closed:
                return Abort.WRITER_GONE
        connection.disarm()
        await upload.hand_over(is_whole=True)
        return upload.cause

    async def _created(self, exchange: Exchange, upload: Upload) -> Abort | None:
        """Complete it and answer, once that is durable; the cause if that can't be."""
        generation = upload.generation
        replaced = upload.commit()
        cause = await upload.stored()
        if cause is not None:
            await self._refuse_for(exchange, upload, cause)
            return cause
        receipt = {
            "path": encode_key(generation.key),
            "etag": generation.etag,
            "bytes": generation.ring.size_bytes,
            "chunks": generation.ring.chunk_count,
            "longest_gap_ms": round(upload.longest_gap_s * 1000, 3),
            "peak_readers": generation.readers_peak,
        }
        block = _JSON + field_block([("ETag", generation.etag), *upload.receipt_fields])
        await exchange.respond(200 if replaced else 201, block, _line(receipt))
        return None

    async def _refuse_for(self, exchange: Exchange, upload: Upload, cause: Abort) -> None:
        """Tell a writer why its upload is no object; of nodes, who is missing or full."""
        retry = _RETRY if cause is Abort.NO_QUORUM else b""
        is_of_nodes = isinstance(upload.error, QuorumError | NodesFullError)
        is_cause = is_of_nodes and cause in (Abort.NO_QUORUM, Abort.NO_SPACE)
        await exchange.refuse(cause.status, str(upload.error) if is_cause else cause.text, retry)

    # --- DELETE --------------------------------------------------------------------------------

    async def delete(self, exchange: Exchange) -> None:
        """Take a path away with all it has: its writer gets 410, its readers are cut.

        Source: RFC 9110 section 9.3.5.
        """
        fields = exchange.request.fields
        try:
            key = parse_key(exchange.request.path)
        except PathError as error:
            await exchange.refuse(400, str(error))
            return
        if reason := cross_site_reason(fields):
            await exchange.refuse(403, reason)
            return
        entry = self._catalog.namespace.entry(key)
        if entry is None and not self._catalog.has_superseded(key):
            await exchange.refuse(404, "nothing has this path")
            return
        if self._condition_fails(fields, (entry.visible or entry.open) if entry else None):
            await exchange.refuse(412, "the request's condition does not hold for the path")
            return
        ended = self._catalog.delete(key)
        if self._catalog.shelf is not None and any(one.abort is None for one in ended):
            try:
                await self._catalog.shelf.delete(key)
            except DiskError as error:
                await exchange.refuse(_status_of(error), f"the path is still there: {error}")
                return
        deleted = [
            {"etag": one.etag, "bytes": one.ring.size_bytes, "was_open": one.abort is not None}
            for one in ended
        ]
        await exchange.respond(200, _JSON, _line({"path": encode_key(key), "deleted": deleted}))


def _line(members: object) -> bytes:
    return json.dumps(members).encode("ascii") + b"\n"


def _status_of(error: DiskError) -> int:
    """What a client is answered when a store can't."""
    if isinstance(error, QuorumError):
        return 503
    return 507 if isinstance(error, DiskFullError) else 500

"""A storage server: an origin over its disk, for the cluster alone, which says that it is there.

What its gateway asks of it is what any origin answers, signed: PUT, GET with ranges (also of a part
that is still being written), LIST of `/parts/` (as JSON with sizes and states), DELETE.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import trio

from chunkstore.client import Url, parse_url
from chunkstore.cluster.guard import NodeGuard
from chunkstore.cluster.hello import Fill, Hello
from chunkstore.cluster.identity import Identity
from chunkstore.cluster.link import Link
from chunkstore.cluster.sign import Signer
from chunkstore.config import Settings
from chunkstore.errors import JoinError
from chunkstore.origin import Origin
from chunkstore.policy import PolicyRow
from chunkstore.server import Listener, Log
from chunkstore.store import Store

__all__ = ["Node"]

UPLOAD_IDLE_S = 600.0
"""A part gets a unit of every fifth of its object: of a slow upload it is silent for minutes."""
_PARTS = PolicyRow(("*",), {"upload_idle_s": UPLOAD_IDLE_S, "abort_grace_s": 0.0})


class Node(Origin):
    """A storage server, ready to `run`.

    Args:
        settings: limits; which names there are and who may do what is the cluster's.
        log: gets a line a request.
        disk: where parts are kept.
        identity: who it is.
        secret: of the cluster.
        gateway: URL of the gateway's listener for nodes.
        wall_s: Unix time, by which signatures are old.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        *,
        disk: Store,
        identity: Identity,
        secret: bytes,
        gateway: Url,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        signer = Signer(secret)
        guard = NodeGuard(signer, wall_s)
        own = replace(settings, policies=(_PARTS,))
        super().__init__(own, log, disk=disk, guard=guard, wall_s=wall_s)
        self._store = disk
        self._identity = identity
        self._incarnation = secrets.token_hex(8)
        self._host, self._port = "", 0
        self._link = Link(gateway, signer, self._hello, self._joined, log.note, wall_s=wall_s)
        self._refusal: JoinError | None = None

    async def run(
        self,
        listeners: tuple[Listener, ...] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `server.stop()` and the drain after it; the gateway hears of both ends.

        Args:
            listeners: the first is where the gateway is told to come.
        Raises:
            JoinError: the gateway refuses this node; it has drained.
        """
        if listeners:
            url = parse_url(listeners[0].url)
            self._host, self._port = _seen_as(url.host), url.port
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay)
            await super().run(listeners, task_status=task_status)
            nursery.cancel_scope.cancel()
        await self._link.farewell()
        if self._refusal is not None:
            raise self._refusal

    async def _stay(self) -> None:
        try:
            await self._link.run()
        except JoinError as error:
            self._refusal = error
            self.server.stop()

    async def _joined(self, cluster_id: str) -> None:
        if cluster_id != self._identity.cluster_id:
            await trio.to_thread.run_sync(self._identity.join, cluster_id)

    def _hello(self) -> Hello:
        disk = self._store
        # What is reserved may be more than there is: it is full then, and no less a node.
        capacity_bytes, free_bytes = max(0, disk.capacity_bytes()), max(0, disk.free_bytes())
        fill = Fill(capacity_bytes, disk.used_bytes, disk.live_bytes(), free_bytes)
        return Hello(
            self._identity.node_id,
            self._identity.cluster_id,
            self._incarnation,
            self._host,
            self._port,
            fill,
            self.server.is_draining,
        )


def _seen_as(host: str) -> str:
    """How the gateway is told to find a host; "": by the address that it sees."""
    try:
        return "" if ipaddress.ip_address(host).is_unspecified else host
    except ValueError:
        return host

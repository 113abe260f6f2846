"""What is asked of a gateway's listener for nodes by people and programs outside the cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import trio

from chunkstore.client import Client, Connect, Timeouts, Url, dial, expect
from chunkstore.cluster.meta import Manifest
from chunkstore.cluster.sign import Signer
from chunkstore.errors import FetchError, StatusError

__all__ = ["Inquiry"]

_NUMBERS = ("generation", "size_bytes", "part_bytes", "k")


class Inquiry(trio.abc.AsyncResource):
    """Asks one gateway; a question at a time.

    Args:
        gateway: URL of its listener for nodes.
        signer: has the secret of the cluster.
        timeouts: how long it may be silent.
        connect: makes a connection.
        wall_s: Unix time.
    """

    def __init__(
        self,
        gateway: Url,
        signer: Signer,
        *,
        timeouts: Timeouts | None = None,
        connect: Connect = dial,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._client = Client(gateway, timeouts=timeouts, connect=connect)
        self._signer = signer
        self._wall_s = wall_s
        self._stranger = (
            f"{gateway.authority} is no gateway's address for nodes (what `chunkstore gateway` and"
            " `chunkstore cluster` say behind 'nodes at')"
        )

    async def status(self) -> dict[str, Any]:
        """What `GET /status` says.

        Raises:
            StatusError: it refuses, and says why: another secret, clocks apart.
            FetchError: it can't be asked, or is no gateway.
        Cancellation: the connection is closed.
        """
        try:
            members = await self._ask("/status")
        except StatusError as error:
            if error.status == 404:  # an origin, or a node of the same cluster
                raise FetchError(self._stranger) from error
            raise
        if not isinstance(members.get("nodes"), list) or "cluster" not in members:
            raise FetchError(self._stranger)
        return members

    async def addresses(self) -> dict[int, str]:
        """HOST:PORT of each node by its number; Raises and Cancellation as `status`."""
        rows = (await self.status())["nodes"]
        try:
            return {int(row["number"]): str(row["address"]) for row in rows}
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise FetchError(self._stranger) from error

    async def manifest(self, key: str) -> Manifest:
        """Where the parts of an object are, without its facts; as `status`.

        Raises: also
            StatusError: 404, there is no such object.
        """
        members = await self._ask(f"/manifest?key={quote(key, safe='')}")
        try:
            generation, size, part_bytes, k = (int(members[name]) for name in _NUMBERS)
            nodes = tuple(int(node) for node in members["nodes"])
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise FetchError(self._stranger) from error
        return Manifest(key, generation, size, part_bytes, k, nodes, b"")

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _ask(self, target: str) -> dict[str, Any]:
        field = self._signer.field("GET", target, now_s=self._wall_s())
        answer = await self._client.request("GET", target, [field])
        await expect(answer, 200)
        try:
            members = json.loads(await answer.body())
        except (ValueError, RecursionError) as error:
            raise FetchError(self._stranger) from error
        if not isinstance(members, dict):
            raise FetchError(self._stranger)
        return members

"""A node's side of the gateway's listener for nodes: it registers, and says that it is there."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable

import trio

from chunkstore.client import Client, Connect, Timeouts, Url, dial, expect
from chunkstore.cluster.hello import Hello
from chunkstore.cluster.membership import HEARTBEAT_S
from chunkstore.cluster.sign import Signer
from chunkstore.errors import FetchError, JoinError, StatusError, StoreError

__all__ = ["LAST_RETRY_S", "Link"]

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 5.0
"""A gateway that comes back is full of questions: nodes ask at least so often, and not at once."""
FAREWELL_S = 2.0
_TIMEOUTS = Timeouts(connect_s=3.0, stall_s=5.0)


class Link:
    """What a node and its gateway say to each other.

    Args:
        gateway: URL of its listener for nodes.
        signer: signs what is asked.
        hello: what to say now.
        joined: called with the id of the cluster that took the node.
        note: told in words what a person should know.
        connect: makes a connection.
        wall_s: Unix time.
    """

    def __init__(
        self,
        gateway: Url,
        signer: Signer,
        hello: Callable[[], Hello],
        joined: Callable[[str], Awaitable[None]],
        note: Callable[[str], None],
        *,
        connect: Connect = dial,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._client = Client(gateway, timeouts=_TIMEOUTS, connect=connect)
        self._where = gateway.authority
        self._signer = signer
        self._hello = hello
        self._joined = joined
        self._note = note
        self._wall_s = wall_s
        self._is_registered = False
        self._was_taken = False  # in this life: what is refused later is no wrong setting
        self._trouble = ""

    async def run(self) -> None:
        """Register, and send heartbeats, until cancelled; a gateway that is away is waited for.

        Raises:
            JoinError: the gateway refuses this node, and would do so again.
        Cancellation: the connection stays, for `farewell`.
        """
        retry_s = FIRST_RETRY_S
        while True:
            try:
                await self._say()
            except (FetchError, StoreError) as error:
                status = error.status if isinstance(error, StatusError) else 0
                if status == 409 or (status in (401, 403, 421) and not self._was_taken):
                    raise JoinError(str(error)) from error
                if status == 404 and self._is_registered:  # it has lost what it knew
                    self._is_registered = False
                    continue
                if not self._trouble:
                    self._note(f"not in touch with the gateway at {self._where}: {error}")
                self._trouble = str(error)
                await trio.sleep(retry_s * random.uniform(0.5, 1.0))
                retry_s = min(2 * retry_s, LAST_RETRY_S)
            else:
                if self._trouble:
                    self._note(f"in touch with the gateway at {self._where}")
                self._trouble, retry_s = "", FIRST_RETRY_S
                await trio.sleep(HEARTBEAT_S)

    async def farewell(self) -> None:
        """Say that the node ends, if the gateway is there; and close the connection.

        Cancellation: it wasn't said.
        """
        if self._is_registered and not self._trouble:
            with trio.move_on_after(FAREWELL_S):
                try:
                    await self._post("/heartbeat", self._hello()._replace(is_ending=True))
                except FetchError:
                    pass  # it finds out by itself
        await self._client.aclose()

    async def _say(self) -> None:
        if self._is_registered:
            await self._post("/heartbeat", self._hello())
            return
        body = await self._post("/register", self._hello())
        try:
            members = json.loads(body)
            cluster_id, number = str(members["cluster"]), int(members["node"])
        except (ValueError, TypeError, KeyError) as error:
            raise FetchError(f"{self._where} is no gateway's listener for nodes") from error
        await self._joined(cluster_id)
        if not self._was_taken:
            self._note(f"node {number} of the cluster {cluster_id}")
        self._is_registered = self._was_taken = True

    async def _post(self, path: str, hello: Hello) -> bytes:
        body = hello.encode()
        field = self._signer.field("POST", path, now_s=self._wall_s(), length=len(body))
        answer = await self._client.request("POST", path, [field], body=body)
        await expect(answer, 200)
        return await answer.body()

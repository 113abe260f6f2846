"""What a store promises to an origin, whatever it keeps objects on.

A store has complete objects, each a name, a number, facts that it doesn't look into, and payload.
Open ones live in `live`, which hands their payload over run by run and commits at the end. Calls
take effect in the order in which they were made, and all are made in the loop's thread.

    begin ──append…──commit──> told None    it is what its name has, whatever happens from then on
                        └────> told why     nothing changed: its name has what it had before
          └─append…──abandon                as if it had never been

What a `Source` held can be read to its end, even if it was deleted or replaced meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

import trio

from chunkstore.errors import DiskError
from chunkstore.objects import Source

__all__ = ["Incoming", "OnDone", "Room", "Store", "StoredObject"]

OnDone: TypeAlias = Callable[[DiskError | None], None]
"""Told in the loop's thread what came of a change: None, and it holds for good; or why nothing
changed, which is a `DiskFullError` where room is all that lacked."""


class StoredObject(Protocol):
    """What is known of a complete object."""

    @property
    def generation(self) -> int:
        """The number it was begun with."""

    @property
    def size_bytes(self) -> int:
        """Of its payload."""

    @property
    def facts(self) -> bytes:
        """As its commit gave them."""

    @property
    def sha256(self) -> bytes | None:
        """Of its payload; None: the store doesn't know."""


class Incoming(Protocol):
    """The writer's side of one object; ends with `commit` or `abandon`.

    Attributes:
        on_written: called in the loop's thread when `written_bytes`, `error` or `sha256` has
            changed.
    """

    on_written: Callable[[], None]

    @property
    def generation(self) -> int:
        """Its number: higher than all that the store gave before, in any process."""

    @property
    def source(self) -> Source:
        """Where its payload can be read; held for the writer until the upload ends."""

    @property
    def handed_bytes(self) -> int:
        """So much payload was appended."""

    @property
    def written_bytes(self) -> int:
        """So much of that can be read from `source`."""

    @property
    def error(self) -> DiskError | None:
        """Why it can't become complete; None so far."""

    @property
    def has_digest(self) -> bool:
        """The store computes `sha256`."""

    @property
    def sha256(self) -> bytes | None:
        """Of its payload: known soon after `commit` was called, which need not be durable by then.

        If that fails it may stay None.
        """

    @property
    def receipt_fields(self) -> Sequence[tuple[str, str]]:
        """What its writer is to be told of how it is kept, once it was committed."""

    async def append(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        """Hand the next run over; waits only while too much waits to be written.

        Of an upload that was given up, even while this waited, it is thrown away.

        Args:
            pieces: 1 byte to 1 MiB together; not changed any more.
        Cancellation: it was not handed over.
        """

    def commit(self, size_bytes: int, facts: bytes, on_done: OnDone) -> None:
        """All `size_bytes` were handed over: have it become what its name has."""

    def abandon(self) -> None:
        """It won't become complete."""


class Room(Protocol):
    """How much may be stored; all of it may change at any time."""

    def stored(self, key: str) -> StoredObject | None:
        """What a name has."""

    def live_bytes(self) -> int:
        """What the objects take."""

    def refusal(self) -> DiskError | None:
        """Why no upload can become complete as things are, whatever its size; None: one can."""

    def free_bytes(self) -> int:
        """What uploads may still take; none is refused for it by the store itself."""

    def capacity_bytes(self) -> int:
        """What can be taken, all together."""


class Store(Room, Protocol):
    """Keeps complete objects beyond the life of the process."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled.

        Cancellation: what was asked for before is done, and told, first.
        """

    def objects(self) -> Iterator[tuple[str, int, bytes]]:
        """All there is: names, numbers and facts, in any order; while nothing is written."""

    def source(self, key: str, generation: int) -> Source:
        """The payload of an object that `stored` has shown; not held yet."""

    def begin(self, key: str) -> Incoming:
        """A new object of this name; others may be under way, and the last commit holds.

        A store may refuse to commit what was begun before what its name has by then.
        """

    def delete(self, key: str, on_done: OnDone, *, is_urgent: bool = True) -> None:
        """Have a name have nothing; it may have nothing already.

        Args:
            is_urgent: false: nobody waits for it, and it may take a second.
        """

    # --- what an operator asks -----------------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        """What the objects take, and what nobody needs but is not cleared away."""

    @property
    def flaw_count(self) -> int:
        """Damage that was found without anybody reading there."""

    def trouble(self) -> list[str]:
        """What is wrong now, in words."""

"""The metadata of a cluster, behind one interface: what is where, and what is under way.

::

    begin_open ──commit──> manifest ──newer commit, delete──> superseded ──forget──> gone
         └──────abort────> gone

Every part that lies on a node is named by an open upload, a manifest, a superseded generation or a
swap under way; one that none of them names is an orphan, and may be taken away. So a record is made
before the first byte goes to a node, and goes after the last one has left it.

Times are Unix time, since they outlive the process. All comes in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from chunkstore.cluster.names import Part
from chunkstore.errors import StaleError

__all__ = ["NOWHERE", "Manifest", "Meta", "NodeRecord", "Open", "Superseded", "Swap"]

T = TypeVar("T")

NOWHERE = 0
"""In place of a node's number: no node has the part."""


class NodeRecord(NamedTuple):
    """A node that registered once, for good.

    Attributes:
        number: what manifests call it; from 1 on.
        id: what it calls itself, made once and kept in its data dir.
        address: HOST:PORT that it listens on.
        capacity_bytes: what it could take, all together.
        incarnation: of its process.
        registered_s: when it came first.
    """

    number: int
    id: str
    address: str
    capacity_bytes: int
    incarnation: str
    registered_s: float


class Manifest(NamedTuple):
    """A complete object: where its parts are.

    Attributes:
        generation: the number it was begun with.
        part_bytes: of each part, as it lies on its node.
        k: parts that are enough; the others are parity.
        nodes: number of the node of each part, or NOWHERE.
        facts: what the store keeps beside it; not looked into.
    """

    key: str
    generation: int
    size_bytes: int
    part_bytes: int
    k: int
    nodes: tuple[int, ...]
    facts: bytes

    def node(self, index: int) -> int:
        """Where a part is; NOWHERE also for parity beyond what the object has."""
        return self.nodes[index] if index < len(self.nodes) else NOWHERE

    def moved(self, index: int, node: int) -> Manifest:
        """The same with a part elsewhere, which may be parity that it had not."""
        padding = (NOWHERE,) * (index + 1 - len(self.nodes))
        nodes = [*self.nodes, *padding]
        nodes[index] = node
        return self._replace(nodes=tuple(nodes))


class Open(NamedTuple):
    """An upload under way: parts of it may lie on any node."""

    generation: int
    key: str
    nodes: tuple[int, ...]


class Superseded(NamedTuple):
    """A generation that was replaced or deleted; its parts may go from `deadline_s` on."""

    generation: int
    nodes: tuple[int, ...]
    deadline_s: float


class Swap(NamedTuple):
    """A part that is made anew, or moved, from one node to another.

    Attributes:
        source: who has it as the manifest says, perhaps NOWHERE.
        target: who will have it.
    """

    part: Part
    source: int
    target: int


class Meta(Protocol):
    """The metadata; blocking, for one thread, but for `stored`, `backup` and `change_count`.

    Changes are made inside `batch` alone. Raised by each: DiskError, DiskFullError.
    """

    @property
    def cluster_id(self) -> str:
        """Made with the metadata: 32 hex digits."""

    @property
    def change_count(self) -> int:
        """Grows with every change that this process makes; for any thread."""

    def batch(
        self, changes: Sequence[Callable[[Meta], T]], *, is_lasting: bool = True
    ) -> list[T | StaleError]:
        """Make changes in one transaction, in their order; durable when it returns.

        Each is given the metadata, and does as much as belongs together. One that raises StaleError
        has changed nothing, and the others count.

        Args:
            is_lasting: false: they hold for this process, and a power cut may take them back; never
                without those that came after them.

        Raises:
            DiskError: none of them was made.
        Cost: one sync, and some 20 us each.
        """

    # --- nodes ---------------------------------------------------------------------------------

    def register(
        self, node_id: str, address: str, capacity_bytes: int, incarnation: str, now_s: float
    ) -> NodeRecord:
        """A node came, or came again: its number is what it was."""

    def nodes(self) -> list[NodeRecord]:
        """All that ever came, by number."""

    # --- uploads -------------------------------------------------------------------------------

    def reserve(self, count: int) -> int:
        """Have `count` numbers for generations, from the one returned on; nobody else gets them."""

    def begin_open(self, opened: Open) -> None:
        """An upload begins; its parts go nowhere before this is durable."""

    def move_open(self, generation: int, nodes: tuple[int, ...]) -> None:
        """An upload has other nodes, since one was lost.

        Raises:
            StaleError: it was ended.
        """

    def opens(self) -> list[Open]:
        """Those under way, by generation; after a start they are nobody's."""

    def commit(self, manifest: Manifest, deadline_s: float) -> Manifest | None:
        """An upload is complete: what its key had before is superseded.

        Args:
            deadline_s: until when readers may go on with what it replaces.
        Returns:
            what it replaces.
        Raises:
            StaleError: the upload was ended, or the key has a newer generation.
        """

    def abort(self, generation: int) -> Open | None:
        """An upload is ended, if it wasn't; its parts are orphans now."""

    def delete(self, key: str, deadline_s: float) -> Manifest | None:
        """A key has nothing any more; what it had is superseded."""

    def due(self, now_s: float, limit: int) -> list[Superseded]:
        """At most `limit` generations whose deadline has come, longest due first."""

    def forget(self, generation: int) -> None:
        """The parts of a superseded generation were taken away, or are left to be orphans."""

    # --- objects -------------------------------------------------------------------------------

    def stored(self, key: str) -> Manifest | None:
        """What a key has, as far as it is durable; by one more thread than `batch`'s.

        Cost: 15 us; it never waits for a commit.
        """

    def manifest(self, key: str) -> Manifest | None:
        """What a key has, with what the batch under way has changed."""

    def page(self, after: int, limit: int) -> list[Manifest]:
        """At most `limit` manifests of generations above `after`, in their order."""

    def names(self) -> Iterator[tuple[str, int, bytes]]:
        """All keys, generations and facts, in any order; while nothing is changed.

        Cost: 2 us each.
        """

    # --- parts ---------------------------------------------------------------------------------

    def begin_swap(self, swap: Swap) -> None:
        """A part is about to be written to `target`.

        Raises:
            StaleError: the source is another one, the target has a part of the object or is to get
                one, or the part is being swapped already.
        """

    def swap_part(self, swap: Swap) -> bool:
        """It was written: the manifest says so from now on, and the swap is over.

        Returns:
            false: the object is gone, or the swap was ended: the new part is an orphan.
        """

    def end_swap(self, swap: Swap) -> None:
        """It failed; what was written is an orphan."""

    def swaps(self) -> list[Swap]:
        """Those under way, by part; after a start they are nobody's."""

    def orphans(self, node: int, parts: Iterable[Part]) -> list[Part]:
        """Those of the parts on a node that nothing names; inside `batch`: nothing comes between.

        Since generations aren't used again, and uploads and swaps are noted before they write, one
        of an ended generation stays so.
        """

    # --- the whole -----------------------------------------------------------------------------

    def backup(self, path: Path) -> None:
        """Copy all of it as it is now to a file, replacing that at once; by any thread.

        Raises:
            DiskError: what was there before still is.
        """

    def close(self) -> None:
        """Give the files back."""

"""What nodes have is compared with what they should have, and what nothing needs is taken away.

A node is surveyed soon after it is first heard of, whenever it comes back, and every hour; one at a
time. Its list is read a page at a time, and the manifests of the same generations after each page.
Uploads, repairs and readers go on meanwhile, so each thing that looks wrong is looked at again:

- what nothing seems to need goes once the metadata says so in one transaction. Of an object that is
  gone, the node then refuses late writes; of one that has this part elsewhere, it takes away only
  what was listed, since the part may be on its way back.
- what seems to be missing, or of another size, is asked for by itself: an upload may have been
  committed between the list and the manifests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import trio

from chunkstore.client import expect
from chunkstore.cluster.heal.reconcile import Listed, Verdict, reconcile
from chunkstore.cluster.listing import list_page
from chunkstore.cluster.membership import Membership
from chunkstore.cluster.meta import Manifest, Meta
from chunkstore.cluster.names import GENERATION_MAX, PARTS, Part, parse_part, part_path
from chunkstore.errors import FetchError, StatusError, StoreError

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["PERIOD_S", "RETRY_S", "SETTLE_S", "Survey"]

SETTLE_S = 1.0
"""A node that came is let alone for so long."""
RETRY_S = 10.0
"""After a survey that broke off though its node is up."""
PERIOD_S = 3600.0
LOOK_S = 1.0
"""Who came and who went is looked for so often."""
PAGE_COUNT = 500
"""Parts, and manifests, at a time: 2 ms of work."""
_STRANGE = "newer than the metadata, which must be an old copy: `cluster recover` makes it anew"
_LOST = (404, 410, 500)
"""What a node answers that has no such part, or can't read it."""


class _Row(NamedTuple):
    """A part as its node lists it.

    Attributes:
        etag: of just this writing of it.
    """

    part: Listed
    etag: str


@dataclass(slots=True, eq=False)
class _Visit:
    """A node, from when it came to when it goes.

    Attributes:
        due_s: when it is to be surveyed.
    """

    node: int
    incarnation: str
    due_s: float
    is_done: bool = False


class Survey:
    """Surveys all nodes.

    Args:
        store: whose nodes they are.
        membership: which of them came when.
        note: told what wasn't as it should be.

    Attributes:
        surveyed_s: when a node was last surveyed, by its number and trio's clock.
        survey_count, collected_count, flaw_count: since the start; parts that were taken away, and
            parts that were missing or of another size.
    """

    def __init__(
        self, store: ClusterStore, membership: Membership, note: Callable[[str], None]
    ) -> None:
        self._store = store
        self._membership = membership
        self._note = note
        self._visits: dict[int, _Visit] = {}
        self.surveyed_s: dict[int, float] = {}
        self.survey_count = self.collected_count = self.flaw_count = 0

    def is_surveyed(self, node: int) -> bool:
        """Whether what a node has was compared since it came, or came back."""
        visit = self._visits.get(node)
        return visit is not None and visit.is_done

    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            while True:
                now_s = trio.current_time()
                due = [visit for visit in self._visits.values() if visit.due_s <= now_s]
                if due:
                    await self._survey(min(due, key=lambda visit: visit.due_s))
                else:
                    await trio.sleep(LOOK_S)

    async def _watch(self) -> None:
        """See who comes and goes, also while another node is surveyed."""
        while True:
            due_s = trio.current_time() + SETTLE_S
            for node, member in self._membership.members.items():
                incarnation, visit = member.record.incarnation, self._visits.get(node)
                if not self._store.fleet.is_up(node):
                    self._visits.pop(node, None)
                elif visit is None or visit.incarnation != incarnation:
                    self._visits[node] = _Visit(node, incarnation, due_s)
            await trio.sleep(LOOK_S)

    async def _survey(self, visit: _Visit) -> None:
        node = visit.node
        try:
            found = await self._compare(node)
        except (FetchError, StoreError) as error:
            visit.due_s = trio.current_time() + RETRY_S  # unless it comes back as another visit
            if self._store.fleet.is_up(node):
                self._note(f"survey: node {node} couldn't be compared to its end: {error}")
            return
        visit.due_s, visit.is_done = trio.current_time() + PERIOD_S, True
        self.surveyed_s[node] = trio.current_time()
        self.survey_count += 1
        if +found:
            told = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
            self._note(f"survey: node {node}: {told}")

    # --- the walk ------------------------------------------------------------------------------

    async def _compare(self, node: int) -> Counter[str]:
        """Compare all that a node has; what was found, in words.

        Raises:
            FetchError: the node was lost.
            DiskError: the metadata can't be read.
        """
        found: Counter[str] = Counter()
        low, waiting = 0, list[_Row]()
        after: str | None = ""
        while after is not None:
            rows, after = await self._page(node, after)
            waiting += rows
            # The last generation of a page may go on in the next one.
            stop = (
                GENERATION_MAX
                if after is None
                else waiting[-1].part.generation - 1
                if waiting
                else 0
            )
            while low < stop:
                manifests = await self._manifests(low)
                is_end = len(manifests) < PAGE_COUNT
                upto = stop if is_end else min(stop, manifests[-1].generation)
                rows = [row for row in waiting if row.part.generation <= upto]
                waiting = waiting[len(rows) :]
                known = [one for one in manifests if one.generation <= upto]
                found += await self._settle(node, rows, known)
                low = upto
        return found

    async def _page(self, node: int, after: str) -> tuple[list[_Row], str | None]:
        """The next of a node's parts, and where the next page begins."""
        links = self._store.fetcher.links
        page = await list_page(links, node, PARTS, after, PAGE_COUNT)
        parts = [(parse_part(row.path), row) for row in page.rows]
        rows = [
            _Row(Listed(part.generation, part.index, row.size_bytes), row.etag)
            for part, row in parts
            if part is not None
        ]
        return rows, page.next_after

    async def _manifests(self, after: int) -> list[Manifest]:
        return await self._store.scribe.ask(
            lambda meta: meta.page(after, PAGE_COUNT), is_lasting=False
        )

    async def _settle(
        self, node: int, rows: Sequence[_Row], manifests: Sequence[Manifest]
    ) -> Counter[str]:
        """Do what is to be done about some generations."""
        known = {manifest.generation: manifest for manifest in manifests}
        listed = [row.part for row in rows]
        needless: list[Part] = []
        found: Counter[str] = Counter()
        for verdict, one in reconcile(node, listed, manifests, self._store.read_generations):
            part = Part(one.generation, one.part)
            if verdict in (Verdict.ORPHAN, Verdict.STALE):
                needless.append(part)
            elif verdict in (Verdict.MISSING, Verdict.DAMAGED):
                if await self._is_wrong(node, part, known[part.generation]):
                    self._store.damage.note(part.generation, part.index, node)
                    self.flaw_count += 1
                    found["missing" if verdict is Verdict.MISSING else "of another size"] += 1
        etags = {(row.part.generation, row.part.part): row.etag for row in rows}
        if needless:
            orphans, strange_count = await self._orphans(node, needless)
            found[_STRANGE] += strange_count
            for part in orphans:
                is_live = part.generation in known
                etag = etags[part.generation, part.index] if is_live else None
                if part.generation not in self._store.read_generations:
                    found["taken away"] += await self._take_away(node, part, etag)
        self.collected_count += found["taken away"]
        return found

    # --- looking again -------------------------------------------------------------------------

    async def _is_wrong(self, node: int, part: Part, manifest: Manifest) -> bool:
        """Whether a part still isn't on its node, or not of its size, and still should be."""
        async with self._store.fetcher.links.request(
            node, "HEAD", part_path(part), generation=part.generation
        ) as answer:
            await answer.body()
        size = answer.length  # None: it is being written again
        is_other = answer.status == 200 and size not in (None, manifest.part_bytes)
        now = self._store.manifest(manifest.key)
        return (
            (is_other or answer.status in _LOST)
            and now is not None
            and now.generation == part.generation
            and now.node(part.index) == node
        )

    async def _orphans(self, node: int, parts: list[Part]) -> tuple[list[Part], int]:
        """Those that nothing names, nor will; and how many the metadata can't know."""

        def find(meta: Meta) -> tuple[list[Part], int]:
            # What is numbered beyond all that was ever begun is of metadata that was rolled back.
            beyond = meta.reserve(0)
            known = [one for one in parts if one.generation < beyond]
            return meta.orphans(node, known), len(parts) - len(known)

        return await self._store.scribe.ask(find, is_lasting=False)

    async def _take_away(self, node: int, part: Part, etag: str | None) -> bool:
        """Delete a part; whether the node did. One at a time: others shouldn't notice.

        Args:
            etag: only while it is this; None: whatever it is, and for good.
        """
        fields = [("If-Match", etag)] if etag else []
        try:
            async with self._store.fetcher.links.request(
                node, "DELETE", part_path(part), generation=part.generation, fields=fields
            ) as answer:
                await expect(answer, 200, 204)
                await answer.body()
        except StatusError:
            return False  # it is gone already, or another one; or else the next survey finds it
        return True

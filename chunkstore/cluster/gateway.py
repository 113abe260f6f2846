"""What clients of a cluster talk to: an origin whose store is the cluster."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import trio

from chunkstore.cluster.codec import MAX_M
from chunkstore.cluster.fleet import Fleet
from chunkstore.cluster.heal.backup import Backup
from chunkstore.cluster.heal.mover import Mover
from chunkstore.cluster.heal.repair import Repair
from chunkstore.cluster.heal.scrub import Scrub
from chunkstore.cluster.heal.survey import Survey
from chunkstore.cluster.links import Links
from chunkstore.cluster.membership import Membership
from chunkstore.cluster.meta import Meta
from chunkstore.cluster.overview import Overview
from chunkstore.cluster.reception import Reception, View
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.cluster.store import ClusterStore
from chunkstore.config import Settings
from chunkstore.errors import DataDirError
from chunkstore.metrics import Figure
from chunkstore.origin import Origin
from chunkstore.server import Listener, Log

__all__ = ["Gateway", "open_meta"]

_META = "meta.sqlite"
_NO_STRANGERS = {f"{_META}.lock", "lost+found"}  # of a start that was cut short, of file systems
_SCRUB = "scrub"


def open_meta(folder: Path, new_id: str | None = None) -> SqliteMeta:
    """The metadata of a cluster, in a folder that is made if it isn't there.

    Args:
        new_id: as `SqliteMeta` takes it.
    Raises:
        DataDirError: it can't be used; it is untouched.
        DiskError: it can't be read or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = set(os.listdir(folder))
    except OSError as error:
        raise DataDirError(folder, error.strerror or str(error)) from error
    if _META not in names and (strangers := sorted(names - _NO_STRANGERS)):
        # Another cluster, made here by mistake, would turn the nodes of this one away for good.
        detail = f"not empty, and without the metadata of a cluster: it has {strangers[0]!r}"
        raise DataDirError(folder, detail)
    return SqliteMeta(folder / _META, new_id)


class Gateway(Origin):
    """The gateway of a cluster, ready to `run`.

    Args:
        settings: limits, policies, tokens; with the folder of the metadata.
        log: gets a line a request.
        sign_keys: what signed URLs are checked with.
        meta: the metadata; whoever opened it closes it.
        secret: of the cluster.
        nodes_at: listeners that nodes come to.
        wall_s: Unix time.
    Raises:
        SettingsError: what computes parity isn't installed.

    Attributes:
        store: the cluster.
        membership: its nodes.
        mover: evens out how full they are.
        survey, scrub: compare what nodes have, and read it.
        repair: makes what is lost anew.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        sign_keys: Sequence[bytes] = (),
        *,
        meta: Meta,
        secret: bytes,
        nodes_at: tuple[Listener, ...] = (),
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        signer, scribe = Signer(secret), Scribe(meta)
        self.membership = Membership(meta.cluster_id, meta.nodes(), trio.current_time())
        fleet = Fleet(self.membership, trio.current_time, random.random)
        self._links = Links(fleet.address, signer, wall_s=wall_s)
        self.store = ClusterStore(meta, scribe, fleet, self._links, wall_s=wall_s)
        self.repair = Repair(
            self.store,
            self.membership,
            log.note,
            heal_after_s=settings.heal_after_s,
            rate_bytes=settings.repair_rate_bytes,
            draw=random.random,
        )
        self.mover = Mover(self.store, settings, self._may_move, log.note)
        self._nodes_at = nodes_at
        self.survey = Survey(self.store, self.membership, log.note)
        assert settings.data is not None, "its metadata lies there"
        folder = Path(settings.data)
        self.scrub = Scrub(self.store, settings.scrub_parts_s, folder / _SCRUB, log.note)
        self.store.tasks = [self.repair.run, self.survey.run, self.scrub.run, self.mover.run]
        if settings.backup_s is not None:
            backup = Backup(self.store, meta, folder, settings.backup_s, log.note, wall_s=wall_s)
            self.store.tasks.append(backup.run)
        self._overview = Overview(
            self.membership, self.store, lambda: self.repair.progress, self._at_work()
        )
        views: dict[str, View] = {
            "/status": self._overview.status,
            "/manifest": self._overview.manifest,
        }
        self._reception = Reception(
            settings, self.membership, scribe, signer, log, views, wall_s=wall_s
        )
        self.store.fetcher.codec(MAX_M)  # a sixth node may come at any time: it is said now
        super().__init__(settings, log, sign_keys, disk=self.store, wall_s=wall_s)

    async def figures(self) -> list[Figure]:
        """As `Origin.figures`, of the cluster."""
        return await self._overview.figures()

    async def run(
        self,
        listeners: tuple[Listener, ...] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """As `Origin.run`; nodes are heard until the drain is over."""
        async with self._links, trio.open_nursery() as nursery:
            await nursery.start(self._reception.run, self._nodes_at)
            await super().run(listeners, task_status=task_status)
            nursery.cancel_scope.cancel()

    def _at_work(self) -> dict[str, Callable[[], dict[str, object]]]:
        """What works by itself says of itself, for the status."""
        survey = self.survey
        return {
            "scrub": lambda: asdict(self.scrub.round),
            "move": lambda: self.mover.progress._asdict(),
            "survey": lambda: {
                "survey_count": survey.survey_count,
                "collected_count": survey.collected_count,
                "flaw_count": survey.flaw_count,
            },
        }

    def _may_move(self) -> bool:
        return self.repair.is_settled and not self.server.is_draining

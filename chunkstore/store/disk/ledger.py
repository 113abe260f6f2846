"""What all records say together. Pure: it hears of records, and knows what is there.

The order in which volumes are read is the order in which they were written, with one exception:
what compaction wrote again keeps its sequence, and may be met twice. So a record counts by its
sequence, and of two that are the same the later copy is as good.

    run, commit, tombstone   what was written, or found by a scan
    move                     compaction wrote a run again
    settle                   the scan is over: what nobody committed is forgotten
    forget                   a volume is gone

A *dead* commit is one that lost to a higher sequence, or to the copy that compaction wrote of it,
and still lies in some volume. As long as one does, its name's tombstone must be kept: without it, a
scan would bring the object back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from chunkstore.store.disk.stored import Extent, Extents, Objects, Stored, Tombstone, place, weigh

__all__ = ["Ledger"]


class Ledger:
    """The objects of a data dir, and what must be known to keep it so.

    Attributes:
        objects: name -> what is there.
        open: generation -> packed extents of uploads that aren't committed.
        tombstones: by name; those that are still needed.
        dead: name -> volumes that have dead commits of it.
        live_bytes: of each volume; the rest of it is garbage.
        tombstone_bytes: of that, what the tombstones have.
        ended: generations that ended, as objects or as uploads: an own file isn't needed any more.
        touched: names and generations that changed since the index was told.
        moved: of the generations, those whose extents changed but for an end that grew.
        dropped_commits, dropped_tombstones: sequences that the index knows, and need not.
    """

    def __init__(self) -> None:
        self.objects = Objects()
        self.open: dict[int, bytearray] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.dead: dict[str, frozenset[int]] = {}
        self.live_bytes: Counter[int] = Counter()
        self.tombstone_bytes: Counter[int] = Counter()
        self.ended: set[int] = set()
        self.touched: set[str | int] = set()
        self.moved: set[int] = set()
        self.dropped_commits: set[int] = set()
        self.dropped_tombstones: set[int] = set()
        self._noted_sequence = 0  # of nothing beyond it, the index knows anything
        self._keys: dict[int, str] = {}  # generation -> name, of the objects
        self._names: dict[int, set[str]] = {}  # volume -> those with a dead commit or tombstone
        self._alone: dict[int, frozenset[int]] = {}  # volume -> the set of it: most dead share one

    # --- what records say ----------------------------------------------------------------------

    def run(self, generation: int, extent: Extent) -> None:
        """A part of an upload, or of an object: a scan may find it behind the commit."""
        if generation in self._keys:
            self.move(generation, extent)
            return
        self.live_bytes[extent.volume] += extent.record_bytes
        packed = self.open.setdefault(generation, bytearray())
        before = place(packed, extent)
        if before is not None:
            self.live_bytes[before.volume] -= before.record_bytes
        if before is not None or Extents(packed)[-1] != extent:
            self.moved.add(generation)
        self.touched.add(generation)

    def move(self, generation: int, extent: Extent) -> None:
        """The same for what is known: if it ended meanwhile, it was moved in vain."""
        key = self._keys.get(generation)
        if key is not None:
            stored = self.objects[key]
            packed = bytearray(stored.packed)
            before = place(packed, extent)
            self.live_bytes[extent.volume] += extent.record_bytes
            if before is not None:
                self.live_bytes[before.volume] -= before.record_bytes
            self._put(key, stored._replace(packed=bytes(packed)))
        elif generation in self.open:
            self.run(generation, extent)

    def commit(self, key: str, stored: Stored) -> None:
        """An upload is whole; its runs may still be to come."""
        tombstone, current = self.tombstones.get(key), self.objects.get(key)
        if tombstone is not None and tombstone.sequence > stored.sequence:
            self._bury(key, stored.commit_volume)
        elif current is None or current.sequence < stored.sequence:
            if current is not None:
                self._drop(key)
            self._enter(key, stored._replace(packed=bytes(self.open.get(stored.generation, b""))))
            # Only now: who looks for it from another thread finds it at each moment.
            self.open.pop(stored.generation, None)
            self.touched.add(stored.generation)
        elif current.sequence == stored.sequence:
            self._move_commit(key, current, stored)
        else:
            self._bury(key, stored.commit_volume)

    def _move_commit(self, key: str, current: Stored, stored: Stored) -> None:
        """Compaction wrote it again; or a scan meets what the index knew."""
        if current.commit_volume == stored.commit_volume:
            return
        self._bury(key, current.commit_volume)
        self.live_bytes[current.commit_volume] -= current.commit_bytes
        self.live_bytes[stored.commit_volume] += stored.commit_bytes
        self._put(key, stored._replace(packed=current.packed))

    def tombstone(self, key: str, tombstone: Tombstone) -> None:
        """All of a name up to a sequence is gone."""
        before, current = self.tombstones.get(key), self.objects.get(key)
        if before is not None:
            if before.sequence > tombstone.sequence:
                return
            self._untomb(key)
        self.tombstones[key] = tombstone
        self._names.setdefault(tombstone.volume, set()).add(key)
        self.live_bytes[tombstone.volume] += tombstone.record_bytes
        self.tombstone_bytes[tombstone.volume] += tombstone.record_bytes
        self.touched.add(key)
        if current is not None and current.sequence < tombstone.sequence:
            self._drop(key)

    # --- what becomes of it --------------------------------------------------------------------

    def abandon(self, generation: int) -> None:
        """An upload ended without a commit."""
        for one in Extents(self.open.pop(generation, bytearray())):
            self.live_bytes[one.volume] -= one.record_bytes
        self.ended.add(generation)
        self.touched.add(generation)

    def settle(self) -> None:
        """A scan is over: no upload survived it, and tombstones of nothing aren't needed."""
        for generation in list(self.open):
            self.abandon(generation)
        for key in [key for key in self.tombstones if key not in self.dead]:
            self._untomb(key)

    def forget(self, volume: int, most: int | None = None) -> bool:
        """A volume is gone, and nothing in it was needed.

        Args:
            most: so many names are looked at; None: all.
        Returns:
            that there are no more.
        """
        names = self._names.get(volume, set())
        for _ in range(len(names) if most is None else min(most, len(names))):
            key = names.pop()
            left = self.dead.pop(key, frozenset()) - {volume}
            if left:
                self.dead[key] = left
            elif key in self.tombstones:
                self._untomb(key)
            self.touched.add(key)
        if names:
            return False
        for held in (self._names, self._alone, self.live_bytes, self.tombstone_bytes):
            held.pop(volume, None)
        return True

    def gone(self, volumes: Collection[int]) -> list[int]:
        """Volumes that dead commits or tombstones lie in, and that aren't there."""
        return [number for number in self._names if number not in volumes]

    # --- what is asked -------------------------------------------------------------------------

    def extents_of(self, generation: int) -> Extents:
        """Of an upload under way, or of an object; none, if it is neither. Any thread may ask."""
        packed = self.open.get(generation)
        if packed is not None:
            return Extents(bytes(packed))
        stored = self.objects.get(self._keys.get(generation, ""))
        if stored is None or stored.generation != generation:
            return Extents(b"")
        return stored.extents

    def key_of(self, generation: int) -> str | None:
        """The name that has it; None: it is no object. Any thread may ask."""
        return self._keys.get(generation)

    def is_needless(self, key: str, volume: int) -> bool:
        """Whether a tombstone in `volume` may go with it: no other has a dead commit of it."""
        return not self.dead.get(key, frozenset()) - {volume}

    def has_generation(self, generation: int) -> bool:
        """Whether it is an object, or an upload under way. Any thread may ask."""
        return generation in self._keys or generation in self.open

    def lost(self, volumes: Collection[int]) -> list[str]:
        """Take the objects away whose commits lie in no volume that there is; their names.

        An index that is older than a compaction knows objects that have gone since; what had not
        gone was found elsewhere. A volume that somebody took away looks the same.
        """
        present = set(volumes)
        if all(number in present for number, size in self.live_bytes.items() if size):
            return []  # as nearly always: there is no need to look at each
        if present.issuperset(+self.live_bytes):  # nearly always; and objects are many
            return []
        names = [key for key, one in self.objects.items() if one.commit_volume not in present]
        for key in names:
            self._take_out(key)
        return names

    def not_whole(self) -> list[str]:
        """Names among the touched whose object lacks bytes: damage took them."""
        found = (name for name in self.touched if isinstance(name, str) and name in self.objects)
        return [name for name in found if not self.objects[name].is_whole]

    # --- the index -------------------------------------------------------------------------------

    def noted(self, sequence: int) -> None:
        """The index knows all of it now, up to a sequence."""
        self._noted_sequence = sequence
        for told in (self.touched, self.moved, self.dropped_commits, self.dropped_tombstones):
            told.clear()

    # --- inside --------------------------------------------------------------------------------

    def load(self, key: str, row: bytes) -> None:
        """An object that the index knows. Cost: a microsecond and a half."""
        self.objects.put(key, row)
        self._keys[weigh(row, self.live_bytes)] = key

    def load_open(self, generation: int, packed: bytes) -> None:
        """Runs that the index knows of an upload; its commit may follow."""
        for one in Extents(packed):
            self.run(generation, one)

    def load_dead(self, key: str, volumes: Iterable[int]) -> None:
        """Where the index knows dead commits."""
        for number in volumes:
            self._bury(key, number)

    def _enter(self, key: str, stored: Stored) -> None:
        self._keys[stored.generation] = key
        self.live_bytes[stored.commit_volume] += stored.commit_bytes
        self._put(key, stored)

    def _put(self, key: str, stored: Stored) -> None:
        self.objects.put(key, stored.encode())
        self.touched.add(key)

    def _drop(self, key: str) -> None:
        """The object that a name has loses; its commit still lies about."""
        self._bury(key, self._take_out(key).commit_volume)

    def _take_out(self, key: str) -> Stored:
        stored = self.objects.pop(key)
        del self._keys[stored.generation]
        for one in stored.extents:
            self.live_bytes[one.volume] -= one.record_bytes
        self.live_bytes[stored.commit_volume] -= stored.commit_bytes
        self.ended.add(stored.generation)
        if stored.sequence <= self._noted_sequence:
            self.dropped_commits.add(stored.sequence)
        self.touched.add(key)
        return stored

    def _bury(self, key: str, volume: int) -> None:
        before, alone = self.dead.get(key), self._alone.setdefault(volume, frozenset({volume}))
        self.dead[key] = alone if before is None else before | alone
        self._names.setdefault(volume, set()).add(key)
        self.touched.add(key)

    def _untomb(self, key: str) -> None:
        tombstone = self.tombstones.pop(key)
        self.live_bytes[tombstone.volume] -= tombstone.record_bytes
        self.tombstone_bytes[tombstone.volume] -= tombstone.record_bytes
        if tombstone.sequence <= self._noted_sequence:
            self.dropped_tombstones.add(tombstone.sequence)
        self.touched.add(key)

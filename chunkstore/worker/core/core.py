"""All chunks together: which are wanted, what is under way for each, who holds what. Pure.

A chunk that is asked for is a *generation*, which has a folder of its own under a number of its
own; so what is removed late is never what came after it. One of a chunk is *current*: the one that
is wanted. Others of the same chunk are on their way out, perhaps still held.

The caller has one lock around all of this, keeps it short, and does what `touched` and `next_start`
tell it to do.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.generation import ChunkInfo, Found, Generation
from chunkstore.worker.core.index import BlockIndex
from chunkstore.worker.core.names import ChunkName
from chunkstore.worker.core.states import ACTIVE, MOVING, TRANSITIONS, Event, State

__all__ = ["Core"]


class Core:
    """What is wanted, what there is, and what is to be done.

    Args:
        ready: what a start found whole; all of it is wanted until somebody says otherwise.
        partial: what it found on its way; kept for whoever asks for the same again.
        next_number: above all numbers on disk.

    Attributes:
        hold_count: references, to all chunks.
    """

    def __init__(
        self, ready: Iterable[Found] = (), partial: Iterable[Found] = (), next_number: int = 1
    ) -> None:
        self.hold_count = 0
        self._next_number = next_number
        self._generations: dict[bytes, list[Generation]] = {}
        self._current: dict[bytes, Generation] = {}
        self._partial = {found.name.id: found for found in partial}
        self._discarded: list[Found] = []
        self._listed: dict[bytes, ChunkInfo] = {}
        self._index: dict[bytes, BlockIndex[Generation]] = {}
        self._queues: dict[bytes, dict[int, Generation]] = {}
        self._turns: deque[bytes] = deque()
        self._touched: dict[int, Generation] = {}
        # Looked for often, and few.
        self._by_state: dict[State, dict[int, Generation]] = {State.BACKOFF: {}, State.WAITING: {}}
        self._moving: set[int] = set()
        self._others: dict[int, Generation] = {}  # that aren't READY
        self._counts = Counter[State]()
        self._adopt(ready)

    def _adopt(self, ready: Iterable[Found]) -> None:
        by_dataset: dict[bytes, list[tuple[int, int, int, Generation]]] = {}
        for dataset_id, name in ready:
            generation = Generation(dataset_id, name, None, State.READY)
            start, stop, chunk_id, number, _ = name
            self._generations[chunk_id] = [generation]
            self._current[chunk_id] = generation
            self._listed[chunk_id] = ChunkInfo(chunk_id, dataset_id, range(start, stop))
            if dataset_id not in by_dataset:
                by_dataset[dataset_id] = []
            by_dataset[dataset_id].append((start, stop, number, generation))
        self._counts[State.READY] = len(self._current)
        for dataset_id, rows in by_dataset.items():
            index = self._index[dataset_id] = BlockIndex()
            index.fill(rows)

    # --- what callers want ---------------------------------------------------------------------

    def want(self, chunk: DataChunk, *, is_asked_again: bool = True) -> None:
        """Have a chunk; the last of `want` and `unwant` counts.

        One that is there, on its way, or on its way out and unharmed is not fetched anew. Another
        chunk of the same id takes its place.

        Args:
            is_asked_again: one that failed is tried again at once, and what servers said of sizes
                is forgotten; else only if its URLs differ.
        Cost: 20 us.
        """
        partial = self._partial.get(chunk.id)
        if partial is not None and partial.name.identity != chunk.identity:
            self._discarded.append(self._partial.pop(chunk.id))
        current = self._current.get(chunk.id)
        if current is not None and current.name.identity == chunk.identity:
            self._want_same(current, chunk, is_asked_again)
            return
        if current is not None:
            self._drop_current(current)
        generation = self._revived(chunk) or self._made(chunk)
        generation.chunk = chunk
        self._current[chunk.id] = generation
        if generation.state is State.DOOMED:
            self.apply(generation, Event.WANTED)
        self._touch(generation)

    def _want_same(self, current: Generation, chunk: DataChunk, is_asked_again: bool) -> None:
        are_new = current.chunk is None or current.chunk.files != chunk.files
        current.chunk = chunk
        if is_asked_again or are_new:
            current.needed_bytes = 0  # what a server said once may not be so any more
            if current.state is State.FAILED:
                self.apply(current, Event.WANTED)

    def _revived(self, chunk: DataChunk) -> Generation | None:
        """One that is on its way out, and good as it is."""
        for generation in reversed(self._generations.get(chunk.id, ())):
            is_same = generation.name.identity == chunk.identity and not generation.is_damaged
            if is_same and generation.state in (State.DOOMED, State.CANCELLING):
                return generation
        return None

    def _made(self, chunk: DataChunk) -> Generation:
        """A new one, which goes on with what a start found of the same."""
        partial = self._partial.pop(chunk.id, None)
        if partial is not None:
            number = partial.name.number
        else:
            number = self._next_number
            self._next_number += 1
        blocks = chunk.block_range
        name = ChunkName(blocks.start, blocks.stop, chunk.id, number, chunk.identity)
        generation = Generation(chunk.dataset_id, name, chunk)
        self._generations.setdefault(chunk.id, []).append(generation)
        self._moving.add(number)
        self._others[number] = generation
        self._counts[State.QUEUED] += 1
        self._enqueue(generation)
        return generation

    def unwant(self, chunk_id: bytes) -> None:
        """Have a chunk no more; whoever holds it keeps it until then. Cost: 20 us."""
        partial = self._partial.pop(chunk_id, None)
        if partial is not None:
            self._discarded.append(partial)
        current = self._current.get(chunk_id)
        if current is not None:
            self._drop_current(current)

    def desire(self, chunks: Iterable[DataChunk]) -> None:
        """Have these chunks, and no others. Cost: 10 us each."""
        wanted = {chunk.id: chunk for chunk in chunks}
        for chunk_id in [one for one in (*self._current, *self._partial) if one not in wanted]:
            self.unwant(chunk_id)
        for chunk in wanted.values():
            self.want(chunk, is_asked_again=False)

    def _drop_current(self, current: Generation) -> None:
        del self._current[current.id]
        if current.state is State.READY:
            self._hide(current)
        if current.state is not State.CANCELLING:
            self.apply(current, Event.UNWANTED)

    # --- who reads -----------------------------------------------------------------------------

    def listed(self) -> list[ChunkInfo]:
        """Chunks that are wholly there, and wanted: a snapshot. Cost: 5 ns each."""
        return list(self._listed.values())

    def find(self, dataset_id: bytes, block: int) -> Generation | None:
        """The chunk that has a block, held once more: to be given back by `release`.

        Of several it is the one with the smallest range, and of these the newest. Cost: 3 us.
        """
        index = self._index.get(dataset_id)
        generation = None if index is None else index.find(block)
        if generation is not None:
            generation.hold_count += 1
            self.hold_count += 1
        return generation

    def current(self, chunk_id: bytes) -> Generation | None:
        """The generation of a chunk that is wanted; None: it isn't."""
        return self._current.get(chunk_id)

    def hold(self, generation: Generation) -> None:
        """One more reference to what is held already, or ready."""
        assert generation.hold_count or generation.state is State.READY
        generation.hold_count += 1
        self.hold_count += 1

    def release(self, generation: Generation) -> bool:
        """One reference fewer; whether there is something to be done about it."""
        assert generation.hold_count, "every hold is given back once"
        generation.hold_count -= 1
        self.hold_count -= 1
        is_due = not generation.hold_count and generation.state is State.DOOMED
        if is_due:
            self._touch(generation)
        return is_due

    # --- what is left to do --------------------------------------------------------------------

    @property
    def has_queued(self) -> bool:
        """There may be a download to begin."""
        return bool(self._turns)

    @property
    def has_waiting(self) -> bool:
        """Some wait for room."""
        return bool(self._by_state[State.WAITING])

    @property
    def has_discarded(self) -> bool:
        """There is something for `discarded` to give."""
        return bool(self._discarded)

    @property
    def is_resting(self) -> bool:
        """Nothing is to be done now: what is there is whole, held, failed, or waits for room."""
        return not self._touched and not self._discarded and not self._moving

    # --- who does it ---------------------------------------------------------------------------

    def touched(self) -> list[Generation]:
        """Those that changed since the last call, each once: look at what each needs now.

        QUEUED ones come by `next_start`. READY and wanted: no mark of doom may stay. DOOMED: a mark
        while it is held, else it is to be removed. CANCELLING: stop the task. REMOVING and no task:
        remove what there is.
        """
        touched, self._touched = list(self._touched.values()), {}
        return touched

    def is_kept(self, found: Found) -> bool:
        """A partial one from the start still lies there; perhaps it is gone on with."""
        others = self._generations.get(found.name.id, ())
        is_taken = any(one.name.number == found.name.number for one in others)
        return is_taken or self._partial.get(found.name.id) is found

    def discarded(self) -> list[Found]:
        """Partial ones from before the start that nobody will ask for: to be removed."""
        discarded, self._discarded = self._discarded, []
        return discarded

    def next_start(self, has_room: Callable[[Generation], bool]) -> Generation | None:
        """The next download to begin, now DOWNLOADING; None: there is none that may.

        Datasets take turns; in each, what was asked for first is first. What has no room waits
        visibly, and what is smaller goes before it.
        """
        for _ in range(len(self._turns)):
            dataset_id = self._turns[0]
            self._turns.rotate(-1)
            found, full = self._first_with_room(dataset_id, has_room)
            for generation in full:
                self.apply(generation, Event.NO_SPACE)
            if found is not None:
                self.apply(found, Event.STARTED)
                return found
        return None

    def _first_with_room(
        self, dataset_id: bytes, has_room: Callable[[Generation], bool]
    ) -> tuple[Generation | None, list[Generation]]:
        """The first that may begin, and those before it that have no room."""
        full: list[Generation] = []
        for generation in self._queues[dataset_id].values():
            if self._is_busy(generation):
                continue
            if has_room(generation):
                return generation, full
            full.append(generation)
        return None, full

    def _is_busy(self, generation: Generation) -> bool:
        """Another generation of the chunk has a task yet."""
        others = self._generations[generation.id]
        return any(one.state in ACTIVE for one in others if one is not generation)

    def freed(self, has_room: Callable[[Generation], bool]) -> None:
        """There may be more room than there was: of those that wait, have these queue."""
        for generation in list(self._by_state[State.WAITING].values()):
            if has_room(generation):
                self.apply(generation, Event.SPACE)

    def due(self, now_s: float) -> float | None:
        """Have those tried again whose time has come; when the next one's does."""
        waiting = list(self._by_state[State.BACKOFF].values())
        for generation in waiting:
            if generation.due_s <= now_s:
                self.apply(generation, Event.DUE)
        return min((one.due_s for one in waiting if one.due_s > now_s), default=None)

    def stopped(self, generation: Generation) -> None:
        """The task of one that was CANCELLING has ended."""
        is_wanted = self._current.get(generation.id) is generation
        self.apply(generation, Event.KEPT if is_wanted else Event.STOPPED)

    def damaged(self, generation: Generation) -> None:
        """What is on disk of a READY or DOOMED one isn't what it was.

        It is shown no more. If it was asked for in this life, it is fetched anew.
        """
        generation.is_damaged = True
        if self._current.get(generation.id) is generation:
            self._drop_current(generation)
            if generation.chunk is not None:
                self.want(generation.chunk)

    def generations(self) -> Iterator[Generation]:
        """All that are anything yet. Cost: O(n); not while the core is changed."""
        return (one for some in list(self._generations.values()) for one in list(some))

    def counts(self) -> dict[State, int]:
        """How many are in each state."""
        return {state: count for state, count in self._counts.items() if count}

    def others(self, limit: int) -> list[Generation]:
        """Those that aren't READY, the oldest first."""
        return list(islice(self._others.values(), limit))

    def apply(self, generation: Generation, event: Event) -> None:
        """Have something happen to a generation, as the table says.

        Raises:
            KeyError: it can't happen in its state: a bug of the caller.
        """
        before = generation.state
        after = generation.state = TRANSITIONS[before, event]
        number = generation.name.number
        (self._moving.add if after in MOVING else self._moving.discard)(number)
        self._counts[before] -= 1
        self._counts[after] += after is not State.GONE
        if after in (State.READY, State.GONE):
            self._others.pop(number, None)
        else:
            self._others[number] = generation
        if before in self._by_state:
            del self._by_state[before][number]
        if after in self._by_state:
            self._by_state[after][number] = generation
        if before is State.QUEUED:
            self._dequeue(generation)
        if after is State.QUEUED:
            self._enqueue(generation)
        elif after is State.READY:
            generation.failure_count, generation.error = 0, ""
            self._show(generation)
        elif after is State.DOOMED and event is Event.PUBLISHED:
            if self._current.get(generation.id) is generation:
                self.apply(generation, Event.WANTED)
                return
        elif after is State.GONE:
            self._forget(generation)
        self._touch(generation)

    # --- inside --------------------------------------------------------------------------------

    def _touch(self, generation: Generation) -> None:
        self._touched[generation.name.number] = generation

    def _show(self, generation: Generation) -> None:
        name = generation.name
        self._listed[name.id] = generation.info
        index = self._index.setdefault(generation.dataset_id, BlockIndex())
        index.add(name.start, name.stop, name.number, generation)

    def _hide(self, generation: Generation) -> None:
        name = generation.name
        del self._listed[name.id]
        index = self._index[generation.dataset_id]
        index.remove(name.start, name.stop, name.number)
        if not len(index):
            del self._index[generation.dataset_id]

    def _enqueue(self, generation: Generation) -> None:
        if generation.dataset_id not in self._queues:
            self._queues[generation.dataset_id] = {}
            self._turns.append(generation.dataset_id)
        self._queues[generation.dataset_id][generation.name.number] = generation

    def _dequeue(self, generation: Generation) -> None:
        queue = self._queues[generation.dataset_id]
        del queue[generation.name.number]
        if not queue:
            del self._queues[generation.dataset_id]
            self._turns.remove(generation.dataset_id)

    def _forget(self, generation: Generation) -> None:
        left = self._generations[generation.id]
        left.remove(generation)
        if not left:
            del self._generations[generation.id]

"""A cluster through weeks of writes, outages, deaths, rot and joins, on a clock that is a number.

Nothing is decided here that the cluster decides: where parts go, what is repaired when, what is
moved and what is taken from a node that came back are `placement`, `planner` and `reconcile`. Bytes
are counted, not kept. What fails, and when, is drawn from a seed.

Failures are held to the promise's condition: one more happens only if no object would be left with
fewer than K parts by it, were all that is unsettled lost: nodes that are not up or are still named
by a manifest that was not repaired, parts that were never made, parts that rotted.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from chunkstore.cluster.heal.planner import (
    Backlog,
    NodeState,
    Outlook,
    Plan,
    assess,
    look,
)
from chunkstore.cluster.heal.reconcile import Listed, Verdict, reconcile
from chunkstore.cluster.meta import NOWHERE
from chunkstore.cluster.placement import Node, choose, moves, parity_count, spread
from chunkstore.cluster.stripe import K
from tests.cluster.fill import Held, mixed_sizes

TICK_S = 60.0
DAY_S = 86400.0
HEAL_S = 600.0
REPAIR_BYTES = 15 << 20
"""A tick: 256 KiB/s, so that repairs take long enough for something to happen meanwhile."""
BALANCE_S = 600.0
BALANCE_BYTES = 60 << 20
"""So often, and so much."""
PER_DAY = {"put": 90.0, "delete": 18.0, "outage": 4.0, "death": 0.5, "rot": 3.0, "cut": 0.5}
"""How often what happens."""

Part = tuple[int, int]


@dataclass
class Server:
    """A storage server: what is on its disk, and how it is."""

    number: int
    capacity: int
    parts: dict[Part, int] = field(default_factory=dict)
    is_up: bool = True
    is_surveyed: bool = True
    since_s: float = 0.0
    returns_s: float = 0.0
    is_dead: bool = False

    def turn(self, is_up: bool, now_s: float) -> None:
        """Come, or go; what comes back has what it had."""
        self.is_up, self.since_s, self.is_surveyed = is_up, now_s, False


@dataclass
class Report:
    """What came of it."""

    happened: Counter[str] = field(default_factory=Counter)
    owed_bytes: int = 0
    repaired_bytes: int = 0
    moved_bytes: int = 0
    fewest_readable: int = 99
    longest_repair_s: float = 0.0
    spread: float = 0.0


class Simulation:
    """A cluster and its world.

    Args:
        capacities: of the first servers, in bytes, and again of those that join later.
        seed: of all chance.
    """

    def __init__(self, capacities: list[int], seed: int) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.capacities = capacities
        self.servers: dict[int, Server] = {}
        self.objects: dict[int, Held] = {}
        self.live: Counter[int] = Counter()
        self.damaged: dict[int, set[int]] = {}
        self.unhealed: dict[int, float] = {}
        self.owed_for: set[int] = set()
        self.report = Report()
        self.generation = 0
        self.sizes = [1 + size // K for size in mixed_sizes(seed)]
        for _ in capacities:
            self.join()
        self.backlog = Backlog(self.outlook())

    # --- what the cluster knows --------------------------------------------------------------

    @property
    def m(self) -> int:
        """Parity that it affords."""
        return parity_count(len(self.servers))

    def outlook(self) -> Outlook:
        """Of the nodes, now."""
        states = [NodeState(s.number, s.is_up, s.since_s) for s in self.servers.values()]
        return look(states, self.now_s, HEAL_S)

    def nodes(self) -> list[Node]:
        """As placement sees them: live bytes are those of manifests, not what lies about."""
        return [
            Node(s.number, s.capacity, self.live[s.number], 0, s.is_up)
            for s in self.servers.values()
        ]

    def know(self, held: Held) -> None:
        """A manifest is put, instead of the one that there may be."""
        if before := self.objects.get(held.generation):
            self.live.subtract(dict.fromkeys(before.nodes, held.part_bytes))
        self.objects[held.generation] = held
        self.live.update(dict.fromkeys(held.nodes, held.part_bytes))

    def forget(self, generation: int) -> None:
        """A manifest goes."""
        held = self.objects.pop(generation)
        self.live.subtract(dict.fromkeys(held.nodes, held.part_bytes))

    # --- what happens to it ------------------------------------------------------------------

    def join(self) -> None:
        """An empty server registers."""
        number = len(self.servers) + 1
        capacity = self.capacities[(number - 1) % len(self.capacities)]
        self.servers[number] = Server(number, capacity, since_s=self.now_s)
        if parity_count(number) > parity_count(number - 1):  # all that there is wants one more
            self.report.owed_bytes += sum(held.part_bytes for held in self.objects.values())

    def put(self) -> None:
        """An object is written, as the rule of commits has it."""
        part_bytes = self.random.choice(self.sizes)
        count = K + self.m
        chosen = choose(self.nodes(), count, part_bytes, self.random.random)
        if len(chosen) < min(count, K + 1):
            self.report.happened["refused"] += 1
            return
        self.generation += 1
        missing = count - len(chosen)
        held = Held(self.generation, part_bytes, (*chosen, *[NOWHERE] * missing))
        self.know(held)
        for part, number in enumerate(chosen):
            self.servers[number].parts[self.generation, part] = part_bytes
        self.report.owed_bytes += missing * part_bytes
        if missing:
            self.report.happened["degraded"] += 1
            self.backlog.consider(held)

    def delete(self) -> None:
        """An object goes; servers that are away keep its parts until they are back."""
        if self.objects:
            held = self.random.choice(list(self.objects.values()))
            self.forget(held.generation)
            self.damaged.pop(held.generation, None)
            for part, number in enumerate(held.nodes):
                if number and self.servers[number].is_up:
                    self.servers[number].parts.pop((held.generation, part), None)

    def outage(self) -> None:
        """A server is away for minutes, seldom for hours."""
        if server := self._victim():
            is_long = self.random.random() < 0.3
            self.report.happened["long outage" if is_long else "short outage"] += 1
            server.turn(False, self.now_s)
            server.returns_s = self.now_s + self.random.uniform(60, DAY_S / 4 if is_long else 500)

    def cut(self) -> None:
        """Power goes for many at once, and is back before anybody should act on it."""
        if self._victim():
            self.report.happened["cut"] += 1
            up = [s for s in self.servers.values() if s.is_up]
            back_s = self.now_s + self.random.uniform(2 * HEAL_S, 5 * HEAL_S)
            for server in self.random.sample(up, self.m + 2):
                server.turn(False, self.now_s)
                server.returns_s = back_s

    def death(self) -> None:
        """A disk is lost for good; another server joins some time after."""
        if server := self._victim():
            self.report.happened["death"] += 1
            server.turn(False, self.now_s)
            server.is_dead = True
            server.parts.clear()
            self.unhealed[server.number] = self.now_s
            self.join()

    def rot(self) -> None:
        """Bits of a part flip, and a scrub finds it."""
        server = self._victim()
        if server and server.parts:
            generation, part = self.random.choice(list(server.parts))
            if generation in self.objects:
                self.report.happened["rot"] += 1
                self.damaged.setdefault(generation, set()).add(part)
                self.report.owed_bytes += self.objects[generation].part_bytes
                self.backlog.consider(self.objects[generation], self.damaged[generation])

    def _victim(self) -> Server | None:
        """A server that is up and may fail; None: too much is unsettled for another failure."""
        up = {s.number: s for s in self.servers.values() if s.is_up}
        for held in self.objects.values():
            damaged = self.damaged.get(held.generation, ())
            safe = sum(n in up and p not in damaged for p, n in enumerate(held.nodes))
            if safe <= K:
                return None
        return self.random.choice(list(up.values())) if len(up) > K + 1 else None

    # --- what it does about it ---------------------------------------------------------------

    def run(self, days: float, joins: int = 0) -> Report:
        """Let time pass.

        Args:
            days: in whole ticks.
            joins: servers that are added over the time, besides those in place of dead ones.
        """
        ticks = int(days * DAY_S / TICK_S)
        joining = {ticks * number // (joins + 1) for number in range(1, joins + 1)}
        for tick in range(1, ticks + 1):
            self.now_s += TICK_S
            for what, often in PER_DAY.items():
                if self.random.random() < often * TICK_S / DAY_S:
                    getattr(self, what)()
            if tick in joining:
                self.join()
            self.tend()
            if tick % 720 == 0:
                self.audit()
        return self.report

    def settle(self) -> Report:
        """Let time pass without anything happening, until all that can be done is."""
        for _ in range(int(DAY_S / TICK_S)):
            self.now_s += TICK_S
            self.tend()
        self.audit()
        self.report.spread = spread(self.nodes())
        return self.report

    def tend(self) -> None:
        """A minute of the cluster's own work."""
        for server in self.servers.values():
            if server.is_up and not server.is_surveyed:
                self._reconcile(server)
            elif not server.is_up and not server.is_dead and server.returns_s <= self.now_s:
                server.turn(True, self.now_s)
        self._look_again()
        budget = REPAIR_BYTES
        while budget > 0 and (planned := self.backlog.take()):
            budget -= self._repair(planned)
        if budget == REPAIR_BYTES and self.now_s % BALANCE_S == 0:
            self._balance()
        self._note_what_is_healed()

    def _look_again(self) -> None:
        """Go through all manifests if something is new."""
        outlook, before = self.outlook(), self.backlog.outlook
        self.owed_for &= outlook.given_up
        if not outlook.is_paused:
            self.report.owed_bytes += sum(self.live[n] for n in outlook.given_up - self.owed_for)
            self.owed_for |= outlook.given_up
        is_exhausted = not self.backlog.counts and self.backlog.left_out_count
        if outlook._replace(until_s=0) != before._replace(until_s=0) or is_exhausted:
            self.backlog = Backlog(outlook, most=500)
            for held in self.objects.values():
                damaged = self.damaged.get(held.generation, ())
                self.backlog.consider(held, damaged)
                if not outlook.is_paused:
                    self._note_readable(held)

    def _note_readable(self, held: Held) -> None:
        """What is back is readable in a minute, and isn't taken for a failure."""
        damaged = self.damaged.get(held.generation, ())
        readable = sum(
            self.servers[number].is_up
            for part, number in enumerate(held.nodes)
            if number and part not in damaged
        )
        self.report.fewest_readable = min(self.report.fewest_readable, readable)

    def _repair(self, planned: Plan) -> int:
        """Bytes that were written."""
        held = self.objects.get(planned.generation)
        damaged = self.damaged.get(planned.generation, set())
        repair = held and assess(held, self.backlog.outlook, damaged)
        if not held or not repair:
            return 0
        written = 0
        for part in repair.sources[:K]:
            number = held.nodes[part]
            assert self.servers[number].parts[held.generation, part] == held.part_bytes
        for part in repair.mend:
            self.servers[held.nodes[part]].parts[held.generation, part] = held.part_bytes
            damaged.discard(part)
            written += held.part_bytes
        for part in repair.make:
            written += self._make(planned.generation, part)
        self.report.repaired_bytes += written
        return written

    def _make(self, generation: int, part: int) -> int:
        held = self.objects[generation]
        chosen = choose(self.nodes(), 1, held.part_bytes, self.random.random, held.nodes)
        self._swap(held, part, *chosen)
        self.damaged.get(generation, set()).discard(part)
        return held.part_bytes

    def _swap(self, held: Held, part: int, target: int) -> None:
        """A part is on another node from now on."""
        padding = (NOWHERE,) * (part + 1 - len(held.nodes))
        numbers = [*held.nodes, *padding]
        source, numbers[part] = numbers[part], target
        self.servers[target].parts[held.generation, part] = held.part_bytes
        if source and self.servers[source].is_up:
            del self.servers[source].parts[held.generation, part]
        self.know(held._replace(nodes=tuple(numbers)))

    def _balance(self) -> None:
        for move in moves(self.nodes(), list(self.objects.values()), BALANCE_BYTES):
            held = self.objects[move.generation]
            if move.part not in self.damaged.get(move.generation, ()):
                self._swap(held, move.part, move.target)
                self.report.moved_bytes += move.part_bytes

    def _reconcile(self, server: Server) -> None:
        listed = [Listed(*at, size) for at, size in sorted(server.parts.items())]
        verdicts = list(reconcile(server.number, listed, list(self.objects.values()), ()))
        for verdict, (generation, part, _) in verdicts:
            assert verdict in (Verdict.GOOD, Verdict.STALE, Verdict.ORPHAN)
            if verdict is not Verdict.GOOD:
                self.report.happened[verdict.name.lower()] += 1
                del server.parts[generation, part]
        server.is_surveyed = True

    def _note_what_is_healed(self) -> None:
        if self.unhealed and not self.backlog.counts:
            named = {number for held in self.objects.values() for number in held.nodes}
            for number in set(self.unhealed) - named:
                took_s = self.now_s - self.unhealed.pop(number)
                self.report.longest_repair_s = max(self.report.longest_repair_s, took_s)

    def audit(self) -> None:
        """Nothing is lost, nothing lies twice on a server, and nothing is left over."""
        should: dict[int, dict[Part, int]] = {number: {} for number in self.servers}
        for held in self.objects.values():
            numbers = [number for number in held.nodes if number]
            assert len(set(numbers)) == len(numbers), "two parts on a server"
            damaged = self.damaged.get(held.generation, ())
            there = [
                part
                for part, number in enumerate(held.nodes)
                if number and part not in damaged and not self.servers[number].is_dead
            ]
            assert len(there) >= K, "an object is lost"
            for part, number in enumerate(held.nodes):
                if number:
                    should[number][held.generation, part] = held.part_bytes
        for number, server in self.servers.items():
            assert sum(server.parts.values()) <= 0.95 * server.capacity
            if server.is_up and server.is_surveyed:
                assert server.parts == should[number]

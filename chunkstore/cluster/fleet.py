"""The nodes as uploads see them: how full they are, and what is on its way to them. Pure.

A node says every few seconds how full it is, with what it has of uploads under way. What was sent
to it since counts on top: else all that comes meanwhile would go to the same few. So does what is
yet to be moved to it, and what is to be moved away doesn't count any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from chunkstore.cluster.hello import Fill
from chunkstore.cluster.membership import Member, Membership
from chunkstore.cluster.placement import FULL, Node, choose, parity_count
from chunkstore.cluster.stripe import K
from chunkstore.errors import DiskError, NodesFullError, QuorumError

__all__ = ["Fleet", "needed_count"]


def needed_count(m: int) -> int:
    """Parts that must be durable before an object counts, of K + m.

    Source: DESIGN.md section 7. One more than are needed to read it, so that the next failure takes
    nothing; without parity, all there are.
    """
    return K + min(m, 1)


class Fleet:
    """What placement asks of a membership.

    Args:
        membership: who there is.
        now_s: its clock.
        draw: chance, as `placement.choose` takes it.
    """

    def __init__(
        self, membership: Membership, now_s: Callable[[], float], draw: Callable[[], float]
    ) -> None:
        self._membership = membership
        self._now_s = now_s
        self._draw = draw
        self._sent: dict[int, tuple[float, int]] = {}  # node -> heard of when, bytes since
        self._expected: Counter[int] = Counter()

    @property
    def m(self) -> int:
        """Parity parts of an object that is begun now."""
        return parity_count(len(self._membership.members))

    @property
    def numbers(self) -> Collection[int]:
        """Of all that registered."""
        return self._membership.members.keys()

    def address(self, number: int) -> str | None:
        """Where a node listens; None: there is none of this number."""
        member = self._membership.members.get(number)
        return member.record.address if member else None

    def is_up(self, number: int) -> bool:
        """Whether a node may be asked for something."""
        member = self._membership.members.get(number)
        return member is not None and member.is_up(self._now_s())

    def nodes(self) -> list[Node]:
        """Those that were heard of."""
        now_s = self._now_s()
        nodes = []
        for member, fill in self._fills():
            number = member.record.number
            coming = self._sent_to(number) + self._expected[number]
            nodes.append(
                Node(
                    number,
                    fill.capacity_bytes,
                    fill.live_bytes,
                    max(coming, -fill.live_bytes),
                    is_up=member.is_up(now_s) and fill.capacity_bytes > 0,
                    is_full=fill.free_bytes <= max(0, coming),
                )
            )
        return nodes

    def note(self, number: int, part_bytes: int) -> None:
        """So much is being sent to a node; or, below 0, was taken away from it."""
        heard_s = self._membership.members[number].heard_s
        self._sent[number] = heard_s, self._sent_to(number) + part_bytes

    def expect(self, number: int, part_bytes: int) -> None:
        """So much more will be sent to a node, or, below 0, taken away; until that is taken back.

        What comes of it is to be noted, and no longer expected.
        """
        self._expected[number] += part_bytes

    def place(self, count: int, part_bytes: int, taken: Collection[int] = ()) -> list[int]:
        """Nodes for so many parts of an object, or fewer, as `placement.choose` has them."""
        return choose(self.nodes(), count, part_bytes, self._draw, taken)

    # --- room ----------------------------------------------------------------------------------

    def refusal(self, part_bytes: int = 0) -> DiskError | None:
        """Why an object with parts of this size can't be kept; None: it can."""
        nodes, needed = self.nodes(), needed_count(self.m)
        up_count = sum(map(self.is_up, self.numbers))
        if up_count < needed:
            return QuorumError(needed, up_count)
        found = sum(node.has_room(part_bytes) for node in nodes)
        if found >= needed:
            return None
        there = [node for node in nodes if self.is_up(node.number)]
        full = [node.number for node in there if not node.has_room(part_bytes)]
        return NodesFullError(needed, found, full)

    def free_bytes(self) -> int:
        """Payload that goes into what the nodes have free."""
        able = [node for node in self.nodes() if node.has_room(0)]
        room = sum(FULL * node.capacity_bytes - node.used_bytes for node in able)
        return self._payload(int(room))

    def live_bytes(self) -> int:
        """Payload that their parts have."""
        return self._payload(sum(node.used_bytes for node in self.nodes()))

    def used_bytes(self) -> int:
        """The same with what they have not cleared away."""
        return self._payload(sum(fill.used_bytes for _, fill in self._fills()))

    def down(self) -> list[Member]:
        """Nodes that are not there, by number."""
        now_s = self._now_s()
        return [one for one in self._membership.members.values() if not one.is_up(now_s)]

    # --- inside --------------------------------------------------------------------------------

    def _fills(self) -> list[tuple[Member, Fill]]:
        members = self._membership.members.values()
        return [(one, one.fill) for one in members if one.fill is not None]

    def _sent_to(self, number: int) -> int:
        heard_s, sent_bytes = self._sent.get(number, (0.0, 0))
        return sent_bytes if heard_s == self._membership.members[number].heard_s else 0

    def _payload(self, part_bytes: int) -> int:
        return part_bytes * K // (K + self.m)

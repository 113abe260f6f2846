"""Which nodes a cluster has, which of them are up, and which are refused. Pure: time comes in.

A node registers when its process begins, and is known for good from then on. It says every 3 s that
it is there; one that said nothing for 10 s is gone: nothing new is placed there, and what it has is
read from others.

Its id lies in its data dir, so a copy of that has the same. An *incarnation* is made by chance with
each process, and one at a time holds an id. Another one takes it over when the address is the same,
since two processes can't listen there; when the last one said that it ends; or when that was silent
for 10 s. Otherwise it waits: if the last one is heard from meanwhile, both live, and the newcomer
is a duplicate. So does one whose address another node has: the gateway would send it the parts of
both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from chunkstore.cluster.hello import Fill, Hello
from chunkstore.cluster.meta import NodeRecord

__all__ = ["GONE_S", "HEARTBEAT_S", "Member", "Membership", "Refused"]

HEARTBEAT_S = 3.0
GONE_S = 10.0


class Refused(NamedTuple):
    """Why a node isn't taken.

    Attributes:
        status: 409: for good; 404: it must register; 503: not yet.
        detail: for the people on both sides.
    """

    status: int
    detail: str


@dataclass(slots=True)
class Member:
    """A node that registered, in this life of the gateway or an earlier one.

    Attributes:
        record: as it is kept.
        fill: as it said last; None: it said nothing in this life.
        heard_s: when it said so; before that, when this life began.
        is_ending: it said that it ends.
        contender_s: when another process wanted its id or address in vain; None: none did.
        up_since_s: when it came, or came back; it holds while the node is up.
    """

    record: NodeRecord
    heard_s: float
    fill: Fill | None = None
    is_ending: bool = False
    contender_s: float | None = None
    up_since_s: float = 0.0

    def is_up(self, now_s: float) -> bool:
        """Whether parts may be placed there and asked for."""
        return self.fill is not None and not self.is_ending and not self.is_silent(now_s)

    def is_silent(self, now_s: float) -> bool:
        """Nothing was heard for so long that it may be taken for dead."""
        return now_s - self.heard_s >= GONE_S

    def lives_on(self, now_s: float) -> bool:
        """It was heard since somebody else wanted its id or its address, which is now."""
        if self.contender_s is None or now_s - self.contender_s > 2 * GONE_S:  # that one gave up
            self.contender_s = now_s
        return self.heard_s > self.contender_s


class Membership:
    """All nodes of one cluster.

    Args:
        cluster_id: nodes of others are refused.
        records: of those that registered before.
        now_s: by a clock that doesn't jump, as in all calls.

    Attributes:
        cluster_id: as above.
        members: by number; none ever goes.
    """

    def __init__(self, cluster_id: str, records: Iterable[NodeRecord], now_s: float) -> None:
        self.cluster_id = cluster_id
        self.members = {record.number: Member(record, now_s) for record in records}
        self._by_id = {member.record.id: member for member in self.members.values()}

    def up(self, now_s: float) -> list[Member]:
        """Those that parts may be placed on, by number."""
        return [member for member in self.members.values() if member.is_up(now_s)]

    def judge(self, hello: Hello, address: str, now_s: float) -> Refused | None:
        """Whether a node may register (None): then its record is kept, and `enter` called.

        Args:
            address: HOST:PORT where it can be reached.
        """
        if hello.cluster_id and hello.cluster_id != self.cluster_id:
            return Refused(
                409,
                f"node {hello.id} belongs to the cluster {hello.cluster_id},"
                f" and this is {self.cluster_id}",
            )
        return self._duplicate(hello, address, now_s) or self._crowded(hello, address, now_s)

    def enter(self, record: NodeRecord, fill: Fill, now_s: float) -> Member:
        """A node has registered, and its record is durable."""
        member = self._by_id.get(record.id)
        if member is None:
            member = self._by_id[record.id] = self.members[record.number] = Member(record, now_s)
        member.record, member.fill, member.heard_s = record, fill, now_s
        member.up_since_s = now_s
        member.is_ending, member.contender_s = False, None
        return member

    def heartbeat(self, hello: Hello, now_s: float) -> Refused | None:
        """A node says that it is there; or why it doesn't count."""
        member = self._by_id.get(hello.id)
        if member is None or hello.cluster_id != self.cluster_id:
            return Refused(404, f"node {hello.id} has not registered in {self.cluster_id}")
        if member.record.incarnation != hello.incarnation:
            return Refused(
                409,
                f"node {hello.id} is another process now, at {member.record.address}:"
                " this one's place was taken while it was silent",
            )
        if not member.is_up(now_s):
            crowded = self._crowded(hello, member.record.address, now_s)
            if crowded is not None:
                return crowded
            member.up_since_s = now_s
        member.fill, member.heard_s, member.is_ending = hello.fill, now_s, hello.is_ending
        return None

    # --- inside --------------------------------------------------------------------------------

    def _duplicate(self, hello: Hello, address: str, now_s: float) -> Refused | None:
        """Another process may have this id."""
        member = self._by_id.get(hello.id)
        if member is None or member.is_ending or member.is_silent(now_s):
            return None
        record = member.record
        if hello.incarnation == record.incarnation or address == record.address:
            return None
        if member.lives_on(now_s):
            return Refused(
                409,
                f"node {hello.id} at {address} is a duplicate: the one at {record.address} is alive"
                " and has the same id; was its data folder copied?",
            )
        return Refused(
            503,
            f"node {hello.id} may still be alive at {record.address}: {address} gets its place when"
            f" that was silent for {GONE_S:g} s",
        )

    def _crowded(self, hello: Hello, address: str, now_s: float) -> Refused | None:
        """Another node may be reached at this address: it would get the parts of both."""
        for member in self.up(now_s):
            record = member.record
            if record.address == address and record.id != hello.id:
                if member.lives_on(now_s):
                    return Refused(
                        409,
                        f"node {hello.id} says that it is at {address}, where node {record.number}"
                        f" ({record.id}) is alive: each needs an address of its own that the"
                        " gateway reaches",
                    )
                return Refused(
                    503,
                    f"node {record.number} may still be alive at {address}: node {hello.id} is"
                    f" taken when that was silent for {GONE_S:g} s",
                )
        return None

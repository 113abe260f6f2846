"""Which nodes come while their cluster has no metadata, and to which cluster they belong. Pure.

What a gateway knows of its cluster is learnt here: the first node says which it is. One of another
cluster is no reason to refuse it for good, for nobody can tell which of the two is the stranger.
"""

from __future__ import annotations

from chunkstore.cluster.hello import Hello
from chunkstore.cluster.membership import Membership, Refused

__all__ = ["Muster"]


class Muster(Membership):
    """Nodes by the order in which they came; their numbers hold for as long as this alone.

    Args:
        now_s: as `Membership` takes it.

    Attributes:
        stranger: what is wrong, if nodes of two clusters came; "": nothing.
        is_closed: who hasn't come yet has to wait.
    """

    def __init__(self, now_s: float) -> None:
        super().__init__("", (), now_s)
        self.stranger = ""
        self.is_closed = False

    def judge(self, hello: Hello, address: str, now_s: float) -> Refused | None:
        """As `Membership.judge`."""
        if not hello.cluster_id:
            return Refused(503, f"node {hello.id} is new, and the cluster is being recovered")
        if not self.cluster_id:
            self.cluster_id = hello.cluster_id
        if hello.cluster_id != self.cluster_id:
            self.stranger = (
                f"nodes of two clusters came: one of {self.cluster_id} first, and then {hello.id}"
                f" at {address}, which belongs to {hello.cluster_id}"
            )
            return Refused(503, self.stranger)
        is_known = any(one.record.id == hello.id for one in self.members.values())
        if self.is_closed and not is_known:
            return Refused(503, f"the cluster is being recovered without node {hello.id}")
        return super().judge(hello, address, now_s)

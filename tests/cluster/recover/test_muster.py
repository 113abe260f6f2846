"""Who is let in while a cluster has no metadata."""

from __future__ import annotations

from chunkstore.cluster.hello import Fill, Hello
from chunkstore.cluster.membership import Refused
from chunkstore.cluster.meta import NodeRecord
from chunkstore.cluster.recover.muster import Muster

FILL = Fill(4, 3, 2, 1)


def hello(name: str, cluster: str = "c") -> Hello:
    """What a node says."""
    return Hello(name * 32, cluster * 32, name * 16, "", 80, FILL)


def enter(muster: Muster, name: str) -> None:
    """It was let in."""
    number = len(muster.members) + 1
    muster.enter(NodeRecord(number, name * 32, f"{name}:80", 4, name * 16, 0.0), FILL, 0.0)


def status(refused: Refused | None) -> int:
    """What it is answered."""
    return refused.status if refused else 200


def test_the_first_says_which_cluster_it_is() -> None:
    muster = Muster(0.0)
    assert status(muster.judge(hello("1", ""), "1:80", 0.0)) == 503
    assert muster.cluster_id == ""
    assert status(muster.judge(hello("1"), "1:80", 0.0)) == 200
    enter(muster, "1")
    assert muster.cluster_id == "c" * 32
    assert status(muster.heartbeat(hello("2"), 0.0)) == 404
    assert status(muster.heartbeat(hello("1"), 0.0)) == 200
    assert not muster.stranger


def test_nodes_of_two_clusters_are_told_of_and_none_is_sent_away_for_good() -> None:
    muster = Muster(0.0)
    assert status(muster.judge(hello("1"), "1:80", 0.0)) == 200
    assert status(muster.judge(hello("2", "d"), "2:80", 0.0)) == 503
    assert "2" * 32 in muster.stranger
    assert "d" * 32 in muster.stranger


def test_who_comes_late_waits() -> None:
    muster = Muster(0.0)
    assert status(muster.judge(hello("1"), "1:80", 0.0)) == 200
    enter(muster, "1")
    muster.is_closed = True
    assert status(muster.judge(hello("2"), "2:80", 0.0)) == 503
    assert status(muster.judge(hello("1"), "1:80", 0.0)) == 200

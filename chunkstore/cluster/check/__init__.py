"""A test of a deployed service: what it promises, asked of it from outside.

cases.py    which sizes, ranges and contents; what must come of them. Pure
peer.py     requests of the service, each on a connection of its own
front.py    what its users see: there and back, ranges, names, endings
races.py    the same while others write and read
parts.py    what lies on the nodes: five equal parts, joined without the gateway
checks.py   all of them in their order, and what they leave taken away
"""

from __future__ import annotations

from chunkstore.cluster.check.checks import CHECKS, Outcome, own_prefix, run_checks
from chunkstore.cluster.check.parts import parts_on_nodes
from chunkstore.cluster.check.peer import Peer

__all__ = ["CHECKS", "Outcome", "Peer", "own_prefix", "parts_on_nodes", "run_checks"]

"""Our cluster on this machine: a gateway and nodes, each a process that can be ended by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cluster.party import Party, free_ports
from chunkstore.cluster.local import make_secret

__all__ = ["GATEWAY", "NODES", "node", "restart_gateway", "run", "until_up"]

GATEWAY = "gateway"
NODES = 7


def node(number: int) -> str:
    """What the process of a node is called; the first is 1."""
    return f"node-{number}"


@contextmanager
def run(folder: Path, nodes: int = NODES, *flags: str) -> Iterator[Party]:
    """A gateway that has heard from so many nodes; ended with the block.

    Args:
        folder: for its data.
        flags: of the gateway.
    Raises:
        BenchError: it doesn't come up.
    """
    shared = ["--log", "off", "--secret-file", str(make_secret(folder))]
    data, inside, admin = free_ports(3)  # the same in each life of the gateway
    with Party.open("ours", folder) as party:
        party.port, party.admin_port = data, admin

        def start(name: str, *words: str) -> None:
            command = [sys.executable, "-m", "chunkstore", *words, *shared]
            party.start(name, [*command, "--data", str(folder / name)])

        at = [f"127.0.0.1:{port}" for port in (data, inside, admin)]
        words = ["--listen", at[0], "--cluster-listen", at[1], "--admin", at[2]]
        start(GATEWAY, "gateway", *words, *flags)
        party.until_said(GATEWAY, "nodes at ")
        for number in range(1, nodes + 1):
            join = ["--join", f"http://{at[1]}"]
            start(node(number), "node", "--listen", "127.0.0.1:0", *join)
        until_up(party, nodes)
        yield party


def until_up(party: Party, nodes: int = NODES) -> None:
    """Wait until the gateway, in this life of it, serves and has heard from so many nodes.

    Raises:
        BenchError: a minute passed.
    """
    party.until_said(GATEWAY, "listening on ")
    party.until_said(GATEWAY, r"node (\d+) at \S+ is up", nodes)


def restart_gateway(party: Party, nodes: int = NODES) -> None:
    """What it had in memory is gone: it has to ask the nodes.

    Raises:
        BenchError: it doesn't end, or doesn't come up.
    """
    party.end(GATEWAY)
    party.again(GATEWAY)
    until_up(party, nodes)

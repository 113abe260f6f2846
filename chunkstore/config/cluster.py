"""The settings that a cluster's gateway and its nodes alone take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from chunkstore.config.listen import ListenAddress, parse_listen
from chunkstore.config.setting import YEAR_S, declare

__all__ = ["ClusterSettings"]

_declare = partial(declare, commands=("gateway",))


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How a cluster finds together, and how it heals; a part of `Settings`."""

    join: str | None = declare(
        "url",
        None,
        "URL of the gateway's listener for nodes: keep parts for its cluster.",
        is_flag=True,
        commands=("node",),
    )
    cluster_listen: tuple[str, ...] = _declare(
        "listen",
        ("127.0.0.1:8090",),
        "Addresses that the nodes of a cluster come to: HOST:PORT or [V6]:PORT.",
        least=1,
        is_flag=True,
    )
    secret_file: str | None = declare(
        "path",
        None,
        "File with the secret that all of a cluster share, 16 bytes or more.",
        is_flag=True,
        commands=("node", "gateway"),
    )
    heal_after_s: float = _declare(
        "duration",
        600.0,
        "How long a node that is gone is waited for before its parts are made anew elsewhere.",
        least=1,
        most=YEAR_S,
        is_flag=True,
    )
    repair_rate_bytes: int = _declare(
        "size",
        64 * 2**20,
        "Bytes a second that repair writes to the nodes, all together.",
        least=2**16,
        most=2**40,
        is_flag=True,
    )
    move_rate_bytes: int = _declare(
        "size",
        16 * 2**20,
        "Bytes a second that are moved to nodes that are emptier than others.",
        least=2**16,
        most=2**40,
        is_flag=True,
    )
    scrub_parts_s: float | None = _declare(
        "duration",
        30 * 86400.0,
        "Read all parts once in so long, and mend what is damaged; none: what readers meet alone.",
        least=1,
        most=10 * YEAR_S,
        is_flag=True,
    )
    backup_s: float | None = _declare(
        "duration",
        3600.0,
        "Keep a copy of the metadata on three nodes, made anew once in so long; none: none.",
        least=1,
        most=YEAR_S,
    )

    @property
    def cluster_addresses(self) -> tuple[ListenAddress, ...]:
        """`cluster_listen`, parsed."""
        return tuple(parse_listen(text) for text in self.cluster_listen)

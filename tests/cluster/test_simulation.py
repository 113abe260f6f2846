"""Clusters through weeks of failures: nothing is lost, fill stays even, and repairs cost their due.

A long run has its command in tests/README.md.
"""

from __future__ import annotations

import os

import pytest

from chunkstore.cluster.heal.planner import PAUSE_FACTOR
from tests.cluster.fill import GIB
from tests.cluster.simulation import HEAL_S, Simulation

DAYS = float(os.environ.get("SIMULATION_DAYS", "3"))
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1"))

CLUSTERS = {
    "5 grow to 9": ([4 * GIB] * 5, 4),
    "9 of 2:3:4": ([2 * GIB, 3 * GIB, 4 * GIB] * 3, 0),
    "7 grow to 30 of 1:2:4": ([1 * GIB, 4 * GIB, 2 * GIB, 4 * GIB, 2 * GIB, 1 * GIB, 2 * GIB], 23),
}


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_weeks(cluster: str, seed: int) -> None:
    capacities, joins = CLUSTERS[cluster]
    simulation = Simulation(list(capacities), seed)
    simulation.run(DAYS, joins)
    report = simulation.settle()
    print(
        f"\n{cluster}, {DAYS:g} days, seed {seed}: {len(simulation.objects)} objects\n{report}",
        f"least spread {least_spread(simulation):.4f}",
    )
    assert report.happened["death"] + report.happened["long outage"] > 0
    assert report.fewest_readable >= 5
    assert not simulation.unhealed
    assert not simulation.backlog.counts
    assert not any(simulation.damaged.values())
    assert report.repaired_bytes <= report.owed_bytes
    # Waited for, perhaps through a pause; then what it had is made at the pace of repairs.
    assert report.longest_repair_s <= (1 + PAUSE_FACTOR) * HEAL_S + 2 * 3600
    assert report.spread <= least_spread(simulation) + 0.05


def least_spread(simulation: Simulation) -> float:
    """The spread that the rule of distinct nodes leaves: no server has more than all first parts.

    The others then share the rest: they are as full as a level that is searched for by halving.
    """
    up = [node for node in simulation.nodes() if node.is_up]
    most = sum(held.part_bytes for held in simulation.objects.values())
    total = sum(node.live_bytes for node in up)
    low, high = 0.0, 1.0
    for _ in range(60):
        level = (low + high) / 2
        held = sum(min(most, level * node.capacity_bytes) for node in up)
        low, high = (level, high) if held < total else (low, level)
    fills = [min(most / node.capacity_bytes, low) for node in up]
    return (max(fills) - min(fills)) / (sum(fills) / len(fills))

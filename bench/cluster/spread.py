"""How evenly do the nodes of a cluster fill, equal ones and others?

Asked by `python -m bench spread`.

Method: real clusters of 8 equal nodes and of 9 whose disks are as 2:3:4, their disks together about
three times what is written; 2,000 objects of 1 byte to 4 MiB, log-uniform (as many of each order of
magnitude: the few large ones are most of the bytes, which is harder than sizes that are alike), by
16 clients at a time. When the last is acknowledged the gateway is ended, and its metadata says
where each part is: a node's fill is the bytes of the parts that it has over its capacity, spread is
(max - min) / mean of these. Load is moved meanwhile as always (`move_rate`). Then placement
alone, without processes: 5,000 such objects on 30 nodes of 1:2:4, nothing moved.

Caveats: what a node itself calls live (the last column) has its own records around the parts, and
what was replaced or moved away for as long as somebody may read it.
"""

from __future__ import annotations

import http.client
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from bench.build import BenchError
from bench.cluster.processes import Cluster, manifests, run_cluster
from bench.harness import JsonLines, Parser, Result, main, open_results
from bench.outcome import Verdicts
from chunkstore.cluster.placement import Node, choose, parity_count, spread
from chunkstore.cluster.stripe import K, Layout

__all__ = ["CASES", "simulated"]

MIB = 1 << 20
LARGEST_BYTES = 4 * MIB
CLIENTS = 16
CASES = {
    "8 equal": ([1] * 8, 0.05),
    "9 of 2:3:4": ([2, 3, 4] * 3, 0.10),
}
"""Sizes of the nodes, and the spread that is asked for."""
SIMULATED = [1, 2, 4] * 10
SIMULATED_COUNT = 5000
SIMULATED_SPREAD = 0.10
DESCRIPTION_BYTES = 200


def _sizes(count: int, seed: int) -> list[int]:
    """Log-uniform from a byte on."""
    source = random.Random(seed)
    return [int(math.exp(source.uniform(0, math.log(LARGEST_BYTES + 1)))) for _ in range(count)]


def _ask(
    case: str, count: int, seed: int, place: str | None, out: JsonLines, verdicts: Verdicts
) -> None:
    shares, most = CASES[case]
    sizes = _sizes(count, seed)
    part_bytes = sum(Layout(size).records_bytes + DESCRIPTION_BYTES for size in sizes)
    unit = 3 * 7 * part_bytes // sum(shares)
    disks = [max(64 * MIB, unit * share) for share in shares]
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        with run_cluster(folder, disks) as cluster:
            began_s = time.monotonic()
            _put_all(cluster, sizes, seed)
            took_s = time.monotonic() - began_s
            said = {row["number"]: row for row in cluster.nodes()}
            notes = [line for line in cluster.gateway.last_lines if "moved" in line]
        found = manifests(folder)
    print(f"{case}: {count} objects, {sum(sizes) / 2**20:.0f} MiB, in {took_s:.0f} s")
    for note in notes:
        print(f"    {note}")
    live: Counter[int] = Counter()
    for manifest in found:
        live.update(dict.fromkeys(manifest.nodes, manifest.part_bytes))
    nodes = []
    for number, row in sorted(said.items()):
        nodes.append(Node(number, row["capacity_bytes"], live[number], 0, is_up=True))
        print(
            f"    node {number}: {live[number]:>11,} bytes of parts on {nodes[-1].capacity_bytes:,}"
            f" = {nodes[-1].fill:.2%}; it said {row['live_bytes']:,}"
        )
    is_apart = all(len(set(one.nodes)) == len(one.nodes) == K + 2 for one in found)
    figures = {"spread %": 100 * spread(nodes), "PUTs/s": count / took_s}
    out.write("result", asdict(Result("spread", case, "ours", figures)))
    text = f"{case}: spread {spread(nodes):.2%} <= {most:.0%} after {count} objects"
    verdicts.add(text, len(found) == count and spread(nodes) <= most)
    verdicts.add(f"{case}: each of {len(found)} objects has 7 parts on 7 nodes", is_apart)


def _put_all(cluster: Cluster, sizes: Sequence[int], seed: int) -> None:
    """Put them all, some at a time.

    Raises:
        BenchError: one wasn't taken.
    """
    content = random.Random(seed).randbytes(LARGEST_BYTES)
    waiting = iter(enumerate(sizes))

    def put() -> None:
        link = http.client.HTTPConnection(cluster.host, cluster.port, timeout=120)
        with closing(link):
            for number, size in waiting:
                link.request("PUT", f"/spread/{number}", content[:size])
                answer = link.getresponse()
                answer.read()
                if answer.status != 201:
                    raise BenchError(f"a PUT of {size} bytes was answered {answer.status}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(put) for _ in range(CLIENTS)]:
            done.result()


def simulated(count: int, seed: int) -> list[Node]:
    """Nodes of 1:2:4 behind so many objects, placed one after the other, and nothing moved."""
    source = random.Random(seed)
    sizes = _sizes(count, seed)
    total = 7 * sum(size // K for size in sizes)
    unit = 3 * total // sum(SIMULATED)
    nodes = {
        number: Node(number, share * unit, 0, 0, is_up=True)
        for number, share in enumerate(SIMULATED, 1)
    }
    for size in sizes:
        part_bytes = Layout(size).records_bytes + DESCRIPTION_BYTES
        chosen = choose(nodes.values(), K + parity_count(len(nodes)), part_bytes, source.random)
        assert len(set(chosen)) == K + 2
        for number in chosen:
            nodes[number] = nodes[number].after(part_bytes)
    return list(nodes.values())


def _ask_simulated(seed: int, out: JsonLines, verdicts: Verdicts) -> None:
    nodes = simulated(SIMULATED_COUNT, seed)
    case = "30 of 1:2:4, simulated"
    print(f"{case}: {SIMULATED_COUNT} objects")
    for share in sorted(set(SIMULATED)):
        fills = list(_fills(nodes, share))
        print(f"    of size {share}: {min(fills):.2%} to {max(fills):.2%} full")
    out.write(
        "result",
        asdict(Result("spread", case, "ours", {"spread %": 100 * spread(nodes)})),
    )
    text = f"{case}: spread {spread(nodes):.2%} <= {SIMULATED_SPREAD:.0%}"
    verdicts.add(text, spread(nodes) <= SIMULATED_SPREAD)


def _fills(nodes: Sequence[Node], share: int) -> Iterator[float]:
    return (node.fill for node, its in zip(nodes, SIMULATED, strict=True) if its == share)


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--objects", type=int, default=2000, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--place", metavar="FOLDER", help="default: where temporary files are")
    args = parser.parse_args()
    if args.objects < 1:
        parser.error(f"--objects is at least 1, and not {args.objects}")
    out, verdicts = open_results(args.json), Verdicts()
    for case in CASES:
        _ask(case, args.objects, args.seed, args.place, out, verdicts)
    _ask_simulated(args.seed, out, verdicts)
    return verdicts.print(out, "spread")


if __name__ == "__main__":
    main(_run)

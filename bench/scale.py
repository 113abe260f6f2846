"""Does a reader cost the same among 8192 as among 128, and a PUT among a million keys as among few?

Method: 32 writers at 8 chunks a second of 4 KiB, with 4, 32 and 256 readers each. What a (reader,
chunk) costs the server in CPU, divided by what it costs the floor in the same turn: more sockets
cost the kernel more, whoever sends, and that isn't the server's. The other half, what PUT and
DELETE cost at a million keys, is asked by `python -m bench listing`.

Caveats: as for the fan-out. With few readers the ingest is shared by few, so the ratio to the floor
falls with their number before anything else shows.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from statistics import median

from bench.contest import Contestant, contestants, turns
from bench.fanout import measure, start_floor
from bench.harness import Parser, Result, main, open_results
from bench.outcome import Outcome, Shape, Verdicts
from bench.usage import need_descriptors

__all__ = ["cost_us"]

_WRITERS = 32
_READERS = (4, 32, 256)
_CHUNK_BYTES = 4096
_RATE = 8
_RATIO = 1.3
_COST = "CPU us/(reader, chunk)"


def cost_us(outcome: Outcome, shape: Shape) -> float:
    """Server CPU microseconds for each chunk delivered to a reader."""
    return outcome.cpu_s_per_gib * shape.chunk_bytes / 2**30 * 1e6


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=8.0, help="default %(default)s")
    parser.add_argument("--join", type=float, default=3.0, help="seconds; default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    args = parser.parse_args()
    need_descriptors(_WRITERS * _READERS[-1] + 128)
    out = open_results(args.json)
    ratios: dict[int, float] = {}
    faults: list[str] = []
    for readers in _READERS:
        shape = Shape(_WRITERS, readers, _CHUNK_BYTES, _RATE)
        entered = [*contestants(args.server, "none", out, live=True)]
        entered.append(Contestant("floor", partial(start_floor, shape, "c")))
        costs: dict[str, list[float]] = {contestant.name: [] for contestant in entered}
        for contestant, server in turns(entered, args.runs, f"{shape.reader_count} readers"):
            outcome = measure(server, shape, args.seconds, args.join)
            result = Result(
                "scale",
                f"{shape.reader_count} readers",
                contestant.name,
                {_COST: cost_us(outcome, shape), "p99 ms": outcome.p99_ms},
                outcome.fault,
            )
            out.write("result", asdict(result))
            print(f"{contestant.name:>12}  {cost_us(outcome, shape):.2f} us  {outcome.fault}")
            if outcome.fault:
                faults.append(f"{result.case} {contestant.name}: {outcome.fault}")
            else:
                costs[contestant.name].append(cost_us(outcome, shape))
        if all(costs.values()):
            ratios[shape.reader_count] = median(costs["ours"]) / median(costs["floor"])
    verdicts = Verdicts()
    verdicts.add("every run valid " + "; ".join(faults), not faults)
    few, *_, many = (_WRITERS * readers for readers in _READERS)
    if few in ratios and many in ratios:
        growth = ratios[many] / ratios[few]
        text = f"a reader among {many} costs {growth:.2f}x one among {few}, floor's growth apart"
        verdicts.add(f"{text} <= {_RATIO}x", growth <= _RATIO)
    return verdicts.print(out, "scale")


if __name__ == "__main__":
    main(_run)

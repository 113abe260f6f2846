"""Do LIST, PUT and DELETE cost at a million keys what they cost at a thousand?

Method: servers at once, filled with 1,000, 10,000, 100,000 and 1,000,000 tiny objects (scattered
order, pipelined), in folders of a hundred. Each gets 1,000 LISTs of one folder, drawn from all of
them, one at a time: the p99. Then windows of 1,000 PUTs of new keys between the old ones, and of
their DELETEs, alternate between the servers; the cost is server CPU per request over all. The
largest set is judged against the smallest; those between show whether there is a slope.

Caveats: windows alternate, so a noisy neighbour hits all servers; even so the larger sets pay for
processor caches that they don't fit in. The LIST's latency includes the client's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from bench.build import BenchError
from bench.harness import (
    Generated,
    JsonLines,
    Parser,
    Result,
    Server,
    generate,
    main,
    open_results,
    serve_ours,
)
from bench.outcome import Verdicts

__all__ = ["WINDOW", "Side"]

WINDOW = 1000
"""Requests of a window."""
_BODY_BYTES = 16
_LIST_P99_MS = 2.0
_COST_RATIO = 1.2


@dataclass
class Side:
    """One server, filled with `keys` objects, and what its windows cost."""

    server: Server
    keys: int
    cpu_us: dict[str, list[float]] = field(default_factory=dict)

    def fill(self) -> Generated:
        """PUTs all keys."""
        return self._send("PUT", "/b/%a/%b", expect=201, requests=self.keys)

    def lists(self, count: int) -> Generated:
        """LISTs `count` folders, one after the other; each must have its hundred keys."""
        done = self._send("LIST", "/b/%a/", requests=count, lines=100, connections=1, depth=1)
        if done.report["line_errors"]:
            raise BenchError(f"{done.report['line_errors']} LISTs didn't have 100 lines")
        return done

    def window(self, method: str) -> Generated:
        """A window of PUTs of new keys, or of DELETEs of the same; its cost is added."""
        done = self._send(
            method, "/b/%a/%b-new", expect=201 if method == "PUT" else 200, requests=WINDOW
        )
        self.cpu_us.setdefault(method, []).append(done.cpu_s("start", "end") * 1e6 / WINDOW)
        return done

    def mean_us(self, method: str) -> float:
        """Server CPU per request over all windows, microseconds."""
        costs = self.cpu_us[method]
        return sum(costs) / len(costs)

    def _send(self, method: str, path: str, **options: int | str) -> Generated:
        defaults: dict[str, int | str] = {"connections": 8, "depth": 8, "shuffle": 1}
        if method == "PUT":
            defaults["body"] = _BODY_BYTES
        done = generate(
            "reqgen",
            self.server,
            {**defaults, "count": self.keys, "method": method, "path": path, **options},
        )
        if done.report["unexpected"]:
            raise BenchError(
                f"{done.report['unexpected']} of {done.report['answers']} {method}s were not as "
                f"expected, the last with status {done.report['bad_status']}"
            )
        return done


@contextlib.contextmanager
def _side(command: str | None, keys: int) -> Iterator[Side]:
    env = {"CHUNKSTORE_MAX_OBJECTS": str(keys + 10 * WINDOW), "CHUNKSTORE_MEMORY": "8GiB"}
    with serve_ours(command, env) as server:
        yield Side(server, keys)


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--keys", type=int, default=1_000_000, help="default %(default)s")
    parser.add_argument("--few", type=int, default=1000, help="the other set; default %(default)s")
    parser.add_argument("--lists", type=int, default=1000, help="default %(default)s")
    parser.add_argument("--windows", type=int, default=10, help="of each kind; default %(default)s")
    args = parser.parse_args()
    if min(args.keys, args.few) < WINDOW or args.keys % 100 or args.few % 100:
        parser.error(f"key counts are multiples of 100, at least {WINDOW}")
    out = open_results(args.json)
    with contextlib.ExitStack() as stack:
        sizes = _sizes(args.few, args.keys)
        sides = [stack.enter_context(_side(args.server, keys)) for keys in sizes]
        listed = [_list(side, args.lists, out) for side in sides]
        _windows(sides, args.windows, out)
    few, many = sides[0], sides[-1]
    verdicts = Verdicts()
    p99_ms = listed[-1]
    verdicts.add(f"LIST p99 at {many.keys} keys {p99_ms:.2f} ms <= 2 ms", p99_ms <= _LIST_P99_MS)
    for method in ("PUT", "DELETE"):
        ratio = many.mean_us(method) / few.mean_us(method)
        for side in sides:
            costs = side.cpu_us[method]
            print(
                f"{side.keys:>9} keys: {method} {side.mean_us(method):.0f} us of server CPU "
                f"(windows {min(costs):.0f} to {max(costs):.0f})"
            )
            out.write("cost", {"keys": side.keys, "method": method, "cpu_us": costs})
        verdicts.add(f"{method} costs {ratio:.2f}x <= {_COST_RATIO}x", ratio <= _COST_RATIO)
    return verdicts.print(out, "listing")


def _sizes(few: int, keys: int) -> list[int]:
    """From the fewest to the most, ten times as many each."""
    sizes = [few]
    while sizes[-1] * 10 < keys:
        sizes.append(sizes[-1] * 10)
    return [*sizes, keys]


def _list(side: Side, count: int, out: JsonLines) -> float:
    """Fills and LISTs; the p99 of the LISTs in milliseconds."""
    before = side.server.usage()
    filled = side.fill()
    after = side.server.usage()
    listed = side.lists(count)
    latency = listed.report["latency"]
    key_bytes = (after.resident_bytes - before.resident_bytes) / side.keys
    print(
        f"{side.keys:>9} keys: filled in {filled.report['seconds']:.1f} s, {key_bytes:.0f} B of "
        f"RSS a key; LIST of 100: p50 {latency['p50_ms']:.2f} ms, p99 {latency['p99_ms']:.2f} ms",
        flush=True,
    )
    out.write("list", {"keys": side.keys, "fill": filled.report, **listed.report})
    figures = {"LIST p99 ms": latency["p99_ms"], "RSS B a key": key_bytes}
    out.write("result", asdict(Result("listing", f"{side.keys} keys", "ours", figures)))
    return float(latency["p99_ms"])


def _windows(sides: Sequence[Side], count: int, out: JsonLines) -> None:
    for turn in range(count):
        for method in ("PUT", "DELETE"):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                side.window(method)
        for side in sides:
            figures = {f"CPU us/{method}": costs[-1] for method, costs in side.cpu_us.items()}
            out.write("result", asdict(Result("listing", f"{side.keys} keys", "ours", figures)))


if __name__ == "__main__":
    main(_run)

"""Small objects by the million: the start, memory, a page of a listing, and what a PUT still is."""

from __future__ import annotations

import math
import signal
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

from bench.durable.place import Place
from bench.harness import JsonLines, Result, Server
from bench.listing import WINDOW, Side
from bench.outcome import Verdicts
from chunkstore.objects import Facts
from chunkstore.store.disk import DataDir, Engine, Files

__all__ = ["ask", "fill"]

_START_S = 10.0
_RESIDENT_MIB = 1024
_LIST_P99_MS = 5.0
_RATE_RATIO = 0.8
_LISTS = 1000
_BODY_BYTES = 16
_FLUSH_KEYS = 1000


def ask(
    place: Place, keys: int, few: int, windows: int, out: JsonLines, verdicts: Verdicts
) -> None:
    """Make two data dirs, start on both, list, compare their PUTs; kill the large one's server."""
    env = {"CHUNKSTORE_MAX_OBJECTS": str(keys + 10 * WINDOW)}
    with ExitStack() as stack:
        small, large = (stack.enter_context(place.dir()) for _ in range(2))
        for data, count in ((small, few), (large, keys)):
            began_s = time.monotonic()
            fill(data, count)
            print(f"{count:>9} keys: made in {time.monotonic() - began_s:.1f} s", flush=True)
        with place.serve("ours", small, env=env) as server:
            with place.serve_timed("ours", large, env) as (other, stopped_s):
                _look(other, stopped_s, keys, "after SIGTERM", out, verdicts)
                rates = _rates([Side(server, few), Side(other, keys)], windows, out)
                other.process.send_signal(signal.SIGKILL)
                other.process.wait()
        with place.serve_timed("ours", large, env) as (server, killed_s):
            _look(server, killed_s, keys, "after SIGKILL", out, verdicts)
    ratio = rates[keys] / rates[few]
    text = f"many: PUTs a second at {keys} keys {ratio:.2f}x those at {few} >= {_RATE_RATIO}x"
    verdicts.add(text, ratio >= _RATE_RATIO)


def fill(data: Path, keys: int) -> None:
    """A data dir with the objects of `Side.fill`, as a server leaves it that was stopped."""
    facts = Facts("00000000", time.time(), time.time(), math.inf, "application/octet-stream")
    packed, body = facts.encode(), bytes(_BODY_BYTES)
    folder = DataDir(data)
    try:
        engine = Engine(folder, Files())
        try:
            for number in range(keys):
                generation = engine.begin()
                engine.append(generation, 0, [body])
                name = f"/b/{number // 100:06d}/{number % 100:02d}"
                engine.commit(generation, name, _BODY_BYTES, packed, sync=False)
                if number % _FLUSH_KEYS == 0:
                    engine.flush(sync=False)
        finally:
            engine.close()
    finally:
        folder.close()


def _rates(sides: list[Side], windows: int, out: JsonLines) -> dict[int, float]:
    """PUTs a second of each, the median of windows that alternate; what they put goes again."""
    rates: dict[int, list[float]] = {side.keys: [] for side in sides}
    for turn in range(windows):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            rate = WINDOW / float(side.window("PUT").report["seconds"])
            side.window("DELETE")
            rates[side.keys].append(rate)
            figures = {"ms/PUT": 1000 / rate, "CPU us/PUT": side.cpu_us["PUT"][-1]}
            out.write("result", asdict(Result("disk", f"{side.keys} keys, PUT", "ours", figures)))
    for keys, each in rates.items():
        shown = ", ".join(f"{rate:.0f}" for rate in each)
        print(f"{keys:>9} keys: {median(each):.0f} PUTs a second (windows {shown})", flush=True)
    return {keys: median(each) for keys, each in rates.items()}


def _look(
    server: Server, start_s: float, keys: int, how: str, out: JsonLines, verdicts: Verdicts
) -> None:
    """What a server that was just started has resident, and how soon it lists."""
    at_start_bytes = server.usage().resident_bytes
    p99_ms = float(Side(server, keys).lists(_LISTS).report["latency"]["p99_ms"])
    resident_mib = max(at_start_bytes, server.usage().resident_bytes) / 2**20
    figures = {"start s": start_s, "RSS MiB": resident_mib, "LIST p99 ms": p99_ms}
    out.write("result", asdict(Result("disk", f"{keys} keys, {how}", "ours", figures)))
    shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
    print(f"{keys:>9} keys, {how}: {shown}", flush=True)
    for text, value, asked in (
        (f"listens after {start_s:.2f} s <= {_START_S:.0f} s", start_s, _START_S),
        (f"RSS {resident_mib:.0f} MiB <= {_RESIDENT_MIB} MiB", resident_mib, _RESIDENT_MIB),
        (f"LIST of 100 p99 {p99_ms:.2f} ms <= {_LIST_P99_MS:.0f} ms", p99_ms, _LIST_P99_MS),
    ):
        verdicts.add(f"many: {keys} keys, {how}: {text}", value <= asked)

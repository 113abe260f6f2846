"""Are all readers cut within one chunk when an object is deleted while it is written?

Asked by `python -m bench deletion`.

Method: one writer and its readers; in mid-run a DELETE on a connection of its own, and as soon as
that is answered a GET. Counted: readers cut and ended clean, chunks that they received after the
answer, the status that GET and PUT got.

Caveats: chunks that were under way when the DELETE was answered count as received after it.
"""

from __future__ import annotations

from dataclasses import asdict

from bench.harness import JsonLines, Result, generate, serve_ours
from bench.outcome import Shape, Verdicts, faults

__all__ = ["deletion"]


def deletion(command: str | None, shape: Shape, join_s: float, out: JsonLines) -> int:
    """Runs the question once and prints the verdicts.

    Returns:
        The exit code, 0 if all that is asked holds.
    """
    options: dict[str, int | str] = {
        "objects": 1,
        "readers": shape.readers,
        "chunk": shape.chunk_bytes,
        "rate": shape.rate,
        "seconds_ms": 2000,
        "join_ms": round(join_s * 1000),
        "delete_at_ms": 1000,
    }
    with serve_ours(command) as server:
        report = generate("loadgen", server, options).report
    out.write("deletion", report)
    found = report["deletion"]
    print(
        f"1 writer x {shape.readers} readers, deleted; slowest cut {found['slowest_cut_ms']:.1f} ms"
    )
    figures = {
        "slowest cut ms": found["slowest_cut_ms"],
        "readers cut": found["cut"],
        "chunks after it": found["chunks_after"],
    }
    fault = faults({**report, "cut": 0}) if found["clean"] == 0 else "failed: clean ends"
    case = f"1 writer x {shape.readers} readers"
    out.write("result", asdict(Result("deletion", case, "ours", figures, fault)))
    verdicts = Verdicts()
    verdicts.add(f"DELETE {found['status']}, 200", found["status"] == 200)
    verdicts.add(f"GET right after it {found['get_status']}, 404", found["get_status"] == 404)
    verdicts.add(f"the open PUT {found['put_status']}, 410", found["put_status"] == 410)
    verdicts.add(f"cut {found['cut']} of {shape.readers}", found["cut"] == shape.readers)
    verdicts.add("none ended clean", found["clean"] == 0)
    late = found["chunks_after"]
    verdicts.add(f"chunks after it: {late}, at most one each", late <= shape.readers)
    return verdicts.print(out, "deletion")

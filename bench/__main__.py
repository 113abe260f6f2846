"""`python -m bench`: lists the questions, asks one, or asks all and writes the report.

    python -m bench                     what can be asked
    python -m bench fanout [FLAG ...]   one question, with its own flags (`--help` shows them)
    python -m bench --quick             each question once, beside the floor or one peer: 5 minutes
    python -m bench --full              each up to three times, beside all its peers: two hours
    python -m bench --full NAME ...     these alone, with the same flags

The last three write raw results to bench/runs/DATE-MACHINE/, a file a question, each whole or not
at all, and from the newest of each question on this machine bench/REPORT.md and bench/plots/; with
`--into FOLDER` at the end to that one instead. One that is interrupted leaves the questions it has
finished, and the report as it was. A question that can't be asked is named at the end, with exit
code 2.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

from bench.build import BenchError
from bench.harness import main
from bench.interrupts import hold_signals
from bench.report import write_report
from bench.usage import machine

__all__ = ["QUESTIONS", "results_folder"]

_FOLDER = Path(__file__).parent
QUESTIONS: dict[str, tuple[str, str | None, str]] = {
    "fanout": (
        "fanout",
        "--runs 1 --seconds 5 --peers aiohttp?",
        "--runs 3 --seconds 10 --peers all",
    ),
    "shapes": (
        "shapes",
        "--runs 1 --seconds 2 --shapes 1x1,1x1024",
        "--runs 3 --peers granian?",
    ),
    "segments": (
        "segments",
        "--runs 1 --seconds 5 --peers aiohttp?",
        "--runs 3 --seconds 8 --peers all",
    ),
    "churn": (
        "fanout --churn --peers all",
        "--runs 3 --seconds 2 --peers none",
        "--runs 3",
    ),
    "deletion": ("fanout --delete", "", ""),
    "tls": ("tls", "--runs 1 --seconds 3", "--runs 3"),
    "observed": ("observed", "--runs 1 --seconds 3", ""),
    "proxies": ("proxies", "--runs 1 --seconds 1 --join 0.5 --readers 200", ""),
    "complete": (
        "complete",
        "--runs 1 --seconds 2 --peers nginx?",
        "--runs 3 --seconds 4 --peers all",
    ),
    "ingest": (
        "ingest",
        "--runs 1 --seconds 1 --peers aiohttp?",
        "--runs 3 --seconds 3 --peers all",
    ),
    "memory": ("memory", "--seconds 2", ""),
    "scale": ("scale", "--runs 1 --seconds 2", "--runs 3"),
    "small": ("fanout --shape 8x64", "--runs 1 --seconds 3", "--runs 3 --seconds 6 --peers all"),
    "listing": ("listing", "--keys 30000 --windows 4", ""),
    "disk": (
        "disk",
        "--runs 1 --seconds 2 --turns 5 --keys 50000 --windows 4",
        "--runs 3",
    ),
    "spread": ("cluster.spread", None, ""),
    "cluster": ("cluster.transfer", "--runs 1 --share 0.1 --peers bare", "--runs 3"),
    "cluster-faults": ("cluster.faults", None, ""),
    "cluster-rebuild": ("cluster.rebuild", None, ""),
    "worker": (
        "worker.question",
        "--runs 1 --file-mib 8 --chunk-mb 50 --chunks 10000 --warm",
        "--runs 3",
    ),
    "watch": ("watch", None, ""),
    "glass": ("glass", "--seconds 5 --settle 5", "--readers 500"),
    "tight": ("glass --target 0.12", None, ""),
    "hls": ("glass --player hls", None, ""),
    "cuts": ("glass --player dash --publisher ours --cuts 10", None, ""),
}
"""Name -> the module that asks it, with a flag; its flags under `--quick` (None: it isn't asked
then) and under `--full`."""


def _run() -> int:
    match sys.argv[1:]:
        case []:
            print(__doc__)
            for name in QUESTIONS:
                print(f"    {name:<15} {_question(name)}")
            return 0
        case ["-h" | "--help"]:
            print(__doc__)
            return 0
        case ["--quick" | "--full" as how, *names, "--into", into]:
            return _ask_all(_flags(how, names), Path(into).absolute())
        case ["--quick" | "--full" as how, *names]:
            return _ask_all(_flags(how, names), _FOLDER)
        case [name, *flags] if name in QUESTIONS:
            module, *first = QUESTIONS[name][0].split()
            sys.argv = [f"bench {name}", *first, *flags]
            runpy.run_module(f"bench.{module}", run_name="__main__")
            return 0
        case [name, *_]:
            raise BenchError(f"{_unknown(name)}, --quick, --full")
    raise AssertionError("unreachable")


def _unknown(name: str) -> str:
    return f"no question is called {name!r}; there are {', '.join(QUESTIONS)}"


def _flags(how: str, names: list[str]) -> dict[str, str]:
    """The questions that are asked so, and the module and flags of each.

    Args:
        how: --quick or --full.
        names: of the questions; none: all of them.
    Raises:
        BenchError: a question isn't there, or isn't asked so.
    """
    found: dict[str, str] = {}
    for name in names or QUESTIONS:
        if name.startswith("-"):
            raise BenchError(f"{how} takes names of questions and, at the end, --into FOLDER")
        if name not in QUESTIONS:
            raise BenchError(_unknown(name))
        asked, quick, full = QUESTIONS[name]
        flags = full if how == "--full" else quick
        if flags is not None:
            found[name] = f"{asked} {flags}"
        elif names:
            raise BenchError(f"{how} doesn't ask {name}: it takes too long")
    return found


def _question(name: str) -> str:
    """The first line of its docstring (or of the module that asks it): read, not imported."""
    path = _FOLDER / f"{name}.py"
    if not path.exists():
        path = _FOLDER / f"{QUESTIONS[name][0].split()[0].replace('.', '/')}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0]


def results_folder(into: Path) -> Path:
    """Where the raw results of today and this machine go, below `into`."""
    return into / "runs" / f"{time.strftime('%Y-%m-%d')}-{_slug()}"


def _slug() -> str:
    found = machine()
    return re.sub(r"[^a-z0-9]+", "-", f"{found['cpu']} {found['cores']} cores".lower()).strip("-")


def _ask_all(questions: dict[str, str], into: Path) -> int:
    folder = results_folder(into)
    folder.mkdir(parents=True, exist_ok=True)
    missed: list[str] = []
    unasked: list[str] = []
    try:
        for name, words in questions.items():
            print(f"\n=== {name}: {_question(name)}", flush=True)
            code = _ask(words.split(), folder / f"{name}.jsonl")
            if code == 1:
                missed.append(name)
            elif code == 2:  # it said why; the hour that the others take isn't lost by that
                unasked.append(name)
            elif code:
                raise BenchError(f"{name} was ended by force (exit code {code})")
    finally:
        with contextlib.suppress(OSError):  # it holds results
            folder.rmdir()
            folder.parent.rmdir()
    of_this_machine = sorted((into / "runs").glob(f"{'[0-9]' * 4}-??-??-{_slug()}"))
    write_report(of_this_machine, into / "REPORT.md")
    print(f"\nmissed what is asked: {', '.join(missed) or 'none'}; see {into.name}/REPORT.md")
    if unasked:
        raise BenchError(f"could not be asked: {', '.join(unasked)}")
    return 1 if missed else 0


def _ask(words: list[str], path: Path) -> int:
    """Ask one question in a process of its own; its results appear only once they are whole.

    Args:
        words: the module's name and its flags.
    """
    half = path.with_suffix(".half")
    half.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"bench.{words[0]}", *words[1:], "--json", str(half)]
    with contextlib.ExitStack() as stack:
        stack.callback(half.unlink, missing_ok=True)
        with hold_signals():
            process = subprocess.Popen(command, cwd=_FOLDER.parent)
            stack.callback(_end_question, process)
        code = process.wait()
        if code in (0, 1):
            os.replace(half, path)
        return code


def _end_question(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C has reached it too, SIGTERM only us: it ends what it started, and is waited for."""
    with hold_signals():
        if process.poll() is None:
            process.terminate()
        process.wait()


if __name__ == "__main__":
    main(_run)

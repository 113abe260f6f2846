"""Who takes part in a question, and in which turns; the servers are doubles."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.build import BenchError
from bench.contest import Contestant, contestants, turns
from bench.harness import JsonLines, Server
from bench.outcome import SHAPES
from bench.peers import PEERS, Peer
from bench.shapes import NAMES


@contextlib.contextmanager
def double(name: str) -> Iterator[Server]:
    """A server that does nothing at all."""
    with subprocess.Popen([sys.executable, "-c", ""], text=True) as process:
        yield Server(name, process)


def entered(*names: str) -> list[Contestant]:
    """Contestants of these names."""
    return [Contestant(name, partial(double, name)) for name in names]


def test_all_take_turns_at_going_first() -> None:
    order = [contestant.name for contestant, _ in turns(entered("a", "b", "c"), 3)]
    assert "".join(order) == "abcbcacab"


def test_who_is_beaten_gets_no_further_turn() -> None:
    beaten: set[str] = set()
    order = ""
    for contestant, _ in turns(entered("a", "b"), 3, beaten=beaten):
        order += contestant.name
        beaten |= {"b"} & {contestant.name}
    assert order == "abaa"


@pytest.fixture
def _without_swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "swift", Peer("swift", "swift_app.py", modules=("no_such_module",)))


@pytest.mark.usefixtures("_without_swift")
@pytest.mark.parametrize("peers", ["all", "naive,swift?"])
def test_a_missing_peer_is_recorded(tmp_path: Path, peers: str) -> None:
    out = tmp_path / "out"
    found = [one.name for one in contestants(None, peers, JsonLines(str(out)), live=True)]
    assert found[0] == "ours"
    assert "naive" in found
    assert "swift" not in found
    missing = [json.loads(line) for line in out.read_text().splitlines()]
    reason = "no_such_module is not installed (it comes with the extra `bench`)"
    assert {"kind": "missing", "server": "swift", "reason": reason} in missing


@pytest.mark.usefixtures("_without_swift")
@pytest.mark.parametrize("peers", ["swift", "naive,swift", "unheard-of?"])
def test_a_peer_that_was_named_has_to_be_there(peers: str) -> None:
    with pytest.raises(BenchError, match="swift"):
        contestants(None, peers, JsonLines(None), live=True)


def test_the_shapes_of_one_writer_go_from_one_reader_to_4096() -> None:
    readers = [(SHAPES[name].writers, SHAPES[name].readers) for name in NAMES]
    assert readers == [(1, 1), (1, 16), (1, 128), (1, 1024), (1, 4096)]

"""The tables of promises in tests/README.md name tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
TABLES = {
    text.partition("\n")[0]: re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE)[2:]
    for text in README.split("\n## Which test holds which ")[1:]
}
ROWS = [row for rows in TABLES.values() for row in rows]
LATER = {
    "promise": set(),
    "line of ENCODERS.md": {
        "**Players**: no preflight is sent, ranges included",
    },
}


def test_the_tables_are_there() -> None:
    assert list(TABLES) == list(LATER)
    assert len(TABLES["promise"]) > 80
    assert len(TABLES["line of ENCODERS.md"]) > 40
    for name, rows in TABLES.items():
        assert {promise for promise, tests in rows if tests == "later"} == LATER[name]


@cache
def defined(path: str) -> frozenset[str]:
    """The names at the top of a module; most are asked for many times."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(getattr(node, "name", "") for node in tree.body)


@pytest.mark.parametrize(("promise", "tests"), [row for row in ROWS if row[1] != "later"])
def test_every_promise_is_held_by_tests_that_exist(promise: str, tests: str) -> None:
    names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
    assert tests == ", ".join(f"`{path}::{name}`" for path, name in names)
    assert names
    for path, name in names:
        assert name in defined(path)

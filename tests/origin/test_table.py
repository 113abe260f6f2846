"""The table of promises in tests/README.md names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| (.+) \|$", README.partition("## Which test")[2], re.MULTILINE)[2:]


def test_the_table_is_there() -> None:
    assert len(ROWS) > 80


@pytest.mark.parametrize(("promise", "tests"), ROWS)
def test_every_promise_is_held_by_tests_that_exist(promise: str, tests: str) -> None:
    names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
    assert tests == ", ".join(f"`{path}::{name}`" for path, name in names)
    assert names
    for path, name in names:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {getattr(node, "name", "") for node in tree.body}

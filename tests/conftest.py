"""Hypothesis profiles, and the rule that CI may not skip what it is there to run."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# A test run on every save draws new examples each time: many short ones find what a long one does.
settings.register_profile("dev", deadline=None, max_examples=25)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=300, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Tests, and the programs that they start by the hundred, are compiled once and not in every run.
# Who wants no bytecode beside the sources has it beside the results of the last run.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

# Taken out of the environment: a `chunkstore` started by a test refuses variables it doesn't know.
REQUIRE_REAL = os.environ.pop("CHUNKSTORE_REQUIRE_REAL", "") not in ("", "0")


def _fail_if_skipped(report: pytest.CollectReport | pytest.TestReport) -> None:
    expected_to_fail = hasattr(report, "wasxfail")
    if REQUIRE_REAL and report.skipped and not expected_to_fail:
        what = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"CHUNKSTORE_REQUIRE_REAL=1 allows no skips, and this was one: {what}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of one test into a failure that says what was missing, if it can be had."""
    report = yield
    if item.get_closest_marker("optional") is None:
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure that says what was missing."""
    report = yield
    _fail_if_skipped(report)
    return report

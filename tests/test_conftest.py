"""The rule of conftest.py: with CHUNKSTORE_REQUIRE_REAL=1 a skip is a failure that says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = '''
"""Two skips and an expected failure."""
import pytest

def test_skips():
    pytest.skip("no encoder here")

@pytest.mark.xfail(reason="known")
def test_expected_to_fail():
    assert False
'''

OPTIONAL_SKIPS = '''
"""A skip for want of what nobody can install there."""
import pytest

@pytest.mark.optional
def test_skips():
    pytest.skip("no engine here")
'''

MODULE_SKIPS = 'import pytest\npytest.skip("no browser here", allow_module_level=True)\n'


def run_pytest(folder: Path, require_real: str, *names: str) -> subprocess.CompletedProcess[str]:
    """Run the modules, or those named, under this project's conftest.py."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = optional\n")
    (folder / "test_skips.py").write_text(SKIPS)
    (folder / "test_optional_skips.py").write_text(OPTIONAL_SKIPS)
    (folder / "test_module_skips.py").write_text(MODULE_SKIPS)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        + ["--continue-on-collection-errors", *names],
        cwd=folder,
        env={**os.environ, "CHUNKSTORE_REQUIRE_REAL": require_real},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("value", ["", "0"])
def test_skips_are_allowed_on_a_developers_machine(tmp_path: Path, value: str) -> None:
    run = run_pytest(tmp_path, value)
    assert run.returncode == 0, run.stdout
    assert "3 skipped, 1 xfailed" in run.stdout


def test_skips_fail_where_everything_must_run(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "1")
    assert run.returncode != 0
    assert "no encoder here" in run.stdout
    assert "no browser here" in run.stdout
    assert "1 skipped" in run.stdout.splitlines()[-1]  # the optional one


def test_what_nobody_can_install_may_be_missing_everywhere(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "1", "test_optional_skips.py")
    assert run.returncode == 0, run.stdout
    assert "1 skipped" in run.stdout

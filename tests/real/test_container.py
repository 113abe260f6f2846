"""The image itself, where there is an engine that can build it: as docs/operations.md runs it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.docs.pages import DOCS, commands
from tests.packaging.dockerfile import ROOT, read

# `.ci/run` can't install an engine, so its absence is no failure there either.
pytestmark = [pytest.mark.real, pytest.mark.optional]

IMAGE = "chunkstore-under-test"
BUILD_S, DEADLINE_S = 600, 60


def docker(*words: str, timeout_s: float = DEADLINE_S) -> str:
    """What the engine says; it must do it."""
    run = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout_s)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def _image() -> None:
    if shutil.which("docker") is None:
        pytest.skip("no container engine: `docker` is missing")
    info = subprocess.run(
        ["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True
    )
    if info.returncode != 0 or not info.stdout.strip():
        pytest.skip("no container engine: `docker` is there, but no daemon answers it")
    docker("build", "-t", IMAGE, str(ROOT), timeout_s=BUILD_S)


@contextmanager
def running(*flags: str) -> Iterator[str]:
    """A container, started by the line of the page, but on a free port and with `flags`."""
    line = commands(DOCS / "operations.md", "container")[-1]
    words = shlex.split(line)
    options = [one for one in words[2:-1] if one != "-d"]
    options[options.index("-p") + 1] = "127.0.0.1::8080"
    for name in ("-v", "-e"):  # its settings file, which isn't there
        del options[options.index(name) : options.index(name) + 2]
    name = docker("run", "-d", *options, IMAGE, "serve", *flags)
    try:
        yield name
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, timeout=DEADLINE_S)


def test_it_serves_is_healthy_and_drains() -> None:
    with running("--open-writes") as name:
        url = "http://" + docker("port", name, "8080").splitlines()[0] + "/live/a"
        deadline_s = time.monotonic() + DEADLINE_S
        health = ["inspect", "--format", "{{.State.Health.Status}}", name]
        while (status := docker(*health)) != "healthy":
            assert status == "starting"
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
        with urllib.request.urlopen(urllib.request.Request(url, b"some", method="PUT")) as put:
            assert put.status == 201
        with urllib.request.urlopen(url) as got:
            assert got.read() == b"some"
        user = docker("exec", name, "python", "-c", "import os; print(os.getuid())")
        [told] = [one.text for one in read() if one.name == "USER"]
        assert user == told.partition(":")[0]
        docker("stop", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"

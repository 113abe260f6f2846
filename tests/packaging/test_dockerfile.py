"""The Dockerfile, without an engine: linted, its promises read, its steps run on this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from chunkstore.config import resolve
from chunkstore.errors import SettingsError
from tests.docs.pages import DOCS, commands
from tests.packaging.dockerfile import (
    ROOT,
    Instruction,
    context_files,
    exec_form,
    read,
    variables,
)

DEADLINE_S = 180
SPARE_DESCRIPTORS = 64
PREFIX = "/opt/chunkstore"
# Whatever the server would write to, it says; the image's root is read-only.
NO_WRITING = """
import os, sys
def hook(event, args):
    writes = event in ("os.mkdir", "os.rename", "os.remove", "os.truncate")
    if event == "open" and isinstance(args[2], int):
        writes = bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if writes and not str(args[0]).startswith("/dev/"):
        os.write(2, f"WRITES {event} {args}\\n".encode())
sys.addaudithook(hook)
"""


def of(name: str) -> list[Instruction]:
    """The instructions of the last stage that have a name."""
    found = read()
    return [one for one in found if one.name == name and one.stage == found[-1].stage]


def the(name: str) -> str:
    """The text of the only one."""
    [one] = of(name)
    return one.text


def environment() -> dict[str, str]:
    """What the image sets."""
    return variables(the("ENV"))


def health_command() -> list[str]:
    """What HEALTHCHECK runs."""
    return exec_form(the("HEALTHCHECK").partition("CMD ")[2])


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is missing: it comes with the extra `test`")
    run = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_it_is_slim_and_of_two_stages() -> None:
    stages = [one.text for one in read() if one.name == "FROM"]
    assert len(stages) == 2
    assert all(re.match(r"python:\S+-slim\b", text) for text in stages)
    assert [one.text for one in read() if one.name == "COPY"][-1].startswith("--from=build ")


def test_it_does_not_run_as_root_and_no_shell_starts_it() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", the("USER"))
    assert exec_form(the("ENTRYPOINT")) == ["chunkstore"]
    assert exec_form(the("CMD")) == ["serve"]
    assert health_command()[0] == "python"
    assert [one.name for one in read() if one.name == "STOPSIGNAL"] == []  # SIGTERM, which drains


def test_ports_are_those_of_the_settings() -> None:
    asked = re.search(r"'127\.0\.0\.1', (\d+)", health_command()[-1])
    assert asked is not None
    assert environment()["CHUNKSTORE_LISTEN"] == f"0.0.0.0:{the('EXPOSE')}"
    assert environment()["CHUNKSTORE_ADMIN"] == f"127.0.0.1:{asked[1]}"


def test_it_does_not_start_before_somebody_said_who_may_write() -> None:
    with pytest.raises(SettingsError, match="other machines could write"):
        resolve({}, environment(), None)
    settings, _ = resolve({"open_writes": True}, environment(), None)
    assert settings.listen == ("0.0.0.0:8080",)


def test_the_context_is_what_is_copied_and_no_more() -> None:
    files = context_files()
    sources = {
        source
        for one in read()
        if one.name == "COPY" and not one.text.startswith("--from")
        for source in one.text.split()[:-1]
    }
    for source in sources:
        assert any(name == source or name.startswith(f"{source}/") for name in files), source
    for name in files:
        assert any(name == source or name.startswith(f"{source}/") for source in sources), name
        assert "__pycache__" not in name
    assert not {"chunkstore.toml", "sign.keys"} & files


def test_the_page_runs_it_with_as_little_as_it_needs(tmp_path: Path) -> None:
    token, run = commands(DOCS / "operations.md", "container")
    for flag in ("--read-only", "--cap-drop ALL", "--security-opt no-new-privileges"):
        assert f" {flag} " in run
    made = subprocess.run(
        [sys.executable, "-m", *token.partition(" >> ")[0].split()], capture_output=True, text=True
    )
    settings, _ = resolve({}, environment(), made.stdout)
    assert [one.name for one in settings.tokens] == ["encoder"]
    # More than `drain` and `max_connections` take.
    [stop_s] = re.findall(r"--stop-timeout (\d+)", run)
    [files] = re.findall(r"--ulimit nofile=(\d+)", run)
    assert int(stop_s) > settings.drain_s
    assert int(files) >= settings.max_connections + SPARE_DESCRIPTORS


# --- the steps, on this machine ----------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the image's first stage, run here with what its context has, put the package."""
    if shutil.which("sh") is None:
        pytest.skip("no sh, which runs the steps")
    top = tmp_path_factory.mktemp("image")
    prefix, files = str(top / "prefix"), context_files()
    for one in read():
        if one.stage != 1:
            continue
        if one.name == "COPY":
            *sources, target = one.text.split()
            for source in sources:
                for name in files:
                    if name == source or name.startswith(f"{source}/"):
                        # Of a folder its content is copied, of a file the file itself.
                        inner = name.removeprefix(f"{source}/") if name != source else source
                        path = top / "src" / target / inner
                        path.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(ROOT / name, path)
        elif one.name == "RUN":
            command = re.sub(r"^python ", f"{sys.executable} ", one.text)
            run = subprocess.run(
                ["sh", "-c", command.replace(PREFIX, prefix)],
                cwd=top / "src",
                # Bytecode belongs beside what is installed, wherever that of tests is kept.
                env={
                    name: os.environ[name] for name in os.environ.keys() - {"PYTHONPYCACHEPREFIX"}
                },
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
            said = run.stdout + run.stderr
            if re.search(r"connection broken|No matching distribution", said) and run.returncode:
                pytest.skip(f"no package index: {said.splitlines()[-1]}")
            assert run.returncode == 0, said
    return Path(prefix)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def started(
    prefix: Path, variables: Mapping[str, str], *flags: str
) -> Iterator[subprocess.Popen[str]]:
    """What the image starts, with flags behind it."""
    [program] = exec_form(the("ENTRYPOINT"))
    command = [str(prefix / "bin" / program), *exec_form(the("CMD")), "--log", "off", *flags]
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.real
def test_what_it_starts_is_healthy_writes_nothing_and_drains(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_WRITING)
    admin_port, image_port = free_port(), environment()["CHUNKSTORE_ADMIN"].rpartition(":")[2]
    inside = {**environment(), "PATH": f"{installed / 'bin'}:{os.defpath}"}
    inside |= {"CHUNKSTORE_LISTEN": "127.0.0.1:0", "PYTHONPATH": str(tmp_path)}
    inside["CHUNKSTORE_ADMIN"] = f"127.0.0.1:{admin_port}"
    python, *arguments = health_command()
    health = [str(installed / "bin" / python), *arguments[:-1]]
    health.append(arguments[-1].replace(image_port, str(admin_port)))

    def is_healthy() -> bool:
        run = subprocess.run(health, env=inside, stderr=subprocess.DEVNULL, timeout=30)
        return run.returncode == 0

    assert not is_healthy()
    with started(installed, inside) as process:
        assert process.stderr is not None
        said = [process.stderr.readline(), process.stderr.readline()]
        assert [line.split(" on ")[0] for line in said] == ["listening", "admin"]
        assert is_healthy()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    assert not is_healthy()


@pytest.mark.real
def test_without_a_token_it_says_what_is_missing(installed: Path) -> None:
    with started(installed, {**environment(), "PATH": os.defpath}) as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "make a token" in said
    assert "--open-writes" in said


@pytest.mark.real
def test_it_is_compiled_since_its_root_is_read_only(installed: Path) -> None:
    [package] = installed.glob("lib/python3*/site-packages/chunkstore")
    assert list(package.rglob("server.*.pyc"))
    assert (package / "admin" / "page" / "index.html").exists()

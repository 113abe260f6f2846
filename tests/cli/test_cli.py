"""The command line: exit codes, one line of stderr for what is wrong, and `chunkstore config`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chunkstore import __version__, process
from chunkstore.cli import main
from chunkstore.config import SETTINGS, Settings, resolve
from chunkstore.errors import ChunkstoreError, SettingsError

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("CHUNKSTORE_CONFIG", raising=False)


def test_version(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["--help"], ["serve", "--help"], ["config", "-h"]])
def test_help(argv: list[str], capsys: Captured) -> None:
    assert main(argv) == 0
    assert "Usage: chunkstore" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["serve", "node"])
def test_every_flag_is_explained_with_its_variable_and_default(
    command: str, capsys: Captured
) -> None:
    assert main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for setting in SETTINGS:
        is_shown = setting.is_flag and command in setting.commands
        assert (f"{setting.flag} " in text) is is_shown
        assert (f"[{setting.variable}; default: " in text) is is_shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Missing command"),
        (["serv"], "Did you mean 'serve'?"),
        (["serve", "--memroy", "1"], "Did you mean '--memory'?"),
        (["serve", "extra"], "extra"),
        (["serve", "--memory", "much"], "--memory: expected a size"),
        (["serve", "--listen", "0.0.0.0:0"], "--open-writes"),
        (["serve", "--config", "missing.toml"], "missing.toml: No such file or directory"),
        (["config", "--config", "."], ".: Is a directory"),
        (["config", "--config", "latin.toml"], "latin.toml: expected TOML, which is UTF-8"),
        (["config", "--config", "bad.toml"], "bad.toml: there is no 'memroy'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    argv: list[str],
    message: str,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"log = '\xe9'")
    (tmp_path / "bad.toml").write_text("memroy = 1")
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("chunkstore: ")
    assert message in err
    assert err.count("\n") == 1


def test_config_says_where_each_value_came_from(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.toml"
    file.write_text('backlog = 7\n[[policies]]\nmatch = "/live/"\nttl = "90s"\n')
    monkeypatch.setenv("CHUNKSTORE_TTL", "1m")
    monkeypatch.setenv("CHUNKSTORE_CONFIG", str(file))
    assert main(["config", "--memory", "2GiB", "--listen", "127.0.0.1:0"]) == 0
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert 'memory = "2GiB" # flag --memory' in lines
    assert 'listen = ["127.0.0.1:0"] # flag --listen' in lines
    assert 'ttl = "1m" # environment CHUNKSTORE_TTL' in lines
    assert f"backlog = 7 # file {file}" in lines
    assert "open_writes = false # default" in lines
    assert f"[[policies]] # file {file}" in lines
    assert 'ttl = "90s"' in lines
    assert "# [[policies]] # built-in" in lines
    settings, _ = resolve({}, {}, printed)
    assert settings.memory_bytes == 2 * 2**30
    assert settings.policy_table().for_key("/live/x").ttl_s == 90


def test_serve_hands_the_settings_on_and_announces_on_stderr(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Settings] = []

    def run(
        settings: Settings, sign_keys: tuple[bytes, ...], *, announce: Callable[[str], None]
    ) -> None:
        served.append(settings)
        announce("listening on http://127.0.0.1:1")

    monkeypatch.setattr(process, "run", run)
    assert main(["serve", "--listen", "127.0.0.1:0", "--idle", "60", "--open-writes"]) == 0
    assert served == [Settings(listen=("127.0.0.1:0",), idle_timeout_s=60.0, open_writes=True)]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "listening on http://127.0.0.1:1\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (OSError(98, "can't listen on 127.0.0.1:1: Address already in use"), 2),
        (SettingsError("listen", "wrong"), 2),
        (ChunkstoreError("broken"), 1),
    ],
)
def test_how_serve_can_end(
    error: BaseException, code: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(
        settings: Settings, sign_keys: tuple[bytes, ...], *, announce: Callable[[str], None]
    ) -> None:
        raise error

    monkeypatch.setattr(process, "run", run)
    assert main(["serve"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == (0 if code == 130 else 1)


def test_python_dash_m() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "chunkstore", "serve", "--ttl", "never"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("chunkstore: --ttl: expected a duration")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("argument", ["config", "--version"])
def test_a_full_disk_is_one_line_and_exit_code_1(argument: str) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "chunkstore", argument],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.stderr == "chunkstore: [Errno 28] No space left on device\n"
    assert run.returncode == 1


def test_no_file_gets_the_number_of_a_standard_stream_that_is_closed() -> None:
    """The log of a server that was started without stderr went into its data dir's lock."""
    code = (
        "import os; os.closerange(0, 3)\n"
        "from chunkstore.cli import main\n"
        "os._exit(main(['--version']) or os.open('/', os.O_RDONLY))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode > 2


def test_an_interruption_while_it_loads_is_no_traceback() -> None:
    code = (
        "import runpy, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'chunkstore.cli':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "runpy.run_module('chunkstore', run_name='__main__')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(
    "argv", [["config", "--data", "/\udcff"], ["token", "--prefix", "/\udcff"]]
)
def test_what_no_settings_file_can_say_is_not_printed(argv: list[str], capsys: Captured) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "chunkstore: '/\\udcff': a settings file is UTF-8, and this is not\n",
    )

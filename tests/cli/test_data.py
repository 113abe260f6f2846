"""`serve --data`, as a process: what is there after a restart, and room that comes back."""

from __future__ import annotations

import time
from pathlib import Path

from tests.cli.server import DEADLINE_S, chunkstore, serving

MIB = 2**20


def test_objects_outlive_the_process(tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path / "data"))
    with serving(*flags) as url:
        assert chunkstore("put", "-", f"{url}/a", stdin=b"kept").returncode == 0
    with serving(*flags) as url:
        assert chunkstore("get", f"{url}/a", "-o", "-").stdout == b"kept"


def test_what_was_deleted_makes_room_in_a_small_folder(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('disk = "64MiB"\ndisk_reserve = "4MiB"\n')
    half = bytes(35 * MIB)
    with serving("--data", str(tmp_path / "data"), "--config", str(config)) as url:
        assert chunkstore("put", "-", f"{url}/a", stdin=half).returncode == 0
        assert chunkstore("put", "--retries", "0", "-", f"{url}/b", stdin=half).returncode == 1
        assert chunkstore("rm", f"{url}/a").returncode == 0
        deadline_s = time.monotonic() + DEADLINE_S
        while chunkstore("put", "--retries", "0", "-", f"{url}/b", stdin=half).returncode:
            assert time.monotonic() < deadline_s, "the room didn't come back"

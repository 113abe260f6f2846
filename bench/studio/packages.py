"""The players, installed by npm into the user's cache: none is kept in the repository.

Versions are pinned, so that figures of two days are of the same player.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.build import BenchError, cache_folder

__all__ = ["PLAYERS", "player_script"]

PLAYERS = {
    "dash": ("dashjs", "5.2.1", "dist/modern/umd/dash.mediaplayer.min.js"),
    "hls": ("hls.js", "1.7.4", "dist/hls.min.js"),
}
"""Name -> package, version, and the file in it that a page loads."""
_TIMEOUT_S = 120.0


def player_script(name: str) -> Path:
    """The player's script; installed if the cache has none.

    Args:
        name: a key of PLAYERS.
    Raises:
        BenchError: it has to be installed and npm is missing, or failed.
    """
    package, version, script = PLAYERS[name]
    folder = cache_folder() / f"{package}-{version}"
    path = folder / "node_modules" / package / script
    if path.exists():
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise BenchError(f"npm is missing, which would install {package} {version}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as half:
        # Without a package.json of its own npm would look for one in the folders above.
        Path(half, "package.json").write_text(json.dumps({"private": True}))
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(
                [*command, f"{package}@{version}"],
                cwd=half,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"npm took over {_TIMEOUT_S:.0f} s for {package} {version}") from None
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            raise BenchError(f"npm could not install {package} {version}: {said}")
        with contextlib.suppress(OSError):  # somebody else was faster
            Path(half).rename(folder)  # whole or absent
    if not path.exists():
        raise BenchError(f"{package} {version} has no {script}")
    return path

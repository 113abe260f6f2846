"""The page with the player: PUT into the server under test, which so serves its own viewer."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlencode

from bench.build import BenchError
from bench.harness import Server
from bench.studio.packages import player_script

__all__ = ["put_page"]

_PAGES = Path(__file__).parent / "pages"
_FOLDER = "/viewer"
_TIMEOUT_S = 10.0


def put_page(server: Server, player: str, manifest: str, target_s: float) -> str:
    """Stores the page and all it needs; its URL.

    Args:
        player: a key of `PLAYERS`.
        manifest: path of the stream's.
        target_s: the latency that the player is to keep.
    Raises:
        BenchError: the player can't be installed, or the server refuses a file.
    """
    files = {
        "glass.html": _PAGES / "glass.html",
        "watch.js": _PAGES / "watch.js",
        "start.js": _PAGES / f"{player}.js",
        "player.js": player_script(player),
    }
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT_S)
    try:
        for name, path in files.items():
            kind = "text/html" if path.suffix == ".html" else "text/javascript"
            fields = {"Content-Type": f"{kind}; charset=utf-8"}
            connection.request("PUT", f"{_FOLDER}/{name}", path.read_bytes(), fields)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (200, 201):
                raise BenchError(f"{server.name} answered {answer.status} to the PUT of {name}")
    finally:
        connection.close()
    asked = urlencode({"url": manifest, "target": f"{target_s:g}"})
    return f"http://{server.host}:{server.port}{_FOLDER}/glass.html?{asked}"

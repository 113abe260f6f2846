"""/: the console, a page of static files and no build step; /settings: what it shows of them.

Everything is of this package, and the page may load nothing else: what it shows are names and
addresses that strangers chose, so nothing of it is ever taken for markup.
"""

from __future__ import annotations

import json
from hashlib import sha256
from importlib import resources
from urllib.parse import quote

from chunkstore.config import SETTINGS, Settings, format_value
from chunkstore.server import Exchange, Handler
from chunkstore.wire import field_block

__all__ = ["Console", "watch_target"]

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src data:",
        "media-src blob:",
        "connect-src 'self' http: https:",  # the watch view reads from the data port
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_JSON = field_block([("Content-Type", "application/json")])


def watch_target(path: str) -> str:
    """Path and query of the page when it plays the manifest at `path` as soon as it is there."""
    return f"/?watch={quote(path)}"


class Console:
    """The handlers.

    Args:
        settings: in force.
        data_urls: where the origin listens, for the watch view.
        fields: go into every answer.

    Attributes:
        paths: path -> handler.
    """

    def __init__(self, settings: Settings, data_urls: tuple[str, ...], fields: bytes) -> None:
        self._fields = fields
        shown = {
            setting.key: ", ".join(value) or "none"
            if setting.kind == "listen"
            else format_value(setting, value)
            for setting in SETTINGS
            if not setting.is_rows
            for value in [getattr(settings, setting.name)]
        }
        body = {"data_urls": list(data_urls), "settings": shown}
        self._settings = json.dumps(body).encode("ascii") + b"\n"
        folder = resources.files("chunkstore.admin") / "page"
        self.paths: dict[str, Handler] = {"/settings": self._answer_settings}
        for file in folder.iterdir():
            path = "/" if file.name == "index.html" else f"/console/{file.name}"
            self.paths[path] = self._file(file.name.rpartition(".")[2], file.read_bytes())

    async def _answer_settings(self, exchange: Exchange) -> None:
        await exchange.respond(200, _JSON + self._fields, self._settings)

    def _file(self, extension: str, body: bytes) -> Handler:
        fields = self._fields + field_block(
            [
                ("Content-Type", f"{_TYPES[extension]}; charset=utf-8"),
                ("Content-Security-Policy", _POLICY),
                ("Referrer-Policy", "no-referrer"),
                ("ETag", f'"{sha256(body).hexdigest()[:16]}"'),
            ]
        )

        async def answer(exchange: Exchange) -> None:
            await exchange.respond(200, fields, body)

        return answer

"""What a node says of itself, when it registers and with every heartbeat: a line of JSON.

::

    {"version": 1, "id": "…", "cluster": "…", "incarnation": "…", "host": "10.0.0.5", "port": 8080,
     "capacity": …, "used": …, "live": …, "free": …, "ending": false}
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

__all__ = ["HELLO_BYTES", "Fill", "Hello", "parse_hello"]

HELLO_BYTES = 4096
_VERSION = 1
_ID = re.compile(r"[0-9a-f]{32}")
_INCARNATION = re.compile(r"[0-9a-f]{16}")
_HOST = re.compile(r"[0-9A-Za-z.:-]{0,253}")
_MAX_BYTES = 2**62


class Fill(NamedTuple):
    """How full a node is.

    Attributes:
        capacity_bytes: what its disk, or the part of it that it may use, takes all together.
        used_bytes: what its volumes take.
        live_bytes: of that, what objects need.
        free_bytes: what uploads may still take.
    """

    capacity_bytes: int
    used_bytes: int
    live_bytes: int
    free_bytes: int


class Hello(NamedTuple):
    """A node, as it says.

    Attributes:
        id: made once, with its data dir.
        cluster_id: of the one that it belongs to; "": of none yet.
        incarnation: of its process, by chance.
        host: where it listens; "": wherever it is seen from.
        port: where it listens.
        fill: how full it is.
        is_ending: it takes no new parts.
    """

    id: str
    cluster_id: str
    incarnation: str
    host: str
    port: int
    fill: Fill
    is_ending: bool = False

    def encode(self) -> bytes:
        """As it goes over the wire."""
        capacity, used, live, free = self.fill
        members = {
            "version": _VERSION,
            "id": self.id,
            "cluster": self.cluster_id,
            "incarnation": self.incarnation,
            "host": self.host,
            "port": self.port,
            "capacity": capacity,
            "used": used,
            "live": live,
            "free": free,
            "ending": self.is_ending,
        }
        return json.dumps(members).encode("ascii")


def parse_hello(body: bytes) -> Hello:
    """Read what `Hello.encode` made.

    Raises:
        ValueError: it is something else, with what was expected.
    """
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("expected a node's JSON") from None
    if not isinstance(members, dict):
        raise ValueError("expected a node's JSON object")
    if (version := members.get("version")) != _VERSION:
        raise ValueError(f"expected version {_VERSION} of a node's words, got {version!r}")
    return Hello(
        _text(members, "id", _ID),
        _text(members, "cluster", _ID) if members.get("cluster") else "",
        _text(members, "incarnation", _INCARNATION),
        _text(members, "host", _HOST),
        _number(members, "port", 65_535),
        Fill(
            *(_number(members, name, _MAX_BYTES) for name in ("capacity", "used", "live", "free"))
        ),
        members.get("ending") is True,
    )


def _text(members: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"expected {name!r} of a node, got {str(value)[:80]!r}")
    return value


def _number(members: dict[str, Any], name: str, most: int) -> int:
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"expected {name!r} from 0 to {most}, got {str(value)[:80]!r}")
    return value

"""Credentials of every kind, good and bad, for an origin that asks for them."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

from chunkstore.auth import make_secret, parse_sign_keys, secret_hash, signed_query
from tests.origin.drive import WALL_S

__all__ = [
    "ADMIN",
    "ALL",
    "EXPIRED",
    "PATHS",
    "READER",
    "SECRETS",
    "SIGN_KEYS",
    "TOKENS",
    "UNKNOWN",
    "WRITER",
    "basic",
    "bearer",
    "signed",
]

LIFE_S = 3600
PATHS = ("/live/1.m4s", "/live/sub/2.m4s", "/vod/a.mpd", "/vod/b.mpd", "/live.m4s")


def _secret(number: int) -> str:
    return make_secret(bytes([number]) * 32)


ALL, READER, WRITER, EXPIRED, ADMIN, UNKNOWN = map(_secret, range(1, 7))
SECRETS = (ALL, READER, WRITER, EXPIRED, ADMIN)
TOKENS: list[dict[str, object]] = [
    {"name": "all", "hash": secret_hash(ALL)},
    {
        "name": "reader",
        "hash": secret_hash(READER),
        "methods": ["GET", "LIST"],
        "prefixes": ["/live/", "/vod/a.mpd"],
    },
    {
        "name": "writer",
        "hash": secret_hash(WRITER),
        "methods": "POST DELETE",
        "prefixes": "/live/",
        "expires": datetime.fromtimestamp(WALL_S + LIFE_S, UTC),
    },
    {"name": "old", "hash": secret_hash(EXPIRED), "expires": "2026-12-31T00:00:00Z"},
    {"name": "admin", "hash": secret_hash(ADMIN), "methods": ["ADMIN"]},
]
"""As rows of the settings."""
SIGN_KEYS = parse_sign_keys(
    f"# the new one\n{make_secret(bytes(32), 'csk_')}\n\n{make_secret(b'k' * 32, 'csk_')}\n", "keys"
)


def bearer(secret: str) -> str:
    """The header line."""
    return f"Authorization: Bearer {secret}"


def basic(secret: str, user: str = "anybody") -> str:
    """The header line."""
    return f"Authorization: Basic {b64encode(f'{user}:{secret}'.encode()).decode()}"


def signed(
    path: str, prefix: str | None = None, life_s: float = LIFE_S, key: bytes = SIGN_KEYS[0]
) -> str:
    """A target with a signature."""
    return f"{path}?{signed_query('', key, path, prefix, int(WALL_S + life_s))}"

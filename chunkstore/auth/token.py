"""Tokens: the secret that a client holds, and the row of the settings that says what it may do.

A secret is made by `chunkstore token` of 256 random bits and begins with `cs_`; nothing else is
ever taken for one, so nobody can choose a weak one. Guessing such a secret is out of reach however
fast its hash is, so a plain SHA-256 is kept: a slow hash or a salt protect what people choose, and
would cost each request milliseconds here.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from chunkstore.errors import SettingsError

__all__ = [
    "DEFAULT_RIGHTS",
    "MAX_TOKENS",
    "RIGHTS",
    "SECRET_BYTES",
    "Token",
    "covers",
    "make_secret",
    "parse_token",
    "right_of",
    "secret_hash",
    "secret_in",
]

RIGHTS = ("GET", "LIST", "PUT", "DELETE", "ADMIN")
"""What a token may be for: HEAD goes with GET, POST with PUT; ADMIN is the admin listener."""
DEFAULT_RIGHTS = frozenset(RIGHTS) - {"ADMIN"}
MAX_TOKENS = 256
"""All are compared with each request's: 20 us with so many, 5 us with a few."""
SECRET_BYTES = 32
_SAME_RIGHT = {"HEAD": "GET", "POST": "PUT"}
_MAX_PREFIXES = 100
_AUTHORIZATION_CHARACTERS = 1024
_SECRET = re.compile(r"cs_[A-Za-z0-9_-]{43}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_AUTHORIZATION = re.compile(r"(bearer|basic)[ \t]+([!-~]+)", re.IGNORECASE)
_PREFIX = re.compile(r"/[^\x00-\x1f\x7f-\x9f\\]{0,1023}")
_KEYS = ("name", "hash", "methods", "prefixes", "expires")


@dataclass(frozen=True, slots=True)
class Token:
    """One row: whoever has the secret may do this.

    Args:
        name: what messages call it.
        digest: SHA-256 of the secret.
        rights: of RIGHTS.
        prefixes: where; one that ends with "/" is a folder with all in it, any other one key.
        expires_s: Unix time from which it is no longer good; None: never.
    """

    name: str
    digest: bytes
    rights: frozenset[str] = DEFAULT_RIGHTS
    prefixes: tuple[str, ...] = ("/",)
    expires_s: int | None = None


def right_of(method: str) -> str:
    """The right that a method of the origin takes."""
    return _SAME_RIGHT.get(method, method)


def covers(prefix: str, key: str) -> bool:
    """Whether a key lies in a folder that ends with "/", or is the one key named."""
    return key.startswith(prefix) if prefix.endswith("/") else key == prefix


# --- secrets -----------------------------------------------------------------------------------


def make_secret(random: bytes, kind: str = "cs_") -> str:
    """The secret made of random bytes; fit for a header field and for a URL.

    Args:
        random: SECRET_BYTES bytes from the system's source.
        kind: how it begins.
    """
    assert len(random) == SECRET_BYTES
    return kind + urlsafe_b64encode(random).decode("ascii").rstrip("=")


def secret_hash(secret: str) -> str:
    """A secret as the settings keep it."""
    return f"sha256:{sha256(secret.encode('ascii')).hexdigest()}"


def secret_in(authorization: str) -> str | None:
    """The secret that an Authorization field carries; None if it has none that could be ours.

    Of Basic it is the password: encoders put credentials in URLs. The user name may be anything,
    since the secret alone says which token it is.

    Source: RFC 6750 section 2.1, RFC 7617 section 2.
    """
    match = _AUTHORIZATION.fullmatch(authorization[: _AUTHORIZATION_CHARACTERS + 1])
    if match is None or len(authorization) > _AUTHORIZATION_CHARACTERS:
        return None
    scheme, secret = match.groups()
    if scheme.lower() == "basic":
        try:
            secret = b64decode(secret, validate=True).decode("latin-1").partition(":")[2]
        except Base64Error:
            return None
    return secret if _SECRET.fullmatch(secret) else None


# --- rows --------------------------------------------------------------------------------------


def parse_token(row: object, where: str) -> Token:
    """Read a row as a settings file has it. No message repeats a value that may be a secret.

    Args:
        row: a table with `name`, `hash` and, if they aren't the defaults, `methods`, `prefixes` and
            `expires`.
        where: the row's place, for messages.
    Raises:
        SettingsError: an unknown key, one that is missing, or a bad value.
    """
    if not isinstance(row, Mapping):
        raise SettingsError(where, "expected a table with 'name' and 'hash'")
    for key in row:
        if key not in _KEYS:
            raise SettingsError.unknown(where, str(key), _KEYS)
    name, digest = row.get("name"), row.get("hash")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        expected = "expected 1 to 64 letters, digits, '-', '_' or '.'"
        raise SettingsError(f"{where}.name", expected)
    found = _HASH.fullmatch(digest) if isinstance(digest, str) else None
    if found is None:
        expected = "expected 'sha256:' and 64 hexadecimal digits, as `chunkstore token` prints it"
        raise SettingsError(f"{where}.hash", expected)
    token = Token(
        name,
        bytes.fromhex(found[1]),
        _rights(row.get("methods"), f"{where}.methods"),
        _prefixes(row.get("prefixes", ["/"]), f"{where}.prefixes"),
        _expiry(row.get("expires"), f"{where}.expires"),
    )
    if "ADMIN" in token.rights and "/" not in token.prefixes:
        expected = "ADMIN shows every name, so its token is one for all: leave 'prefixes' out"
        raise SettingsError(f"{where}.prefixes", expected)
    return token


def _texts(value: object) -> list[str] | None:
    """A list of texts, or one text of several separated by spaces."""
    texts = value.split() if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        return None
    return texts if all(isinstance(text, str) for text in texts) else None


def _rights(value: object, where: str) -> frozenset[str]:
    if value is None:
        return DEFAULT_RIGHTS
    words = _texts(value)
    if words is None:
        raise SettingsError(where, f"expected some of {', '.join(RIGHTS)}")
    for word in words:
        if right_of(word) not in RIGHTS:
            raise SettingsError.unknown(where, word, [*RIGHTS, *_SAME_RIGHT])
    return frozenset(map(right_of, words))


def _prefixes(value: object, where: str) -> tuple[str, ...]:
    texts = _texts(value)
    if texts is None or len(texts) > _MAX_PREFIXES or not all(map(_PREFIX.fullmatch, texts)):
        raise SettingsError(
            where, f"expected 1 to {_MAX_PREFIXES} folders such as '/live/', or keys: '/live/a.mpd'"
        )
    return tuple(texts)


def _expiry(value: object, where: str) -> int | None:
    if value is None or value == "none":
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            return int(moment.astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        pass  # said below, as for everything else that is no time
    raise SettingsError(where, "expected a time with its zone, such as 2027-01-31T12:00:00Z")

"""URLs that carry their own right to be read: `?expires=UNIX&prefix=/live/&signature=HEX`.

Signed is what may be read (a folder, or without `prefix` the URL's own key) and until when. GET and
HEAD alone, never LIST. The parameters are no part of a key, and players may add theirs.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from urllib.parse import quote, unquote_plus

from chunkstore.auth.token import covers
from chunkstore.errors import SettingsError

__all__ = ["is_signed", "parse_sign_keys", "signed_query", "why_not_signed"]

MAX_KEYS = 16
KEY = re.compile(r"csk_[A-Za-z0-9_-]{43}")
_PARAMETERS = ("expires", "prefix", "signature")
_EXPIRES = re.compile(r"[1-9][0-9]{0,10}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def parse_sign_keys(text: str, where: str) -> tuple[bytes, ...]:
    """The keys in a key file: one a line, the first of which signs; all are good for checking.

    So a key is replaced without breaking what it signed: put the new one first, and take the old
    one away when its URLs have expired.

    Raises:
        SettingsError: no key, too many, or a line that is none. It is never quoted.
    """
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not 1 <= len(keys) <= MAX_KEYS or not all(map(KEY.fullmatch, keys)):
        raise SettingsError(
            where,
            f"expected 1 to {MAX_KEYS} keys, a line each, made by `chunkstore sign --new-key`",
        )
    return tuple(key.encode("ascii") for key in keys)


def signed_query(query: str, key: bytes, own_key: str, prefix: str | None, expires_s: int) -> str:
    """A URL's query with the parameters that let it be read until `expires_s`, Unix time.

    Args:
        query: what it has; a signature in it is replaced.
        key: signs.
        own_key: what the URL names, in normal form.
        prefix: the folder that may be read with it; None: `own_key` alone.
    """
    signature = _sign(key, own_key if prefix is None else prefix, str(expires_s))
    scope = "" if prefix is None else f"&prefix={quote(prefix, safe='/')}"
    kept = [one for one in query.split("&") if one and one.partition("=")[0] not in _PARAMETERS]
    return "&".join([*kept, f"expires={expires_s}{scope}&signature={signature}"])


def is_signed(query: str) -> bool:
    """Whether a query has a signature at all. Names are never escaped, so the log finds it too."""
    return query.startswith("signature=") or "&signature=" in query


def why_not_signed(keys: Sequence[bytes], query: str, key: str, now_s: float) -> str | None:
    """Why a signed query doesn't let its bearer read a key; None if it does.

    Only to who holds a good signature does it say more than that it isn't one.
    """
    given: dict[str, str] = {}
    for one in query.split("&"):
        name, _, value = one.partition("=")
        if name in _PARAMETERS:
            if name in given:
                return f"the URL has the parameter {name} twice"
            given[name] = value
    expires, signature = given.get("expires", ""), given["signature"]
    if not (_EXPIRES.fullmatch(expires) and _SIGNATURE.fullmatch(signature)):
        return "the URL's signature is not one: it was cut or changed"
    # Players that add a parameter write the others anew, and then "/" as %2F.
    prefix = unquote_plus(given["prefix"]) if "prefix" in given else None
    scope = key if prefix is None else prefix
    is_good = False
    for sign_key in keys:  # all, so that time doesn't tell which
        is_good |= hmac.compare_digest(_sign(sign_key, scope, expires), signature)
    if not is_good:
        return "the URL's signature does not fit it, or was made with a key that is gone"
    if now_s >= int(expires):
        return "the URL's signature has expired"
    if not covers(scope, key):
        return "the URL is signed for another folder"
    return None


def _sign(key: bytes, scope: str, expires: str) -> str:
    text = f"chunkstore-url-1\n{expires}\n{scope}"
    return hmac.new(key, text.encode(), "sha256").hexdigest()

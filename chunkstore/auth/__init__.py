"""Who may do what: pure, so that every case of it can be tried without a clock or a socket.

token.py     secrets, and the rows of the settings that say what each may do
signature.py URLs that carry their own right to be read, until a time
gate.py      the judge: a request's method, key, credentials and the time -> let in, 401 or 403
redact.py    a text without what would let its reader in
"""

from __future__ import annotations

from chunkstore.auth.gate import CLUSTER_SCHEME, Denial, Gate
from chunkstore.auth.redact import redacted
from chunkstore.auth.signature import parse_sign_keys, signed_query
from chunkstore.auth.token import (
    DEFAULT_RIGHTS,
    MAX_TOKENS,
    RIGHTS,
    SECRET_BYTES,
    Token,
    covers,
    make_secret,
    parse_token,
    secret_hash,
)

__all__ = [
    "CLUSTER_SCHEME",
    "DEFAULT_RIGHTS",
    "MAX_TOKENS",
    "RIGHTS",
    "SECRET_BYTES",
    "Denial",
    "Gate",
    "Token",
    "covers",
    "make_secret",
    "parse_sign_keys",
    "parse_token",
    "redacted",
    "secret_hash",
    "signed_query",
]

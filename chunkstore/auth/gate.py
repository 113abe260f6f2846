"""The judge of requests: what is open to anybody, and who may do the rest."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from chunkstore.auth.signature import is_signed, why_not_signed
from chunkstore.auth.token import Token, covers, right_of, secret_in

__all__ = ["CLUSTER_SCHEME", "Denial", "Gate"]

CLUSTER_SCHEME = "Chunkstore-1"
"""Of the credentials that storage servers and their gateway show each other, and no user has."""


class Denial(NamedTuple):
    """Why a request isn't let in: 401 asks for credentials, 403 says that these won't do."""

    status: int
    detail: str


class Gate:
    """Who may do what on one server.

    Args:
        tokens: the rows in force. Once there is one, writing takes one.
        sign_keys: what signed URLs are checked with.
        open_reads: anybody may GET, HEAD and LIST.
        open_writes: anybody may PUT, POST and DELETE, tokens or not.
    """

    def __init__(
        self,
        tokens: Sequence[Token] = (),
        sign_keys: Sequence[bytes] = (),
        *,
        open_reads: bool = True,
        open_writes: bool = False,
    ) -> None:
        self._tokens = tuple(tokens)
        self._sign_keys = tuple(sign_keys)
        self._open = frozenset({"GET", "LIST"} if open_reads else ()) | frozenset(
            {"PUT", "DELETE"} if open_writes or not tokens else ()
        )
        if not any("ADMIN" in token.rights for token in tokens):
            self._open |= {"ADMIN"}

    def is_open(self, method: str) -> bool:
        """Whether anybody may do it, so that nobody needs to be asked.

        Args:
            method: of the origin, or "ADMIN".
        """
        return right_of(method) in self._open

    def judge(
        self, method: str, key: str, *, authorization: str | None, query: str, now_s: float
    ) -> Denial | None:
        """Let a request in (None), or say why not.

        Args:
            method: what it does: "LIST" also for its mirror `GET ?list`; or "ADMIN".
            key: what it does it to, in normal form; of LIST the prefix; of ADMIN "/".
            authorization: its Authorization field.
            query: of its target, as sent.
            now_s: Unix time.
        Cost: a SHA-256, and a comparison with each token.
        """
        right = right_of(method)
        if right in self._open:
            return None
        denial = self._judge_token(right, method, key, authorization, now_s)
        if denial is None or right != "GET" or not self._sign_keys or not is_signed(query):
            return denial
        reason = why_not_signed(self._sign_keys, query, key, now_s)
        if reason is None:
            return None
        return Denial(403, reason) if authorization is None else denial

    def _judge_token(
        self, right: str, method: str, key: str, authorization: str | None, now_s: float
    ) -> Denial | None:
        if authorization is None:
            return Denial(401, f"{method} takes a token here: as Bearer, or as a Basic password")
        secret = secret_in(authorization)
        token = None if secret is None else self._find(secret)
        if token is None:
            return Denial(401, "the credentials are no token of this server")
        if token.expires_s is not None and now_s >= token.expires_s:
            return Denial(401, f"the token {token.name!r} has expired")
        if right not in token.rights:
            return Denial(403, f"the token {token.name!r} is not for {method}")
        if not any(covers(prefix, key) for prefix in token.prefixes):
            return Denial(403, f"the token {token.name!r} is for other folders")
        return None

    def _find(self, secret: str) -> Token | None:
        digest = sha256(secret.encode("ascii")).digest()
        found = None
        for token in self._tokens:  # all, so that time doesn't tell where it stands
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

"""Who may talk to whom in a cluster: each request is signed with the secret that all of it share.

::

    Authorization: Chunkstore-1 date=1800000000,signature=HEX

Signed are method, target, generation, length and date, so that nobody on the way can turn one
request into another; sent again it does nothing new, and is good for 60 s. Bodies aren't signed:
what is in a part is held against checksums, which find accidents and no forger on the way. The `1`
is the version: a signature made by other rules has another scheme, and is none here.
"""

from __future__ import annotations

import hmac
import re

from chunkstore.auth import CLUSTER_SCHEME, Denial
from chunkstore.errors import SettingsError
from chunkstore.wire import Request

__all__ = ["MAX_AGE_S", "SECRET_BYTES_MAX", "SECRET_BYTES_MIN", "Signer", "parse_secret"]

MAX_AGE_S = 60
"""A date is good for so long, before and after: clocks differ."""
SECRET_BYTES_MIN = 16
SECRET_BYTES_MAX = 4096
_FIELD = re.compile(r"Chunkstore-1 date=([1-9][0-9]{0,10}),signature=([0-9a-f]{64})")


def parse_secret(text: bytes, where: str) -> bytes:
    """The secret in a file: all of it, but for white space around it.

    Raises:
        SettingsError: too short, or too long to be one. It is never quoted.
    """
    secret = text.strip()
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        expected = f"expected a secret of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"
        raise SettingsError(where, f"{expected}, got {len(secret)}")
    return secret


class Signer:
    """Makes signatures, and judges them.

    Args:
        secret: of the cluster.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def field(
        self,
        method: str,
        target: str,
        *,
        now_s: float,
        length: int | None = 0,
        generation: int | None = None,
    ) -> tuple[str, str]:
        """The header field that signs a request.

        Args:
            target: path and query, as the request line has them.
            now_s: Unix time.
            length: of the body in bytes, 0 if there is none; None: chunked.
            generation: whose part it is about; None: it is about none.
        Cost: an HMAC of some 150 bytes, 9 us.
        """
        date = str(int(now_s))
        signature = self._sign(method, target, generation, length, date)
        return "Authorization", f"{CLUSTER_SCHEME} date={date},signature={signature}"

    def judge(
        self,
        method: str,
        target: str,
        authorization: str | None,
        *,
        now_s: float,
        length: int | None = 0,
        generation: int | None = None,
    ) -> Denial | None:
        """Let a request in (None), or say why not; arguments as `field` has them.

        Only to who holds a good signature does it say more than that it isn't one.
        """
        if authorization is None or not authorization.startswith(CLUSTER_SCHEME):
            return Denial(401, f"{method} takes a signature of the cluster here: {CLUSTER_SCHEME}")
        found = _FIELD.fullmatch(authorization)
        if found is None:
            return Denial(401, "the signature is not one: it was cut or changed")
        date, signature = found.groups()
        if not hmac.compare_digest(self._sign(method, target, generation, length, date), signature):
            return Denial(
                403, "the signature does not fit the request, or was made with another secret"
            )
        if abs(age_s := now_s - int(date)) > MAX_AGE_S:
            return Denial(
                403,
                f"the signature is {age_s:.0f} s old, and good for {MAX_AGE_S} s either way:"
                " are both clocks right",
            )
        return None

    def judge_request(
        self, request: Request, *, now_s: float, generation: int | None = None
    ) -> Denial | None:
        """The same for a request that has come."""
        fields = request.fields
        return self.judge(
            request.method,
            request.target,
            fields.get("authorization"),
            now_s=now_s,
            length=None if fields.chunked else fields.content_length or 0,
            generation=generation,
        )

    def _sign(
        self, method: str, target: str, generation: int | None, length: int | None, date: str
    ) -> str:
        # No target has a line's end in it, so no two requests have the same text.
        whose = "-" if generation is None else f"{generation:016x}"
        size = "-" if length is None else length
        text = f"chunkstore-request-1\n{method}\n{target}\n{whose}\n{size}\n{date}"
        return hmac.digest(self._secret, text.encode("utf-8", "surrogateescape"), "sha256").hex()

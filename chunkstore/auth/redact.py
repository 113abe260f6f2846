"""A text without what would let its reader in."""

from __future__ import annotations

import re

__all__ = ["redacted"]

# A signature opens what it signs until it expires; credentials stand in heads that h11 quotes when
# they are wrong, and a token's secret may stand anywhere that somebody pasted it.
_SECRET = re.compile(
    r"(signature=|[?&]sig=)[^&\s]+|((?:basic|bearer)[ \t]+)[^\s'\"]+|(csk?_)[A-Za-z0-9_-]{8,}",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """A text for the log: signatures, tokens and credentials are replaced by `...`.

    Cost: one regular expression.
    """
    return _SECRET.sub(lambda match: f"{match[1] or match[2] or match[3]}...", text)

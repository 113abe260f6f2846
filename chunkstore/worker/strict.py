"""JSON as it is meant: an object that says a thing twice is wrong, as is one too deep. Pure.

A file's name that stands twice would otherwise be dropped without a word.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

__all__ = ["DECODER", "parse_json"]


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} is there twice")
    return members


DECODER = json.JSONDecoder(object_pairs_hook=_once)


def parse_json(data: bytes) -> object:
    """What it says.

    Raises:
        ValueError: it is not JSON in UTF-8, or says a thing twice.
    """
    try:
        return DECODER.decode(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("expected JSON in UTF-8") from None

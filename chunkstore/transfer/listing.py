"""LIST, a page at a time, and what changed between two listings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from chunkstore.client import Client, expect
from chunkstore.errors import FetchError, PathError
from chunkstore.paths import encode_key, parse_key, parse_prefix
from chunkstore.transfer.retry import Retrying

__all__ = ["PAGE_COUNT", "Entry", "Lister", "changes"]

PAGE_COUNT = 1000
"""Names asked for at a time: so many are held, however many there are."""
REASON_CHARS = 300
"""Of what is wrong with a page so much is shown."""
_JSON = [("Accept", "application/json")]


class Entry(NamedTuple):
    """An object, or a common prefix of several.

    Attributes:
        path: percent-encoded; a common prefix ends with "/".
        size: in bytes, so far if it is open; None for a prefix.
        state: "open" or "complete"; "" for a prefix.
        modified_s: Unix time; None for a prefix.
        members: all that the server said of it.
    """

    path: str
    size: int | None
    state: str
    modified_s: float | None
    members: dict[str, Any]


class Lister:
    """What a server has under a prefix, in the order of the names, a page at a time.

    Asked by `GET /prefix?list`, which proxies let pass, where they don't know LIST.

    Args:
        client: to ask with.
        prefix: percent-encoded path.
        retrying: what to do about failures.
        recursive: all names; else those with a further "/" are rolled up to their common prefix.
        page_count: names asked for at a time.
    Attributes:
        date: the Date field of the last page's answer, "" if it had none.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        retrying: Retrying,
        *,
        recursive: bool,
        page_count: int = PAGE_COUNT,
    ) -> None:
        self._client = client
        self._retrying = retrying
        self._prefix = unquote(prefix)
        self._base = f"{prefix}?list&limit={page_count}" + ("" if recursive else "&delimiter=/")
        self._after: str | None = ""
        self.date = ""

    async def page(self) -> list[Entry] | None:
        """The next page; None after the last.

        Raises:
            FetchError: it can't be had, or is no listing.
        Cancellation: the connection is closed.
        """
        if self._after is None:
            return None
        target = self._base + (f"&after={self._after}" if self._after else "")
        while True:
            try:
                answer = await self._client.request("GET", target, _JSON)
                await expect(answer, 200)
                self.date = answer.fields.get("date", "")
                entries, after = _parse(answer.asked, await answer.body(), self._prefix)
                break
            except FetchError as error:
                await self._retrying.pause(error)
        self._retrying.progressed()
        if after is not None and after <= unquote(self._after):
            raise FetchError(f"{answer.asked}: the listing goes round in circles")
        self._after = None if after is None else quote(after)
        return entries


def _parse(asked: str, body: bytes, prefix: str) -> tuple[list[Entry], str | None]:
    """A page's entries, and the name that the next one begins behind.

    Every path is one of ours and begins with `prefix`: what it names may be deleted next.
    """
    try:
        page = json.loads(body)
        keys = [parse_key(one["path"]) for one in page["objects"]]
        keys += [parse_prefix(path) for path in page["prefixes"]]
        entries = [
            Entry(one["path"], int(one["size"]), str(one["state"]), float(one["modified"]), one)
            for one in page["objects"]
        ]
        prefixes = [Entry(path, None, "", None, {"path": path}) for path in page["prefixes"]]
        after = page["next"]
        if isinstance(after, str):
            after = parse_prefix(encode_key(unquote(after)))
        elif after is not None:
            raise TypeError(f"next is {after!r}")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, PathError) as error:
        reason = repr(error)[:REASON_CHARS]
        raise FetchError(f"{asked}: this is no listing of chunkstore's: {reason}") from error
    if strange := next((key for key in keys if not key.startswith(prefix)), None):
        raise FetchError(f"{asked}: the listing has {strange!r}, which doesn't begin so")
    if prefixes:
        entries = sorted([*entries, *prefixes], key=lambda entry: unquote(entry.path))
    return entries, after


def changes(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> Iterator[tuple[str, Entry]]:
    """What is different in the second of two listings, in the order of the names.

    Returns:
        pairs of "+", "-" or "~" (size, state or ETag are others), and the entry.
    """
    for path in sorted(before.keys() | after.keys(), key=unquote):
        old, new = before.get(path), after.get(path)
        if new is None:
            assert old is not None
            yield "-", old
        elif old is None:
            yield "+", new
        elif _identity(old) != _identity(new):
            yield "~", new


def _identity(entry: Entry) -> tuple[int | None, str, object]:
    return entry.size, entry.state, entry.members.get("etag")

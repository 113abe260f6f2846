"""What to ask for after a cut, and whether what comes goes on where it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from chunkstore.errors import CutError, FetchError
from chunkstore.wire import VERY_LARGE

__all__ = ["Resume", "Step"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})", re.ASCII)


class Step(Enum):
    """What to do with an answer."""

    TAKE = "its body goes on behind what is there"
    RESTART = "its body is all of it: forget what is there, and take it"
    REPEAT = "it is of no use: forget what is there, and ask anew"
    WHOLE = "what is there is all of the object"


class Resume:
    """One object as far as it came, over as many answers as it takes.

    Only bytes of one and the same representation are joined: its strong ETag must be known, must
    hold on the server (If-Range) and must be the one of what comes.

    Args:
        offset: how many bytes are there already.
        etag: the strong one that they are of; without it they count for nothing.

    Attributes:
        offset: how many bytes are there.
        total: how many the object has, if an answer said so.
        why: for RESTART and REPEAT, why nothing could be joined.
    """

    def __init__(self, offset: int = 0, etag: str = "") -> None:
        self.offset = offset if etag else 0
        self.total: int | None = None
        self.why = ""
        self._etag = etag
        self._skip = 0
        # Where the answer under way ends by what its head says, and whether the object ends there.
        self._stop: int | None = None
        self._is_last = True

    @property
    def etag(self) -> str:
        """The strong ETag of what is there; "" if it has none."""
        return self._etag

    def fields(self) -> list[tuple[str, str]]:
        """The fields to ask with: all from there on, and what is still to come (RFC 8673)."""
        if not self.offset or not self._etag:
            return []
        return [("Range", f"bytes={self.offset}-{VERY_LARGE}"), ("If-Range", self._etag)]

    def answered(self, status: int, fields: Mapping[str, str]) -> Step | None:
        """Judge an answer by its head.

        Args:
            status: of the answer.
            fields: by lower-case names.
        Returns:
            None for a status that is none of those that a read leads to.
        """
        etag = fields.get("etag", "")
        if status == 200:
            return self._answered_whole(etag, fields)
        if not self.fields():
            return None  # these answer ranges, and none was asked for
        if status == 206:
            return self._answered_part(etag, fields.get("content-range", ""))
        if status == 416:
            match = _UNSATISFIED.fullmatch(fields.get("content-range", ""))
            if match and int(match[1]) == self.offset and etag in ("", self._etag):
                return Step.WHOLE  # the cut came between the last byte and the end
            return self._forget("the server has no such bytes of it any more")
        return None

    def _answered_whole(self, etag: str, fields: Mapping[str, str]) -> Step:
        length = fields.get("content-length", "")
        had, known = self.offset, self._etag
        self.total = int(length) if length.isdigit() else None
        self._stop, self._is_last, self._skip = self.total, True, 0
        if had and known and etag == known:
            self._skip = had  # a server that doesn't do ranges: the same bytes from the beginning
            self.offset = 0
            return Step.TAKE
        self._etag = etag if etag.startswith('"') else ""
        if not had:
            return Step.TAKE
        self.offset = 0
        is_other = "the object is another one now"
        self.why = is_other if known else "the object has no strong ETag to go on by"
        return Step.RESTART

    def _answered_part(self, etag: str, content_range: str) -> Step:
        match = _CONTENT_RANGE.fullmatch(content_range)
        if match is None or etag not in ("", self._etag):
            return self._forget("the server answered with a part of something else")
        first, last = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        if first != self.offset or last < first or (total is not None and last >= total):
            return self._forget("the server answered with another part than asked for")
        self._skip = 0
        self.total = total
        is_streamed = total is None and last == VERY_LARGE
        self._stop = None if is_streamed else last + 1
        self._is_last = is_streamed or self._stop == total
        return Step.TAKE

    def _forget(self, why: str) -> Step:
        self.offset, self.total, self._etag, self.why = 0, None, "", why
        return Step.REPEAT

    def take(self, data: bytes) -> bytes:
        """Count bytes of the answer's body in.

        Returns:
            those of them that aren't there yet.
        Raises:
            FetchError: there are more than the head promised.
        """
        if self._stop is not None and self.offset + len(data) > self._stop:
            raise FetchError(f"the answer has more bytes than its head says, {self._stop}")
        self.offset += len(data)
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        return data[skipped:]

    def cut(self) -> None:
        """The answer ended early: what was already there before it stays there."""
        self.offset += self._skip
        self._skip = 0

    def ended(self) -> bool:
        """The answer's body came to its end; whether the object is whole with it.

        Raises:
            CutError: the body ended before the place that its head said.
        """
        if self._skip or (self._stop is not None and self.offset != self._stop):
            expected = self._stop if self._stop is not None else self.offset + self._skip
            raise CutError(f"the answer ended at byte {self.offset}, not at {expected}")
        return self._is_last

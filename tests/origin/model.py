"""A store as naive as can be: what names show, and what whoever asked must have been answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.origin.drive import Answer

__all__ = ["Generation", "Model", "Reading"]

CHUNK_COST_BYTES = 128


@dataclass(eq=False)
class Generation:
    """One PUT.

    Attributes:
        chunks: its bytes as they became visible.
        state: open, complete, aborted or deleted.
        was_whole: it was complete once, whatever became of it.
        etag: as the server told it, "" until it did.
    """

    key: str
    chunks: list[bytes] = field(default_factory=list)
    state: str = "open"
    was_whole: bool = False
    etag: str = ""

    @property
    def body(self) -> bytes:
        """All visible bytes."""
        return b"".join(self.chunks)

    @property
    def charge(self) -> int:
        """What the memory budget must be charged for it."""
        return len(self.body) + CHUNK_COST_BYTES * len(self.chunks)


class Model:
    """Names, each with at most one complete and one open generation."""

    def __init__(self) -> None:
        self.complete: dict[str, Generation] = {}
        self.open: dict[str, Generation] = {}
        self.all: list[Generation] = []

    def begin(self, key: str) -> tuple[Generation, Generation | None]:
        """A new open generation, and the one it displaced."""
        displaced = self.open.get(key)
        if displaced is not None:
            displaced.state = "aborted"
        generation = self.open[key] = Generation(key)
        self.all.append(generation)
        return generation, displaced

    def commit(self, generation: Generation) -> int:
        """It is whole; the status its writer must get."""
        del self.open[generation.key]
        status = 200 if generation.key in self.complete else 201
        generation.state = "complete"
        generation.was_whole = True
        self.complete[generation.key] = generation
        return status

    def abort(self, generation: Generation) -> None:
        """It will never be whole."""
        if generation.state == "open":
            del self.open[generation.key]
            generation.state = "aborted"

    def delete(self, key: str) -> int:
        """The name goes; the status of the DELETE."""
        gone = [one for one in (self.open.pop(key, None), self.complete.pop(key, None)) if one]
        for one in gone:
            one.state = "deleted"
        return 200 if gone else 404

    def visible(self, key: str) -> Generation | None:
        """What a GET shows."""
        writing = self.open.get(key)
        if writing is not None and writing.chunks and not key.endswith(".mpd"):
            return writing
        return self.complete.get(key)

    def exists(self, key: str) -> bool:
        """Whether `If-None-Match: *` must fail."""
        return key in self.open or key in self.complete

    def listing(self, prefix: str, delimiter: str, after: str) -> list[str]:
        """The lines of a LIST without limit."""
        lines = set()
        for key in {*self.open, *self.complete}:
            if key.startswith(prefix) and self.visible(key) is not None:
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                lines.add(key if cut < 0 else key[: cut + len(delimiter)])
        return sorted(line for line in lines if line > after)

    def charge(self) -> int:
        """What the memory budget must be charged, once nobody reads what is gone."""
        return sum(one.charge for one in (*self.open.values(), *self.complete.values()))


@dataclass(eq=False)
class Reading:
    """A GET under way, and what is known of it for certain.

    Attributes:
        span: of the Range asked for: first, last (None: open-ended); None for no Range.
        expected: the generation it must be answered with; None if it waits for one.
        asked_s: when; all of them wait for 3 s for an object to appear, 5 s for its bytes.
        answered_s: when its head came.
    """

    key: str
    span: tuple[int, int | None] | None
    expected: Generation | None
    asked_s: float
    answer: Answer = field(default_factory=Answer)
    answered_s: float | None = None
    has_left: bool = False

    def judge(self, model: Model) -> None:
        """Its answer, now over, must be one that this history allows."""
        answer = self.answer
        if self.has_left:
            return
        assert self.answered_s is not None
        waited_s = self.answered_s - self.asked_s
        if answer.status == 404:
            assert self.expected is None
            assert 2.99 < waited_s < 3.3
            return
        if answer.status == 503:
            assert self.span is not None, "only a held range may fail"
            is_late = waited_s > 4.99
            assert is_late or any(
                one.state in ("aborted", "deleted") for one in model.all if one.key == self.key
            )
            return
        found = [one for one in model.all if one.etag and one.etag == answer.fields.get("etag")]
        assert len(found) == 1, "an answer with the bytes of no upload"
        generation = found[0]
        assert generation.key == self.key
        assert self.expected in (None, generation)
        self._judge_body(generation)

    def _judge_body(self, generation: Generation) -> None:
        answer, body = self.answer, generation.body
        first, last = self.span or (0, None)
        if answer.status == 416:
            assert generation.was_whole
            assert first >= len(body)
        elif "transfer-encoding" in answer.fields:
            assert answer.status == (200 if first == 0 and last is None else 206)
            if generation.was_whole:
                assert answer.is_whole is True
                assert answer.body == body[first:]
            else:
                assert answer.is_whole is False
                assert body[first:].startswith(answer.body)
        else:
            assert answer.is_whole is True
            assert int(answer.fields["content-length"]) == len(answer.body)
            assert body[first:].startswith(answer.body)
            if last is not None:
                assert len(answer.body) == len(body[first : last + 1])
            elif "chunkstore-state" not in answer.fields:
                assert answer.body == body[first:]

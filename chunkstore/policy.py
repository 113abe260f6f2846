"""What holds for an object because of its name: a table of rows, matched against the key.

A row has patterns and the settings it makes. A pattern that begins with "/" and has no glob
character is a prefix; any other is a glob over the whole key, in which `*` crosses "/". Patterns
are written as keys are: decoded, case-sensitive.

The user's rows come before the built-in ones, and for each *setting* the first matching row that
makes it wins. So a row for /live/ that sets a ttl keeps the built-in hold of the media segments in
it, and a table has to say only what differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from functools import lru_cache
from typing import Any, Literal

from chunkstore.errors import SettingsError
from chunkstore.units import parse_duration, parse_size, parse_switch

__all__ = ["BUILT_IN_ROWS", "ROW_KEYS", "Policy", "PolicyRow", "PolicyTable", "parse_row"]

# Bounds of the memos: a flood of distinct names costs a match each, never memory without end.
_MEMO_KEYS = 10_000
_MEMO_POLICIES = 1_000

_MAX_DURATION_S = 10 * 365 * 86400.0
_MAX_GRACE_S = 60.0
_MAX_PATTERNS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What holds for one object; the defaults are what holds for a name that no row knows.

    Args:
        atomic: a new generation is shown when it is complete, not from its first byte.
        hold_s: how long a GET of a missing name waits for it near a live edge; 0: not at all.
        cache_complete: Cache-Control of a complete object.
        cache_open: Cache-Control of an object that is being written.
        cache_missing: Cache-Control of a 404.
        ttl_s: age at which a complete object expires; None: the server's setting.
        max_object_bytes: size above which an upload aborts; None: the server's setting.
        single_writer: a second writer is refused, instead of displacing the first.
        on_idle: what becomes of an upload that sends nothing for `upload_idle_s`.
        upload_idle_s: how long an upload may send nothing; None: the server's setting.
        evict: a complete object may be dropped to make room; of those on disk none may, where no
            row says so.
        abort_grace_s: how long readers of an upload that broke off wait for the next one of its
            path, to go on in it; 0: not at all.
    """

    atomic: bool = False
    hold_s: float = 0.0
    cache_complete: str = "no-cache"
    cache_open: str = "no-store"
    cache_missing: str = "no-store"
    ttl_s: float | None = None
    max_object_bytes: int | None = None
    single_writer: bool = False
    on_idle: Literal["abort", "complete"] = "abort"
    upload_idle_s: float | None = None
    evict: bool = True
    abort_grace_s: float = 1.0


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One row: the names it is for, and what it sets for them.

    Args:
        match: the patterns, any of which may match.
        sets: field name of `Policy` -> value, for those the row sets.
    """

    match: tuple[str, ...]
    sets: Mapping[str, Any] = field(default_factory=dict)


def _read_duration(value: object) -> float:
    duration_s = parse_duration(value)
    if not 0 <= duration_s <= _MAX_DURATION_S:
        raise ValueError(f"expected a duration from 0s to 3650d, got {value!r}")
    return duration_s


def _read_ttl(value: object) -> float | None:
    if value == "none":
        return None
    if not (duration_s := _read_duration(value)):
        raise ValueError("expected a duration above 0s, or 'none' for objects that never expire")
    return duration_s


def _read_idle(value: object) -> float:
    if not (duration_s := _read_duration(value)):
        raise ValueError("expected a duration above 0s")
    return duration_s


def _read_grace(value: object) -> float:
    duration_s = parse_duration(value)
    if not 0 <= duration_s <= _MAX_GRACE_S:
        raise ValueError(f"expected a duration from 0s to {_MAX_GRACE_S:.0f}s, got {value!r}")
    return duration_s


def _read_size(value: object) -> int:
    if (size_bytes := parse_size(value)) < 1:
        raise ValueError(f"expected a size of at least 1 byte, got {value!r}")
    return size_bytes


def _read_cache_control(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~](?:[ -~]{0,254}[!-~])?", value):
        raise ValueError(f"expected the text of a Cache-Control field, got {value!r}")
    return value


def _read_on_idle(value: object) -> str:
    if value not in ("abort", "complete"):
        raise ValueError(f"expected 'abort' or 'complete', got {value!r}")
    return str(value)


# Key of a row in the settings file -> field of Policy, reader of its value.
ROW_KEYS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "atomic": ("atomic", parse_switch),
    "hold": ("hold_s", _read_duration),
    "cache_complete": ("cache_complete", _read_cache_control),
    "cache_open": ("cache_open", _read_cache_control),
    "cache_missing": ("cache_missing", _read_cache_control),
    "ttl": ("ttl_s", _read_ttl),
    "max_object": ("max_object_bytes", _read_size),
    "single_writer": ("single_writer", parse_switch),
    "on_idle": ("on_idle", _read_on_idle),
    "upload_idle": ("upload_idle_s", _read_idle),
    "evict": ("evict", parse_switch),
    "abort_grace": ("abort_grace_s", _read_grace),
}


def parse_row(row: object, where: str) -> PolicyRow:
    """Read a row as a settings file has it.

    Args:
        row: a table with `match` (one text of patterns separated by spaces, or a list of them)
            and any of ROW_KEYS; sizes and durations as `units` reads them.
        where: the row's place, for messages.
    Raises:
        SettingsError: an unknown key, a bad value, or a pattern that could never match.
    """
    if not isinstance(row, Mapping):
        raise SettingsError(where, f"expected a table with 'match', got {row!r}")
    if "match" not in row:
        raise SettingsError(where, "a policy needs 'match', such as match = \"/live/ *.mpd\"")
    sets: dict[str, object] = {}
    for key, value in row.items():
        if key == "match":
            continue
        if key not in ROW_KEYS:
            raise SettingsError.unknown(where, str(key), ["match", *ROW_KEYS])
        name, read = ROW_KEYS[key]
        try:
            sets[name] = read(value)
        except ValueError as error:
            raise SettingsError(f"{where}.{key}", str(error)) from None
    return PolicyRow(_parse_patterns(row["match"], f"{where}.match"), sets)


def _parse_patterns(value: object, where: str) -> tuple[str, ...]:
    patterns = value.split() if isinstance(value, str) else value
    if not isinstance(patterns, list) or not 1 <= len(patterns) <= _MAX_PATTERNS:
        raise SettingsError(where, f"expected 1 to {_MAX_PATTERNS} patterns, got {value!r}")
    for pattern in patterns:
        if not isinstance(pattern, str) or pattern[:1] not in ("/", "*", "?", "["):
            raise SettingsError(
                where, f"{pattern!r} never matches: begin a folder with '/', an ending with '*'"
            )
    return tuple(patterns)


def _row(match: str, **sets: object) -> PolicyRow:
    return PolicyRow(tuple(match.split()), sets)


# Source: the table of DESIGN.md section 5; the defaults of Policy are its last row.
BUILT_IN_ROWS: tuple[PolicyRow, ...] = (
    _row("*.mpd *.m3u8 *.json", atomic=True, cache_complete="no-cache", cache_missing="no-store"),
    _row(
        # The last one: parts of segments, as packagers of LL-HLS name them.
        "*.m4s *.mp4 *.m4v *.m4a *.cmfv *.cmfa *.cmft *.ts *.aac *.vtt *.m4s.[0-9]*",
        atomic=False,
        hold_s=2.0,
        cache_complete="public, max-age=60",
        cache_open="no-store",
        cache_missing="no-store",
    ),
)


def _private(sets: Mapping[str, Any]) -> dict[str, Any]:
    """What a row sets, for objects that not everybody may read (RFC 9111 section 5.2.2.7)."""
    complete = sets["cache_complete"].removeprefix("public, ")
    return {**sets, "cache_complete": f"private, {complete}"}


class _Matcher:
    """One row's patterns, sorted by how they can be matched fastest."""

    __slots__ = ("_glob", "_prefixes", "_suffixes")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        glob_characters = frozenset("*?[")
        plain = [p for p in patterns if not glob_characters.intersection(p)]
        endings = [p for p in patterns if p[0] == "*" and not glob_characters.intersection(p[1:])]
        globs = [p for p in patterns if p not in plain and p not in endings]
        self._prefixes = tuple(plain)
        self._suffixes = tuple(p[1:] for p in endings)
        self._glob = re.compile("|".join(map(translate, globs))) if globs else None

    def matches(self, key: str) -> bool:
        return (
            key.startswith(self._prefixes)
            or key.endswith(self._suffixes)
            or (self._glob is not None and self._glob.match(key) is not None)
        )


class PolicyTable:
    """The rows in force, and the policy they make for a key.

    Args:
        rows: the user's rows; the built-in ones come after them.
        base: what holds where no row says otherwise; a server passes its own settings here.
        is_private: reading takes credentials, so what isn't the user's own row lets no cache that
            is shared keep a complete object.
    """

    def __init__(
        self,
        rows: Iterable[PolicyRow] = (),
        *,
        base: Policy | None = None,
        is_private: bool = False,
    ) -> None:
        built_in, base = BUILT_IN_ROWS, base or Policy()
        if is_private:
            built_in = tuple(PolicyRow(row.match, _private(row.sets)) for row in built_in)
            base = replace(base, **_private({"cache_complete": base.cache_complete}))
        self.rows: tuple[PolicyRow, ...] = (*rows, *built_in)
        self.base = base
        self._matchers = [_Matcher(row.match) for row in self.rows]
        self._resolve = lru_cache(_MEMO_KEYS)(self._match)
        self._combine = lru_cache(_MEMO_POLICIES)(self._merge)

    def for_key(self, key: str) -> Policy:
        """The policy of a key in normal form; it needn't exist.

        Objects share their policies. The last 10,000 keys asked for are remembered, since this
        runs for each request of a missing name.
        """
        return self._resolve(key)

    def _match(self, key: str) -> Policy:
        return self._combine(
            tuple(index for index, row in enumerate(self._matchers) if row.matches(key))
        )

    def _merge(self, indexes: tuple[int, ...]) -> Policy:
        sets: dict[str, Any] = {}
        for index in reversed(indexes):
            sets.update(self.rows[index].sets)
        return replace(self.base, **sets)

"""A strict reader of HLS media playlists: as much as blocking reload needs.

What can't be read for certain is no playlist here, and is served as any other object: nothing is
guessed, and nobody waits because of a guess.

Source: draft-pantos-hls-rfc8216bis, sections 4 (the format) and 6.2.5.2 (blocking reload).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["PLAYLIST_BYTES", "MediaPlaylist", "parse_playlist"]

PLAYLIST_BYTES: Final = 256 * 1024
"""Longer ones aren't read: they would hold up everybody else."""
_AHEAD_SEGMENTS: Final = 2
_AHEAD_PARTS_S: Final = 3.0

_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_SECONDS: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,20})?")
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]+)(?:,|$)')
# What only a multivariant playlist has, or only an update of a playlist that the client knows.
_FOREIGN: Final = frozenset(
    {"#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-MEDIA", "#EXT-X-SKIP"}
)
_ONCE: Final = frozenset(
    {"#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL"}
)


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """What a media playlist has, counted.

    Attributes:
        target_s: EXT-X-TARGETDURATION, seconds.
        part_target_s: PART-TARGET of EXT-X-PART-INF, seconds; None if it has none.
        can_block_reload: it says CAN-BLOCK-RELOAD=YES.
        has_ended: it says EXT-X-ENDLIST: no other version follows.
        first_msn: media sequence number of the first segment.
        part_counts: of each whole segment, how many of its parts are listed (old ones have none).
        open_part_count: parts of the segment behind those, which isn't whole.
    """

    target_s: int
    part_target_s: float | None
    can_block_reload: bool
    has_ended: bool
    first_msn: int
    part_counts: tuple[int, ...]
    open_part_count: int

    @property
    def last_msn(self) -> int:
        """Of the last whole segment; one less than `first_msn` if there is none."""
        return self.first_msn + len(self.part_counts) - 1

    def has(self, msn: int, part: int | None) -> bool:
        """Whether it contains a segment, or a part of it, or anything later.

        Args:
            msn: the segment's media sequence number.
            part: the part's index in it; None for the whole segment. An index behind the last
                part of a whole segment means the first part of the next one.
        """
        if msn > self.last_msn:
            return msn == self.last_msn + 1 and part is not None and part < self.open_part_count
        if part is None or msn < self.first_msn:
            return True
        count = self.part_counts[msn - self.first_msn]
        return part < count or not count or self.has(msn + 1, 0)

    def why_too_far(self, msn: int, part: int | None) -> str | None:
        """Why a client may not wait for that: it lies further ahead than the draft allows."""
        ahead = msn - self.last_msn
        if ahead > _AHEAD_SEGMENTS:
            return (
                f"_HLS_msn may be {self.last_msn + _AHEAD_SEGMENTS} at most: the playlist's last"
                f" segment is {self.last_msn}"
            )
        if part is not None and ahead > 0:
            known = self.open_part_count if ahead == 1 else 0
            limit = math.ceil(_AHEAD_PARTS_S / min(self.part_target_s or 1.0, 1.0))
            if part >= known + limit:
                return f"_HLS_part may be {known + limit - 1} at most in segment {msn}"
        return None


class _NotAPlaylistError(Exception):
    """It breaks a rule; which one is nobody's business here."""


def parse_playlist(data: bytes) -> MediaPlaylist | None:
    """Read a media playlist; None if it is anything else, or breaks a rule that matters here.

    Cost: O(n), some 20 microseconds a kilobyte.
    """
    if len(data) > PLAYLIST_BYTES or not data.startswith(b"#EXTM3U"):
        return None
    try:
        return _read([line.rstrip("\r") for line in data.decode("utf-8").split("\n")])
    except (UnicodeDecodeError, _NotAPlaylistError):
        return None


def _read(lines: list[str]) -> MediaPlaylist:
    once: dict[str, str] = {}
    part_counts: list[int] = []
    parts = 0
    has_duration = has_ended = False
    _require(lines[0].rstrip() == "#EXTM3U")
    for line in lines[1:]:
        if not line or (line.startswith("#") and not line.startswith("#EXT")):
            continue
        tag, _, value = line.partition(":")
        _require(tag not in _FOREIGN)
        if tag in _ONCE:
            _require(tag not in once)
            _require(tag != "#EXT-X-MEDIA-SEQUENCE" or not (part_counts or parts))
            once[tag] = value
        elif tag == "#EXT-X-PART":
            _require({"URI", "DURATION"} <= _attributes(value).keys())
            parts += 1
        elif tag == "#EXTINF":
            has_duration = True
        elif tag == "#EXT-X-ENDLIST":
            has_ended = True
        elif not line.startswith("#"):  # a segment's URI
            _require(has_duration)
            part_counts.append(parts)
            parts, has_duration = 0, False
    return MediaPlaylist(
        target_s=_number(once.get("#EXT-X-TARGETDURATION", "")),
        part_target_s=_part_target_s(once.get("#EXT-X-PART-INF")),
        can_block_reload=_attributes(once.get("#EXT-X-SERVER-CONTROL", "")).get("CAN-BLOCK-RELOAD")
        == "YES",
        has_ended=has_ended,
        first_msn=_number(once.get("#EXT-X-MEDIA-SEQUENCE", "0")),
        part_counts=tuple(part_counts),
        open_part_count=parts,
    )


def _require(holds: bool) -> None:
    if not holds:
        raise _NotAPlaylistError


def _number(text: str) -> int:
    _require(_NUMBER.fullmatch(text.rstrip()) is not None)
    return int(text)


def _part_target_s(value: str | None) -> float | None:
    if value is None:
        return None
    text = _attributes(value).get("PART-TARGET", "")
    _require(_SECONDS.fullmatch(text) is not None)
    _require(float(text) > 0)
    return float(text)


def _attributes(text: str) -> dict[str, str]:
    """An attribute list (section 4.2): quotes stay, names are unique."""
    found: dict[str, str] = {}
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _ATTRIBUTE.match(text, position)
        _require(match is not None and match[1] not in found)
        assert match is not None
        found[match[1]] = match[2]
        position = match.end()
    return found

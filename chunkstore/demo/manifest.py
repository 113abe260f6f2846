"""The little of an MPD that a player needs: which segments there are, and when.

Source: ISO/IEC 23009-1 section 5.3.9.4, segment templates with `$Number$` and a fixed duration.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urljoin

__all__ = ["Track", "parse_manifest"]

_DASH = "{urn:mpeg:dash:schema:mpd:2011}"
_IDENTIFIER = re.compile(r"\$(\w*)(?:%0(\d)d)?\$")


@dataclass(frozen=True, slots=True)
class Track:
    """A representation: what its segments are called and when each begins.

    Attributes:
        id: of the representation.
        init_path: of its initialization segment.
        media_path: of its media segments, with `$Number$` still in it.
        first_number: of the first segment.
        began_s: Unix time at which that one began.
        segment_s: length of each.
    """

    id: str
    init_path: str
    media_path: str
    first_number: int
    began_s: float
    segment_s: float

    def path_of(self, number: int) -> str:
        """The path of a media segment."""
        return _fill(self.media_path, {"Number": number})

    def number_at(self, unix_s: float) -> int:
        """The number of the segment that is being written at a time."""
        return self.first_number + max(0, int((unix_s - self.began_s) / self.segment_s))


def parse_manifest(text: bytes, path: str) -> list[Track]:
    """The representations of a dynamic MPD.

    Args:
        text: the whole document.
        path: where it was fetched, to resolve what it names.
    Raises:
        ValueError: it isn't an XML document, or not such a manifest.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"the MPD is no XML document: {error}") from error
    began = root.get("availabilityStartTime")
    if began is None:
        return []  # static: the stream is over
    began_s = datetime.fromisoformat(began).timestamp()
    return list(_tracks(root, path, began_s))


def _tracks(root: ElementTree.Element, path: str, began_s: float) -> Iterator[Track]:
    for group in root.iter(f"{_DASH}AdaptationSet"):
        for one in group.iter(f"{_DASH}Representation"):
            template = one.find(f"{_DASH}SegmentTemplate")
            if template is None:
                template = group.find(f"{_DASH}SegmentTemplate")
            if template is None:
                raise ValueError("a representation of the MPD has no SegmentTemplate")
            values = {"RepresentationID": one.get("id", ""), "Bandwidth": one.get("bandwidth", "")}
            duration, timescale = template.get("duration"), template.get("timescale", "1")
            if duration is None:
                raise ValueError("a SegmentTemplate of the MPD has no duration")
            yield Track(
                id=values["RepresentationID"],
                init_path=urljoin(path, _fill(template.get("initialization", ""), values)),
                media_path=urljoin(path, _fill(template.get("media", ""), values)),
                first_number=int(template.get("startNumber", "1")),
                began_s=began_s,
                segment_s=int(duration) / int(timescale),
            )


def _fill(template: str, values: dict[str, str] | dict[str, int]) -> str:
    def value(match: re.Match[str]) -> str:
        name, width = match.groups()
        if name not in values:
            return match[0]
        return str(values[name]).rjust(int(width or 1), "0")

    return _IDENTIFIER.sub(value, template)

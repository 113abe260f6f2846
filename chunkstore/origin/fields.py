"""The header fields that answers about a generation carry."""

from __future__ import annotations

from base64 import b64encode

from chunkstore.objects import Generation
from chunkstore.origin.browser import CORS_FIELDS
from chunkstore.wire import Fields, field_block, http_date

__all__ = [
    "NO_STORE",
    "TRAILER",
    "content_type_of",
    "digest_fields",
    "generation_fields",
    "prefer_wait_s",
    "takes_trailers",
]

NO_STORE = field_block([("Cache-Control", "no-store")]) + CORS_FIELDS
TRAILER = field_block([("Trailer", "Repr-Digest")])
CONTENT_TYPES = {
    "mpd": "application/dash+xml",
    "m3u8": "application/vnd.apple.mpegurl",
    "json": "application/json",
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "cmfv": "video/mp4",
    "m4a": "audio/mp4",
    "cmfa": "audio/mp4",
    "cmft": "application/mp4",
    "ts": "video/mp2t",
    "aac": "audio/aac",
    "vtt": "text/vtt",
    "html": "text/html",
    "js": "text/javascript",
    "jpg": "image/jpeg",
    "png": "image/png",
    "txt": "text/plain; charset=utf-8",
}
"""Extension -> media type, where the encoder sent none (RFC 6381, RFC 8216, the IANA registry)."""


def content_type_of(key: str, sent: str | None) -> str:
    """The media type of an object: the encoder's, else by extension. GPAC sends `*`."""
    if sent and sent != "*":
        return sent
    stem, _, extension = key.rpartition(".")
    if extension.isdecimal():  # a part of a segment, as x.m4s.0
        extension = stem.rpartition(".")[2]
    return CONTENT_TYPES.get(extension.lower(), "application/octet-stream")


def generation_fields(generation: Generation, *, is_partial: bool = False) -> bytes:
    """The fields of a GET's answer, made once per generation and state.

    Args:
        is_partial: for a 206, which of an open generation must never be stored by a cache.
    """
    if is_partial and generation.is_open:
        return _make(generation, "no-store")
    if generation.head is None:
        policy = generation.policy
        generation.head = _make(
            generation, policy.cache_open if generation.is_open else policy.cache_complete
        )
    return generation.head


def _make(generation: Generation, cache_control: str) -> bytes:
    pairs = [
        ("Content-Type", generation.content_type),
        ("ETag", generation.etag),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", cache_control),
    ]
    if generation.is_open:
        pairs.append(("Chunkstore-State", "open"))
    else:
        pairs.append(("Last-Modified", http_date(generation.modified_s)))
    return field_block(pairs) + digest_fields(generation) + CORS_FIELDS


def digest_fields(generation: Generation) -> bytes:
    """The digest of the whole, in a head or in a trailer, if it is known.

    Source: RFC 9530 section 3.
    """
    if generation.sha256 is None:
        return b""
    return field_block([("Repr-Digest", f"sha-256=:{b64encode(generation.sha256).decode()}:")])


def takes_trailers(fields: Fields) -> bool:
    """The client keeps the trailer fields it is sent, or passes them on (RFC 9110 section 10.1.4).

    Whether `Connection` names the field isn't looked at: a proxy that forwards what it shouldn't
    drops what it can't keep.
    """
    wishes = (fields.get("te") or "").split(",")
    return any(wish.strip().lower() == "trailers" for wish in wishes)


def prefer_wait_s(fields: Fields) -> float | None:
    """The seconds of `Prefer: wait=N`, or None if absent or not a number (RFC 7240 section 4.3)."""
    for preference in (fields.get("prefer") or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return float(value[:9])
    return None

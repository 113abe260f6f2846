"""What chunks say of themselves: what was written is read, and anything else is an error."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkstore.worker.core.chunk import DataChunk, FileRecord
from chunkstore.worker.descriptor import (
    Descriptor,
    FileFacts,
    chunk_members,
    encode_chunk,
    load_members,
    parse_chunk,
    parse_descriptor,
)

DIGEST = st.binary(min_size=32, max_size=32)
SIZES = st.integers(0, 2**63 - 1)
RECORDS = st.builds(
    FileRecord,
    st.sampled_from(["http://x/a", "https://y:8443/b?c=%20&ü", "http://u:p@[::1]/"]),
    st.none() | SIZES,
    st.none() | DIGEST,
)
CHUNKS = st.builds(
    lambda one, two, start, count, files: DataChunk(one, two, range(start, start + count), files),
    DIGEST,
    DIGEST,
    st.integers(0, 2**62),
    st.integers(1, 2**61),
    st.dictionaries(
        st.sampled_from(["a", "blocks.parquet", "ü", "x y", '"', "日"]), RECORDS, min_size=1
    ),
)
FACTS = st.builds(
    FileFacts,
    st.text(max_size=20),
    SIZES,
    DIGEST,
    st.sampled_from(["declared", "computed"]),
    st.text(max_size=20),
)


@given(CHUNKS, st.data())
def test_what_was_written_is_read(chunk: DataChunk, data: st.DataObject) -> None:
    facts = {name: data.draw(FACTS) for name in chunk.records}
    descriptor = Descriptor(chunk, facts)
    assert parse_descriptor(descriptor.encode()) == descriptor
    assert parse_descriptor(descriptor.encode()).chunk.identity == chunk.identity
    assert parse_chunk(load_members(encode_chunk(chunk))) == chunk
    assert descriptor.size_bytes == sum(one.size_bytes for one in facts.values())


GOOD: dict[str, Any] = chunk_members(
    DataChunk(b"c" * 32, b"d" * 32, range(1, 3), {"a": FileRecord("http://x/a", 3, b"s" * 32)})
)
STORED = {
    "url": "http://x/a",
    "size_bytes": 3,
    "sha256": "00" * 32,
    "sha256_source": "computed",
    "etag": "",
}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def paths(members: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """Where values are in it."""
    rows = members.items() if isinstance(members, dict) else enumerate(members)
    found = []
    for key, value in rows:
        found.append((*above, key))
        if isinstance(value, (dict, list)):
            found += paths(value, (*above, key))
    return found


WHOLE = {**GOOD, "stored": {"a": STORED}}


@given(st.sampled_from(paths(WHOLE)), JUNK, st.booleans())
def test_anything_else_is_a_value_error(path: tuple[Any, ...], junk: Any, is_gone: bool) -> None:  # noqa: ANN401 - JSON
    members = json.loads(json.dumps(WHOLE))
    place = members
    for key in path[:-1]:
        place = place[key]
    if is_gone:
        del place[path[-1]]
    else:
        place[path[-1]] = junk
    try:
        found = parse_descriptor(json.dumps(members).encode())
    except ValueError:
        return
    assert parse_descriptor(found.encode()) == found


@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"id": 1, "id": 2}')
@example(b"null")
@example(b"\xff\xfe")
@example(b"9" * 10_000)
def test_bytes_that_are_no_descriptor_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        parse_descriptor(data)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("id", {"id": "zz"}),
        ("id", {"id": 5}),
        ("id", {"id": "c0 " * 32}),
        ("dataset_id", {"dataset_id": "00"}),
        ("block_range", {"block_range": [3, 1]}),
        ("block_range", {"block_range": [True, 3]}),
        ("block_range", {"block_range": "1-3"}),
        ("files", {"files": []}),
        ("files", {"files": {"../a": "http://x/"}}),
        ("files['a']", {"files": {"a": 1}}),
        ("files['a'].url", {"files": {"a": {"url": 5}}}),
        ("files['a'].urls", {"files": {"a": {"url": "http://x/", "urls": []}}}),
        ("files['a'].size_bytes", {"files": {"a": {"url": "http://x/", "size_bytes": "3"}}}),
        ("files['a'].sha256", {"files": {"a": {"url": "http://x/", "sha256": "q"}}}),
        ("owner", {"owner": "me"}),
        ("format", {"format": 2}),
        ("stored", {"stored": {}}),
        ("stored['a']", {"stored": {"a": {}}}),
    ],
)
def test_the_field_is_named(field: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(field)}: "):
        parse_descriptor(json.dumps({**WHOLE, **change}).encode())


@pytest.mark.parametrize("name", ["id", "dataset_id", "block_range", "files"])
def test_what_is_missing_is_named(name: str) -> None:
    members = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(ValueError, match=f"^{name}: it is missing"):
        parse_chunk(members)

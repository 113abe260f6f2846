"""What a chunk may be: each error names the field; what is let in can be asked for and written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkstore.client import parse_url
from chunkstore.worker.core.chunk import BLOCK_MAX, DataChunk, FileRecord
from chunkstore.worker.core.names import (
    NAME_BYTES,
    ChunkName,
    check_names,
    parse_chunk_name,
    parse_wanted_name,
    partial_names,
    wanted_name,
)

GOOD: dict[str, Any] = {
    "id": b"c" * 32,
    "dataset_id": b"d" * 32,
    "block_range": range(3, 9),
    "files": {"a": "http://x/a"},
}
BAD: list[tuple[str, str, Any]] = [
    ("id", "id", b"short"),
    ("id", "id", b"c" * 33),
    ("id", "id", "c" * 32),
    ("dataset_id", "dataset_id", b""),
    ("dataset_id", "dataset_id", None),
    ("block_range", "block_range", range(3, 3)),
    ("block_range", "block_range", range(9, 3)),
    ("block_range", "block_range", range(-1, 3)),
    ("block_range", "block_range", range(0, 4, 2)),
    ("block_range", "block_range", range(BLOCK_MAX + 1)),
    ("block_range", "block_range", (0, 3)),
    ("files", "files", {}),
    ("files", "files", {f"f{n}": "http://x/" for n in range(11)}),
    ("files", "files", ["a"]),
    ("files", "files", {"A": "http://x/", "a": "http://x/"}),
    ("files", "files", {"é": "http://x/", "e\u0301": "http://x/"}),
    ("files['a']", "files", {"a": None}),
    ("files['a'].url", "files", {"a": "ftp://x/"}),
    ("files['a'].url", "files", {"a": "http:///a"}),
    ("files['a'].url", "files", {"a": "http://x:0/"}),
    ("files['a'].url", "files", {"a": "http://x:99999/"}),
    ("files['a'].url", "files", {"a": "http://[::1/"}),
    ("files['a'].url", "files", {"a": "http://é/"}),
    ("files['a'].url", "files", {"a": "https://.x/"}),
    ("files['a'].url", "files", {"a": f"http://{'x' * 64}.y/"}),
    ("files['a'].url", "files", {"a": "http://x/" + "a" * 9000}),
    ("files['a'].url", "files", {"a": "http://x/\ud800"}),
    ("files['a'].url", "files", {"a": FileRecord(5)}),  # type: ignore[arg-type]
    ("files['a'].size_bytes", "files", {"a": FileRecord("http://x/", -1)}),
    ("files['a'].size_bytes", "files", {"a": FileRecord("http://x/", 2**63)}),
    ("files['a'].size_bytes", "files", {"a": FileRecord("http://x/", True)}),
    ("files['a'].sha256", "files", {"a": FileRecord("http://x/", 1, b"short")}),
]


@pytest.mark.parametrize(("field", "name", "value"), BAD)
def test_each_error_names_the_field(field: str, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(field)}: "):
        DataChunk(**{**GOOD, name: value})


def test_an_error_does_not_repeat_credentials() -> None:
    with pytest.raises(ValueError, match="expected http or https") as error:
        DataChunk(**{**GOOD, "files": {"a": "ftp://user:secret@x/"}})
    assert "secret" not in str(error.value)


HOSTILE = ["", ".", "..", "../a", "a/b", "/a", "a\\b", ".chunk.json", ".a", " a", "a ", "a."]
HOSTILE += ["a\0", "a\n", "\u202ea", "a\ud800", "x" * (NAME_BYTES + 1), "é" * NAME_BYTES]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="^files: .* can't be the name of a file: "):
        DataChunk(**{**GOOD, "files": {name: "http://x/a"}})


@given(st.text(max_size=220) | st.text("./\\\0a ", max_size=5))
def test_a_name_that_is_let_in_is_one_of_the_folder_itself(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    try:
        check_names([name])
    except ValueError:
        return
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    path = folder / name
    assert path.parent == folder
    assert path.resolve().parent == folder.resolve()
    for one in (name, *partial_names(name)):
        path.with_name(one).write_bytes(b"")
        path.with_name(one).unlink()
    assert not any(folder.iterdir())
    with pytest.raises(ValueError, match="one name on some disks"):
        check_names([name, name])


@given(st.text(max_size=40).map(lambda text: f"http://{text}") | st.text(max_size=30))
@example("http://x/\n")
@example("http://user:p%00@x/%zz?ü#f")
@example("https://x:443")
@example("http://x..y/")
def test_a_url_that_is_let_in_can_be_asked_for(url: str) -> None:
    try:
        DataChunk(**{**GOOD, "files": {"a": url}})
    except ValueError:
        return
    assert parse_url(url).host


def test_what_makes_two_of_them_the_same() -> None:
    def identity(**members: object) -> str:
        return DataChunk(**{**GOOD, **members}).identity

    same = {
        identity(),
        identity(files={"a": "https://y/b"}),
        identity(files={"a": FileRecord("http://z/")}),
    }
    assert len(same) == 1
    others = [
        identity(id=b"x" * 32),
        identity(dataset_id=b"x" * 32),
        identity(block_range=range(3, 10)),
        identity(files={"b": "http://x/a"}),
        identity(files={"a": FileRecord("http://x/a", 1)}),
        identity(files={"a": FileRecord("http://x/a", 1, b"s" * 32)}),
        identity(files={"a": FileRecord("http://x/a", None, b"s" * 32)}),
        identity(files={"a": "http://x/a", "b": "http://x/a"}),
    ]
    assert len({*others, *same}) == len(others) + 1


NAMES = st.builds(
    ChunkName,
    st.integers(0, BLOCK_MAX),
    st.integers(0, BLOCK_MAX),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 10**11 - 1),
    st.binary(min_size=8, max_size=8).map(bytes.hex),
)


@given(NAMES, NAMES)
def test_names_of_folders_say_what_they_were_made_of_and_sort(a: ChunkName, b: ChunkName) -> None:
    assert parse_chunk_name(str(a)) == a
    assert str(a) == str(a).lower()
    assert (str(a) < str(b)) == (a < b)
    assert parse_wanted_name(wanted_name(a.id, a.identity)) == (a.id, a.identity)


@given(st.text(max_size=150))
@example("")
@example("0" * 19 + "-" + "1" * 19 + "-" + "A" * 64 + "." + "1" * 12 + "-" + "a" * 16)
@example("٣" * 19 + "-" + "1" * 19 + "-" + "a" * 64 + "." + "1" * 12 + "-" + "a" * 16)
def test_other_names_are_none_of_them(name: str) -> None:
    assert parse_chunk_name(name) is None
    assert parse_wanted_name(name) is None

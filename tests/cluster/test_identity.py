"""Who a node is: kept in its data dir, and refused where it can't be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkstore.cluster.identity import Identity
from chunkstore.errors import DataDirError, DiskError

DIR_ID = bytes(range(16))


def test_it_belongs_to_a_cluster_from_when_it_joins(tmp_path: Path) -> None:
    one = Identity(tmp_path, DIR_ID)
    assert (one.node_id, one.cluster_id) == (DIR_ID.hex(), "")
    one.join("c" * 32)
    assert one.cluster_id == Identity(tmp_path, DIR_ID).cluster_id == "c" * 32
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 1, "cluster": 5}',
        '{"format": 1, "cluster": "x"}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(DataDirError, match="damaged"):
        Identity(tmp_path, DIR_ID)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(json.dumps({"format": 2, "cluster": "c" * 32}))
    with pytest.raises(DataDirError, match="its format is 2, and this program knows 1"):
        Identity(tmp_path, DIR_ID)


def test_what_can_not_be_kept_is_said(tmp_path: Path) -> None:
    one = Identity(tmp_path, DIR_ID)
    (tmp_path / "cluster.json.part").mkdir()
    with pytest.raises(DiskError, match="directory"):
        one.join("c" * 32)
    assert one.cluster_id == ""


def test_no_link_is_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "cluster.json.part").symlink_to(other)
    Identity(tmp_path, DIR_ID).join("c" * 32)
    assert other.read_text() == "precious"
    assert Identity(tmp_path, DIR_ID).cluster_id == "c" * 32

"""docs/durability.md against the program: names, sizes, what fsck says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chunkstore.cli import cli, main
from chunkstore.cli.fsck import render
from chunkstore.store.disk.engine import OWN_AFTER_BYTES, VOLUME_BYTES
from chunkstore.store.disk.fsck import Findings, Flaw
from chunkstore.store.disk.record import PAYLOAD_BYTES
from chunkstore.store.disk.volume import OWN, SET_ASIDE, volume_name
from chunkstore.units import format_size
from tests.docs.pages import DOCS, table
from tests.store.disk.load import open_engine

PAGE = DOCS / "durability.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_names_are_those_of_a_data_dir(tmp_path: Path) -> None:
    data, engine = open_engine(tmp_path)
    engine.scrub(60, lambda: 0.0).remember()
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    engine.close()
    data.close()
    shown = {name for row in table(PAGE, "name in the data dir") for name in spans(row[0])}
    suffixes = {name for name in shown if name.startswith("-")}
    shown = (shown - suffixes) | {f"index.sqlite{suffix}" for suffix in suffixes}
    own = f"volumes/{volume_name(OWN)}".replace("0.vol", "N.vol")
    assert shown == made | {own, str(Path(own).with_suffix(SET_ASIDE))}


def spans(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def spaced(size_bytes: int) -> str:
    """A size as pages write it."""
    return re.sub(r"(\d)([A-Z])", r"\1 \2", format_size(size_bytes))


def test_the_sizes_are_those_of_the_program() -> None:
    assert f"volumes of up to {spaced(VOLUME_BYTES)}" in TEXT
    assert f"*runs* of up to {spaced(PAYLOAD_BYTES)}" in TEXT
    assert f"from {spaced(OWN_AFTER_BYTES)} on" in TEXT
    assert f"at {spaced(OWN_AFTER_BYTES)} a file of its own" in TEXT


def everything(index: str) -> Findings:
    """Findings of all kinds."""
    return Findings(
        1,
        "00",
        set_aside=["own-1.lost"],
        torn={"00000001.vol": 5},
        orphans=["own-2.vol"],
        index=index,
        missing=["/a"],
        flaws=[
            Flaw("/a", "00000001.vol", 5, 7, is_record=False),
            Flaw("/a", "00000001.vol", 5, 7, is_record=True),
            Flaw("", "00000001.vol", 5, 7, is_record=True),
        ],
        not_whole=["/a"],
        unbacked=["/a"],
    )


def test_what_fsck_says_is_what_the_page_explains() -> None:
    patterns = []
    for row in table(PAGE, "it says"):
        for span in spans(row[0]):
            words = re.sub(r"NAME|FILE", r"\\S+", re.escape(span))
            patterns.append(re.sub(r"\b[NP]\b", r"\\d+", words))
    lines: set[str] = set()
    for index in ("behind", "missing", "damaged", "wrong"):
        lines.update(render(everything(index), is_repaired=False))
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in lines), pattern
    told = [line for line in lines if not re.match(r"format|volumes|objects|damaged;", line)]
    assert len(told) >= 12
    for line in told:
        assert any(re.search(pattern, line) for pattern in patterns), line


def test_the_exit_codes_are_those(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, engine = open_engine(tmp_path / "data")
    found = {main(["fsck", str(tmp_path / "data")])}
    engine.close()
    data.close()
    found.add(main(["fsck", str(tmp_path / "data")]))
    (tmp_path / "data" / "index.sqlite").unlink()
    found.add(main(["fsck", str(tmp_path / "data")]))
    assert {row[0] for row in table(PAGE, "exit code")} == {str(code) for code in found}
    flags = {flag for option in cli.commands["fsck"].params for flag in option.opts}
    assert set(spans(TEXT)) & {"--repair", "--json"} <= flags


def test_every_step_says_what_a_crash_leaves() -> None:
    rows = table(PAGE, "step")
    assert len(rows) > 25
    assert all(len(row) == 2 and len(row[1]) > 5 for row in rows)

"""`chunkstore cluster status` and `check`: what they print, and what is wrong with their input."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cli import main
from chunkstore.cli.cluster_status import status_lines
from chunkstore.cli.columns import rough_size, rough_time, table_lines
from chunkstore.client import parse_url
from chunkstore.cluster.inquiry import Inquiry
from chunkstore.cluster.sign import Signer
from chunkstore.errors import FetchError
from tests.cli.server import serving

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file with a secret."""
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The URL of what is no cluster."""
    with serving() as url:
        yield url


def members(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - as JSON has it
    """What a gateway says."""
    nodes = [
        {"number": 1, "id": "a" * 32, "address": "10.0.0.1:8081", "is_up": True, "since_s": 3700.0,
         "fill": 0.314, "live_bytes": 31_400_000_000, "capacity_bytes": 10**11},
        {"number": 12, "id": "b" * 32, "address": "h:1", "is_up": False, "since_s": 30.0,
         "fill": None, "live_bytes": None, "capacity_bytes": 5 * 10**12},
    ]  # fmt: skip
    objects = {"count": 10, "bytes": 1500, "whole": 7, "one_short": 2, "two_short": 1}
    return {
        "cluster": "c" * 32,
        "nodes": nodes,
        "parity": 2,
        "parity_note": "",
        "objects": {**objects, "unreadable": 0},
        "damaged_parts": {"known": 0, "found": 0, "mended": 0},
        "repair": None,
        "scrub": None,
        "move": None,
        "survey": None,
        "trouble": [],
        **changes,
    }


def test_what_is_seen_of_a_cluster() -> None:
    assert list(status_lines(members())) == [
        "cluster " + "c" * 32 + ": 2 nodes, 1 up; 7 parts an object, 2 of them parity",
        "node  address        state         fill     live  capacity  id",
        "   1  10.0.0.1:8081  up 1 h 1 m  31.4 %  31.4 GB    100 GB  " + "a" * 32,
        "  12  h:1            gone 30 s        -        -    5.0 TB  " + "b" * 32,
        "objects: 10 (1.5 kB); whole 7, one part short 2, two parts short 1, unreadable 0",
    ]


REPAIR = {
    "waiting": {"0": 1, "1": 2},
    "left_out": 0,
    "bytes": 3 * 10**9,
    "unreadable": 0,
    "is_paused": False,
    "bytes_s": 10**6,
    "eta_s": 3000.0,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"repair": {**REPAIR, "bytes_s": 4e7, "eta_s": 75.0}},
            "repair: 1 with 0 to spare, 2 with 1 to spare; 3.0 GB to be written, at 40.0 MB/s,"
            " done in 1 m 15 s",
        ),
        (
            {
                "repair": {
                    **REPAIR,
                    "left_out": 7,
                    "is_paused": True,
                    "unreadable": 4,
                    "bytes_s": 0,
                    "eta_s": None,
                }
            },
            "repair: paused, too many nodes are gone: 1 with 0 to spare, 2 with 1 to spare and 7"
            " more; 3.0 GB to be written, not begun, no telling when; 4 can't be read for now",
        ),
        (
            {"repair": {**REPAIR, "waiting": {}, "bytes": 0, "bytes_s": 0, "eta_s": 0.0}},
            "repair: nothing to be done",
        ),
        (
            {"damaged_parts": {"known": 1, "found": 3, "mended": 2}},
            "damaged parts: 1 known, 3 found and 2 mended since the start",
        ),
        ({"scrub": {"parts": 4, "age_s": 7}}, "scrub: parts 4, age_s 7"),
        ({"trouble": ["node 12 at h:1 is gone"]}, "trouble: node 12 at h:1 is gone"),
        (
            {"parity": 0, "parity_note": "no parity: a sixth and seventh node add it"},
            "cluster " + "c" * 32 + ": 2 nodes, 1 up; 5 parts an object, 0 of them parity"
            " (no parity: a sixth and seventh node add it)",
        ),
    ],
)  # fmt: skip
def test_what_there_is_more(changes: dict[str, Any], expected: str) -> None:
    assert expected in list(status_lines(members(**changes)))


@given(st.data())
def test_what_is_no_status_is_told_from_one(data: st.DataObject) -> None:
    """Whatever stands where something else should: its lines are fit to be shown, or it is none."""
    told: Any = deepcopy(
        members(repair=dict(REPAIR), scrub={"parts": 4}, trouble=["node 12 is gone"])
    )
    at = told
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(JSON)
    try:
        lines = status_lines(told)
    except ValueError:
        return
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("number", [math.inf, "x", None, []])
def test_what_is_no_number_is_said_by_no_gateway(
    number: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say(_: object, target: str) -> dict[str, Any]:
        if target == "/status":
            return {"cluster": "c", "nodes": [{"number": number, "address": "h:1"}]}
        return {"generation": 1, "size_bytes": 1, "part_bytes": 1, "k": 5, "nodes": [number]}

    async def ask() -> None:
        async with Inquiry(parse_url("http://h:1"), Signer(b"")) as inquiry:
            with pytest.raises(FetchError, match="no gateway's address"):
                await inquiry.addresses()
            with pytest.raises(FetchError, match="no gateway's address"):
                await inquiry.manifest("/a")

    monkeypatch.setattr(Inquiry, "_ask", say)
    trio.run(ask)


@given(st.text(), st.text())
def test_whatever_a_gateway_says_moves_no_cursor(one: str, two: str) -> None:
    told = members(cluster=one, trouble=[two], parity_note=two, scrub={one: two})
    told["nodes"][0].update(address=one, id=two)
    assert all(line.isprintable() for line in status_lines(told))


@given(st.lists(st.lists(st.text("ab", max_size=5), min_size=3, max_size=3), min_size=1))
def test_columns_are_aligned(rows: list[list[str]]) -> None:
    lines = table_lines(rows, {1})
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, line in zip(rows, lines, strict=True):
        padded = line.ljust(sum(widths) + 4)
        assert padded[: widths[0]] == row[0].ljust(widths[0])
        assert padded[widths[0] + 2 :][: widths[1]] == row[1].rjust(widths[1])
        assert padded[widths[0] + widths[1] + 4 :] == row[2].ljust(widths[2])


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (99_999, "100 kB"),
     (999_499, "999 kB"), (999_600, "1.0 MB"), (10**15, "1.0 PB"), (10**19, "10000 PB")],
)  # fmt: skip
def test_sizes_for_the_eye(size: int, text: str) -> None:
    assert rough_size(size) == text


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0, "0 s"), (0.4, "0 s"), (59.6, "1 m"), (61, "1 m 1 s"), (3600, "1 h"), (3605, "1 h"),
     (90_000, "1 d 1 h"), (10**6, "11 d 13 h")],
)  # fmt: skip
def test_times_for_the_eye(value_s: float, text: str) -> None:
    assert rough_time(value_s) == text


# --- bad input ---------------------------------------------------------------------------------

CASES = [
    ("status nonsense --secret-file SECRET", 2, "expected a URL such as"),
    ("status http://127.0.0.1:1", 2, "Missing option '--secret-file'"),
    ("status http://127.0.0.1:1 --secret-file missing", 2, "missing: No such file"),
    ("status http://127.0.0.1:1 --secret-file SECRET", 1, "no connection to 127.0.0.1:1"),
    ("status ORIGIN --secret-file SECRET", 1, "is no gateway's address for nodes"),
    ("check http://127.0.0.1:1", 1, "no connection to 127.0.0.1:1"),
    ("check ORIGIN --nodes-at ORIGIN", 2, "--nodes-at takes --secret-file"),
    ("check ORIGIN --nodes-at nonsense --secret-file SECRET", 2, "expected a URL such as"),
    ("check ORIGIN --token", 2, "requires an argument"),
    ("repair ORIGIN", 2, "No such command 'repair'"),
]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_can_not_be_used_is_named(
    name: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert main(["cluster", "--data", str(tmp_path / name), "--listen", "127.0.0.1:0"]) == 2
    assert capsys.readouterr().err.startswith(f"chunkstore: {tmp_path / name}: ")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("words", "code", "expected"), CASES, ids=[one for one, *_ in CASES])
def test_one_line_and_an_exit_code(
    words: str, code: int, expected: str, origin: str, secret: str, capsys: Captured
) -> None:
    given_words = words.replace("ORIGIN", origin).replace("SECRET", secret)
    assert main(["cluster", *given_words.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("chunkstore: ")
    assert expected in err
    assert err.count("\n") == 1


def test_the_secret_may_come_from_where_servers_have_it(
    origin: str, secret: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("CHUNKSTORE_SECRET_FILE", secret)
    assert main(["cluster", "status", origin]) == 1
    assert "is no gateway's address" in capsys.readouterr().err


def test_what_the_gateway_says_is_shown_as_json_whatever_it_is(
    monkeypatch: pytest.MonkeyPatch, secret: str, capsys: Captured
) -> None:
    async def status(_: object) -> dict[str, Any]:
        return {"cluster": "c", "nodes": [{}]}

    monkeypatch.setattr("chunkstore.cluster.inquiry.Inquiry.status", status)
    words = ["cluster", "status", "http://127.0.0.1:1", "--secret-file", secret]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == [{}]
    assert main(words) == 1
    assert "--json shows it" in capsys.readouterr().err


def test_a_service_that_does_not_do_all_of_it_fails(origin: str, capsys: Captured) -> None:
    """A live origin keeps no digest, among other things."""
    assert main(["cluster", "check", f"{origin}/a%20b/"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "Repr-Digest of size-0-known: expected sha-256=" in out
    assert out.splitlines()[-1].endswith("failed")
    assert "all of it is taken away again\n" in out
    assert main(["ls", "-r", f"{origin}/"]) == 0
    assert capsys.readouterr().out == ""

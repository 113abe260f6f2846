"""The policy table: the built-in rows as DESIGN.md has them, and matching against fnmatch."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import SettingsError
from chunkstore.policy import BUILT_IN_ROWS, ROW_KEYS, Policy, PolicyRow, PolicyTable, parse_row

PATTERNS = st.text("/*?[]!ab.", min_size=1, max_size=6).filter(lambda text: text[0] in "/*?[")
KEYS = st.text("/ab.[]*!\n", max_size=8).map(lambda text: "/" + text)


def matches(pattern: str, key: str) -> bool:
    """The rule of DESIGN.md, naively."""
    if pattern.startswith("/") and not set("*?[") & set(pattern):
        return key.startswith(pattern)
    return fnmatchcase(key, pattern)


@given(st.lists(PATTERNS, min_size=1, max_size=5), KEYS)
def test_a_row_matches_what_its_patterns_match(patterns: list[str], key: str) -> None:
    table = PolicyTable([PolicyRow(tuple(patterns), {"single_writer": True})])
    expected = any(matches(pattern, key) for pattern in patterns)
    assert table.for_key(key).single_writer is expected


@given(
    st.lists(
        st.tuples(
            PATTERNS,
            st.fixed_dictionaries(
                {}, optional={"ttl_s": st.none() | st.floats(1, 9), "hold_s": st.floats(0, 9)}
            ),
        ),
        max_size=6,
    ),
    KEYS,
)
def test_for_each_setting_the_first_row_that_makes_it_wins(
    rows: list[tuple[str, dict[str, float | None]]], key: str
) -> None:
    base = Policy(ttl_s=60.0)
    table = PolicyTable([PolicyRow((pattern,), sets) for pattern, sets in rows], base=base)
    for name in ("ttl_s", "hold_s"):
        makes = [sets[name] for pattern, sets in rows if name in sets and matches(pattern, key)]
        expected = makes[0] if makes else getattr(base, name)
        assert getattr(table.for_key(key), name) == expected


@pytest.mark.parametrize("ending", ["mpd", "m3u8", "json"])
def test_manifests_switch_when_complete(ending: str) -> None:
    policy = PolicyTable().for_key(f"/live/x.{ending}")
    assert policy == Policy(atomic=True, hold_s=0.0, cache_complete="no-cache")


@pytest.mark.parametrize(
    "ending", ["m4s", "mp4", "m4v", "m4a", "cmfv", "cmfa", "cmft", "ts", "aac", "vtt", "m4s.0"]
)
def test_media_segments_are_held_for(ending: str) -> None:
    policy = PolicyTable().for_key(f"/live/x.{ending}")
    assert policy == Policy(hold_s=2.0, cache_complete="public, max-age=60")


@pytest.mark.parametrize("key", ["/live/x", "/x.MPD", "/x.mpd.tmp", "/x.m4s/", "/m4s"])
def test_everything_else(key: str) -> None:
    policy = PolicyTable().for_key(key)
    assert policy == Policy()
    assert not policy.atomic
    assert policy.hold_s == 0
    assert (policy.cache_complete, policy.cache_open, policy.cache_missing) == (
        "no-cache",
        "no-store",
        "no-store",
    )
    assert (policy.ttl_s, policy.max_object_bytes, policy.upload_idle_s) == (None, None, None)
    assert (policy.single_writer, policy.on_idle, policy.evict) == (False, "abort", True)


def test_a_row_says_only_what_differs() -> None:
    table = PolicyTable([parse_row({"match": "/live/", "ttl": "5m"}, "row")])
    policy = table.for_key("/live/a.m4s")
    assert policy.ttl_s == 300
    assert policy.hold_s == 2
    assert policy.cache_complete == "public, max-age=60"
    assert table.for_key("/vod/a.m4s").ttl_s is None


def test_a_row_can_take_a_ttl_away() -> None:
    keep = parse_row({"match": "*/init*.mp4", "ttl": "none", "evict": False}, "row")
    table = PolicyTable([keep], base=Policy(ttl_s=60.0))
    assert table.for_key("/live/init-0.mp4").ttl_s is None
    assert table.for_key("/live/1.m4s").ttl_s == 60


def test_policies_are_shared_and_frozen() -> None:
    table = PolicyTable()
    policy = table.for_key("/a.m4s")
    assert table.for_key("/b.mp4") is policy
    with pytest.raises(FrozenInstanceError):
        policy.atomic = True  # type: ignore[misc]


def test_a_flood_of_names_is_not_remembered() -> None:
    table = PolicyTable()
    for number in range(20_000):
        assert not table.for_key(f"/{number}").atomic
    assert table._resolve.cache_info().currsize == 10_000


def test_every_setting_of_a_policy_has_its_key() -> None:
    assert sorted(name for name, _ in ROW_KEYS.values()) == sorted(f.name for f in fields(Policy))
    for row in BUILT_IN_ROWS:
        assert set(row.sets) <= {f.name for f in fields(Policy)}


def test_a_whole_row() -> None:
    row = parse_row(
        {
            "match": ["/with space/", "*.bin"],
            "atomic": True,
            "hold": "500ms",
            "cache_complete": "public, max-age=1",
            "cache_open": "max-age=1",
            "cache_missing": "no-cache",
            "ttl": 10,
            "max_object": "2GiB",
            "single_writer": True,
            "on_idle": "complete",
            "upload_idle": "2m",
            "evict": False,
        },
        "row",
    )
    assert row.match == ("/with space/", "*.bin")
    assert PolicyTable([row]).for_key("/with space/x") == Policy(
        atomic=True,
        hold_s=0.5,
        cache_complete="public, max-age=1",
        cache_open="max-age=1",
        cache_missing="no-cache",
        ttl_s=10.0,
        max_object_bytes=2 * 2**30,
        single_writer=True,
        on_idle="complete",
        upload_idle_s=120.0,
        evict=False,
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("/live/", "row: expected a table with 'match', got '/live/'"),
        ({"ttl": "5s"}, "row: a policy needs 'match'"),
        ({"match": ""}, "row.match: expected 1 to 1000 patterns"),
        ({"match": []}, "row.match: expected 1 to 1000 patterns"),
        ({"match": 5}, "row.match: expected 1 to 1000 patterns"),
        ({"match": "live/"}, "row.match: 'live/' never matches"),
        ({"match": ["/a", 5]}, "row.match: 5 never matches"),
        ({"match": "/a", "tll": "5s"}, "row: there is no 'tll'; did you mean 'ttl'?"),
        ({"match": "/a", "ttl": "soon"}, "row.ttl: expected a duration"),
        ({"match": "/a", "ttl": 0}, "row.ttl: expected a duration above 0s"),
        ({"match": "/a", "hold": -1}, "row.hold: expected a duration from 0s"),
        ({"match": "/a", "upload_idle": 0}, "row.upload_idle: expected a duration above 0s"),
        ({"match": "/a", "max_object": 0}, "row.max_object: expected a size of at least 1 byte"),
        ({"match": "/a", "atomic": "maybe"}, "row.atomic: expected true or false"),
        ({"match": "/a", "on_idle": "wait"}, "row.on_idle: expected 'abort' or 'complete'"),
        ({"match": "/a", "cache_open": "a\r\nb"}, "row.cache_open: expected the text of"),
        ({"match": "/a", "cache_open": ""}, "row.cache_open: expected the text of"),
    ],
)
def test_bad_rows(row: object, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_row(row, "row")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)

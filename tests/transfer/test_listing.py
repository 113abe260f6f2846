"""Listings of a real origin, page by page, and of peers that aren't one; what changed."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import FetchError
from chunkstore.transfer import Entry, Lister, changes
from tests.client.peer import Peer
from tests.origin.drive import Site, run_site
from tests.transfer.stage import client_of, retrying

OBJECT = (
    '{"objects": [{"path": "%s", "size": %s, "state": "complete", "modified": %s}],'
    ' "prefixes": [], "next": null}'
)
NAMES = st.lists(st.text("aé /-%&=+", min_size=1, max_size=4), max_size=8, unique=True)


async def all_of(lister: Lister, page_count: int) -> list[str]:
    """The paths of all pages, of which none is too long."""
    paths: list[str] = []
    while (page := await lister.page()) is not None:
        assert len(page) <= page_count
        paths += [entry.path for entry in page]
    assert await lister.page() is None
    return paths


@given(names=NAMES, page_count=st.integers(1, 4), recursive=st.booleans())
def test_pages_join_to_what_is_there(names: list[str], page_count: int, recursive: bool) -> None:
    async def test(site: Site) -> None:
        for name in names:
            await site.put("/v/" + quote(name), b"x")  # what is no key is refused
        mark = "" if recursive else "?delimiter=/"
        expected = await site.list("/v/" + mark)
        async with client_of(site) as client:
            lister = Lister(client, "/v/", retrying(), recursive=recursive, page_count=page_count)
            assert await all_of(lister, page_count) == expected

    run_site(test)


async def test_entries(nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    await site.put("/a/b", b"xyz")
    await site.put("/c", b"x")
    upload = await site.upload("/d")
    await upload.chunk(b"ab")
    async with client_of(site, [150]) as client:  # cut at first, and tried again
        lister = Lister(client, "/", retrying(), recursive=False)
        entries = await lister.page()
        assert entries is not None
        assert [(one.path, one.size, one.state) for one in entries] == [
            ("/a/", None, ""),
            ("/c", 1, "complete"),
            ("/d", 2, "open"),
        ]
        assert lister.date.endswith("GMT")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        "/a\n/b\n",
        '{"objects": [{}], "prefixes": [], "next": null}',
        '{"objects": [{"path": "/a", "size": "x"}], "prefixes": [], "next": null}',
        '{"objects": [], "prefixes": [], "next": 5}',
        '{"objects": [], "prefixes": [], "next": [' + "1," * 100_000 + "1]}",
        '{"objects": [], "prefixes": [], "next": "/a\\ud800"}',
        '{"objects": [], "prefixes": ["/\\ud800/"], "next": null}',
        OBJECT % ("/a", "1e999", "0"),
        OBJECT % ("/a", "1", "1" * 400),
        OBJECT % ("a", "1", "0"),
        OBJECT % ("//elsewhere.test/a", "1", "0"),
        OBJECT % ("/a?b", "1", "0"),
        OBJECT % ("/a/..", "1", "0"),
        OBJECT % ("/é", "1", "0"),
        OBJECT % ("/\\u001b[2J", "1", "0"),
        "[" * 100_000,
    ],
)
async def test_what_is_no_listing_is_said(body: str, nursery: trio.Nursery) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body.encode()),
        body.encode(),
    )
    async with Peer(nursery, [answer]).client() as client:
        with pytest.raises(FetchError, match="this is no listing of chunkstore's") as caught:
            await Lister(client, "/", retrying(), recursive=True).page()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("prefix", ["/a/", "/%61/"])
@pytest.mark.parametrize(
    "body", [OBJECT % ("/b/c", "1", "0"), '{"objects": [], "prefixes": ["/b/"], "next": null}']
)
async def test_what_was_not_asked_for_is_not_taken(
    body: str, prefix: str, nursery: trio.Nursery
) -> None:
    """A server that doesn't know what a prefix is lists all that it has, and `rm -r` deletes it."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body.encode())
    async with Peer(nursery, [answer]).client() as client:
        with pytest.raises(FetchError, match="the listing has '/b/c?', which doesn't begin so"):
            await Lister(client, prefix, retrying(), recursive=True).page()


async def test_a_listing_that_goes_round_in_circles_ends(nursery: trio.Nursery) -> None:
    body = b'{"objects": [], "prefixes": [], "next": "/a"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with Peer(nursery, [answer, answer]).client() as client:
        lister = Lister(client, "/", retrying(), recursive=True)
        assert await lister.page() == []
        with pytest.raises(FetchError, match="goes round in circles"):
            await lister.page()


ENTRIES = st.dictionaries(
    st.sampled_from(["/a", "/b", "/%C3%A9", "/d/"]),
    st.builds(
        lambda size, state, etag: (size, state, etag),
        st.integers(0, 2),
        st.sampled_from(["open", "complete"]),
        st.sampled_from(['"1"', '"2"']),
    ),
)


@given(ENTRIES, ENTRIES)
def test_changes_lead_from_one_listing_to_the_other(
    before: dict[str, tuple[int, str, str]], after: dict[str, tuple[int, str, str]]
) -> None:
    def entries(values: dict[str, tuple[int, str, str]]) -> dict[str, Entry]:
        return {
            path: Entry(path, size, state, 0.0, {"etag": etag})
            for path, (size, state, etag) in values.items()
        }

    there = entries(before)
    for change, entry in changes(entries(before), entries(after)):
        if change == "-":
            del there[entry.path]
        else:
            assert (entry.path in there) is (change == "~")
            assert there.get(entry.path) != entry
            there[entry.path] = entry
    assert there == entries(after)

"""Every method with every kind of credential: allowed, wrong, missing, expired, out of prefix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.auth.keys import (
    ADMIN,
    ALL,
    EXPIRED,
    LIFE_S,
    READER,
    SIGN_KEYS,
    TOKENS,
    UNKNOWN,
    WRITER,
    basic,
    bearer,
    signed,
)
from tests.origin.drive import Answer, Site

DATA = frozenset({"GET", "LIST", "PUT", "DELETE"})
LIVE, ALONE, ABROAD = "/live/1.m4s", "/vod/a.mpd", "/live.m4s"


def plain(path: str) -> str:
    """A target without a signature."""
    return path


@dataclass(frozen=True)
class Kind:
    """What a client shows, and what it may do with it.

    Args:
        line: its Authorization field, or "".
        target: path -> target.
        rights: what it may do at the paths in `where`.
        where: of LIVE, ALONE and ABROAD.
        otherwise: what it gets for all the rest.
    """

    line: str = ""
    target: Callable[[str], str] = plain
    rights: frozenset[str] = frozenset()
    where: tuple[str, ...] = (LIVE, ALONE, ABROAD)
    otherwise: int = 401


READS, WRITES = frozenset({"GET", "LIST"}), frozenset({"PUT", "DELETE"})
IN_LIVE = (LIVE,)
KINDS = {
    "nothing": Kind(),
    "all, bearer": Kind(bearer(ALL), rights=DATA, otherwise=403),
    "all, basic": Kind(basic(ALL), rights=DATA, otherwise=403),
    "all, basic without a user": Kind(basic(ALL, ""), rights=DATA, otherwise=403),
    "all, scheme in capitals": Kind(f"authorization: BEARER  {ALL}", rights=DATA, otherwise=403),
    "reader": Kind(bearer(READER), rights=READS, where=(LIVE, ALONE), otherwise=403),
    "reader, basic": Kind(basic(READER), rights=READS, where=(LIVE, ALONE), otherwise=403),
    "writer": Kind(bearer(WRITER), rights=WRITES, where=IN_LIVE, otherwise=403),
    "writer, basic": Kind(basic(WRITER), rights=WRITES, where=IN_LIVE, otherwise=403),
    "admin": Kind(bearer(ADMIN), otherwise=403),
    "expired": Kind(bearer(EXPIRED)),
    "expired, basic": Kind(basic(EXPIRED)),
    "unknown": Kind(bearer(UNKNOWN)),
    "unknown, basic": Kind(basic(UNKNOWN)),
    "chosen by a person": Kind(basic("password", "admin")),
    "secret as the user": Kind(basic("", ALL)),
    "cut": Kind(bearer(ALL[:-1])),
    "longer": Kind(bearer(ALL + "A")),
    "hash for a secret": Kind(bearer(str(TOKENS[0]["hash"]))),
    "no scheme": Kind(f"Authorization: {ALL}"),
    "another scheme": Kind(f"Authorization: Digest {ALL}"),
    "twice": Kind(f"{bearer(ALL)}\r\n{bearer(ALL)}"),
    "basic of no base64": Kind(f"Authorization: Basic {ALL}"),
    "bearer of basic": Kind(basic(ALL).replace("Basic", "Bearer")),
}
SIGNED = {
    "its own key": Kind(target=signed, rights=frozenset({"GET"})),
    "an older key of the file": Kind(
        target=lambda path: signed(path, key=SIGN_KEYS[1]), rights=frozenset({"GET"})
    ),
    "its folder": Kind(
        target=lambda path: signed(path, "/live/"), rights=frozenset({"GET"}), where=IN_LIVE
    ),
    "all": Kind(target=lambda path: signed(path, "/"), rights=frozenset({"GET"})),
    "another name": Kind(target=lambda path: path + signed("/other").removeprefix("/other")),
    "expired": Kind(target=lambda path: signed(path, life_s=-1)),
    "a key that is gone": Kind(target=lambda path: signed(path, key=b"csk_gone")),
    "cut": Kind(target=lambda path: signed(path)[:-1]),
    "no expiry": Kind(target=lambda path: signed(path).replace("expires", "expired")),
    "later": Kind(target=lambda path: signed(path).replace("expires=18", "expires=19")),
}
METHODS = ("GET", "HEAD", "LIST", "PUT", "POST", "DELETE", "OPTIONS")
RIGHTS = {"HEAD": "GET", "POST": "PUT"}


async def ask(site: Site, method: str, path: str, kind: Kind) -> Answer:
    """One request; the answer's body, if it was let in, is right."""
    body = b"new" if method in ("PUT", "POST") else None
    return await site.ask(method, kind.target(path), *filter(None, [kind.line]), body=body)


def check_denied(answer: Answer, status: int) -> None:
    """An answer that lets nobody in and says so."""
    assert answer.status == status
    challenges = answer.fields.get("www-authenticate", "")
    assert ("Basic realm=" in challenges and "Bearer realm=" in challenges) is (status == 401)
    assert answer.fields["cache-control"] == "no-store"
    assert b"hello" not in answer.body


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", KINDS)
async def test_tokens(site: Site, name: str, method: str) -> None:
    kind = KINDS[name]
    for path in (LIVE, ALONE, ABROAD):
        answer = await ask(site, method, path, kind)
        if method == "OPTIONS":
            assert answer.status == 204
        elif RIGHTS.get(method, method) in kind.rights and path in kind.where:
            assert answer.status == 200, path
            assert method != "GET" or answer.body == b"hello"
        else:
            check_denied(answer, kind.otherwise)
            kept = await site.get(path, bearer(ALL))
            assert (kept.status, kept.body) == (200, b"hello"), path


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SIGNED)
async def test_signatures(site: Site, name: str, method: str) -> None:
    kind = SIGNED[name]
    for path in (LIVE, ALONE, ABROAD):
        answer = await ask(site, method, path, kind)
        if method == "OPTIONS":
            assert answer.status == 204
        elif method not in ("GET", "HEAD"):
            check_denied(answer, 401)
        elif kind.rights and path in kind.where:
            assert answer.status == 200, path
            assert method != "GET" or answer.body == b"hello"
        else:
            check_denied(answer, 403)


@pytest.mark.parametrize("name", KINDS)
async def test_the_mirror_of_list_takes_the_right_of_list(site: Site, name: str) -> None:
    kind = KINDS[name]
    answer = await site.get("/live/?list", *filter(None, [kind.line]))
    listed = answer.status == 200
    assert listed is ("LIST" in kind.rights)
    assert listed is (b"/live/1.m4s" in answer.body)


@pytest.mark.parametrize("target", ["/live/1.m4s", "/live/"])
@pytest.mark.parametrize("more", ["&list", "&list=1", "&limit=2&list"])
async def test_no_signature_lists(site: Site, target: str, more: str) -> None:
    check_denied(await site.get(signed(target, "/") + more), 401)


async def test_a_list_does_not_leave_its_prefix(site: Site) -> None:
    reader = bearer(READER)
    for target in ("/", "/l", "/live", "/vod/", "/vod/a", "/?after=/live/"):
        check_denied(await site.ask("LIST", target, reader), 403)
    assert await site.list("/live/", reader) == ["/live/1.m4s", "/live/sub/2.m4s"]
    assert await site.list("/live/?after=/a&delimiter=/", reader) == ["/live/1.m4s", "/live/sub/"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/%6Cive/%31.m4s", 200),
        ("http://origin.test/live/1.m4s", 200),
        ("/live/1.m4s?list2&_HLS_msn=1&CMCD=x", 200),
        ("/live/../vod/b.mpd", 400),
        ("/live/%2e%2e/vod/b.mpd", 400),
        ("/live//1.m4s", 400),
        ("//live/1.m4s", 400),
        ("/live%2F1.m4s", 400),
        ("/live\\1.m4s", 400),
        ("/LIVE/1.m4s", 403),
        ("http://origin.test/vod/b.mpd", 403),
        ("/live", 403),
        ("/vod/a.mpd/", 403),
        ("/", 400),
    ],
)
async def test_a_prefix_is_held_against_the_key(site: Site, target: str, status: int) -> None:
    assert (await site.get(target, bearer(READER))).status == status


async def test_credentials_expire(site: Site) -> None:
    target = signed("/live/1.m4s", life_s=LIFE_S)
    await trio.sleep(LIFE_S - 5)
    assert (await site.get(target)).status == 200
    upload = await site.upload("/live/x", bearer(WRITER))
    await trio.sleep(5)
    answer = await site.put("/live/y", b"", bearer(WRITER))
    check_denied(answer, 401)
    assert answer.json["detail"] == "the token 'writer' has expired"
    answer = await site.get(target)
    check_denied(answer, 403)
    assert "expired" in answer.json["detail"]
    await upload.chunk(b"begun in time")
    assert (await upload.end()).status == 201


@pytest.mark.parametrize("line", ["", bearer(UNKNOWN), bearer(READER)])
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_the_answer_comes_before_100_and_the_connection_lives_on(
    site: Site, method: str, line: str
) -> None:
    client = site.connect()
    lines = filter(None, ["Content-Length: 3", "Expect: 100-continue", line])
    await client.request(method, "/live/1.m4s", *lines)
    answer = await client.read(method)
    check_denied(answer, 403 if READER in line else 401)
    assert answer.interim == []
    assert "connection" not in answer.fields
    await client.send(b"new")
    assert (await client.ask("GET", "/live/1.m4s", bearer(ALL))).body == b"hello"
    ours = ("Content-Length: 3", "Expect: 100-continue", bearer(ALL))
    await client.request(method, "/live/1.m4s", *ours)
    await wait_all_tasks_blocked()
    await client.send(b"new")
    answer = await client.read(method)
    assert (answer.status, answer.interim) == (200, [100])
    assert site.origin.metrics.uploads_refused[403 if READER in line else 401] == 1


async def test_nobody_learns_or_waits_without_credentials(site: Site) -> None:
    began = trio.current_time()
    for lines in ((), ("Prefer: wait=5",), ("Range: bytes=0-1",), ("If-None-Match: *",)):
        for target in ("/live/1.m4s", "/live/none.m4s", "/live/none.m3u8?_HLS_msn=1"):
            check_denied(await site.get(target, *lines), 401)
    assert trio.current_time() == began


@pytest.mark.parametrize("line", ["", bearer(UNKNOWN), bearer(EXPIRED), basic(WRITER)])
async def test_open_reads_ask_for_nothing(nursery: trio.Nursery, line: str) -> None:
    site = await Site.open(nursery, tokens=TOKENS, sign_keys=SIGN_KEYS)
    assert (await site.put("/vod/b.mpd", b"hello", bearer(ALL))).status == 201
    lines = tuple(filter(None, [line]))
    assert (await site.get("/vod/b.mpd", *lines)).body == b"hello"
    assert (await site.get(signed("/vod/b.mpd", life_s=-1), *lines)).body == b"hello"
    assert await site.list("/", *lines) == ["/vod/b.mpd"]
    assert (await site.put("/vod/b.mpd", b"new", *lines)).status in (401, 403)


async def test_what_is_open_to_be_read_is_not_even_wrapped(nursery: trio.Nursery) -> None:
    cases: list[tuple[dict[str, object], set[str]]] = [
        ({}, {"GET", "HEAD", "LIST", "OPTIONS"}),
        ({"tokens": TOKENS}, {"GET", "HEAD", "LIST", "OPTIONS"}),
        ({"tokens": TOKENS, "open_reads": False}, {"OPTIONS"}),
        ({"tokens": TOKENS, "open_reads": False, "open_writes": True}, {"OPTIONS"}),
    ]
    for changes, open_methods in cases:
        site = await Site.open(nursery, **changes)
        names = {method: site.origin.server.handler(method).__name__ for method in METHODS}
        found = {method for method, name in names.items() if name != "guarded"}
        assert found == open_methods


async def test_cross_site_writes_are_refused_with_a_good_token_too(site: Site) -> None:
    for method in ("PUT", "DELETE"):
        answer = await site.ask(
            method, "/live/1.m4s", bearer(ALL), "Origin: http://evil.test", body=b""
        )
        assert answer.status == 403


async def test_what_takes_credentials_to_read_is_private(nursery: trio.Nursery) -> None:
    rows = [{"match": "/cdn/", "cache_complete": "public, max-age=60"}]
    for open_reads, expected in [(True, ""), (False, "private, ")]:
        site = await Site.open(nursery, tokens=TOKENS, open_reads=open_reads, policies=rows)
        for path, cache_control in [
            ("/a.m4s", expected + "max-age=60" if expected else "public, max-age=60"),
            ("/a.mpd", f"{expected}no-cache"),
            ("/a", f"{expected}no-cache"),
            ("/cdn/a", "public, max-age=60"),
        ]:
            await site.put(path, b"hello", bearer(ALL))
            answer = await site.get(path, bearer(ALL))
            assert answer.fields["cache-control"] == cache_control

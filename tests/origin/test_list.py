"""LIST and its mirror: what is listed, in what order, in pages, as text and as JSON."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.objects import Namespace
from tests.origin.conftest import OpenSite
from tests.origin.drive import Answer, Site, run_site

KEYS = ["/a", "/a/", "/a/1", "/a/2", "/a/b/1", "/a/b/2", "/ab", "/b/1", "/é", "/😀", "/\uffee"]
AS_JSON = "Accept: application/json"
STEP_COUNT = 250
"""No more names are looked at before others may run."""


async def fill(site: Site, *targets: str) -> None:
    """Store an object of one byte under each path; pipelined, as there may be thousands."""
    client = site.connect()
    rest = "HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 1\r\n\r\nx"
    await client.send("".join(f"PUT {target} {rest}" for target in targets).encode())
    for _ in targets:
        assert (await client.read("PUT")).status == 201


def encoded(*keys: str) -> list[str]:
    """Keys as a listing writes them."""
    return [
        re.sub(r"[^ -~]", lambda m: "".join(f"%{b:02X}" for b in m[0].encode()), k) for k in keys
    ]


async def test_all_in_bytewise_order(site: Site) -> None:
    await fill(site, *encoded(*reversed(KEYS)))
    assert await site.list("/") == encoded(*sorted(KEYS, key=str.encode))
    answer = await site.ask("LIST", "/")
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"
    assert answer.fields["cache-control"] == "no-store"
    assert answer.body.endswith(b"\n")


async def test_plain_string_prefix(site: Site) -> None:
    await fill(site, *encoded(*KEYS))
    assert await site.list("/a") == ["/a", "/a/", "/a/1", "/a/2", "/a/b/1", "/a/b/2", "/ab"]
    assert await site.list("/a/b") == ["/a/b/1", "/a/b/2"]
    assert await site.list("/a/b/2") == ["/a/b/2"]
    assert await site.list("/%C3%A9") == ["/%C3%A9"]


async def test_no_match_is_200_and_empty(site: Site) -> None:
    answer = await site.ask("LIST", "/none")
    assert (answer.status, answer.body) == (200, b"")
    answer = await site.ask("LIST", "/none", AS_JSON)
    assert answer.json == {"objects": [], "prefixes": [], "next": None}


async def test_delimiter(site: Site) -> None:
    await fill(site, *encoded(*KEYS))
    assert await site.list("/?delimiter=/") == encoded(
        "/a", "/a/", "/ab", "/b/", *KEYS[8::2], KEYS[9]
    )
    assert await site.list("/a/?delimiter=/") == ["/a/", "/a/1", "/a/2", "/a/b/"]
    assert await site.list("/?delimiter=b/") == encoded(
        "/a", "/a/", "/a/1", "/a/2", "/a/b/", "/ab", "/b/", *KEYS[8::2], KEYS[9]
    )
    answer = await site.ask("LIST", "/a/?delimiter=/", AS_JSON)
    assert [one["path"] for one in answer.json["objects"]] == ["/a/", "/a/1", "/a/2"]
    assert answer.json["prefixes"] == ["/a/b/"]


async def test_delimiter_at_the_end_of_unicode(site: Site) -> None:
    last = "%F4%8F%BF%BF"
    await fill(site, f"/a{last}", f"/a{last}b", "/b")
    assert await site.list(f"/?delimiter={last}") == [f"/a{last}", "/b"]


async def test_after(site: Site) -> None:
    await fill(site, "/a", "/b", "/c%20d", "/e")
    assert await site.list("/?after=/b") == ["/c%20d", "/e"]
    assert await site.list("/?after=/bb") == ["/c%20d", "/e"]
    assert await site.list("/?after=/c%20d") == ["/e"]
    assert await site.list("/?after=/e") == []
    assert await site.list("/?after=") == ["/a", "/b", "/c%20d", "/e"]


def next_target(answer: Answer) -> str | None:
    """The target of an answer's next page."""
    link = answer.fields.get("link")
    if link is None:
        return None
    match = re.fullmatch(r'<([^>]*)>; rel="next"', link)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("method", ["LIST", "GET"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("query", ["", "delimiter=/&"])
async def test_pages_join_to_the_whole(site: Site, method: str, limit: int, query: str) -> None:
    await fill(site, *encoded(*KEYS), "/a/x+y&z=1")
    mirror = "list&" if method == "GET" else ""
    target: str | None = f"/a?{mirror}{query}limit={limit}"
    found: list[str] = []
    while target is not None:
        answer = await site.ask(method, target)
        assert answer.status == 200
        page = answer.body.decode().split()
        assert 0 < len(page) <= limit
        found += page
        target = next_target(answer)
    assert found == await site.list(f"/a?{query}")


async def test_the_link_to_the_next_page_is_well_formed(site: Site) -> None:
    await fill(site, "/a>b/1", "/a>b/2")
    answer = await site.ask("LIST", "/a>b?limit=1")
    target = next_target(answer)
    assert target is not None
    assert await site.list(target) == ["/a%3Eb/2"]


async def test_no_default_limit_and_streamed_in_pages(site: Site) -> None:
    keys = [f"/n/{number:05}" for number in range(2500)]
    await fill(site, *keys)
    client = site.connect()
    answer = await client.ask("LIST", "/n/")
    assert answer.fields["transfer-encoding"] == "chunked"
    assert [chunk.count(b"\n") for chunk in answer.chunks] == [STEP_COUNT] * 10
    assert answer.body.decode().split() == keys
    assert "link" not in answer.fields
    as_json = await client.ask("LIST", "/n/", AS_JSON)
    assert max(chunk.count(b'"path"') for chunk in as_json.chunks) == STEP_COUNT
    assert [one["path"] for one in as_json.json["objects"]] == keys
    old = site.connect()
    await old.send(b"LIST /n/ HTTP/1.0\r\n\r\n")
    assert (await old.read("LIST")).body == answer.body


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop: in each, every task that can run gets its turn."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        """Called once a pass."""
        self.count += 1


@pytest.mark.parametrize("accept", ["Accept: */*", AS_JSON])
async def test_others_run_between_steps_and_between_pipelined_lists(
    site: Site, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(site, *(f"/n/{number:03}/x" for number in range(600)))
    passes = Passes()
    steps: list[tuple[int, int]] = []
    page = Namespace.page

    def noted(namespace: Namespace, *args: Any) -> object:  # noqa: ANN401 - as `page` has them
        listed = page(namespace, *args)
        steps.append((passes.count, len(listed.items)))
        return listed

    monkeypatch.setattr(Namespace, "page", noted)
    client = site.connect()
    trio.lowlevel.add_instrument(passes)
    for query in ["", "limit=550", "delimiter=/", "delimiter=/&limit=550"]:
        steps.clear()
        request = f"LIST /n/?{query} HTTP/1.1\r\nHost: origin.test\r\n{accept}\r\n\r\n"
        short = request.replace("/n/?", "/n/000?")
        await client.send((request + short * 3).encode())
        for _ in range(4):
            assert (await client.read("LIST")).status == 200
        last = 50 if "limit=" in query else 100
        assert [count for _, count in steps] == [250, 250, last, 1, 1, 1], query
        assert len({at for at, _ in steps}) == len(steps), query
    trio.lowlevel.remove_instrument(passes)


async def test_prefixes_of_json_are_sent_in_pieces(site: Site) -> None:
    names = [f"/n/{number:03}" for number in range(600)]
    await fill(site, *(f"{name}/x" for name in names), *(f"{name}." for name in names[::3]))
    answer = await site.ask("LIST", "/n/?delimiter=/", AS_JSON)
    assert answer.json["prefixes"] == [f"{name}/" for name in names]
    assert [one["path"] for one in answer.json["objects"]] == [f"{name}." for name in names[::3]]
    assert answer.json["next"] is None
    assert max(chunk.count(b"/n/") for chunk in answer.chunks) <= STEP_COUNT
    page = await site.ask("LIST", "/n/?delimiter=/&limit=700", AS_JSON)
    assert len(page.json["objects"]) + len(page.json["prefixes"]) == 700
    rest = await site.ask("LIST", next_target(page) or "", AS_JSON)
    assert page.json["prefixes"] + rest.json["prefixes"] == answer.json["prefixes"]


async def test_names_that_stay_are_listed_exactly_once(site: Site) -> None:
    keys = [f"/n/{number:03}" for number in range(600)]
    await fill(site, *keys)
    client = site.connect(lockstep=True)
    await client.request("LIST", "/n/")
    await client.head("LIST")
    assert await client.more()
    for gone in ("/n/000", "/n/249", "/n/250", "/n/599"):
        assert (await site.ask("DELETE", gone)).status == 200
    await fill(site, "/n/", "/n/249.", "/n/250.", "/n/599.")
    listed = (await client.rest()).body.decode().split()
    assert listed == sorted(set(listed))
    assert set(keys) - set(listed) <= {"/n/249", "/n/250", "/n/599"}


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=10001", "limit="])
async def test_bad_parameters(site: Site, query: str) -> None:
    answer = await site.ask("LIST", f"/?{query}")
    assert answer.status == 400
    assert answer.fields["content-type"] == "application/problem+json"


async def test_parameters_that_mean_nothing_are_ignored(site: Site) -> None:
    await fill(site, "/a")
    assert await site.list("/?CMCD=x&limit=5&foo") == ["/a"]


async def test_json_members(open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": "/ttl/", "ttl": "60s"}])
    etag = (await site.put("/ttl/a.m4s", b"abc")).etag
    writer = await site.upload("/x%20y", "Content-Type: text/x-mine")
    await writer.chunk(b"12345")
    reader = await site.follow("/x%20y")
    answer = await site.ask("LIST", "/", "Accept: text/html, application/json;q=0.9")
    assert answer.fields["content-type"] == "application/json"
    first, second = answer.json["objects"]
    assert list(first) == [
        *("path", "size", "state", "etag", "content_type", "created", "modified", "expires"),
        *("generation", "readers"),
    ]
    assert (first["path"], first["size"], first["state"]) == ("/ttl/a.m4s", 3, "complete")
    assert (first["etag"], first["content_type"]) == (etag, "video/iso.segment")
    assert first["created"] <= first["modified"] < first["expires"]
    assert (second["path"], second["size"], second["state"]) == ("/x%20y", 5, "open")
    assert (second["content_type"], second["expires"]) == ("text/x-mine", None)
    assert (first["readers"], second["readers"]) == (0, 1)
    assert first["generation"] < second["generation"]
    await reader.close()
    await writer.end()
    paged = await site.ask("LIST", "/?limit=1", AS_JSON)
    assert paged.json["next"] == "/ttl/a.m4s"


async def test_next_of_json_can_be_pasted_behind_after(site: Site) -> None:
    await fill(site, "/a%20b+c&d=e", "/b")
    first = await site.ask("LIST", "/?limit=1", AS_JSON)
    second = await site.ask("LIST", f"/?limit=1&after={first.json['next']}", AS_JSON)
    assert [one["path"] for one in second.json["objects"]] == ["/b"]


async def test_list_is_safe_and_its_body_is_ignored(site: Site) -> None:
    await fill(site, "/a")
    client = site.connect()
    for _ in range(2):
        assert (await client.ask("LIST", "/", body=b"ignored")).body == b"/a\n"


async def test_the_mirror(site: Site) -> None:
    await fill(site, "/a", "/a/1", "/b")
    for target in ("/a?list", "/a?list=", "/a?x=1&list", "/a?list=1&limit=9"):
        assert (await site.get(target)).body == b"/a\n/a/1\n"
    assert (await site.get("/?list&delimiter=/")).body == b"/a\n/a/\n/b\n"
    assert (await site.get("/a?listing")).body == b"x"  # another parameter: the object itself
    same = await site.ask("LIST", "/", AS_JSON)
    assert (await site.get("/?list", AS_JSON)).body == same.body


async def test_only_what_a_get_would_show(site: Site) -> None:
    atomic, empty, ordinary = [await site.upload(f"/{name}") for name in ("a.mpd", "b", "c")]
    await atomic.chunk(b"x")
    await ordinary.chunk(b"x")
    assert await site.list() == ["/c"]
    await atomic.end()
    await empty.end()
    await ordinary.kill()
    assert await site.list() == ["/a.mpd", "/b"]


NAMES = st.text("ab/é😀", min_size=1, max_size=5).filter(lambda name: "//" not in f"/{name}")


@given(
    names=st.sets(NAMES, min_size=1, max_size=12),
    prefix=st.text("ab/", max_size=2).filter(lambda text: "//" not in f"/{text}"),
    delimiter=st.sampled_from(["", "/", "a", "b/"]),
    after=st.text("ab/", max_size=3),
    limit=st.integers(1, 5),
)
def test_pages_against_a_model(
    names: set[str], prefix: str, delimiter: str, after: str, limit: int
) -> None:
    keys = sorted({f"/{name}" for name in names}, key=str.encode)
    start = f"/{prefix}"
    rolled = set()
    for key in keys:
        cut = key.find(delimiter, len(start)) if delimiter else -1
        if key.startswith(start):
            rolled.add(key if cut < 0 else key[: cut + len(delimiter)])
    wanted = encoded(*sorted((one for one in rolled if one > after), key=str.encode))

    async def test(site: Site) -> None:
        await fill(site, *encoded(*keys))
        query = f"delimiter={delimiter}&after={after}"
        assert await site.list(f"{start}?{query}") == wanted
        assert await site.list(f"{start}?{query}&limit={limit}") == wanted[:limit]

    run_site(test)

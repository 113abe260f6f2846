"""What pages in a browser may do: read from everywhere, write from nowhere else."""

from __future__ import annotations

import pytest

from tests.origin.drive import Answer, Site

EXPOSED = {"etag", "content-range", "date", "chunkstore-state", "chunkstore-offset"}


def check_readable(answer: Answer) -> None:
    """A page of any origin may read this answer and the fields that matter."""
    assert answer.fields["access-control-allow-origin"] == "*"
    assert answer.fields["timing-allow-origin"] == "*"
    exposed = answer.fields["access-control-expose-headers"].lower().replace(" ", "").split(",")
    assert set(exposed) >= EXPOSED


async def test_reads_are_open_to_every_origin(site: Site) -> None:
    etag = (await site.put("/x", b"0123456789")).etag
    page = ("Origin: https://player.test", "Sec-Fetch-Site: cross-site")
    for method, target, lines, status in [
        ("GET", "/x", (), 200),
        ("HEAD", "/x", (), 200),
        ("GET", "/x", ("Range: bytes=1-2",), 206),
        ("GET", "/x", ("Range: bytes=99-",), 416),
        ("GET", "/x", (f"If-None-Match: {etag}",), 304),
        ("GET", "/none", (), 404),
        ("LIST", "/", (), 200),
        ("GET", "/?list", (), 200),
        ("GET", "/a//b", (), 400),
    ]:
        answer = await site.ask(method, target, *page, *lines)
        assert answer.status == status
        check_readable(answer)
    writer = await site.upload("/open")
    await writer.chunk(b"abc")
    reader = site.connect()
    check_readable(await reader.begin("/open", *page))
    check_readable(await site.get("/open", *page, "Range: bytes=1-2"))
    check_readable(await site.ask("HEAD", "/open", *page))


@pytest.mark.parametrize("method", ["LIST", "GET", "HEAD"])
async def test_preflight(site: Site, method: str) -> None:
    answer = await site.ask(
        "OPTIONS",
        "/x",
        "Origin: https://player.test",
        f"Access-Control-Request-Method: {method}",
        "Access-Control-Request-Headers: range, if-none-match",
    )
    assert answer.status == 204
    check_readable(answer)
    assert method in answer.fields["access-control-allow-methods"].split(", ")
    assert "PUT" not in answer.fields["access-control-allow-methods"]
    assert answer.fields["access-control-allow-headers"] == "*, Authorization"


async def test_options(site: Site) -> None:
    for target in ("*", "/", "/x"):
        answer = await site.ask("OPTIONS", target)
        assert answer.status == 204
        assert answer.fields["allow"] == "GET, HEAD, PUT, POST, DELETE, LIST, OPTIONS"


CROSS = [
    "Origin: null",
    "Origin: http://evil.test",
    "Origin: http://origin.test.evil.test",
    "Origin: http://origin.test:8081",
    "Origin: origin.test",
    "Origin: ",
    "Sec-Fetch-Site: cross-site",
]


@pytest.mark.parametrize("line", CROSS)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_cross_site_writes_get_403_before_the_body(
    site: Site, method: str, line: str
) -> None:
    await site.put("/x", b"old")
    client = site.connect()
    await client.request(method, "/x", line, "Content-Length: 5")
    answer = await client.read(method)
    assert answer.status == 403
    assert answer.fields["content-type"] == "application/problem+json"
    await client.send(b"12345")
    assert (await client.ask("GET", "/x")).body == b"old"


@pytest.mark.parametrize(
    "lines",
    [
        ("Origin: http://origin.test",),
        ("Origin: HTTP://ORIGIN.TEST:80",),
        ("Host: origin.test:8080", "Origin: http://origin.test:8080"),
        ("Host: origin.test:80", "Origin: http://origin.test"),
        ("Host: [::1]:8080", "Origin: http://[::1]:8080"),
        ("Sec-Fetch-Site: same-origin", "Origin: http://origin.test"),
        ("Sec-Fetch-Site: none",),
        (),
    ],
)
async def test_writes_of_its_own_pages_and_of_encoders_go_through(
    site: Site, lines: tuple[str, ...]
) -> None:
    assert (await site.put("/x", b"new", *lines)).status == 201
    assert (await site.ask("DELETE", "/x", *lines)).status == 200

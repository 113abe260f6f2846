"""Secrets: compared in constant time, and shown nowhere."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from chunkstore.admin import Admin
from chunkstore.auth import Gate, parse_token, redacted
from chunkstore.cli.config import render_settings
from chunkstore.config import Settings, resolve
from chunkstore.server import Log, StreamTransport
from tests.auth.keys import (
    ADMIN,
    ALL,
    PATHS,
    SECRETS,
    SIGN_KEYS,
    TOKENS,
    UNKNOWN,
    WRITER,
    basic,
    bearer,
    signed,
)
from tests.origin.drive import WALL_S, Answer, Client, Site

PATH = PATHS[0]


@pytest.mark.parametrize("secret", [*SECRETS, UNKNOWN])
def test_every_token_is_compared_whatever_comes(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate([parse_token(row, "token") for row in TOKENS])
    compared = count_compared(monkeypatch)
    gate.judge("PUT", PATH, authorization=f"Bearer {secret}", query="", now_s=WALL_S)
    assert compared == [sha256(secret.encode()).digest()] * len(TOKENS)


@pytest.mark.parametrize("key", [*SIGN_KEYS, b"csk_gone"])
def test_every_sign_key_is_compared_whatever_comes(
    key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate([], SIGN_KEYS, open_reads=False)
    query = signed(PATH, key=key).partition("?")[2]
    compared = count_compared(monkeypatch)
    gate.judge("GET", PATH, authorization=None, query=query, now_s=WALL_S)
    assert compared == [query.rpartition("=")[2]] * len(SIGN_KEYS)


def count_compared(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is given to `hmac.compare_digest` from now on, as its second argument."""
    compared: list[object] = []
    compare: Callable[[object, object], bool] = hmac.compare_digest  # type: ignore[assignment]

    def counted(ours: object, theirs: object) -> bool:
        compared.append(theirs)
        return compare(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    return compared


FORBIDDEN = re.compile(
    "|".join(
        [
            *(re.escape(secret) for secret in (*SECRETS, UNKNOWN)),
            *(re.escape(key.decode()) for key in SIGN_KEYS),
            *(re.escape(basic(secret).rpartition(" ")[2]) for secret in (*SECRETS, UNKNOWN)),
            r"[0-9a-f]{64}",
        ]
    )
)
"""Secrets, what a Basic field makes of them, and any signature or hash."""


def requests() -> list[tuple[str, str, tuple[str, ...]]]:
    """Good and bad ones, with secrets in every place that a client may put them."""
    targets = [PATH, signed(PATH), signed(PATH, "/live/"), signed(PATH, life_s=-1)]
    targets += [f"{PATH}?token={ALL}", f"/{ALL}", f"http://x:{ALL}@origin.test/live/1.m4s"]
    targets += [f"{signed(PATH)}\x01", f"//{ALL}", f"{signed(PATH)}&list"]
    lines = [(bearer(ALL),), (basic(ALL),), (bearer(WRITER),), (basic(UNKNOWN),), ()]
    lines += [(f"Authorization : Bearer {ALL}",), (f"Bearer {ALL}",), (f"X: {ALL}\x00",)]
    lines += [(basic(ALL).replace(":", " :"),), (f"Authorization: {ALL}",)]
    methods = ("GET", "LIST", "PUT", "DELETE")
    return [(method, target, one) for method in methods for target in targets for one in lines]


@pytest.mark.parametrize("form", ["human", "json"])
async def test_the_log_has_none(nursery: trio.Nursery, tmp_path: Path, form: str) -> None:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    log = Log(form, descriptor)
    site = await Site.open(nursery, tokens=TOKENS, sign_keys=SIGN_KEYS, open_reads=False, log=log)
    for method, target, lines in requests():
        await site.ask(method, target, *lines, body=b"" if method == "PUT" else None)
    assert not log.dropped_count
    log._flush()
    os.close(descriptor)
    text = path.read_text()
    assert len(text.splitlines()) >= len(requests())
    assert "signature=..." in text
    assert not FORBIDDEN.search(text)


async def test_no_answer_has_one_that_was_not_in_its_request(site: Site) -> None:
    for method, target, lines in requests():
        answer = await site.ask(method, target, *lines, body=b"" if method == "PUT" else None)
        for found in FORBIDDEN.findall(f"{answer.fields}{answer.body!r}"):
            assert found in f"{target}{lines}"


async def ask_admin(site: Site, target: str, *lines: str) -> Answer:
    """GET from an admin side of the site, on a connection of its own."""
    origin = site.origin
    admin = Admin(origin.server.settings, origin.catalog, origin.server, origin.gate)
    await site.nursery.start(admin.run, ())
    ours, theirs = trio.testing.memory_stream_pair()
    site.nursery.start_soon(admin.server.serve, StreamTransport(theirs, "memory"))
    return await Client(ours).ask("GET", target, *lines)


async def test_the_operators_listener_has_none(site: Site) -> None:
    for method, target, lines in requests():
        await site.ask(method, target, *lines, body=b"" if method == "PUT" else None)
    upload = await site.upload(f"{PATH}?token={ALL}", bearer(ALL))
    await upload.chunk(b"x")
    await site.follow(signed(PATH))
    for path in ("/metrics", "/objects", "/connections", "/objects?open"):
        answer = await ask_admin(site, path, bearer(ADMIN))
        assert answer.status == 200
        named = answer.body.decode().replace(f"/{ALL}", "")  # an object that was called so
        assert not FORBIDDEN.search(named)


@pytest.mark.parametrize("host", ["localhost", "origin.example"])
async def test_the_operators_listener_asks_for_a_token_where_there_is_one(
    site: Site, host: str
) -> None:
    for path in ("/metrics", "/objects", "/connections", "/events", "/", "/nothing"):
        for line, status in [
            ("X: none", 401),
            (bearer(UNKNOWN), 401),
            (bearer(ALL), 403),
            (basic(WRITER), 403),
        ]:
            answer = await ask_admin(site, path, f"Host: {host}", line)
            assert answer.status == status
            assert ("www-authenticate" in answer.fields) is (status == 401)
    for line in (bearer(ADMIN), basic(ADMIN)):
        assert (await ask_admin(site, "/metrics", f"Host: {host}", line)).status == 200
    for path in ("/health/live", "/health/ready", "/time"):
        assert (await ask_admin(site, path, f"Host: {host}")).status == 200


def test_config_prints_hashes_and_paths_alone() -> None:
    tokens = tuple(parse_token(row, "token") for row in TOKENS)
    settings = Settings(tokens=tokens, sign_key_file="keys", open_reads=False)
    _, sources = resolve({}, {}, None)
    printed = render_settings(settings, sources)
    hashes = {str(row["hash"]) for row in TOKENS}
    assert set(re.findall(r"sha256:\w+", printed)) == hashes
    without = re.sub(r"sha256:\w+", "", printed)
    assert not FORBIDDEN.search(without)
    assert resolve({}, {}, printed)[0] == settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/live/1.m4s?a=signature", "/live/1.m4s?a=signature"),
        ("/a?expires=1&signature=abc&CMCD=x", "/a?expires=1&signature=...&CMCD=x"),
        ("/a?X-Amz-Signature=abc&b", "/a?X-Amz-Signature=...&b"),
        ("/a?sv=1&sig=abc&design=x", "/a?sv=1&sig=...&design=x"),
        (f"/{ALL}/x", "/cs_.../x"),
        (
            f"head: bytearray(b'Authorization : Basic {ALL}')",
            "head: bytearray(b'Authorization : Basic ...')",
        ),
        ("/basic/bearer/cs_x", "/basic/bearer/cs_x"),
    ],
)
def test_redacted(text: str, expected: str) -> None:
    assert redacted(text) == expected

"""Which chunks are wanted is said over HTTP, by who may; and what there is is listed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from chunkstore.auth import make_secret, secret_hash
from chunkstore.testing import Fault
from chunkstore.worker import ChunkInfo
from chunkstore.worker.descriptor import chunk_members
from chunkstore.worker.face.chunks import BODY_BYTES, STEP_COUNT
from chunkstore.worker.face.shown import lines
from chunkstore.worker.strict import parse_json
from tests.docs.pages import DOCS
from tests.worker.face.conftest import OpenRig
from tests.worker.face.rig import DATASET, Rig, identifier

HEX = identifier(1).hex()


async def test_put_is_answered_at_once_and_delete_takes_it_away(open_rig: OpenRig) -> None:
    rig = await open_rig()
    chunk = rig.chunk(1, range(0, 10))
    answer = await rig.put(chunk)
    assert answer.status == 202
    assert answer.json["state"] in ("queued", "downloading")
    members = await rig.until_state(chunk.id, "ready")
    assert members["block_range"] == [0, 10]
    assert [row["id"] for row in await rig.rows()] == [HEX]
    assert (await rig.ask("DELETE", f"/chunks/{HEX}")).status == 202
    assert await rig.rows() == []
    assert (await rig.get(f"/chunks/{HEX}")).status == 404
    assert (await rig.ask("DELETE", f"/chunks/{HEX}")).status == 202, "it is gone, as wished"


async def test_why_one_failed_is_said(open_rig: OpenRig) -> None:
    rig = await open_rig()
    chunk = rig.chunk(1, range(0, 10), is_there=False)
    await rig.put(chunk)
    members = await rig.until_state(chunk.id, "failed")
    assert "404" in members["error"]
    status = (await rig.get("/status")).json
    assert status["chunks"]["failed"] == 1
    assert status["others"][0]["id"] == HEX
    assert any("can't be had" in line for line in status["troubles"])


async def test_why_one_failed_lets_nobody_in(open_rig: OpenRig) -> None:
    rig = await open_rig()
    chunk = rig.chunk(1, range(0, 10), is_there=False)
    url = "http://storage.test/1/a?X-Amz-Signature=geheim"
    await rig.put(replace(chunk, files=dict.fromkeys(chunk.files, url)))
    members = await rig.until_state(chunk.id, "failed")
    assert "404" in members["error"]
    assert "geheim" not in (await rig.get("/status")).body.decode()


async def test_the_list_is_of_one_dataset_where_that_is_asked(rig: Rig) -> None:
    other = identifier("other")
    await rig.have(rig.chunk(2, range(5, 20), other))
    assert {row["id"] for row in await rig.rows()} == {identifier(n).hex() for n in (1, 2)}
    [row] = await rig.rows(f"/chunks?dataset={other.hex().upper()}")
    expected = {"id": identifier(2).hex(), "dataset_id": other.hex(), "block_range": [5, 20]}
    assert row == expected
    assert await rig.rows(f"/chunks?dataset={identifier('none').hex()}") == []
    assert (await rig.get("/chunks?dataset=7")).status == 400
    head = await rig.ask("HEAD", "/chunks")
    assert (head.status, head.body) == (200, b"")


async def test_a_long_list_comes_in_steps(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [ChunkInfo(identifier(n), DATASET, range(n, n + 1)) for n in range(2 * STEP_COUNT + 1)]
    reporter = rig.worker._reporter
    assert reporter is not None
    monkeypatch.setattr(reporter._manager, "list_chunks", lambda: infos)
    answer = await rig.get("/chunks")
    assert answer.body == lines(infos)
    sizes = [len(lines(infos[at : at + STEP_COUNT])) for at in (0, STEP_COUNT, 2 * STEP_COUNT)]
    assert [len(chunk) for chunk in answer.chunks if chunk] == sizes


BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": "00"}, "id: expected 32 bytes"),
    ({"id": identifier(2).hex()}, "id: the path has another one"),
    ({"dataset_id": 7}, "dataset_id"),
    ({"block_range": [10, 10]}, "block_range"),
    ({"block_range": "0-10"}, "block_range"),
    ({"files": {}}, "files"),
    ({"files": {"../x": "http://storage.test/x"}}, "files"),
    ({"files": {".chunk.json": "http://storage.test/x"}}, "files"),
    ({"files": {"A": "http://storage.test/x", "a": "http://storage.test/y"}}, "files"),
    ({"files": {"a": "ftp://storage.test/x"}}, "files['a'].url"),
    ({"files": {"a": {"url": "http://s.test/x", "sha256": "00"}}}, "files['a'].sha256"),
    ({"size": 1}, "size: there is no such field"),
]


@pytest.mark.parametrize(("changes", "words"), BAD)
async def test_a_bad_chunk_names_the_field_and_nothing_is_written(
    open_rig: OpenRig, changes: dict[str, Any], words: str
) -> None:
    rig = await open_rig()
    members = {**chunk_members(rig.chunk(1, range(0, 10))), **changes}
    answer = await rig.ask("PUT", f"/chunks/{HEX}", body=json.dumps(members).encode())
    assert answer.status == 400
    assert words in answer.json["detail"]
    assert not any((rig.folder / "wanted").iterdir())
    assert (await rig.get(f"/chunks/{HEX}")).status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"id": 1, "id": 1}', 400),
        (b"null", 400),
        (bytes(BODY_BYTES + 1), 413),
    ],
)
async def test_a_body_that_is_no_chunk(rig: Rig, body: bytes, status: int) -> None:
    client = rig.connect()
    answer = await client.ask("PUT", f"/chunks/{HEX}", body=body)
    assert answer.status == status
    assert answer.json["detail"]
    assert (await client.ask("GET", "/status")).status == 200, "the connection goes on"


async def test_a_body_in_chunks_without_an_end_is_bounded(rig: Rig) -> None:
    client = rig.connect()
    await client.request("PUT", f"/chunks/{HEX}", "Transfer-Encoding: chunked")
    for _ in range(5):
        await client.send(b"8000\r\n" + bytes(0x8000) + b"\r\n")
    answer = await client.read("PUT")
    assert answer.status == 413


async def test_pages_of_other_sites_may_not_say(rig: Rig) -> None:
    for line in ("Sec-Fetch-Site: cross-site", "Origin: http://evil.test"):
        assert (await rig.put(rig.chunk(2, range(0, 5)), line)).status == 403
        assert (await rig.ask("DELETE", f"/chunks/{HEX}", line)).status == 403
    assert [row["id"] for row in await rig.rows()] == [HEX]


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("PUT", "/chunks", 405, "GET, HEAD"),
        ("POST", f"/chunks/{HEX}", 405, "GET, HEAD, PUT, DELETE"),
        ("DELETE", "/status", 405, "GET, HEAD"),
        ("OPTIONS", f"/chunks/{HEX}", 405, "GET, HEAD, PUT, DELETE"),
        ("PATCH", "/chunks", 405, None),
        ("DELETE", "/chunks/7", 400, None),
    ],
)
async def test_methods(rig: Rig, method: str, target: str, status: int, allow: str | None) -> None:
    answer = await rig.ask(method, target)
    assert answer.status == status
    assert allow is None or answer.fields["allow"] == allow


# --- who may -------------------------------------------------------------------------------------

READER, OWNER, NARROW = (make_secret(bytes([n]) * 32) for n in range(3))
TOKENS = (
    {"name": "reader", "hash": secret_hash(READER), "methods": ["GET", "LIST"]},
    {"name": "owner", "hash": secret_hash(OWNER), "methods": ["PUT", "DELETE"]},
    {"name": "narrow", "hash": secret_hash(NARROW), "prefixes": ["/chunks/"]},
)


def bearer(secret: str) -> str:
    """The line that carries it."""
    return f"Authorization: Bearer {secret}"


async def test_writing_takes_a_token_where_there_is_one(open_rig: OpenRig) -> None:
    rig = await open_rig(tokens=TOKENS)
    chunk = rig.chunk(1, range(0, 10))
    refused = await rig.put(chunk)
    assert refused.status == 401
    assert "www-authenticate" in refused.fields
    assert (await rig.put(chunk, bearer(READER))).status == 403
    assert (await rig.put(chunk, bearer(OWNER))).status == 202
    assert (await rig.ask("DELETE", f"/chunks/{HEX}")).status == 401
    assert (await rig.ask("DELETE", f"/chunks/{HEX}", bearer(NARROW))).status == 202
    assert (await rig.get("/chunks")).status == 200, "reading is open"


async def test_reading_takes_one_where_it_is_closed(open_rig: OpenRig) -> None:
    rig = await open_rig(tokens=TOKENS, open_reads=False)
    block = f"/datasets/{DATASET.hex()}/blocks/7"
    for target in ("/chunks", f"/chunks/{HEX}", block, f"{block}/files/a", "/status", "/x"):
        assert (await rig.get(target)).status == 401
        assert (await rig.get(target, bearer(OWNER))).status == 403
        assert (await rig.get(target, bearer(READER))).status in (200, 404)
    assert (await rig.get("/chunks", bearer(NARROW))).status == 200
    assert (await rig.get(block, bearer(NARROW))).status == 403


# --- the operator's listener ---------------------------------------------------------------------


async def test_health_and_status(rig: Rig) -> None:
    ready = await rig.admin("/health/ready")
    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (await rig.admin("/health/live")).body == b"alive\n"
    assert (await rig.admin("/status")).json == (await rig.get("/status")).json
    assert (await rig.admin("/metrics", "Host: evil.test")).status == 421
    assert (await rig.admin("/objects")).status == 404
    rig.worker.server.stop()
    assert (await rig.admin("/health/live")).status == 200


async def test_the_figures_move(rig: Rig) -> None:
    text = (await rig.admin("/metrics")).body.decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    size_bytes = sum(record.size_bytes or 0 for record in rig.chunk(1, range(1)).records.values())
    expected = {
        'chunkstore_worker_chunks{state="ready"}': 1,
        'chunkstore_worker_bytes{use="stored"}': size_bytes,
        'chunkstore_worker_downloads_total{outcome="published"}': 1,
        'chunkstore_worker_downloads_total{outcome="failed"}': 0,
        "chunkstore_worker_fetched_bytes_total": size_bytes,
        "chunkstore_worker_references": 0,
        "chunkstore_worker_troubles": 0,
    }
    assert {name: float(figures[name]) for name in expected} == expected
    rig.storage.trouble("/2/0", *[Fault.LOST] * 9)
    await rig.put(rig.chunk(2, range(3)))
    await rig.until_state(identifier(2), "failed")
    text = (await rig.admin("/metrics")).body.decode()
    assert 'downloads_total{outcome="failed"} 1.0' in text
    assert "chunkstore_worker_troubles 1.0" in text


async def test_the_page_and_the_exposition_name_the_same(rig: Rig) -> None:
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE))
    answer = await rig.admin("/metrics")
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(answer.body.decode())
    }
    assert families.items() <= documented.items()
    of_workers = {name for name in documented if name.startswith("chunkstore_worker_")}
    assert of_workers <= families.keys()


# --- JSON ----------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_strict_json_is_json(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=100))
def test_anything_else_is_a_value_error(data: bytes) -> None:
    try:
        expected = json.loads(data.decode("utf-8"))
    except ValueError:
        with pytest.raises(ValueError, match="."):
            parse_json(data)
    else:
        assert parse_json(data) == expected or expected != expected

"""Who asks for a block gets the chunk that has it, and its files, to the last byte."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from contextlib import suppress
from urllib.parse import quote

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.worker.core.names import DESCRIPTOR
from chunkstore.worker.face import blocks
from chunkstore.worker.face.target import Kind, file_path, parse_target
from tests.worker.face.conftest import OpenRig
from tests.worker.face.rig import DATASET, NAME, Rig, identifier

BLOCK = f"/datasets/{DATASET.hex()}/blocks/7"
FILE = f"{BLOCK}/files/{quote(NAME)}"


async def test_a_block_is_answered_with_its_chunk_and_where_its_files_are(rig: Rig) -> None:
    answer = await rig.get(BLOCK)
    assert answer.status == 200
    members = answer.json
    assert members["id"] == identifier(1).hex()
    assert members["dataset_id"] == DATASET.hex()
    assert members["block_range"] == [0, 10]
    assert set(members["files"]) == {NAME, "empty", "small"}
    for name, facts in members["files"].items():
        data = rig.content(1, name)
        assert facts["size_bytes"] == len(data)
        assert facts["sha256"] == hashlib.sha256(data).hexdigest()
        assert (await rig.get(facts["url"])).body == data
    head = await rig.ask("HEAD", BLOCK)
    assert (head.status, head.body) == (200, b"")
    assert head.fields["content-length"] == str(len(answer.body))


async def test_a_file_comes_with_what_tells_it_from_others(rig: Rig) -> None:
    data = rig.content(1, NAME)
    digest = hashlib.sha256(data).digest()
    for method in ("GET", "HEAD"):
        answer = await rig.ask(method, FILE)
        assert answer.status == 200
        assert answer.body == (data if method == "GET" else b"")
        assert answer.fields["content-length"] == str(len(data))
        assert answer.etag == f'"{digest.hex()}"'
        assert answer.fields["repr-digest"] == f"sha-256=:{b64encode(digest).decode()}:"
        assert answer.fields["accept-ranges"] == "bytes"
    assert rig.held() == 0


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=299999-", 299_999, 300_000),
        ("bytes=-5", 299_995, 300_000),
        ("bytes=100-250000", 100, 250_001),
        ("bytes=5-9999999", 5, 300_000),
    ],
)
async def test_ranges(rig: Rig, asked: str, start: int, stop: int) -> None:
    answer = await rig.get(FILE, f"Range: {asked}")
    assert answer.status == 206
    assert answer.body == rig.content(1, NAME)[start:stop]
    assert answer.fields["content-range"] == f"bytes {start}-{stop - 1}/300000"
    etag = answer.etag
    assert (await rig.get(FILE, f"Range: {asked}", f"If-Range: {etag}")).status == 206
    for other in ('"other"', f"W/{etag}", "Thu, 01 Jan 1970 00:00:00 GMT"):
        assert (await rig.get(FILE, f"Range: {asked}", f"If-Range: {other}")).status == 200


async def test_conditions_and_what_can_not_be_had(rig: Rig) -> None:
    etag = (await rig.ask("HEAD", FILE)).etag
    not_modified = await rig.get(FILE, f"If-None-Match: {etag}")
    assert (not_modified.status, not_modified.body, not_modified.etag) == (304, b"", etag)
    assert (await rig.get(FILE, 'If-Match: "other"')).status == 412
    beyond = await rig.get(FILE, "Range: bytes=300000-")
    assert (beyond.status, beyond.fields["content-range"]) == (416, "bytes */300000")
    empty = await rig.get(f"{BLOCK}/files/empty")
    assert (empty.status, empty.body) == (200, b"")
    assert rig.held() == 0


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        (f"/datasets/{DATASET.hex()}/blocks/10", 404, "no chunk that is wholly here has block 10"),
        (f"/datasets/{identifier('x').hex()}/blocks/7", 404, "no chunk"),
        (f"{BLOCK}/files/other", 404, "no such file; it has"),
        (f"{BLOCK}/files/..%2F{DESCRIPTOR}", 404, "no such file"),
        (f"{BLOCK}/files/{DESCRIPTOR}", 404, "no such file"),
        (f"{BLOCK}/files/%ff", 400, "percent-encoded UTF-8"),
        ("/datasets/abc/blocks/7", 400, "64 hex digits"),
        (f"/datasets/{'g' * 64}/blocks/7", 400, "64 hex digits"),
        (f"/datasets/{DATASET.hex()}/blocks/-1", 400, "a block is a number"),
        (f"/datasets/{DATASET.hex()}/blocks/{2**63 - 1}", 400, "a block is a number"),
        (f"/datasets/{DATASET.hex()}/blocks/7/", 404, "there are /chunks"),
        ("/", 404, "there are /chunks"),
    ],
)
async def test_what_is_not_there_and_what_is_no_question(
    rig: Rig, target: str, status: int, words: str
) -> None:
    answer = await rig.get(target)
    assert answer.status == status
    assert answer.fields["content-type"] == "application/problem+json"
    assert words in answer.json["detail"]


async def test_a_file_is_held_until_its_last_byte_and_no_longer(rig: Rig) -> None:
    client = rig.connect_slowly()
    await client.request("GET", FILE)
    await client.head()
    assert rig.held() == 1
    assert (await rig.ask("DELETE", f"/chunks/{identifier(1).hex()}")).status == 202
    assert (await rig.get(BLOCK)).status == 404, "nobody finds it any more"
    folder = rig.folder / "ready" / DATASET.hex()
    await trio.sleep(5)
    assert any(folder.iterdir())
    answer = await client.rest()
    assert answer.body == rig.content(1, NAME)
    assert answer.is_whole
    await trio.sleep(60)
    assert not any(folder.iterdir())
    assert rig.held() == 0


@pytest.mark.parametrize("how", ["leaves", "stalls"])
async def test_who_does_not_read_on_holds_nothing(rig: Rig, how: str) -> None:
    client = rig.connect_slowly()
    await client.request("GET", FILE)
    await client.head()
    assert rig.held() == 1
    if how == "leaves":
        await client.close()
    await trio.sleep(60)
    assert rig.held() == 0
    endings = rig.worker.server.metrics.endings
    assert endings["client_gone" if how == "leaves" else "stalled"] == 1


async def test_what_is_not_in_memory_is_read_in_a_thread(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(blocks, "is_resident", lambda *_: False)
    monkeypatch.setattr(blocks, "_warm", lambda path, fd, at, size: asked.append((at, size)))
    monkeypatch.setattr(blocks, "SLICE_BYTES", 100_000)
    assert (await rig.get(FILE)).body == rig.content(1, NAME)
    assert asked == [(at, 100_000) for at in range(0, 300_000, 100_000)]


@pytest.mark.parametrize("at", ["open", "descriptor", "size"])
async def test_what_is_damaged_is_never_sent_as_if_it_were_right(
    open_rig: OpenRig, at: str
) -> None:
    rig = await open_rig()
    await rig.have(rig.chunk(1, range(0, 10)))
    [folder] = (rig.folder / "ready" / DATASET.hex()).iterdir()
    if at == "open":
        (folder / NAME).unlink()
    elif at == "size":
        (folder / NAME).write_bytes(b"short")
    else:
        (folder / DESCRIPTOR).write_text("{}")
    answer = await rig.get(FILE)
    assert answer.status == 500
    assert "can't be read" in answer.json["detail"]
    assert rig.held() == 0


@given(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63 - 2),
    st.text(min_size=1).filter(lambda text: text.isprintable()),
)
def test_a_path_says_what_it_was_made_of(dataset_id: bytes, block: int, name: str) -> None:
    target = parse_target(file_path(dataset_id, block, name))
    assert target is not None
    assert target.kind is Kind.FILE
    assert (target.id, target.block, target.name) == (dataset_id, block, name)


@given(st.text(st.characters(max_codepoint=126, min_codepoint=33)))
def test_any_path_is_a_target_or_none_or_a_sentence(path: str) -> None:
    for prefix in ("", "/chunks/", "/datasets/", f"/datasets/{'0' * 64}/blocks/"):
        with suppress(ValueError):
            parse_target(prefix + path)

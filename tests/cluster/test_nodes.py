"""Node processes and a gateway that knows them: who is up, who is gone, who is refused."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from chunkstore.client import parse_url
from chunkstore.cluster.membership import GONE_S, Membership
from chunkstore.cluster.names import Part, part_path
from tests.cluster.field import SECRET, Field, ask, gateway
from tests.jumping import run_for_real

RUN = run_for_real

PART = part_path(Part(42, 3))


@pytest.fixture
async def field(tmp_path: Path) -> AsyncIterator[Field]:
    """A gateway, and no node yet."""
    async with gateway(tmp_path) as made:
        yield made


def listens(url: str) -> bool:
    """Whether anybody takes connections there."""
    where = parse_url(url)
    with socket.socket() as probe:
        return probe.connect_ex((where.host, where.port)) == 0


async def test_five_one_of_which_is_killed_and_comes_again(field: Field) -> None:
    nodes = [await field.start(f"n{number}") for number in range(5)]
    members = await field.until_up(5)
    assert [one.record.number for one in members] == [1, 2, 3, 4, 5]
    assert {f"http://{one.record.address}" for one in members} == {one.url for one in nodes}
    assert all(one.fill is not None and one.fill.free_bytes > 0 for one in members)
    await nodes[2].kill()
    killed_s = trio.current_time()
    assert not listens(nodes[2].url)
    left = await field.until_up(4)
    assert GONE_S - 4 < trio.current_time() - killed_s < GONE_S + 1
    [gone] = {one.record.number for one in members} - {one.record.number for one in left}
    before = field.membership.members[gone].record
    again = await field.start("n2")
    await field.until_up(5)
    record = field.membership.members[gone].record
    assert (record.number, record.id) == (before.number, before.id)
    assert f"http://{record.address}" == again.url
    assert [one.record.number for one in field.up] == [1, 2, 3, 4, 5]


async def test_one_that_ends_is_gone_at_once_and_comes_back_elsewhere_at_once(
    field: Field,
) -> None:
    node = await field.start("n")
    await field.until_up(1)
    assert await node.end() == 0
    assert field.up == []
    with trio.fail_after(GONE_S / 2):
        await field.start("n")
        [member] = await field.until_up(1)
    assert member.record.number == 1


async def test_a_copy_of_a_data_dir_is_refused_and_the_first_goes_on(field: Field) -> None:
    first = await field.start("n")
    await field.until_up(1)
    ignored = shutil.ignore_patterns("lock", "index*")
    shutil.copytree(field.folder / "n", field.folder / "copy", ignore=ignored)
    copy = await field.start("copy")
    assert await copy.code() == 2
    [line] = [line for line in copy.lines if line.startswith("chunkstore: ")]
    assert "is a duplicate" in line
    assert first.url.removeprefix("http://") in line
    assert any("is a duplicate" in line for line in field.notes.lines)
    [member] = field.up
    assert f"http://{member.record.address}" == first.url


async def test_another_secret_is_refused_on_both_sides(field: Field) -> None:
    other = field.folder / "other"
    other.write_bytes(b"another secret of 16 bytes or more")
    other.chmod(0o600)
    node = await field.start("n", secret_file=other)
    assert await node.code() == 2
    assert any("made with another secret" in line for line in node.lines)
    assert any("made with another secret" in line for line in field.notes.lines)
    assert not field.membership.members


async def test_a_node_of_another_cluster_is_refused_on_both_sides(
    field: Field, tmp_path: Path
) -> None:
    node = await field.start("n")
    await field.until_up(1)
    await node.end()
    (tmp_path / "second").mkdir()
    async with gateway(tmp_path / "second") as second:
        shutil.move(field.folder / "n", second.folder / "n")
        moved = await second.start("n")
        assert await moved.code() == 2
        for lines in (moved.lines, second.notes.lines):
            assert any(f"belongs to the cluster {field.membership.cluster_id}" in x for x in lines)
        assert not second.membership.members


async def test_what_is_not_signed_is_refused(field: Field) -> None:
    node = await field.start("n")
    await field.until_up(1)
    answer, _ = await ask(node.url, "PUT", PART, b"units")
    assert answer.status == 201
    for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None), ("LIST", None)):
        for path in (PART, "/parts/", "/missing"):
            answer, _ = await ask(node.url, method, path, body, secret=None)
            assert answer.status == 401
            assert "authenticate" in " ".join(answer.fields)
            answer, _ = await ask(node.url, method, path, body, secret=b"x" * 16)
            assert answer.status == 403
    answer, body = await ask(node.url, "GET", PART)
    assert (answer.status, body) == (200, b"units")
    answer, _ = await ask(field.url, "GET", "/status", secret=None)
    assert answer.status == 401


async def test_what_it_has_is_listed_and_what_was_taken_away_stays_away(field: Field) -> None:
    node = await field.start("n")
    await field.until_up(1)
    other = part_path(Part(43, 0))
    for path in (PART, other):
        await ask(node.url, "PUT", path, b"units")
    _, body = await ask(node.url, "LIST", "/parts/")
    assert body.decode().split() == [PART, other]
    answer, _ = await ask(node.url, "DELETE", PART)
    assert answer.status == 200
    answer, _ = await ask(node.url, "PUT", PART, b"late")
    assert answer.status == 410
    answer, _ = await ask(node.url, "DELETE", part_path(Part(44, 1)))
    assert answer.status == 404
    answer, _ = await ask(node.url, "PUT", part_path(Part(44, 2)), b"late")
    assert answer.status == 410
    answer, _ = await ask(node.url, "PUT", other, b"units")
    assert answer.status == 200
    _, body = await ask(node.url, "LIST", "/parts/")
    assert body.decode().split() == [other]


async def test_a_node_serves_while_its_gateway_is_away(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        raw = socket.create_server(("127.0.0.1", 0))
        port = raw.getsockname()[1]
        raw.close()  # nobody is there
        (tmp_path / "secret").write_bytes(SECRET)
        (tmp_path / "secret").chmod(0o600)
        field = Field(tmp_path, nursery, f"http://127.0.0.1:{port}", Membership("c" * 32, [], 0.0))
        node = await field.start("n")
        await field.until_said(node, "not in touch")
        answer, _ = await ask(node.url, "PUT", PART, b"units")
        assert answer.status == 201
        assert await node.end() == 0
        assert sum("not in touch" in line for line in node.lines) == 1

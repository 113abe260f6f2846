"""Nodes come over the network, or don't; and what there is then."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from chunkstore.cluster.hello import Fill, Hello
from chunkstore.cluster.recover import recovery
from chunkstore.cluster.recover.recovery import Order, recover
from chunkstore.config import parse_listen
from chunkstore.errors import ChunkstoreError, ConnectError, DataDirError
from chunkstore.server import Listener, bind
from tests.cluster.field import SECRET, ask
from tests.jumping import run_for_real

RUN = run_for_real


def hello(name: str, cluster: str) -> bytes:
    """What a node says that listens nowhere."""
    fill = Fill(4, 3, 2, 1)
    return Hello(name * 32, cluster * 32, name * 16, "127.0.0.1", int(name), fill).encode()


def listening() -> Listener:
    """Where nodes come to."""
    return bind(parse_listen("127.0.0.1:0"), backlog=16, send_buffer_bytes=65_536)


async def refused(order: Order, *hellos: tuple[bytes, bytes]) -> tuple[str, list[int]]:
    """Why it came to nothing, and what nodes were answered; each has a secret."""
    listener, statuses = listening(), []
    said: list[str] = []

    async def come() -> None:
        for secret, one in hellos:
            answer, _ = await ask(listener.url, "POST", "/register", one, secret=secret)
            statuses.append(answer.status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come)
        with pytest.raises(ChunkstoreError) as caught:
            await recover(order, SECRET, (listener,), said.append)
        nursery.cancel_scope.cancel()
    listener.close()
    return str(caught.value), statuses


def left(folder: Path) -> list[str]:
    """What is in a folder."""
    return [one.name for one in folder.iterdir()]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "SETTLE_S", 0.3)


async def test_too_few_nodes_come(tmp_path: Path) -> None:
    order = Order(tmp_path / "new", 3, 1.0)
    text, statuses = await refused(order, (SECRET, hello("1", "c")), (SECRET, hello("2", "c")))
    assert re.match(r"2 of 3 storage servers came within 1 s: 127\.0\.0\.1:1, 127", text)
    assert statuses == [200, 200]
    assert left(tmp_path) == []


async def test_nodes_with_another_secret_are_told_of(tmp_path: Path) -> None:
    order = Order(tmp_path / "new", 1, 1.0)
    text, statuses = await refused(order, (b"x" * 16, hello("1", "c")))
    assert "0 of 1" in text
    assert "another secret" in text
    assert statuses == [403]
    assert left(tmp_path) == []


async def test_nodes_of_two_clusters(tmp_path: Path) -> None:
    order = Order(tmp_path / "new", 2, 30.0)
    text, statuses = await refused(order, (SECRET, hello("1", "c")), (SECRET, hello("2", "d")))
    assert text.startswith("nodes of two clusters came")
    assert statuses == [200, 503]
    assert left(tmp_path) == []


async def test_a_node_that_can_not_be_asked(tmp_path: Path) -> None:
    listener = listening()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, listener.url, "POST", "/register", hello("1", "c"))
        with pytest.raises(ConnectError, match="no connection to 127"):
            await recover(Order(tmp_path / "new", 1, 30.0), SECRET, (listener,), lambda _: None)
    listener.close()
    assert left(tmp_path) == []


async def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(DataDirError, match="new or an empty folder"):
            await recover(Order(folder, 1, 1.0), SECRET, (), lambda _: None)
    assert left(tmp_path) == ["file"]


async def test_a_folder_that_can_not_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(DataDirError, match=f"{tmp_path / 'new'}: Permission denied"):
        await recover(Order(tmp_path / "new", 1, 1.0), SECRET, (), lambda _: None)

"""The gateway's listener for nodes: what it takes, and what it says of what it doesn't."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from chunkstore.cluster.hello import HELLO_BYTES, Fill, Hello
from chunkstore.cluster.membership import Membership
from chunkstore.cluster.reception import Reception
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.config import Settings
from chunkstore.errors import DiskError
from chunkstore.server import StreamTransport
from tests.cluster.field import Notes
from tests.jumping import run_for_real
from tests.origin.drive import Answer, Client

RUN = run_for_real

SECRET = b"0123456789abcdef"
HELLO = Hello("a" * 32, "", "1" * 16, "", 9000, Fill(40, 30, 20, 10))


async def view(query: str) -> dict[str, object] | None:
    """Shows what it is asked."""
    return {"asked": query} if query else None


class Desk:
    """A reception over memory streams."""

    def __init__(self, meta: SqliteMeta, nursery: trio.Nursery) -> None:
        self.meta = meta
        self.nursery = nursery
        self.membership = Membership(meta.cluster_id, meta.nodes(), trio.current_time())
        self.scribe = Scribe(meta)
        log = Notes()
        self.notes = log.lines
        settings = Settings(log="off")
        self.reception = Reception(
            settings, self.membership, self.scribe, Signer(SECRET), log, {"/view": view}
        )

    async def ask(
        self, method: str, path: str, body: bytes | None = None, *, secret: bytes = SECRET
    ) -> Answer:
        """A signed request from 10.0.0.5."""
        near, far = memory_stream_pair()
        transport = StreamTransport(far, "10.0.0.5:40000")
        self.nursery.start_soon(self.reception.server.serve, transport)
        client = Client(near)
        length = len(body or b"")
        name, value = Signer(secret).field(method, path, now_s=time.time(), length=length)
        answer = await client.ask(method, path, f"{name}: {value}", body=body)
        await client.close()
        return answer


@pytest.fixture
async def desk(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Desk]:
    """With nobody yet."""
    meta = SqliteMeta(tmp_path / "meta.sqlite")
    async with trio.open_nursery() as inner:
        made = Desk(meta, inner)
        await inner.start(made.scribe.run)
        yield made
        inner.cancel_scope.cancel()
    meta.close()


async def test_a_node_is_kept_and_seen(desk: Desk) -> None:
    answer = await desk.ask("POST", "/register", HELLO.encode())
    assert (answer.status, answer.json) == (200, {"cluster": desk.meta.cluster_id, "node": 1})
    [record] = desk.meta.nodes()
    assert (record.id, record.address, record.capacity_bytes) == ("a" * 32, "10.0.0.5:9000", 40)
    beat = HELLO._replace(cluster_id=desk.meta.cluster_id, fill=Fill(40, 31, 21, 9))
    assert (await desk.ask("POST", "/heartbeat", beat.encode())).status == 200
    assert desk.membership.members[1].fill == beat.fill


async def test_views_are_shown_to_who_has_the_secret(desk: Desk) -> None:
    answer = await desk.ask("GET", "/view?a=b")
    assert (answer.status, answer.json) == (200, {"asked": "a=b"})
    answer = await desk.ask("GET", "/view")
    assert (answer.status, answer.json["status"]) == (404, 404)
    answer = await desk.ask("GET", "/view?a=b", secret=b"fedcba9876543210")
    assert answer.status == 403


async def test_an_ipv6_address_has_its_brackets(desk: Desk) -> None:
    await desk.ask("POST", "/register", HELLO._replace(host="fe80::1").encode())
    assert desk.membership.members[1].record.address == "[fe80::1]:9000"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a:b", "'http://[a:b]:9000/': its host or its port is none"),
        (":", "'http://[:]:9000/': its host or its port is none"),
        ("127.0.0.1", "comes from 10.0.0.5, and says that it listens on 127.0.0.1:9000"),
        ("localhost", "its --listen takes an address that the gateway reaches"),
        ("::1", "says that it listens on [::1]:9000"),
    ],
)
async def test_an_address_that_leads_to_no_node_is_refused_for_good(
    desk: Desk, host: str, expected: str
) -> None:
    answer = await desk.ask("POST", "/register", HELLO._replace(host=host).encode())
    assert answer.status == 409
    assert expected in answer.json["detail"]
    assert desk.notes == [f"refused 10.0.0.5:40000: {answer.json['detail']}"]
    assert not desk.meta.nodes()


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * HELLO_BYTES])
async def test_what_no_node_says_is_400(desk: Desk, body: bytes) -> None:
    for path in ("/register", "/heartbeat"):
        answer = await desk.ask("POST", path, body)
        assert answer.status == 400
        assert "expected" in answer.json["detail"]
    assert not desk.membership.members


async def test_a_body_has_a_bound(desk: Desk) -> None:
    answer = await desk.ask("POST", "/register", b"x" * (HELLO_BYTES + 1))
    assert answer.status == 413


@pytest.mark.parametrize("path", ["/", "/register/", "/parts/0"])
async def test_other_paths_are_404(desk: Desk, path: str) -> None:
    answer = await desk.ask("POST", path, HELLO.encode())
    assert answer.status == 404
    assert "POST /register" in answer.json["detail"]


async def test_another_secret_is_told_to_both(desk: Desk) -> None:
    answer = await desk.ask("POST", "/register", HELLO.encode(), secret=b"fedcba9876543210")
    assert answer.status == 403
    assert desk.notes == [f"refused 10.0.0.5:40000: {answer.json['detail']}"]
    assert not desk.membership.members


async def test_of_two_of_one_id_at_once_one_is_in(desk: Desk) -> None:
    statuses: list[int] = []

    async def register(process: str) -> None:
        hello = HELLO._replace(incarnation=process * 16, port=ord(process))
        statuses.append((await desk.ask("POST", "/register", hello.encode())).status)

    async with trio.open_nursery() as nursery:
        for process in "12345":
            nursery.start_soon(register, process)
    assert sorted(statuses) == [200, 503, 503, 503, 503]
    assert len(desk.meta.nodes()) == 1


async def test_one_that_can_not_be_kept_is_not_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, is_lasting: bool) -> None:
        raise DiskError("full")

    monkeypatch.setattr(desk.meta, "batch", fail)
    answer = await desk.ask("POST", "/register", HELLO.encode())
    assert answer.status == 503
    assert "full" in answer.json["detail"]
    assert not desk.membership.members

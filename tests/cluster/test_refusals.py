"""What a gateway says to an upload that its nodes can't take: 503 or 507, and which is lacking."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from chunkstore.admin import Admin
from chunkstore.cluster.gateway import Gateway
from chunkstore.cluster.hello import Fill
from chunkstore.cluster.meta import Meta, NodeRecord
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.server import Log
from tests.admin.conftest import Office
from tests.jumping import run_for_real
from tests.origin.drive import Site, make_settings

RUN = run_for_real
PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
EMPTY, FULL = Fill(1000, 0, 0, 1000), Fill(1000, 960, 960, 40)


@asynccontextmanager
async def gateway(folder: Path, fills: list[Fill | None]) -> AsyncIterator[Site]:
    """One whose nodes said so of themselves, or nothing: they are gone."""
    meta = SqliteMeta(folder / "meta.sqlite")
    for number, fill in enumerate(fills, 1):

        def register(meta: Meta, number: int = number) -> NodeRecord:
            return meta.register(f"{number:032x}", f"127.0.0.1:{number}", 1000, "i" * 16, 0.0)

        [record] = meta.batch([register])
        fills[number - 1] = fill and fill._replace(capacity_bytes=1000)
        assert isinstance(record, NodeRecord)
    async with trio.open_nursery() as nursery:
        settings = make_settings(data=str(folder))
        origin = Gateway(settings, Log("off"), meta=meta, secret=b"0123456789abcdef")
        for record, fill in zip(meta.nodes(), fills, strict=True):
            if fill is not None:
                origin.membership.enter(record, fill, trio.current_time())
        await nursery.start(origin.run)
        yield Site(origin, nursery)
        nursery.cancel_scope.cancel()
    meta.close()


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_what_the_cluster_signs_is_nothing_of_users(tmp_path: Path, method: str) -> None:
    """A node whose --join leads here, or one that says that it is here, leaves no object."""
    field = Signer(b"0123456789abcdef").field(method, "/register", now_s=time.time(), length=2)
    async with gateway(tmp_path, [EMPTY] * 7) as site:
        body = None if method == "DELETE" else b"{}"
        answer = await site.ask(method, "/register", ": ".join(field), body=body)
        assert answer.status == 421
        assert "what the gateway says behind 'nodes at'" in answer.json["detail"]


@pytest.mark.parametrize(
    ("fills", "status", "detail"),
    [
        ([EMPTY] * 4, 503, "an upload takes 5 storage nodes, and 4 are up: 1 of them is missing"),
        ([], 503, "an upload takes 5 storage nodes, and 0 are up: 5 of them are missing"),
        ([*[EMPTY] * 4, None], 503, "takes 5 storage nodes, and 4 are up: 1 of them is missing"),
        ([*[EMPTY] * 5, None, None], 503, "takes 6 storage nodes, and 5 are up: 1 of them is"),
        ([*[EMPTY] * 4, FULL], 507, "an upload takes 5 storage nodes with room, and 4 have it"),
        ([*[EMPTY] * 5, FULL, FULL], 507, "takes 6 storage nodes with room, and 5 have it"),
        ([*[EMPTY] * 5, FULL, None], 507, "takes 6 storage nodes with room, and 5 have it"),
        ([*[EMPTY] * 6, FULL], 0, ""),
        ([*[EMPTY] * 6, FULL, FULL, None], 0, ""),
        ([EMPTY] * 5, 0, ""),
    ],
)
async def test_too_few_nodes(
    tmp_path: Path, fills: list[Fill | None], status: int, detail: str
) -> None:
    async with gateway(tmp_path, list(fills)) as site:
        if status:
            answer = await site.put("/a", b"abc")
            assert answer.status == status
            assert detail in answer.json["detail"]
            assert (await site.get("/a")).status == 404
        else:
            assert site.origin._disk is not None
            assert site.origin._disk.refusal() is None


async def test_what_metrics_and_health_say_of_a_cluster(tmp_path: Path) -> None:
    async with gateway(tmp_path, [*[EMPTY] * 5, None]) as site:
        office = Office(site, site.nursery)
        origin = site.origin
        office.admin = Admin(
            origin.server.settings,
            origin.catalog,
            origin.server,
            origin.gate,
            figures=origin.figures,
        )
        text = (await office.get("/metrics")).body.decode()
        told = {
            name: kind
            for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
            if name.startswith("chunkstore_cluster_")
        }
        assert told == dict(
            re.findall(
                r"^\| `(chunkstore_cluster_\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE
            )
        )
        samples = await office.metrics()
        assert samples['chunkstore_cluster_nodes{state="up"}'] == 5
        assert samples['chunkstore_cluster_nodes{state="gone"}'] == 1
        assert samples['chunkstore_cluster_objects{parts="whole"}'] == 0
        assert samples["chunkstore_cluster_repair_bytes"] == 0
        assert samples['chunkstore_cluster_damaged_parts_total{event="found"}'] == 0
        answer = await office.get("/health/ready")
        assert answer.status == 503
        assert re.search(r"node 6 at \S+ is gone", answer.json["detail"])

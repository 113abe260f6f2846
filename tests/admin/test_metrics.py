"""Every metric that docs/metrics.md names is there, and moves when what it counts happens."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import wait_all_tasks_blocked

from chunkstore.server import log
from tests.admin.conftest import Office

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "metrics.md"

Script = Callable[[Office], Awaitable[None]]


async def get(office: Office) -> None:
    await office.site.put("/x", b"hello")
    await office.site.get("/x")


async def open_with_reader(office: Office) -> None:
    upload = await office.site.upload("/live/1.m4s")
    await upload.chunk(b"one")
    await office.site.follow("/live/1.m4s")
    await upload.chunk(b"two")


async def gap(office: Office) -> None:
    upload = await office.site.upload("/x")
    await upload.chunk(b"one")
    await trio.sleep(3)
    await upload.chunk(b"two")
    await upload.end()


async def kill(office: Office) -> None:
    upload = await office.site.upload("/x")
    await upload.chunk(b"one")
    await upload.kill()


async def fall_idle(office: Office) -> None:
    await (await office.site.upload("/endless/x")).chunk(b"one")
    await trio.sleep(30)


async def refuse(office: Office) -> None:
    await office.site.put("/x", b"", "Content-Range: bytes 0-1/*")


async def take_over(office: Office) -> None:
    await open_with_reader(office)
    retry = await office.site.upload("/live/1.m4s")
    await retry.chunk(b"onetwo")


async def hold(office: Office) -> None:
    await open_with_reader(office)
    await office.site.connect().request("GET", "/live/2.m4s")
    await wait_all_tasks_blocked()


async def miss(office: Office) -> None:
    await open_with_reader(office)
    assert (await office.site.get("/live/2.m4s")).status == 404


async def fill(office: Office) -> None:
    for index in range(12):
        assert (await office.site.put(f"/{index}", bytes(100_000))).status == 201


async def expire(office: Office) -> None:
    await office.site.put("/short/x", b"hello")
    await trio.sleep(3)


async def lag(office: Office) -> None:
    await trio.sleep(1)


async def drop_lines(office: Office) -> None:
    office.site.origin.server.log._descriptor = os.open(os.devnull, os.O_WRONLY)
    for _ in range(log.LINES_MAX + 10):
        office.site.origin.server.log.note("a line")


async def crowd(office: Office) -> None:
    for _ in range(20):
        await office.site.connect().request("GET", "/")


MOVES: dict[str, tuple[Script, str]] = {
    "chunkstore_open_connections": (open_with_reader, ""),
    "chunkstore_responses_total": (get, '{status="201"}'),
    "chunkstore_endings_total": (get, '{ending="complete"}'),
    "chunkstore_first_byte_seconds": (get, "_count"),
    "chunkstore_loop_lag_seconds": (lag, "_count"),
    "chunkstore_log_lines_dropped_total": (drop_lines, ""),
    "chunkstore_open_uploads": (open_with_reader, ""),
    "chunkstore_aborts_total": (kill, '{cause="writer_gone"}'),
    "chunkstore_uploads_refused_total": (refuse, '{status="400"}'),
    "chunkstore_uploads_completed_idle_total": (fall_idle, ""),
    "chunkstore_upload_longest_gap_seconds": (gap, "_sum"),
    "chunkstore_readers": (open_with_reader, '{place="behind"}'),
    "chunkstore_readers_taken_over_total": (take_over, ""),
    "chunkstore_held_requests": (hold, ""),
    "chunkstore_holds_total": (miss, '{outcome="unmet"}'),
    "chunkstore_missed_at_edge_total": (miss, ""),
    "chunkstore_objects": (get, ""),
    "chunkstore_memory_bytes": (open_with_reader, '{use="open"}'),
    "chunkstore_evicted_total": (fill, ""),
    "chunkstore_expired_total": (expire, ""),
}
"""Metric -> what moves it, and the sample that must have grown."""

ELSEWHERE = {
    "chunkstore_memory_budget_bytes": "a setting: it doesn't move",
    "chunkstore_reads_failed_total": "a disk: tests/admin/test_disk.py",
    "chunkstore_disk_bytes": "a disk: tests/admin/test_disk.py",
    "chunkstore_disk_troubles": "a disk: tests/admin/test_disk.py",
    "chunkstore_disk_flaws_total": "a disk: tests/admin/test_disk.py",
    "chunkstore_connections_total": "sockets: test_over_sockets",
    "chunkstore_connections_refused_total": "sockets: test_over_sockets",
    "chunkstore_sent_age_seconds": "sockets: test_over_sockets",
}


@pytest.mark.parametrize("name", MOVES)
async def test_each_moves(office: Office, name: str) -> None:
    script, suffix = MOVES[name]
    before = (await office.metrics()).get(name + suffix, 0)
    await script(office)
    after = (await office.metrics())[name + suffix]
    assert after > before


async def test_the_page_and_the_exposition_name_the_same(office: Office) -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCS.read_text(), re.MULTILINE))
    answer = await office.get("/metrics")
    assert answer.status == 200
    assert answer.fields["content-type"].startswith("text/plain; version=")
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(answer.body.decode())
    }
    others = ("chunkstore_cluster_", "chunkstore_worker_")
    of_others = {name for name in documented if name.startswith(others)}
    assert of_others  # tests/cluster/test_refusals.py has a gateway, tests/worker/face a worker
    of_all = {name: kind for name, kind in documented.items() if name not in of_others}
    assert families == of_all
    assert set(of_all) == MOVES.keys() | ELSEWHERE.keys()

"""When bytes reached the origin."""

from __future__ import annotations

import time

import pytest

from chunkstore.demo import arrivals as arrivals_module
from chunkstore.policy import Policy
from chunkstore.wire import Data
from tests.demo.stage import Stage

MAX_BYTES = 1000


async def test_each_offset_has_the_time_of_the_bytes_that_reached_it() -> None:
    async with Stage.running() as stage:
        begun_s = time.perf_counter()
        upload = stage.origin.catalog.begin("/a", Policy())
        for data in (b"abc", b"", b"de"):
            assert upload.append([Data(data, True)], max_bytes=MAX_BYTES) is None
        ended_s = time.perf_counter()
        times = [stage.arrivals.arrived_s(upload.generation.etag, size) for size in range(1, 7)]
        first, last = times[0], times[4]
        assert times == [first, first, first, last, last, None]
        assert first is not None
        assert last is not None
        assert begun_s <= first < last <= ended_s
        upload.commit()
        assert stage.arrivals.arrived_s("another", 1) is None


async def test_what_is_remembered_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals_module, "GENERATIONS_MAX", 2)
    monkeypatch.setattr(arrivals_module, "APPENDS_MAX", 3)
    async with Stage.running() as stage:
        etags = []
        for key in ("/a", "/b", "/c"):
            upload = stage.origin.catalog.begin(key, Policy())
            etags.append(upload.generation.etag)
            for _ in range(5):
                upload.append([Data(b"x", True)], max_bytes=MAX_BYTES)
            assert upload.generation.ring.size_bytes == 5
        known = [
            [size for size in range(1, 6) if stage.arrivals.arrived_s(etag, size)] for etag in etags
        ]
        assert known == [[], [1, 2, 3], [1, 2, 3]]

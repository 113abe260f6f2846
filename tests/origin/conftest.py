"""The fixtures of the origin's tests: an origin over memory streams, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
import trio

from chunkstore.store import Store, memory
from chunkstore.store.disk import DataDir, DiskStore, Engine, Files
from chunkstore.testing import ReferenceStore
from tests.jumping import mark_jumping
from tests.origin import drive
from tests.origin.drive import Site

OpenSite = Callable[..., Awaitable[Site]]


GOES = "with a store, nothing that is complete goes for want of memory"
FITS = "with a store, an upload needs a window of memory, not its size"
IN_MEMORY_ALONE = {
    "test_memory_evicts_least_recently_used_and_small_ones_last": GOES,
    "test_memory_is_not_freed_by_evicting_what_is_being_read": GOES,
    "test_objects": GOES,
    "test_objects_that_are_open_cannot_go": GOES,
    "test_objects_bound_is_exact_where_a_name_is_overwritten": GOES,
    "test_evict": GOES,
    "test_conditions_hold_again_at_the_end": GOES,
    "test_refused_before_the_body_keeps_the_connection[memory]": FITS,
    "test_expect_100_gets_the_decision_first[memory]": FITS,
}
"""Tests of what an origin with a store doesn't do, and why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All hold for an origin without a store and with one; on the real clock with a disk, too."""
    if "behind" in metafunc.fixturenames:
        has_real_clock = getattr(metafunc.module, "RUN", None) is not None
        kinds = ["memory", "store", "disk"] if has_real_clock else ["memory", "store"]
        metafunc.parametrize("behind", kinds, indirect=True, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This folder's tests run on a clock that jumps."""
    items[:] = [item for item in items if _name_with_store(item) not in IN_MEMORY_ALONE]
    mark_jumping(items, Path(__file__).parent)


def _name_with_store(item: pytest.Item) -> str:
    """The name of a test that runs with a store, without saying so; else nothing."""
    if not isinstance(item, pytest.Function) or "[store" not in item.name:
        return ""
    return item.name.replace("[store]", "").replace("[store-", "[")


@pytest.fixture(scope="module", autouse=True)
def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """What each site of a test has: "memory" alone, a "store" without threads, or a "disk"."""
    numbers = count()

    def make_disk() -> Store:
        data = stack.enter_context(closing(DataDir(folder / str(next(numbers)))))
        return DiskStore(stack.enter_context(closing(Engine(data, Files()))))

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        if request.param == "store":
            patch.setattr(drive, "make_store", ReferenceStore)
        elif request.param == "disk":
            folder = tmp_path_factory.mktemp("disk")
            patch.setattr(drive, "make_store", make_disk)
        # What knowing of a stored object costs is no promise of HTTP.
        patch.setattr(memory, "WARM_BYTES", 0)
        yield


@pytest.fixture
async def open_site(nursery: trio.Nursery) -> OpenSite:
    """Start an origin with other settings than the default."""

    async def start(**changes: object) -> Site:
        return await Site.open(nursery, **changes)

    return start


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """An origin with default settings."""
    return await open_site()

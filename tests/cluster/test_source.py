"""Reading objects from nodes: the right bytes or the truth, whatever is wrong with some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from chunkstore.cluster import windows as windows_module
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.patience import FIRST_S, LAG_S, LEAST_S
from chunkstore.cluster.stripe import STRIPE_BYTES, UNIT_BYTES, K, Layout
from chunkstore.cluster.windows import CURSOR_S
from chunkstore.errors import DamagedError
from chunkstore.server import Exchange, Handler
from tests.cluster.nodes import parts_of, signed
from tests.cluster.reading import GENERATION, Stage, data_of, run_stage
from tests.examples import examples


async def late(exchange: Exchange, handler: Handler, seconds: float) -> None:
    """Answer after a while."""
    await trio.sleep(seconds)
    await handler(exchange)


async def broken(exchange: Exchange, _: Handler, *, is_cut: bool) -> None:
    """Break off, or fall silent, in the midst of an answer."""
    wanted = exchange.request.fields.get("range") or ""
    first, last = map(int, wanted.removeprefix("bytes=").split("-"))
    fields = f"Content-Range: bytes {first}-{last}/*\r\n".encode()
    await exchange.send([exchange.head(206, fields, last + 1 - first), b"CSu1"])
    if is_cut:
        await exchange.connection.transport.close(reset=True)
    await trio.sleep_forever()


SIZES = st.one_of(
    st.integers(1, 40),
    st.integers(1, 3 * STRIPE_BYTES),
    st.builds(
        lambda units, more: max(1, units * UNIT_BYTES + more),
        st.integers(0, 11),
        st.integers(-2, 2),
    ),
)


@st.composite
def reads(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """A size, a range in it, and how much of it is wanted at a time."""
    size = draw(SIZES)
    start = draw(st.integers(0, size - 1))
    stop = draw(st.integers(start + 1, size))
    return size, start, stop, draw(st.sampled_from([1 << 40, 1 << 20, UNIT_BYTES + 1]))


@given(reads(), st.integers(0, 2))
@examples(40)
def test_any_range_of_any_object(what: tuple[int, int, int, int], m: int) -> None:
    size, start, stop, limit = what

    async def test(stage: Stage) -> None:
        assert await stage.read(start, stop, limit) == stage.data[start:stop]
        assert not stage.flaws
        if limit > stop - start and stop - start <= STRIPE_BYTES:
            units = {part for _, part, *_ in stage.source._layout.pieces(start, stop)}
            assert len(stage.nodes.asked) == (K + m) + len(units)

    run_stage(test, data_of(size), m)


HARMS = [
    "gone",
    "down",
    "stopped",
    "slow",
    "broken",
    "stalled",
    "flipped",
    "truncated",
    "other generation",
    "other part",
]


@given(reads(), st.dictionaries(st.integers(0, 6), st.sampled_from(HARMS), max_size=4), st.data())
@examples(60)
def test_whatever_is_wrong_with_nodes(
    what: tuple[int, int, int, int], harms: dict[int, str], data: st.DataObject
) -> None:
    size, start, stop, limit = what
    others = parts_of(data_of(size), GENERATION + 1, 2)

    def harm(index: int, part: bytes) -> bytes:
        kind = harms.get(index)
        if kind == "flipped":
            at = data.draw(st.integers(0, len(part) - 1))
            return part[:at] + bytes([part[at] ^ 0x10]) + part[at + 1 :]
        if kind == "truncated":
            return part[: data.draw(st.integers(1, len(part)))]
        if kind == "other generation":
            return others[index]
        return others[index - 1] if kind == "other part" else part

    async def test(stage: Stage) -> None:
        nodes = stage.nodes
        for index, kind in harms.items():
            if kind == "gone":
                nodes.mishaps[index + 1] = lambda exchange, _: exchange.refuse(404, "gone")
            elif kind == "slow":
                nodes.mishaps[index + 1] = partial(late, seconds=2.0)
            elif kind in ("broken", "stalled"):
                nodes.mishaps[index + 1] = partial(broken, is_cut=kind == "broken")
            elif kind in ("down", "stopped"):
                (nodes.down if kind == "down" else nodes.stopped).add(index + 1)
        try:
            found: bytes | None = await stage.read(start, stop, limit)
        except DamagedError:
            found = None
        if found is not None or sum(kind != "slow" for kind in harms.values()) <= 2:
            assert found == stage.data[start:stop]
        assert {part for part, _ in stage.flaws} <= set(harms)

    run_stage(test, data_of(size), 2, harm)


WINDOW_BYTES = 2 * STRIPE_BYTES
LONG = data_of(2 * WINDOW_BYTES + STRIPE_BYTES + 12345)


@pytest.fixture(scope="module", autouse=True)
def small_windows() -> Iterator[None]:
    """Windows are small, so that objects may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "WINDOW_BYTES", WINDOW_BYTES)
        yield


def gets(stage: Stage) -> list[tuple[int, str]]:
    """Nodes that were asked for parts, and for which."""
    return [(node, target) for node, method, target in stage.nodes.asked if method == "GET"]


def test_readers_at_one_place_share_what_is_fetched() -> None:
    async def test(stage: Stage) -> None:
        found: list[bytes] = []

        async def read(limit: int) -> None:
            found.append(await stage.read(limit=limit))

        async with trio.open_nursery() as nursery:
            for limit in (1 << 40, 1 << 40, 1 << 40):
                nursery.start_soon(read, limit)
        assert found == [LONG] * 3
        assert len(gets(stage)) == 3 * K  # windows, each a request to a part

    run_stage(test, LONG)


def test_readers_that_began_elsewhere_come_to_share() -> None:
    async def test(stage: Stage) -> None:
        source, behind = stage.source, STRIPE_BYTES
        source.hold()
        await source.range(behind, len(LONG))
        assert await stage.read() == LONG
        await wait_all_tasks_blocked()
        per_part = Counter(node for node, _ in gets(stage))
        assert per_part == dict.fromkeys(range(1, K + 1), 4)  # the first stripe, and what was here
        source.let_go()

    run_stage(test, LONG)


def test_the_next_window_comes_while_this_one_is_sent() -> None:
    async def test(stage: Stage) -> None:
        source = stage.source
        source.hold()
        piece = await source.range(0, len(LONG))
        assert piece == LONG[:UNIT_BYTES]
        await wait_all_tasks_blocked()
        assert len(gets(stage)) == 2 * K
        assert stage.windows.used_bytes == 2 * WINDOW_BYTES
        assert await source.range(WINDOW_BYTES, len(LONG)) == LONG[WINDOW_BYTES:][:UNIT_BYTES]
        await wait_all_tasks_blocked()
        assert len(gets(stage)) == 3 * K
        source.let_go()

    run_stage(test, LONG)


def test_what_is_on_its_way_is_cancelled_when_nobody_holds_it() -> None:
    async def test(stage: Stage) -> None:
        stage.nodes.stopped.update(range(1, 8))
        with trio.move_on_after(0.01):
            await stage.read()
        await stage.check_nothing_left()
        assert not stage.nodes.open_count
        with trio.move_on_after(0.01):
            await stage.read(0, 10)
        await stage.check_nothing_left()
        assert not stage.nodes.open_count

    run_stage(test, LONG)


@pytest.mark.parametrize("stopped", range(1, 6))
def test_a_stopped_node_costs_the_hedge_once(stopped: int) -> None:
    async def test(stage: Stage) -> None:
        for _ in range(4):  # it is known how fast they are
            assert await stage.read() == LONG
        assert stage.fetcher.patience.late_s == LEAST_S
        stage.nodes.stopped.add(stopped)
        began_s = trio.current_time()
        assert await stage.read() == LONG
        # With the window that was fetched ahead; from then on it isn't asked.
        assert trio.current_time() - began_s < LEAST_S + 0.001
        began_s = trio.current_time()
        assert await stage.read(0, 10) == LONG[:10]
        assert trio.current_time() == began_s

    run_stage(test, LONG)


@pytest.mark.parametrize("held_up_s", [0.0, LAG_S, 0.5])
def test_what_held_the_gateway_up_is_no_nodes_fault(held_up_s: float) -> None:
    """Longer than nodes have, in one go; one that stands still is found out all the same."""

    async def test(stage: Stage) -> None:
        for _ in range(4):
            assert await stage.read(0, UNIT_BYTES) == LONG[:UNIT_BYTES]
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        for node in range(1, 6):
            stage.nodes.mishaps[node] = partial(late, seconds=FIRST_S - 0.001)
        stage.nodes.asked.clear()
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                assert await stage.read(0, STRIPE_BYTES) == LONG[:STRIPE_BYTES]

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            if held_up_s:
                clock.jump(FIRST_S + held_up_s)
        assert sorted(node for node, _ in gets(stage)) == [1, 2, 3, 4, 5]
        stage.nodes.mishaps.clear()
        stage.nodes.stopped.add(1)
        began_s = trio.current_time()
        assert await stage.read(0, 10) == LONG[:10]
        assert trio.current_time() - began_s < FIRST_S + 0.001

    run_stage(test, LONG)


def test_a_node_that_is_back_is_asked_again() -> None:
    async def test(stage: Stage) -> None:
        stage.nodes.down.add(1)
        stage.nodes.stopped.add(2)
        assert await stage.read() == LONG
        stage.nodes.down.clear()
        stage.nodes.stopped.clear()
        await trio.sleep(6)
        stage.nodes.asked.clear()
        assert await stage.read(0, 2 * UNIT_BYTES) == LONG[: 2 * UNIT_BYTES]
        assert sorted(node for node, _ in gets(stage)) == [1, 2]
        assert not stage.flaws

    run_stage(test, LONG)


def test_flaws_are_told() -> None:
    def harm(index: int, part: bytes) -> bytes:
        return part[:300_000] if index == 2 else part

    async def test(stage: Stage) -> None:
        stage.located = (1, 2, 3, 4, 0, 6, 7)
        assert await stage.read() == LONG
        assert set(stage.flaws) == {(2, 3)}

    run_stage(test, LONG, harm=harm)


def test_fewer_than_five_is_said_to_be_damage_with_what_is_missing() -> None:
    async def test(stage: Stage) -> None:
        stage.located = (1, 2, 3, 4, 0, 6, 0)
        stage.nodes.down.add(2)
        with pytest.raises(DamagedError, match=r"1 \(node 2\), 4 \(node none\), 6 \(node none\)"):
            await stage.read()
        with pytest.raises(DamagedError):
            await stage.read(UNIT_BYTES, UNIT_BYTES + 1)
        stage.located = None
        with pytest.raises(DamagedError, match="no node has it any more"):
            await stage.read()

    run_stage(test, LONG)


def test_what_was_replaced_is_read_to_its_end_and_what_was_moved_where_it_is() -> None:
    async def test(stage: Stage) -> None:
        source = stage.source
        source.hold()
        assert await source.range(0, 10) == LONG[:10]
        stage.located = (2, 1, 3, 4, 5, 6, 7)  # as if both had been swapped
        assert await stage.read() == LONG
        stage.located = None
        assert await stage.read() == LONG
        source.let_go()

    run_stage(test, LONG)


def test_an_object_is_read_while_it_is_written() -> None:
    async def test(stage: Stage) -> None:
        generation, whole = GENERATION + 1, len(LONG) // STRIPE_BYTES
        parts, uploads = parts_of(LONG, generation, 2), []
        for index, site in enumerate(stage.nodes.sites.values()):
            path = part_path(Part(generation, index))
            uploads.append(await site.upload(path, signed(path, None)))
        stage.nodes.stopped.add(3)
        layout, source = Layout(len(LONG)), stage.make(generation, is_open=True)
        stage.source = source
        source.hold()
        with pytest.raises(DamagedError, match="from 0 on are missing"):
            await source.range(0, 10)
        for stripe in range(layout.stripe_count):
            start, stop = layout.extent(range(stripe, stripe + 1))
            for upload, part in zip(uploads, parts, strict=True):
                await upload.chunk(part[start:stop])
            is_last = stripe == whole
            written = len(LONG) if is_last else (stripe + 1) * STRIPE_BYTES
            source.wrote(written, len(LONG) if is_last else None)
            assert await stage.read(0, written, 1 << 20) == LONG[:written]
        source.let_go()
        for upload in uploads:
            await upload.kill()

    run_stage(test, LONG)


def test_who_wants_nothing_for_long_makes_room() -> None:
    async def test(stage: Stage) -> None:
        source = stage.source
        source.hold()
        await source.range(0, len(LONG))
        await wait_all_tasks_blocked()
        assert stage.windows.used_bytes == 2 * WINDOW_BYTES
        await trio.sleep(CURSOR_S + 1)
        assert (
            await source.range(2 * WINDOW_BYTES, len(LONG)) == LONG[2 * WINDOW_BYTES :][:UNIT_BYTES]
        )
        assert stage.windows.used_bytes == len(LONG) - 2 * WINDOW_BYTES
        assert await source.range(UNIT_BYTES, len(LONG)) == LONG[UNIT_BYTES : 2 * UNIT_BYTES]
        source.let_go()

    run_stage(test, LONG)


def test_memory_is_bounded_however_many_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "BUDGET_BYTES", 6 * WINDOW_BYTES)
    starts = range(0, len(LONG), STRIPE_BYTES // 2)

    async def test(stage: Stage) -> None:
        async def read(start: int) -> None:
            stop = min(start + 2 * STRIPE_BYTES, len(LONG))
            assert await stage.read(start, stop) == LONG[start:stop]

        async with trio.open_nursery() as nursery:
            for start in starts:
                nursery.start_soon(read, start)
        assert 0 < stage.peak_bytes <= 6 * WINDOW_BYTES

    run_stage(test, LONG)


@given(st.lists(st.sampled_from([0.0, 0.03, 2.0]), min_size=7, max_size=7), st.floats(0, 0.4))
@examples(30)
def test_cancelled_at_any_moment_nothing_is_left(delays: list[float], after_s: float) -> None:
    async def test(stage: Stage) -> None:
        for index, delay_s in enumerate(delays):
            stage.nodes.mishaps[index + 1] = partial(late, seconds=delay_s)
        with trio.move_on_after(after_s):
            await stage.read()
        await stage.check_nothing_left()
        kept = sum(len(peer.idle) for peer in stage.links._peers.values())
        assert stage.nodes.open_count == kept

    run_stage(test, LONG)

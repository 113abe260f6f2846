"""Notes of a page become figures: latency, stalls, and what doesn't count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.build import BenchError
from bench.studio.viewing import judge, percentile

FRAME_MS = 40.0


def notes(
    count: int = 500,
    *,
    late_ms: float = 200.0,
    hole: tuple[int, int] = (0, 0),
    events: tuple[tuple[float, str, float], ...] = (),
    after_ms: float = 0.0,
) -> dict[str, Any]:
    """A page that showed a frame every 40 ms, each as late, and none in the hole."""
    at = [index * FRAME_MS for index in range(count) if not hole[0] <= index < hole[1]]
    return {
        "frames": [[one, one - late_ms] for one in at],
        "events": [list(event) for event in events],
        "samples": [[one, 0.19, 1.0, 0.1] for one in at[::25]],
        "unreadable": 0,
        "now": at[-1] + after_ms if at else 0,
    }


def test_a_smooth_picture() -> None:
    found = judge(notes(), settle_s=10, frames_per_s=25)
    assert (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms) == (200, 200, 200, 200)
    assert found.frames == 250
    assert (found.stalls, found.longest_still_ms, found.backwards) == (0, FRAME_MS, 0)
    assert found.player_ms == 190
    assert found.seconds == pytest.approx(10, abs=0.1)


def test_what_comes_before_it_has_settled_does_not_count() -> None:
    early = [[index * FRAME_MS, index * FRAME_MS - 3000] for index in range(250)]
    page = notes()
    page["frames"][:250] = early
    page["events"] = [[4000.0, "waiting", 1], [5000.0, "seeking", 1]]
    found = judge(page, settle_s=10, frames_per_s=25)
    assert found.max_ms == 200
    assert (found.waiting, found.seeks) == (0, 0)


@pytest.mark.parametrize(
    ("hole", "is_dry", "stalls"),
    [
        ((300, 302), True, 0),  # three frames' time is none yet
        ((300, 303), True, 1),
        ((300, 303), False, 0),  # the browser's own
        ((300, 307), False, 1),  # whatever the reason, a viewer saw it
    ],
)
def test_a_still_is_a_stall_when_it_is_long_or_dry(
    hole: tuple[int, int], is_dry: bool, stalls: int
) -> None:
    events = ((hole[0] * FRAME_MS, "waiting", 2.0),) if is_dry else ()
    found = judge(notes(hole=hole, events=events), settle_s=10, frames_per_s=25)
    assert found.stalls == stalls
    assert found.longest_still_ms == (hole[1] - hole[0] + 1) * FRAME_MS
    assert found.waiting == is_dry


def test_a_picture_that_stands_still_at_the_end_is_a_stall() -> None:
    found = judge(notes(after_ms=400), settle_s=10, frames_per_s=25)
    assert (found.stalls, found.longest_still_ms) == (1, 400)


def test_a_frame_that_is_shown_twice_is_no_new_picture() -> None:
    page = notes()
    for index in range(400, 410):
        page["frames"][index][1] = page["frames"][399][1]
    found = judge(page, settle_s=10, frames_per_s=25)
    assert found.frames == 240
    assert (found.stalls, found.max_ms) == (1, 200)


def test_frames_out_of_order_are_counted() -> None:
    page = notes()
    page["frames"][400], page["frames"][401] = (
        [page["frames"][400][0], page["frames"][401][1]],
        [page["frames"][401][0], page["frames"][400][1]],
    )
    assert judge(page, settle_s=10, frames_per_s=25).backwards == 1


@pytest.mark.parametrize("count", [0, 250, 255])
def test_no_picture_is_no_figure(count: int) -> None:
    with pytest.raises(BenchError):
        judge(notes(count), settle_s=10, frames_per_s=25)


@given(values=st.lists(st.floats(0, 1e6), min_size=1), share=st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[float], share: float
) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)

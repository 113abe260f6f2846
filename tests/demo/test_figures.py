"""What the demo counts."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.demo.figures import Figures, Latencies
from chunkstore.metrics import Metrics

durations = st.lists(st.floats(1e-6, 900, allow_subnormal=False), min_size=1, max_size=50)


@given(durations, st.floats(0.01, 1))
def test_a_quantile_is_within_a_percent_of_the_sorted_one(
    samples: list[float], share: float
) -> None:
    latencies = Latencies()
    for sample in samples:
        latencies.add(sample)
    exact_ms = sorted(samples)[math.ceil(share * len(samples)) - 1] * 1000
    found_ms = latencies.quantile_ms(share)
    assert found_ms is not None
    assert abs(found_ms - exact_ms) <= exact_ms * 0.011
    assert latencies.count == len(samples)


def test_what_no_bucket_is_for_is_counted_in_the_outermost() -> None:
    latencies = Latencies()
    assert latencies.quantile_ms(0.99) is None
    latencies.add(0)
    latencies.add(1e9)
    assert (latencies.quantile_ms(0.5), latencies.quantile_ms(1)) == (0.001, 1_180_000)


def test_a_report_has_what_players_and_the_origin_counted() -> None:
    metrics = Metrics()
    figures = Figures(metrics, "http://h/a.mpd")
    assert figures.report().seconds == 0
    figures.received(10, is_chunk_end=False)
    figures.received(5, is_chunk_end=True)
    for path in ("/1", "/2", "/1"):  # the first of them by two players
        figures.whole(path)
    metrics.uploads_refused[507] += 2
    metrics.aborts["idle"] += 3
    report = figures.report()
    assert (report.bytes, report.chunks, report.segments) == (15, 1, 2)
    assert (report.refused, report.aborted, report.p50_ms) == (2, 3, None)
    assert report.mpd_url == "http://h/a.mpd"

"""/metrics: every metric by its name, in Prometheus' text format.

The counters stand where things happen, as plain integers; here they get names. No label has values
that a user chooses, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from chunkstore.live import Catalog
from chunkstore.metrics import AGE_BOUNDS_S, Figure, Histogram
from chunkstore.server import Exchange, Server
from chunkstore.wire import field_block

__all__ = ["Exposition", "Figures"]

Figures: TypeAlias = "Callable[[], Awaitable[Iterable[Figure]]]"
"""Gives what else is counted, each time that somebody asks."""
_CONTENT_TYPE = field_block([("Content-Type", CONTENT_TYPE_LATEST)])


class Exposition(Collector):
    """The handler of /metrics.

    Args:
        catalog: whose objects, memory and readers are counted; None: a server without objects.
        origin: whose connections and answers are.
        fields: go into every answer.
        figures: what else is counted; None: nothing.
    """

    def __init__(
        self,
        catalog: Catalog | None,
        origin: Server,
        fields: bytes,
        figures: Figures | None = None,
    ) -> None:
        self._catalog = catalog
        self._origin = origin
        self._fields = _CONTENT_TYPE + fields
        self._figures = figures
        self._others: list[Figure] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def answer(self, exchange: Exchange) -> None:
        """All metrics now."""
        if self._figures is not None:
            self._others = list(await self._figures())
        await exchange.respond(200, self._fields, generate_latest(self._registry))

    def describe(self) -> list[Metric]:
        """Nothing: asked when it is registered, where names can't collide."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, with what it is now."""
        yield from self._answers()
        if self._catalog is not None:
            yield from _uploads(self._catalog)
            yield from _readers(self._catalog)
            yield from _stored(self._catalog)
        yield from map(_family, self._others)

    def _answers(self) -> Iterator[Metric]:
        metrics = self._origin.metrics
        yield _counter("connections", "Connections accepted.", metrics.connections)
        yield _counter(
            "connections_refused",
            "Connections beyond max_connections.",
            metrics.connections_refused,
        )
        yield _gauge("open_connections", "Connections now.", len(self._origin.connections))
        yield _counters("responses", "Answers by status.", "status", metrics.responses)
        yield _counters("endings", "Answers by how they ended.", "ending", metrics.endings)
        yield _histogram(
            "first_byte_seconds", "Request's head to first byte handed over.", metrics.first_byte
        )
        yield _histogram(
            "loop_lag_seconds", "How late the event loop was for a timer.", metrics.loop_lag
        )
        yield _counter("log_lines_dropped", "Log lines dropped.", self._origin.log.dropped_count)


def _uploads(catalog: Catalog) -> Iterator[Metric]:
    metrics = catalog.metrics
    yield _gauge("open_uploads", "Uploads under way.", catalog.upload_count)
    yield _counters("aborts", "Uploads that broke off, by cause.", "cause", metrics.aborts)
    yield _counters("uploads_refused", "PUTs refused by status.", "status", metrics.uploads_refused)
    yield _counter(
        "uploads_completed_idle",
        "Uploads that fell idle and were taken for complete, by policy.",
        metrics.completed_idle,
    )
    yield _histogram(
        "upload_longest_gap_seconds",
        "Longest time between two arrivals of bytes, an upload that ended.",
        metrics.upload_gap,
    )


def _readers(catalog: Catalog) -> Iterator[Metric]:
    metrics = catalog.metrics
    places = catalog.reader_counts()
    yield _gauges("readers", "Readers of open objects.", "place", places)
    yield _histogram(
        "sent_age_seconds",
        "From a byte's arrival to its hand-off to the kernel, for readers at a live edge.",
        metrics.sent_age,
    )
    yield _counter("readers_taken_over", "Readers that went on in a retry.", metrics.taken_over)
    yield _gauge("held_requests", "GETs that wait for bytes.", catalog.holds.waiter_count)
    holds = {"met": metrics.holds_met, "unmet": metrics.holds_unmet}
    yield _counters("holds", "Holds by how they ended.", "outcome", holds)
    yield _counter("missed_at_edge", "404s in a folder that is live.", metrics.missed_at_edge)


def _stored(catalog: Catalog) -> Iterator[Metric]:
    metrics = catalog.metrics
    yield _gauge("objects", "Names that are stored or being written.", len(catalog.namespace))
    yield _gauges("memory_bytes", "Budget in use.", "use", catalog.charges())
    yield _gauge("memory_budget_bytes", "The budget.", catalog.store.limit_bytes)
    yield _counter("evicted", "Complete objects evicted for room.", metrics.evicted)
    yield _counter("expired", "Complete objects whose time was over.", metrics.expired)
    yield _counter(
        "reads_failed", "GETs of objects whose bytes can't be read.", metrics.reads_failed
    )
    shelf = catalog.shelf
    yield _gauges("disk_bytes", "The data folder.", "use", shelf.usage() if shelf else {})
    yield _gauge("disk_troubles", "Things wrong with it.", len(shelf.trouble()) if shelf else 0)
    yield _counter("disk_flaws", "Damage found by the scrub.", shelf.flaw_count if shelf else 0)


def _family(figure: Figure) -> Metric:
    name, text, label, values, is_counter = figure
    if is_counter:
        return _counters(name, text, label, values) if label else _counter(name, text, values[""])
    return _gauges(name, text, label, values) if label else _gauge(name, text, values[""])


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"chunkstore_{name}", text, value=value)


def _counters(
    name: str, text: str, label: str, values: Mapping[str, int] | Mapping[int, int]
) -> Metric:
    family = CounterMetricFamily(f"chunkstore_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"chunkstore_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"chunkstore_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*AGE_BOUNDS_S, "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((str(bound), total))
    return HistogramMetricFamily(
        f"chunkstore_{name}", text, buckets=buckets, sum_value=histogram.sum_s
    )

"""The plots of a report, from its results: SVG on white, the same bytes for the same results.

    fanout.svg    what a delivered GiB costs, by server; the floor as a line
    complete.svg  what a GET costs, by server and size
    ingest.svg    what a GiB costs on its way in, by server and case
    scale.svg     what a reader costs among more and more; should be flat
    listing.svg   what PUT and DELETE cost among more and more keys; should be flat

A plot whose results aren't there isn't made. Cases that grow begin with their number ("128
readers"). A bar is the median, its whisker the runs; a server much dearer than ours has its bar
broken off, and its figure beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.tables import Case, is_floor, spread

__all__ = ["write_plots"]

Cases = Mapping[tuple[str, str], Case]

_INK, _OURS, _PEER, _QUIET = "#1f2933", "#0b6e99", "#b8c1cc", "#7b8794"
_BROKEN_AT = 5  # times ours: dearer bars are broken off there
_FANOUT = "32 writers x 128 readers"
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",  # DejaVu Sans, which comes with matplotlib, lays it out
    "font.size": 9,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: a tenth of the bytes
    "svg.hashsalt": "chunkstore",  # ids of elements don't change from run to run
}


def write_plots(cases: Cases, folder: Path) -> dict[str, str]:
    """Writes what can be plotted, each file whole or not at all; removes what can't any more.

    Args:
        cases: the results, by question and case.
    Returns:
        question -> what its plot shows, in words; the file is `folder`/QUESTION.svg.
    """
    made: dict[str, str] = {}
    with rc_context(_STYLE):
        for question, (draw, words) in _PLOTS.items():
            found = {case: each for (name, case), each in cases.items() if name == question}
            figure = draw(found)
            path = folder / f"{question}.svg"
            if figure is None:
                path.unlink(missing_ok=True)
            else:
                _save(figure, path)
                made[question] = words
    return made


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    try:
        figure.savefig(half, format="svg", metadata={"Date": None, "Creator": None})
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


# ---- bars ----


def _bars(axes: Axes, case: Case, title: str) -> None:
    """One case: a bar a server by the case's first figure, the cheapest on top."""
    costs = {name: values for name in case.servers if (values := case.values(name, case.figure))}
    floors = {name: costs.pop(name) for name in list(costs) if is_floor(name)}
    lost = [name for name in case.servers if name not in costs and not is_floor(name)]
    order = sorted(costs, key=lambda name: median(costs[name]))
    limit = max(max(map(max, costs.values())), 0.0) if costs else 1.0
    if "ours" in costs:
        limit = min(limit, _BROKEN_AT * median(costs["ours"]))
    for row, name in enumerate(order):
        middle = median(costs[name])
        colour = _OURS if name == "ours" else _PEER
        axes.barh(row, min(middle, limit), height=0.64, color=colour)
        if middle > limit:  # two white strokes: it goes on
            for place in (0.955, 0.975):
                axes.plot(
                    [limit * place, limit * (place + 0.012)], [row - 0.4, row + 0.4], "w", lw=2
                )
        low, high = min(costs[name]), min(max(costs[name]), limit)
        if low < high and middle <= limit:
            axes.plot([low, high], [row, row], color=_INK, lw=1)
        end = min(max(middle, high), limit)
        axes.text(end + limit * 0.02, row, _label(costs[name]), va="center")
    for row in range(len(order), len(order) + len(lost)):
        text = axes.text(limit * 0.02, row, "no run that counts", va="center", color=_QUIET)
        text.set_bbox({"color": "white", "pad": 1})
    for name, values in floors.items():
        axes.axvline(median(values), color=_INK, lw=1, ls="--")
        said = f"{name}: {spread(values)}"
        axes.text(median(values), -0.62, said, ha="center", va="bottom", fontsize=8)
    axes.set_yticks(range(len(order) + len(lost)), [*order, *lost])
    axes.set_ylim(len(order) + len(lost) - 0.4, -0.6)
    axes.set_xlim(0, limit * 1.5)
    axes.set_xlabel(f"server {case.figure}")
    axes.set_title(title, loc="left", fontsize=10, pad=16 if floors else 6)
    axes.tick_params(axis="y", length=0)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == "ours" else "normal")


def _label(values: Sequence[float]) -> str:
    return spread(values).replace(" to ", " – ")


def _panels(found: Mapping[str, Case], columns: int) -> Figure | None:
    if not found:
        return None
    columns = min(columns, len(found))
    rows = -(-len(found) // columns)
    tallest = max(len(case.servers) for case in found.values())
    size = (1.2 + 3.8 * columns, rows * (0.95 + 0.27 * tallest))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (name, case) in zip(grid.flat, found.items(), strict=False):
        _bars(axes, case, name)
    for axes in list(grid.flat)[len(found) :]:
        axes.remove()
    return figure


def _fanout(found: Mapping[str, Case]) -> Figure | None:
    case = next((case for name, case in found.items() if name.startswith(_FANOUT)), None)
    return _panels({} if case is None else {_FANOUT: case}, 1)


# ---- lines that should be flat ----


def _sizes(found: Mapping[str, Case]) -> dict[int, Case]:
    """The cases that grow, by their number."""
    numbers = {name: re.match(r"\d+", name) for name in found}
    return {int(number[0]): found[name] for name, number in numbers.items() if number}


def _flat_axes(sizes: Sequence[int], noun: str, ylabel: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / 1.3, sizes[-1] * (sizes[-1] / sizes[0]) ** 0.35)
    axes.set_xlabel(noun)
    axes.set_ylabel(ylabel)
    axes.set_title(title, loc="left", fontsize=10)
    return figure, axes


def _line(axes: Axes, points: Mapping[int, Sequence[float]], text: str, colour: str) -> None:
    """Medians with the runs' spread, named at the last one; dashed is what flat would be."""
    sizes = list(points)
    middles = [median(values) for values in points.values()]
    axes.plot([sizes[0], sizes[-1]], [middles[0], middles[0]], color=_QUIET, lw=1, ls="--")
    below = [middle - min(values) for middle, values in zip(middles, points.values(), strict=True)]
    above = [max(values) - middle for middle, values in zip(middles, points.values(), strict=True)]
    axes.errorbar(sizes, middles, [below, above], color=colour, marker="o", ms=4, capsize=2, lw=1.6)
    text = f"{text}\n{middles[-1]:.3g}, {middles[-1] / middles[0]:.2f}x the first"
    axes.annotate(
        text, (sizes[-1], middles[-1]), (7, 0), textcoords="offset points", va="center",
        color=colour, fontsize=8,
    )  # fmt: skip


def _scale(found: Mapping[str, Case]) -> Figure | None:
    """Ours over the floor's growth since the fewest: more sockets cost the kernel more."""
    cases = {
        size: case
        for size, case in sorted(_sizes(found).items())
        if case.values("ours", case.figure) and case.values("floor", case.figure)
    }
    if len(cases) < 2:
        return None
    floors = {size: median(case.values("floor", case.figure)) for size, case in cases.items()}
    first = next(iter(floors.values()))
    figure, axes = _flat_axes(
        list(cases),
        "readers, of 32 writers (8 chunks of 4 KiB a second each)",
        "server CPU us per (reader, chunk)\nover the floor's growth",
        "A reader among many: the line should not rise",
    )
    points = {
        size: [cost * first / floors[size] for cost in case.values("ours", case.figure)]
        for size, case in cases.items()
    }
    _line(axes, points, "ours", _OURS)
    axes.set_ylim(0, 1.2 * max(map(max, points.values())))
    return figure


def _listing(found: Mapping[str, Case]) -> Figure | None:
    cases = dict(sorted(_sizes(found).items()))
    if len(cases) < 2:
        return None
    figure, axes = _flat_axes(
        list(cases),
        "keys in the server",
        "server CPU us per request",
        "PUT and DELETE among many keys: the lines should be flat",
    )
    top = 0.0
    for name, colour in (("PUT", _OURS), ("DELETE", "#b44d12")):
        points = {size: case.values("ours", f"CPU us/{name}") for size, case in cases.items()}
        points = {size: values for size, values in points.items() if values}
        if len(points) < 2:
            continue
        _line(axes, points, name, colour)
        top = max(top, *(max(values) for values in points.values()))
    axes.set_ylim(0, 1.15 * (top or 1))
    return figure if top else None


_PLOTS: dict[str, tuple[Callable[[Mapping[str, Case]], Figure | None], str]] = {
    "fanout": (_fanout, "CPU seconds of each server for a delivered GiB, 32 writers x 128 readers"),
    "complete": (lambda found: _panels(found, 3), "CPU microseconds of each server for a GET"),
    "ingest": (lambda found: _panels(found, 2), "CPU seconds of each server for a GiB taken in"),
    "scale": (_scale, "what a reader costs among 128, 1024 and 8192, the floor's growth apart"),
    "listing": (_listing, "what PUT and DELETE cost as the keys grow"),
}

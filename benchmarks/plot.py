"""A picture of a comparison: bars on a logarithmic scale, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.figure import FIGURES, Figure
from benchmarks.run import Run
from benchmarks.variant import BROKERS, CHICORY, Broker, Variant

PICTURED = (
    "drain",
    "drain cpu",
    "server cpu",
    "enqueue 32",
    "in threads",
    "latency p50",
    "loaded p50",
    "loaded p99",
    "wake-up p50",
    "idle requests",
)

_WIDTH, _LABEL, _VALUE, _ROW, _HEAD = 760, 190, 90, 20, 34
_OURS, _THEIRS = "#4464ad", "#b0b7c3"


def save(run: Run, path: Path) -> Path:
    """Write the picture; no file where nothing in it was measured."""
    y, parts = 10, list[str]()
    for broker in BROKERS:
        for figure in FIGURES:
            chart = _chart(run, broker, figure, y) if figure.name in PICTURED else []
            parts += chart
            y += _HEAD + _ROW * (len(chart) - 1) if chart else 0
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 30}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )
    path.write_text("\n".join([head, *parts, _foot(run, y), "</svg>"]) + "\n", encoding="utf-8")
    return path


def _foot(run: Run, y: int) -> str:
    machine = [run.machine[name] for name in ("cpu", "system", "commit") if name in run.machine]
    told = f"{run.begun:%Y-%m-%d}, medians of {run.rounds()} rounds, {', '.join(machine)}"
    return f'<text x="10" y="{y + 20}" font-size="10">{escape(told)}</text>'


def _chart(run: Run, broker: Broker, figure: Figure, y: int) -> list[str]:
    medians = {
        variant: median
        for variant in run.variants()
        if variant.broker == broker and (median := run.median(figure.name, variant))
    }
    if len(medians) < 2:
        return []
    low = 10 ** math.floor(math.log10(min(medians.values())) - 0.1)
    high = max(medians.values())
    title = f"{broker}: {figure.name}, {figure.unit} (logarithmic)"
    heading = f'<text x="10" y="{y + 20}" font-weight="bold">{escape(title)}</text>'
    rows = [
        _bar(variant, figure, median, math.log(median / low) / math.log(high / low), y + _HEAD + n)
        for n, (variant, median) in _placed(medians)
    ]
    return [heading, *rows]


def _placed(medians: dict[Variant, float]) -> Sequence[tuple[int, tuple[Variant, float]]]:
    return [(number * _ROW, item) for number, item in enumerate(medians.items())]


def _bar(variant: Variant, figure: Figure, median: float, length: float, y: int) -> str:
    width = length * (_WIDTH - _LABEL - _VALUE)
    colour = _OURS if variant.who == CHICORY else _THEIRS
    return (
        f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(variant.label)}</text>'
        f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_ROW - 4}" fill="{colour}"/>'
        f'<text x="{_LABEL + width + 6:.1f}" y="{y + 12}">{escape(figure.text(median))}</text>'
    )

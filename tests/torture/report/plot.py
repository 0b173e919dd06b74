"""Recovery times as a picture: one row per kind of fault, one dot per fault, on a log scale."""

from __future__ import annotations

import math
from statistics import median, quantiles
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Each colour has contrast to white and to near black; the background is transparent.
TEXT, DOT, MIDDLE = "#737c86", "#2f81f7", "#d29922"
LEFT, WIDTH, RIGHT = 190, 560, 20
TOP, ROW = 34, 22
LEAST, MOST = 0.01, 120.0
TICKS = (0.01, 0.1, 1, 10, 100)
MOST_DOTS = 150
FONT = "font-family='-apple-system, Segoe UI, Helvetica, Arial, sans-serif' font-size='13'"


def plot(recoveries: Mapping[str, Sequence[float]]) -> str:
    """The picture as SVG, the slowest kind last."""
    kinds = sorted(recoveries, key=lambda kind: (median(recoveries[kind]), kind))
    height = TOP + ROW * len(kinds) + 8
    width = LEFT + WIDTH + RIGHT
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' role='img' {FONT} fill='{TEXT}'>"
        "<title>Seconds until all worked again, by kind of fault</title>\n"
    )
    parts = [head]
    parts += [
        f"<path d='M{_x(tick):.1f} {TOP - 8}V{height - 6}' stroke='{TEXT}' opacity='0.35'/>"
        f"<text x='{_x(tick):.1f}' y='{TOP - 14}' text-anchor='middle'>{tick:g} s</text>\n"
        for tick in TICKS
    ]
    for row, kind in enumerate(kinds):
        middle = TOP + ROW * row + ROW / 2
        parts.append(
            f"<text x='{LEFT - 12}' y='{middle + 4.5:.1f}' text-anchor='end'>{escape(kind)}</text>"
        )
        dots = "".join(
            f"<circle cx='{_x(one):.1f}' cy='{middle:.0f}' r='3'/>"
            for one in _thinned(recoveries[kind])
        )
        parts.append(f"<g fill='{DOT}' fill-opacity='0.3'>{dots}</g>")
        x = _x(median(recoveries[kind]))
        parts.append(
            f"<path d='M{x:.1f} {middle - 8:.0f}v16' stroke='{MIDDLE}' stroke-width='2.5'/>\n"
        )
    return "".join([*parts, "</svg>\n"])


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    if len(values) < 2:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _thinned(values: Sequence[float]) -> list[float]:
    """At most `MOST_DOTS` values with the same distribution, the least and the greatest too."""
    ordered = sorted(values)
    if len(ordered) <= MOST_DOTS:
        return ordered
    last = len(ordered) - 1
    return [ordered[round(place * last / (MOST_DOTS - 1))] for place in range(MOST_DOTS)]


def _x(seconds: float) -> float:
    bounded = min(max(seconds, LEAST), MOST)
    return LEFT + WIDTH * math.log(bounded / LEAST) / math.log(MOST / LEAST)

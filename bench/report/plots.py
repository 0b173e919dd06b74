"""Bars with spread marks, as SVG that is readable on a light and on a dark page."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.report.result import Result, number

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each colour has contrast to white and to near black; the background is transparent.
TEXT, OURS, THEIRS = "#737c86", "#2f81f7", "#8b949e"
LABELS, BARS, VALUES = 270, 210, 80
"""Widths in pixels: the names, the longest bar, the figure after it."""
TOP, ROW, BAR = 30, 26, 14
FONT = "font-family='-apple-system, Segoe UI, Helvetica, Arial, sans-serif' font-size='13'"


@dataclass(frozen=True)
class Bar:
    """A bar: the median, the least and the greatest of the rounds."""

    label: str
    is_ours: bool
    values: Sequence[float]


def plot(result: Result) -> str:
    """Return the plot: a panel for the compared figure, and one for CPU time if it is known."""
    figures = [result.figure, *(["cpu_us"] if "cpu_us" in list(result.columns)[1:] else [])]
    panels = []
    for place, figure in enumerate(figures):
        bars = [
            Bar(title, name not in result.rivals, result.values(name, figure))
            for name, title in result.titles.items()
        ]
        better = "more" if place == 0 and result.more_is_better else "less"
        panels.append(_panel(f"{result.columns[figure]} ({better} is better)", bars, place))
    rows = len(result.titles)
    width = LABELS + len(figures) * (BARS + VALUES)
    height = TOP + rows * ROW + 6
    labels = "".join(
        _text(LABELS - 10, _middle(row), title, "end", bold=name not in result.rivals)
        for row, (name, title) in enumerate(result.titles.items())
    )
    title = escape(result.content["title"])
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' role='img' {FONT} fill='{TEXT}'>"
        f"<title>{title}</title>\n{labels}{''.join(panels)}</svg>\n"
    )


def _panel(heading: str, bars: Sequence[Bar], place: int) -> str:
    left = LABELS + place * (BARS + VALUES)
    longest = max((max(bar.values) for bar in bars if bar.values), default=0) or 1
    drawn = [_text(left, 14, heading, "start")]
    for row, bar in enumerate(bars):
        middle = _middle(row)
        if not bar.values:
            drawn.append(_text(left, middle, "no good sample", "start"))
            continue
        low, mid, high = (
            BARS * value / longest
            for value in (min(bar.values), median(bar.values), max(bar.values))
        )
        colour = OURS if bar.is_ours else THEIRS
        drawn.append(
            f"<rect x='{left}' y='{middle - BAR / 2:.0f}' width='{max(mid, 1):.1f}' height='{BAR}' "
            f"rx='2' fill='{colour}' fill-opacity='{0.6 if bar.is_ours else 0.4}'/>\n"
        )
        drawn.append(_whisker(left + low, left + high, middle))
        drawn.append(_text(left + max(mid, high) + 6, middle, number(median(bar.values)), "start"))
    return "".join(drawn)


def _whisker(low: float, high: float, middle: float) -> str:
    if high - low < 1:
        return ""
    lines = f"M{low:.1f} {middle - 4}v8M{low:.1f} {middle}H{high:.1f}M{high:.1f} {middle - 4}v8"
    return f"<path d='{lines}' stroke='{TEXT}' stroke-width='1.5' fill='none'/>\n"


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = " font-weight='600'" if bold else ""
    # Not every viewer centres text on a line; a third of its height does it.
    place = f"x='{x:.1f}' y='{y + 4.5:.1f}' text-anchor='{anchor}'"
    return f"<text {place}{weight}>{escape(text)}</text>\n"


def _middle(row: int) -> float:
    return TOP + row * ROW + ROW / 2

"""Make the page from the raw files: tables, plots, and where Verve is slower.

python -m bench.report.page                             from bench/results to bench/REPORT.md
python -m bench.report.page bench/results/quick FILE    from other files
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.report.plots import plot
from bench.report.reasons import reason
from bench.report.result import (
    GENERATOR_BUSY,
    NOISE,
    SERVER_BUSY,
    Result,
    State,
    Verdict,
    number,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BENCH = Path(__file__).resolve().parents[1]
ACCURACY = BENCH / "ACCURACY.md"
DECISIONS = BENCH.parent / "docs" / "decisions.md"

OVERVIEW = "accept-distinct"
"""The scenario of the picture that opens the page."""

METHOD = """\
The server has one core and the load generator another, unless a scenario says that they share
both. Contenders take turns (A B C, A B C, ...), so that a slow minute of the machine hits all of
them. A ratio is taken within each round. Tables show the median of the rounds and, in brackets, the
least and the greatest. In plots a bar is the median, and its mark goes from the least to the
greatest. CPU time is that of all processes of the server, its Redis included, as the kernel counts
it. Every server starts with new state and, unless a scenario says otherwise, has a second of load
before it is measured.

**Every answer is checked, and every count is compared with the ids that were sent, for peers too.
A run with a wrong count is named as failed, and none of its figures is used.** A sample during
which other programs had more than {noise:.0%} of a core is named as disturbed. Where most rounds
are disturbed, a goal is undecided.

The generator keeps 64 connections open, unless a scenario says otherwise (4 for batches). It must
not be the limit. Where it used more than {generator:.0%} of its core, and the server less than
{server:.0%} of its own, the page says so: that rate is a lower bound, a goal of a ratio to it is
undecided, and the CPU time per request is what to compare. At a constant rate, latency is timed
from the moment at which a request was due, so a server that stalls cannot hide it. Tables get twice
as many operations as distinct ids, in random order; peers in Rust hash with foldhash.
"""


def render(folder: Path, page: Path) -> None:
    """Write the page of all results in a folder, and the plots beside them."""
    results = read(folder)
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for result in results:
        (plots / f"{result.name}.svg").write_text(plot(result))
        if result.name == OVERVIEW:
            (plots / "overview.svg").write_text(plot(result.fastest_first()))
    drawn = {result.name for result in results}
    for old in plots.glob("*.svg"):
        if old.stem not in drawn | ({"overview"} if OVERVIEW in drawn else set()):
            old.unlink()
    page.parent.mkdir(parents=True, exist_ok=True)
    to = os.path.relpath
    text = text_of(
        results,
        plots=to(plots, page.parent),
        decisions=to(DECISIONS, page.parent),
        folder=to(folder, page.parent),
        accuracy=to(ACCURACY, page.parent),
    )
    page.write_text(text)


def text_of(
    results: Sequence[Result], *, plots: str, decisions: str, folder: str, accuracy: str
) -> str:
    """Return the page, with links to the plots, the decisions, the raw files and the accuracy."""
    if not results:
        return "# Measured\n\nNothing was measured yet: `make bench FULL=1`.\n"
    parts = [
        _opening(results, folder, accuracy),
        _picture(results, plots),
        _goals(results),
        _prices(results),
        _slower(results, decisions),
        f"## Method\n\n{_method()}{_generator(results)}",
        _machines(results),
        "## Scenarios\n",
        *(_scenario(result, plots) for result in results),
    ]
    return "\n".join(parts)


def _method() -> str:
    return METHOD.format(noise=NOISE, generator=GENERATOR_BUSY, server=SERVER_BUSY)


def table(result: Result) -> str:
    """Return the table of a scenario; its columns are aligned in the source too."""
    head = ["", *result.columns.values(), "spread", "ours / theirs", "goal"]
    rows = [_row(result, name, title) for name, title in result.titles.items()]
    return markdown([head, *rows])


def notes(result: Result) -> list[str]:
    """Return the notes to a table, one line each."""
    lines = [f"**FAILED: {failure}**" for failure in result.failures()]
    lines += [
        f"Left out: {result.titles[name]}: {reason}"
        for name, reason in result.content["skipped"].items()
    ]
    disturbed = [
        f"{result.titles[name]} in {'round' if len(rounds) == 1 else 'rounds'} "
        + ", ".join(map(str, rounds))
        for name, rounds in result.disturbed().items()
    ]
    fewer = [
        f"{title} ({len(result.samples(name))})"
        for name, title in result.titles.items()
        if 0 < len(result.samples(name)) < result.rounds
    ]
    if fewer:
        lines.append(f"In fewer rounds, since they take long: {', '.join(fewer)}.")
    if disturbed:
        lines.append(f"Disturbed: {'; '.join(disturbed)}.")
    if limited := result.limited():
        named = ", ".join(result.titles[name] for name in limited)
        lines.append(
            f"Faster than the generator, which was the limit: {named}. Compare the CPU time."
        )
    if result.content["note"]:
        lines.append(result.content["note"])
    return lines


def _opening(results: Sequence[Result], folder: str, accuracy: str) -> str:
    failed = [f"* **{r.content['title']}: {line}**\n" for r in results for line in r.failures()]
    return (
        "# Verve beside others, measured\n\n"
        "Each scenario names its rounds and its day. This page is made by `make bench` from the "
        f"[raw files]({folder}); nothing in it is written by hand.\n\n"
        f"How far the counts are off when something fails is on [a page of its own]({accuracy}).\n"
        + (f"\nThese runs failed:\n\n{''.join(failed)}" if failed else "")
    )


def _goals(results: Sequence[Result]) -> str:
    rows = [["goal", "measured", ""]]
    for result in results:
        for verdict in result.verdicts():
            measured = "" if verdict.measured is None else number(verdict.measured)
            state = verdict.state.value
            bold = state if verdict.state == State.REACHED else f"**{state}**"
            rows.append(
                [f"{result.content['title']}: {goal_text(result, verdict)}", measured, bold]
            )
    if len(rows) == 1:
        return ""
    return f"## Goals\n\n{markdown(rows)}"


def goal_text(result: Result, verdict: Verdict) -> str:
    """Return a goal in words."""
    goal = verdict.goal
    sign = "at most" if result.at_most(goal) else "at least"
    bound = number(goal["bound"])
    title = result.columns[goal["figure"] or result.figure]
    if not goal["against"]:
        return f"{sign} {bound} {title}"
    # A figure that is not the compared one is named.
    named = f"{title}, " if goal["figure"] else ""
    return f"{named}{sign} {bound} times {result.titles[goal['against']]}"


def _picture(results: Sequence[Result], plots: str) -> str:
    """Return the picture that opens the page, if its scenario was measured."""
    if not any(result.name == OVERVIEW for result in results):
        return ""
    return (
        f"![Requests per second and CPU time per request of each server]({plots}/overview.svg)\n\n"
        "Requests per second and CPU time per request: one worker on one core, distinct ids, 64"
        " connections.\n"
    )


def _prices(results: Sequence[Result]) -> str:
    """Return what Verve costs beyond a part of it, beside the whole figure of a rival."""
    rows = []
    for result in results:
        price = result.content.get("price")
        if not price:
            continue
        figure = price["figure"]
        extra = result.differences(price["part"], figure)
        whole, rival = (result.values(name, figure) for name in (result.ours, price["beside"]))
        if extra and whole and rival:
            cells = (extra, whole, rival)
            rows.append([f"{result.content['title']}, price of {price['of']}", *map(_range, cells)])
    if not rows:
        return ""
    return (
        "## Price of crash safety and windows\n\n"
        "What the counter takes beyond its table alone, in ns per insert, beside the whole time of"
        " `DashSet`, which has neither.\n\n"
        + markdown([["", "price", "all of Verve's insert", "all of `DashSet`'s"], *rows])
    )


def _slower(results: Sequence[Result], decisions: str) -> str:
    """Return one paragraph per scenario: the facts, then each reason once."""
    lines = []
    for result in results:
        ahead = result.slower()
        missed = {v.goal["against"]: v for v in result.verdicts() if v.state == State.MISSED}
        names = list({**ahead, **missed})
        if not names:
            continue
        facts = [
            f"{result.titles[name]} is ahead, ours / theirs {_spread(ratios)}"
            for name, ratios in ahead.items()
        ]
        facts += [
            f"the goal of {goal_text(result, it)} is missed, with {number(it.measured or 0)}"
            for it in missed.values()
        ]
        found = [reason(result.name, name, result.ours) for name in names]
        why = [
            f"{one.why} ([more]({decisions}#{one.decision}))"
            for one in dict.fromkeys(one for one in found if one)
        ]
        if None in found:
            why.append("No other reason is recorded." if why else "No reason is recorded.")
        shown = f"{'; '.join(facts)}. {' '.join(why)}"
        lines.append(
            f"* **{result.content['title']}** ({result.columns[result.figure]}): {shown}\n"
        )
    text = "".join(lines) or "Nowhere in these figures.\n"
    return f"## Where Verve is slower\n\n{text}"


def _generator(results: Sequence[Result]) -> str:
    """Return the greatest share of a core that the load generator used."""
    shares = [
        (share, result.content["title"], title)
        for result in results
        for name, title in result.titles.items()
        for share in result.values(name, "generator_cpu")
    ]
    if not shares:
        return ""
    most, scenario, title = max(shares)
    return f"\nThe generator used at most {most:.0%} of a core ({scenario}: {title}).\n"


def _machines(results: Sequence[Result]) -> str:
    """Return the machine and the versions, and the scenarios that were measured with others."""
    last = max(results, key=lambda result: str(result.content["ended"]))
    machine: Mapping[str, str] = last.content["machine"]
    rows = [["", ""], *([name, value] for name, value in machine.items())]
    begins = min(str(result.content["began"]) for result in results)
    rows.append(["measured", f"{begins[:16]} to {last.content['ended'][:16]} UTC"])
    others = [
        f"{result.content['title']}: {name} {result.content['machine'].get(name)}"
        for result in results
        for name, value in machine.items()
        if result.content["machine"].get(name) != value
    ]
    text = markdown(rows, right=False)
    if others:
        text += "\nMeasured elsewhere, or with other versions:\n\n"
        text += "".join(f"* {other}\n" for other in others)
    return text


def _scenario(result: Result, plots: str) -> str:
    title = result.content["title"]
    rounds = f"{result.rounds} {'round' if result.rounds == 1 else 'rounds'}"
    told = "".join(f"\n{note}\n" for note in notes(result))
    picture = f"![{title.replace('`', '')}]({plots}/{result.name}.svg)"
    date = str(result.content["began"])[:10]
    about = f"`ONLY={result.name}`, {rounds}, {date}."
    return f"### {title}\n\n{picture}\n\n{table(result)}{told}\n{about}\n"


def _row(result: Result, name: str, title: str) -> list[str]:
    left = len(result.columns) + 2
    if name in result.content["skipped"]:
        return [title, "left out", *[""] * left]
    columns = [result.values(name, figure) for figure in result.columns]
    compared = columns[0]
    if not compared:
        return [title, "failed", *[""] * left]
    ratios = [] if name == result.ours else result.ratios(name)
    goals = [
        f"{'<=' if result.at_most(verdict.goal) else '>='} {number(verdict.goal['bound'])}"
        f" {verdict.state}"
        for verdict in result.verdicts()
        if (verdict.goal["against"] or result.ours) == name
    ]
    return [
        title,
        *(number(median(values)) if values else "" for values in columns),
        f"{number(min(compared))} to {number(max(compared))}",
        _spread(ratios) if ratios else "",
        ", ".join(goals),
    ]


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def markdown(rows: list[list[str]], *, right: bool = True) -> str:
    """Return a table whose columns are aligned in the source too."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        # Names are aligned to the left, figures to the right.
        cells = [
            cell.rjust(width) if right and place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |\n"

    rule = "".join(
        f"{'-' * (width + 1)}{':' if right and place else '-'}|"
        for place, width in enumerate(widths)
    )
    return line(rows[0]) + f"|{rule}\n" + "".join(map(line, rows[1:]))


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else BENCH / "results"
    render(folder, Path(sys.argv[2]) if len(sys.argv) > 2 else BENCH / "REPORT.md")

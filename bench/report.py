"""Turns samples into tables: medians, spread, and the ratio of each pair."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from contenders import NOISE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contenders import Contender, Sample
    from scenarios import Scenario


@dataclass(frozen=True)
class Result:
    """All samples of a scenario, by the contenders' names, in the order of the rounds."""

    scenario: Scenario
    samples: Mapping[str, Sequence[Sample]]
    skipped: Mapping[str, str]
    """Contenders that could not run, with the reason."""

    def values(self, name: str, figure: str) -> list[float]:
        """A figure of the good samples of a contender."""
        return [s.figures[figure] for s in self.samples[name] if not s.problems]

    def ratios(self, name: str) -> list[float]:
        """Our figure over that of a rival, round by round, where both are good."""
        figure = self.scenario.figure
        ours = self.samples[self.scenario.contenders[0].name]
        return [
            mine.figures[figure] / theirs.figures[figure]
            for mine, theirs in zip(ours, self.samples[name], strict=True)
            if not mine.problems and not theirs.problems and theirs.figures[figure]
        ]

    def failures(self) -> list[str]:
        """What was wrong, a line each."""
        return [
            f"{name}, round {number}: {problem}"
            for name, samples in self.samples.items()
            for number, sample in enumerate(samples, 1)
            for problem in sample.problems
        ]

    def is_undecided(self, name: str) -> bool:
        """Whether most rounds of ours or of this rival were disturbed."""
        ours = self.samples[self.scenario.contenders[0].name]
        rounds = list(zip(ours, self.samples[name], strict=True))
        disturbed = sum(max(one.disturbed, two.disturbed) > NOISE for one, two in rounds)
        return 2 * disturbed > len(rounds)

    def disturbed(self) -> int:
        """Samples during which others had too much of the cores."""
        return sum(s.disturbed > NOISE for samples in self.samples.values() for s in samples)

    def missed(self) -> list[str]:
        """Goals that were not reached, a line each."""
        return [
            f"{self.scenario.name}: {contender.title}: {verdict}"
            for contender in self.scenario.contenders
            if (verdict := self._goal(contender.name)).endswith("missed")
        ]

    def table(self) -> str:
        """The scenario as a table in Markdown that can be read as it stands."""
        figures = self.scenario.columns
        head = ["", *figures.values(), "spread", "ours / theirs", "goal"]
        rows = [self._row(contender) for contender in self.scenario.contenders]
        return f"### {self.scenario.title}\n\n{_markdown([head, *rows])}{self._notes()}"

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "name": self.scenario.name,
            "title": self.scenario.title,
            "figure": self.scenario.figure,
            "more_is_better": self.scenario.more_is_better,
            "goals": dict(self.scenario.goals),
            "skipped": dict(self.skipped),
            "medians": {
                name: {
                    figure: median(values)
                    for figure in self.scenario.columns
                    if (values := self.values(name, figure))
                }
                for name in self.samples
            },
            "ratios": {name: self.ratios(name) for name in self.samples},
            "samples": {
                name: [vars(sample) for sample in samples] for name, samples in self.samples.items()
            },
        }

    def _row(self, contender: Contender) -> list[str]:
        name = contender.name
        if name in self.skipped:
            return [contender.title, "skipped", *[""] * (len(self.scenario.columns) + 2)]
        columns = [self.values(name, figure) for figure in self.scenario.columns]
        compared = columns[0]
        if not compared:
            return [contender.title, "failed", *[""] * (len(self.scenario.columns) + 2)]
        spread = f"{_number(min(compared))} to {_number(max(compared))}"
        first = contender is self.scenario.contenders[0]
        ratios = [] if first else self.ratios(name)
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        return [
            contender.title,
            *(_number(median(values)) for values in columns),
            spread,
            ratio,
            self._goal(name),
        ]

    def _goal(self, name: str) -> str:
        goal = self.scenario.goals.get(name)
        if goal is None or name in self.skipped:
            return ""
        ours = name == self.scenario.contenders[0].name
        values = self.values(name, self.scenario.figure) if ours else self.ratios(name)
        if not values:
            return "missed"
        reached = median(values)
        good = reached >= goal if self.scenario.more_is_better else reached <= goal
        verdict = "reached" if good else "missed"
        if self.is_undecided(name):
            verdict = "undecided"
        return f"{'>=' if self.scenario.more_is_better else '<='} {_number(goal)} {verdict}"

    def _notes(self) -> str:
        notes = [f"FAILED: {failure}" for failure in self.failures()]
        notes += [f"{name} skipped: {reason}" for name, reason in self.skipped.items()]
        if disturbed := self.disturbed():
            notes.append(
                f"{disturbed} samples were disturbed: others had over {NOISE:.0%} of a core. "
                "Where most were, the goal is undecided: measure again on a quiet machine."
            )
        return "".join(f"\n{note}\n" for note in notes)


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        # The name to the left, figures to the right.
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(cells)} |\n"

    rule = f"|{'-' * (widths[0] + 2)}|{''.join('-' * (w + 1) + ':|' for w in widths[1:])}\n"
    return line(rows[0]) + rule + "".join(map(line, rows[1:]))

"""The result of a scenario, read from its file: medians, spread, ratios, verdicts.

Nothing is measured here: the page can be made again from the files alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NOISE = 0.1
"""Share of a core that other programs may use before a sample counts as disturbed."""


GENERATOR_BUSY, SERVER_BUSY = 0.9, 0.9
"""Shares of a core: with more of the generator's and less of the server's, it is the limit."""
RATES = {"rate", "ids_rate"}


class State(StrEnum):
    """The state of a goal."""

    REACHED = "reached"
    MISSED = "missed"
    UNDECIDED = "undecided"
    """Most rounds were disturbed, or the rival's rate is that of the generator."""
    FAILED = "failed"
    """There is no sample without problems."""


@dataclass(frozen=True)
class Verdict:
    """A goal and the measured figure."""

    goal: Mapping[str, Any]
    measured: float | None
    state: State


@dataclass(frozen=True)
class Result:
    """The result of a scenario; `content` is that of its file."""

    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name in files and options."""
        return str(self.content["name"])

    @property
    def columns(self) -> Mapping[str, str]:
        """The titles of the figures by name; the first figure is compared."""
        found: Mapping[str, str] = self.content["columns"]
        return found

    @property
    def figure(self) -> str:
        """The figure that is compared."""
        return next(iter(self.columns))

    @property
    def more_is_better(self) -> bool:
        """Whether the figures are rates, not times or bytes."""
        return bool(self.content["more_is_better"])

    @property
    def titles(self) -> Mapping[str, str]:
        """The titles of the contenders by name, Verve first."""
        return {one["name"]: one["title"] for one in self.content["contenders"]}

    @property
    def ours(self) -> str:
        """The name of the contender that the others are compared with."""
        return next(iter(self.titles))

    @property
    def rivals(self) -> Sequence[str]:
        """The names of the contenders that are not Verve."""
        return [name for name in self.titles if not name.startswith("verve")]

    @property
    def rounds(self) -> int:
        """The greatest number of samples of a contender."""
        return max(map(len, self.content["samples"].values()), default=0)

    def fastest_first(self) -> Result:
        """Return the same result with its contenders sorted by the compared figure."""

        def place(contender: Mapping[str, str]) -> float:
            found = self.values(contender["name"], self.figure)
            return -median(found) if found else 0.0

        contenders = sorted(self.content["contenders"], key=place)
        return Result({**self.content, "contenders": contenders})

    def samples(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return the samples of a contender by round; none when it was left out."""
        found: Sequence[Mapping[str, Any]] = self.content["samples"].get(name, [])
        return found

    def values(self, name: str, figure: str) -> list[float]:
        """Return a figure of the samples of a contender that have no problems."""
        return [
            sample["figures"][figure]
            for sample in self.samples(name)
            if not sample["problems"] and figure in sample["figures"]
        ]

    def ratios(self, name: str, figure: str = "") -> list[float]:
        """Return Verve's figure divided by that of `name`, for each round where both are good."""
        figure = figure or self.figure
        pairs = zip(self.samples(self.ours), self.samples(name), strict=False)
        return [
            mine["figures"][figure] / theirs["figures"][figure]
            for mine, theirs in pairs
            if not mine["problems"] and not theirs["problems"] and theirs["figures"].get(figure)
        ]

    def differences(self, name: str, figure: str) -> list[float]:
        """Return Verve's figure less that of `name`, for each round where both are good."""
        pairs = zip(self.samples(self.ours), self.samples(name), strict=False)
        return [
            mine["figures"][figure] - theirs["figures"][figure]
            for mine, theirs in pairs
            if not mine["problems"]
            and not theirs["problems"]
            and figure in mine["figures"]
            and figure in theirs["figures"]
        ]

    def limited(self) -> list[str]:
        """Return the contenders that could have answered more than the generator asked for."""
        return [name for name in self.titles if self._is_limited(name)]

    def _is_limited(self, name: str) -> bool:
        if self.figure not in RATES:
            return False
        shares = zip(
            self.values(name, "generator_cpu"), self.values(name, "server_cpu"), strict=False
        )
        found = [theirs > GENERATOR_BUSY and own < SERVER_BUSY for theirs, own in shares]
        return 2 * sum(found) > len(found)

    def at_most(self, goal: Mapping[str, Any]) -> bool:
        """Whether the figure of a goal is to be small."""
        said: bool | None = goal.get("at_most")
        return not self.more_is_better if said is None else said

    def failures(self) -> list[str]:
        """Return one line per problem."""
        return [
            f"{self.titles[name]}, round {turn}: {' '.join(problem.split())}"
            for name in self.titles
            for turn, sample in enumerate(self.samples(name), 1)
            for problem in sample["problems"]
        ]

    def disturbed(self) -> dict[str, list[int]]:
        """Return the disturbed rounds by contender."""
        found = {
            name: [n for n, one in enumerate(self.samples(name), 1) if one["disturbed"] > NOISE]
            for name in self.titles
        }
        return {name: rounds for name, rounds in found.items() if rounds}

    def verdicts(self) -> list[Verdict]:
        """Return the verdicts on the goals, without those against a contender that was left out."""
        return [
            self._verdict(goal)
            for goal in self.content["goals"]
            if goal["against"] not in self.content["skipped"]
        ]

    def slower(self) -> dict[str, list[float]]:
        """Return the rivals that are ahead in the median of the ratios, with the ratios."""
        ahead = {}
        for name in self.rivals:
            ratios = self.ratios(name)
            if ratios and (median(ratios) < 1) == self.more_is_better and median(ratios) != 1:
                ahead[name] = ratios
        return ahead

    def _verdict(self, goal: Mapping[str, Any]) -> Verdict:
        against, figure = goal["against"], goal["figure"] or self.figure
        values = self.ratios(against, figure) if against else self.values(self.ours, figure)
        if not values:
            return Verdict(goal, None, State.FAILED)
        measured = median(values)
        bound = float(goal["bound"])
        good = measured <= bound if self.at_most(goal) else measured >= bound
        state = State.REACHED if good else State.MISSED
        if self._mostly_disturbed(against or self.ours) or (
            # A rate of the generator is less than the rival's, so the ratio is too good.
            figure in RATES and against and self._is_limited(against)
        ):
            state = State.UNDECIDED
        return Verdict(goal, measured, state)

    def _mostly_disturbed(self, against: str) -> bool:
        rounds = list(zip(self.samples(self.ours), self.samples(against), strict=False))
        bad = [pair for pair in rounds if any(sample["disturbed"] > NOISE for sample in pair)]
        return 2 * len(bad) > len(rounds)


def read(folder: Path) -> list[Result]:
    """Read all results of a folder, in the order in which the scenarios are defined."""
    found = [Result(json.loads(path.read_text())) for path in folder.glob("*.json")]
    return sorted(found, key=lambda result: int(result.content["order"]))


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the file of a scenario: JSON with one line per sample, so that diffs stay small."""
    scenario = {name: value for name, value in content.items() if name != "samples"}
    contenders = ",\n".join(
        f"  {json.dumps(name)}: [\n   " + ",\n   ".join(map(json.dumps, samples)) + "\n  ]"
        for name, samples in content["samples"].items()
    )
    text = json.dumps(scenario, indent=1).removesuffix("\n}")
    path = folder / f"{content['name']}.json"
    path.write_text(f'{text},\n "samples": {{\n{contenders}\n }}\n}}\n')


def number(value: float) -> str:
    """Format a figure: three digits, or all digits before the point."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.3g} M" if abs(value) < 1e9 else f"{value / 1e6:,.0f} M"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from bench.harness.load_generator import answers_wrong
from bench.report import page as report
from bench.report import plots, reasons
from bench.report.result import Result, State, number, read, write
from bench.scenarios.scenario import Plan, Scenario
from bench.scenarios.servers import servers
from bench.scenarios.tables import tables
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DECISIONS = ROOT / "docs" / "decisions.md"


def sample(value: float, *, problem: str = "", disturbed: float = 0.0) -> dict[str, Any]:
    figures = {"rate": value, "cpu_us": 1e6 / value, "generator_cpu": value / 1_000}
    return {
        "figures": figures,
        "problems": [problem] if problem else [],
        "disturbed": disturbed,
        "raw": {},
    }


def scenario(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], **changed: object) -> Result:
    content: dict[str, Any] = {
        "name": "table-growing",
        "title": "Growing <from> nothing",
        "note": "",
        "columns": {"rate": "operations/s", "cpu_us": "CPU us"},
        "more_is_better": True,
        "goals": [{"bound": 2.0, "against": "rival", "figure": ""}],
        "contenders": [
            {"name": "verve", "title": "Verve"},
            {"name": "rival", "title": "Rival & sons"},
        ],
        "skipped": {},
        "samples": {"verve": ours, "rival": theirs},
        "full": True,
        "order": 0,
        "seconds": 4.0,
        "began": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:05:05+00:00",
        "machine": {"cpu": "a fast one"},
    }
    return Result({**content, **changed})


def page(*results: Result) -> str:
    return report.text_of(
        results,
        plots="plots",
        decisions="../docs/decisions.md",
        folder="results",
        accuracy="ACCURACY.md",
    )


def every() -> list[Scenario]:
    plan = Plan(full=True, seconds=4.0, rounds=5)
    return [*servers(plan), *tables(plan)]


def test_ratios_are_those_of_the_rounds() -> None:
    result = scenario([sample(100), sample(300), sample(80)], [sample(50), sample(100), sample(80)])
    assert result.ratios("rival") == [2.0, 3.0, 1.0]
    assert result.verdicts()[0].measured == 2.0


@pytest.mark.parametrize(
    ("ours", "disturbed", "state"),
    [
        (200, 0.0, State.REACHED),
        (199, 0.0, State.MISSED),
        (200, 0.5, State.UNDECIDED),
        (200, 0.1, State.REACHED),
    ],
)
def test_a_goal_is_judged_by_the_median_of_undisturbed_rounds(
    ours: float, disturbed: float, state: State
) -> None:
    result = scenario([sample(ours, disturbed=disturbed)], [sample(100)])
    assert [verdict.state for verdict in result.verdicts()] == [state]


@pytest.mark.parametrize("wrong", ["verve", "rival"])
def test_a_wrong_count_is_a_failure_and_no_figure(wrong: str) -> None:
    bad = [sample(1_000, problem="counted 9 of 10 distinct ids")]
    good = [sample(1)]
    result = scenario(bad if wrong == "verve" else good, bad if wrong == "rival" else good)
    assert result.values(wrong, "rate") == []
    assert result.ratios("rival") == []
    assert result.verdicts()[0].state == State.FAILED
    assert f"{result.titles[wrong]}, round 1: counted 9 of 10 distinct ids" in result.failures()
    assert "These runs failed" in page(result)
    assert "1,000" not in page(result)


def test_where_a_rival_is_ahead_the_page_says_so_and_why() -> None:
    slow = scenario([sample(100), sample(110)], [sample(200), sample(200)])
    text = page(slow).partition("## Method")[0]
    assert "Rival & sons is ahead, ours / theirs 0.53 (0.50 to 0.55)" in text
    assert "the goal of at least 2 times Rival & sons is missed, with 0.525" in text
    assert "A growing table inserts single ids as fast as one that does not grow" in text
    assert "decisions.md#26-a-growing-table-moves-its-ids" in text


def test_where_less_is_better_the_smaller_figure_is_ahead() -> None:
    times = {"more_is_better": False, "goals": []}
    assert scenario([sample(100)], [sample(200)], **times).slower() == {}
    assert scenario([sample(200)], [sample(100)], **times).slower() == {"rival": [2.0]}
    assert "Nowhere" in page(scenario([sample(100)], [sample(200)], **times))


def test_the_page_says_how_busy_the_generator_was() -> None:
    text = page(scenario([sample(100)], [sample(640)]))
    assert "used at most 64% of a core (Growing <from> nothing: Rival & sons)" in text


def test_a_goal_may_want_less_where_the_scenario_wants_more() -> None:
    goals = [{"bound": 1.35, "against": "rival", "figure": "cpu_us", "at_most": True}]
    reached = scenario([sample(100)], [sample(130)], goals=goals)
    missed = scenario([sample(100)], [sample(140)], goals=goals)
    assert [one.verdicts()[0].state for one in (reached, missed)] == [State.REACHED, State.MISSED]
    assert "CPU us, at most 1.35 times Rival & sons" in page(missed)
    assert "<= 1.35 missed" in page(missed)


@pytest.mark.parametrize(
    ("generator", "server", "state"),
    [(0.99, 0.5, State.UNDECIDED), (0.99, 0.99, State.REACHED), (0.5, 0.5, State.REACHED)],
)
def test_a_rival_that_is_faster_than_the_generator_decides_no_goal(
    generator: float, server: float, state: State
) -> None:
    theirs = sample(100)
    theirs["figures"].update(generator_cpu=generator, server_cpu=server)
    result = scenario([sample(200)], [theirs])
    assert result.verdicts()[0].state == state
    said = "Faster than the generator, which was the limit: Rival & sons." in page(result)
    assert said == (state == State.UNDECIDED)


def test_a_price_is_the_difference_within_each_round() -> None:
    price = {"of": "safety", "figure": "rate", "part": "part", "beside": "rival"}
    contenders = [{"name": name, "title": name} for name in ("verve", "part", "rival")]
    samples = {
        "verve": [sample(100), sample(90), sample(120)],
        "part": [sample(60), sample(40), sample(50)],
        "rival": [sample(80), sample(81), sample(82)],
    }
    text = page(scenario([], [], price=price, contenders=contenders, samples=samples, goals=[]))
    row = next(line for line in text.splitlines() if "price of safety" in line)
    assert [cell.strip() for cell in row.split("|")[2:5]] == [
        "50 (40 to 70)",
        "100 (90 to 120)",
        "81 (80 to 82)",
    ]


def test_the_page_opens_with_a_picture_of_all_servers_the_fastest_first(tmp_path: Path) -> None:
    result = scenario([sample(100)], [sample(900)], name="accept-distinct")
    write(tmp_path, result.content)
    report.render(tmp_path, tmp_path / "REPORT.md")
    text = (tmp_path / "REPORT.md").read_text()
    assert text.index("plots/overview.svg") < text.index("## Goals")
    root = ET.parse(tmp_path / "plots" / "overview.svg").getroot()  # noqa: S314 - our own text
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert names[:2] == ["Rival & sons", "Verve"]


def test_disturbed_samples_are_named() -> None:
    result = scenario([sample(100), sample(100)], [sample(90), sample(90, disturbed=0.4)])
    assert "Disturbed: Rival & sons in round 2." in report.notes(result)


def test_a_contender_that_was_left_out_is_named_and_has_no_goal() -> None:
    result = scenario([sample(100)], [], skipped={"rival": "it is missing"}, samples={})
    assert result.verdicts() == []
    assert "Left out: Rival & sons: it is missing" in page(result)


def test_the_page_is_made_from_files_alone(tmp_path: Path) -> None:
    result = scenario([sample(100)], [sample(90)])
    write(tmp_path, result.content)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "old.svg").write_text("")
    report.render(tmp_path, tmp_path / "REPORT.md")
    assert "1.11 (1.11 to 1.11)" in (tmp_path / "REPORT.md").read_text()
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["table-growing.svg"]
    assert [one.name for one in read(tmp_path)] == ["table-growing"]


def test_a_file_has_one_line_per_sample(tmp_path: Path) -> None:
    first = scenario([sample(100), sample(110)], [sample(90)])
    write(tmp_path, first.content)
    before = (tmp_path / "table-growing.json").read_text().splitlines()
    assert read(tmp_path) == [first]
    again = scenario([sample(100), sample(110), sample(120)], [sample(90)])
    write(tmp_path, again.content)
    after = (tmp_path / "table-growing.json").read_text().splitlines()
    assert len(after) == len(before) + 1
    assert len(set(after) - set(before)) == 2  # the new sample, and the comma before it


def test_samples_may_be_missing(tmp_path: Path) -> None:
    none = scenario([], [], samples={})
    write(tmp_path, none.content)
    assert read(tmp_path) == [none]


def test_a_plot_is_well_formed_and_shows_median_and_spread() -> None:
    result = scenario([sample(50), sample(100), sample(200)], [sample(400)])
    root = ET.fromstring(plots.plot(result))  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert "Rival & sons" in texts
    assert "operations/s (more is better)" in texts
    assert "CPU us (less is better)" in texts
    bars = [float(bar.get("width", 0)) for bar in root.iter(f"{space}rect")]
    assert bars[:2] == [plots.BARS / 4, plots.BARS]
    whisker = next(root.iter(f"{space}path")).get("d", "")
    assert whisker.startswith(f"M{plots.LABELS + plots.BARS / 8:.1f} ")
    assert f"H{plots.LABELS + plots.BARS / 2:.1f}" in whisker


def test_every_reason_is_used_and_leads_to_a_decision() -> None:
    headings = re.findall(r"^## (.*)$", DECISIONS.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
    for one in reasons.REASONS:
        assert one.decision in anchors
        for pattern in one.scenarios:
            assert any(fnmatch(name.name, pattern) for name in every()), one


def test_goals_are_against_contenders_of_their_scenario() -> None:
    names = [one.name for one in every()]
    assert len(names) == len(set(names))
    for one in every():
        contenders = [contender.name for contender in one.contenders]
        assert len(contenders) == len(set(contenders))
        assert contenders[0].startswith("verve")
        for goal in one.goals:
            assert goal.against in {*contenders, ""}
            assert goal.figure in {*one.columns, ""}


def test_an_answer_that_is_missing_or_wrong_is_a_problem() -> None:
    good = {"failed": {}, "errors": {}, "unsent": 0, "ok": 3}
    assert answers_wrong(good) == []
    assert answers_wrong({**good, "failed": {"503": 2}}) == ["2 answers of 503"]
    assert answers_wrong({**good, "errors": {"closed": 1}}) == [
        "1 requests without a good answer: closed"
    ]
    assert answers_wrong({**good, "unsent": 4}) == ["4 requests could not be sent in time"]
    assert answers_wrong({**good, "ok": 0}) == ["nothing was answered"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0578, "0.0578"), (98_036.2, "98,036"), (4_700_000.0, "4.7 M"), (100.0, "100")],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert number(value) == text

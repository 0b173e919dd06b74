"""Rules and dashboard: they fit Prometheus, Grafana, the metrics of Verve, and the guide."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.deploy.monitoring import (
    MONITORING,
    alerts,
    dashboard,
    panels,
    queries,
    rules,
    without_threshold,
)
from tests.support.deploy.prometheus import program
from tests.support.paths import ROOT
from verve.http.metrics import METRICS

GUIDE = (ROOT / "docs/guides/monitoring.md").read_text(encoding="utf-8")
KNOWN = {metric.name for metric in METRICS}
SELECTOR = '{job=~"$job",instance=~"$instance"'


def metrics_of(expression: str) -> set[str]:
    """The metrics of Verve in an expression; those that rules record have a colon before."""
    return set(re.findall(r"(?<![\w:])verve_\w+", expression))


def promtool(*arguments: str) -> str:
    """What promtool says about the files; it must be content."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_files() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", "rules.yaml")
    promtool("check", "config", "--syntax-only", "prometheus.yaml")


def test_each_alert_fires_and_does_not() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yaml")
    tested: dict[str, set[bool]] = {}
    cases = yaml.safe_load((MONITORING / "rules_test.yaml").read_text(encoding="utf-8"))["tests"]
    for case in cases:
        (one,) = case["alert_rule_test"]
        tested.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert tested == {alert["alert"]: {True, False} for alert in alerts()}


def test_a_rule_that_is_wrong_fails_its_test(tmp_path: Any) -> None:  # noqa: ANN401 - a path
    """The comparison above can fail."""
    text = (MONITORING / "rules.yaml").read_text(encoding="utf-8")
    wrong = text.replace("verve_redis_up == 0", "verve_redis_up == 1")
    assert wrong != text
    (tmp_path / "rules.yaml").write_text(wrong, encoding="utf-8")
    cases = (MONITORING / "rules_test.yaml").read_text(encoding="utf-8")
    (tmp_path / "rules_test.yaml").write_text(cases, encoding="utf-8")
    done = subprocess.run(
        [program("promtool"), "test", "rules", "rules_test.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "VerveRedisAway" in done.stdout + done.stderr


def test_every_metric_is_one_of_verve() -> None:
    named = {name for rule in rules() for name in metrics_of(rule["expr"])}
    named |= {name for query in queries() for name in metrics_of(query.text)}
    assert len(named) > 40
    assert named - KNOWN == set()
    # Also in what people read.
    told = {
        name
        for alert in alerts()
        for text in alert["annotations"].values()
        for name in metrics_of(text)
    }
    assert told - KNOWN == set()


def test_every_recorded_figure_that_an_alert_uses_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for rule in rules() for name in re.findall(r"\binstance:[\w:]+", rule["expr"])}
    assert used == recorded


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["description"].endswith(".")
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert page == "docs/guides/monitoring.md"
    assert anchor == alert["alert"].lower()
    assert f"\n### {alert['alert']}\n" in GUIDE
    assert "bool" in without_threshold(alert["expr"]) or "absent" in alert["expr"]


def test_the_guide_has_no_other_alert() -> None:
    assert re.findall(r"\n### (\w+)\n", GUIDE) == [alert["alert"] for alert in alerts()]


def test_grafana_knows_every_field() -> None:
    """What its typed model reads, it writes: a field that it does not know would be gone."""
    register_default_plugins()
    given = dashboard()
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
    assert list(unread(given, written)) == []
    given["panels"][1]["fieldConfig"]["defaults"]["unitt"] = "s"
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
    assert list(unread(given, written)) == ["/panels/1/fieldConfig/defaults/unitt"]


def unread(given: Any, written: Any, place: str = "") -> list[str]:  # noqa: ANN401 - JSON
    """The places of `given` that `written` lacks or has otherwise."""
    if isinstance(given, dict) and isinstance(written, dict):
        return [
            wrong
            for name, value in given.items()
            for wrong in (
                unread(value, written[name], f"{place}/{name}")
                if name in written
                else [f"{place}/{name}"]
            )
        ]
    if isinstance(given, list) and isinstance(written, list) and len(given) == len(written):
        return [
            wrong
            for number, (one, other) in enumerate(zip(given, written, strict=True))
            for wrong in unread(one, other, f"{place}/{number}")
        ]
    return [] if given == written else [place]


def test_the_dashboard_has_variables() -> None:
    variables = {one["name"]: one for one in dashboard()["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["job"]["query"]["query"] == "label_values(verve_build_info, job)"


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == source
    for target in panel["targets"]:
        assert target["datasource"] == source
        assert target["legendFormat"]
        # Each metric is asked of the chosen hosts only.
        names = re.findall(r"\b(?:verve_\w+|up)\b(?=\{)", target["expr"])
        assert names
        assert target["expr"].count(SELECTOR) == len(names)
        assert metrics_of(target["expr"]) <= set(names)


def test_panels_lie_side_by_side() -> None:
    given = dashboard()["panels"]
    assert len({panel["id"] for panel in given}) == len(given)
    taken: set[tuple[int, int]] = set()
    for panel in given:
        at = panel["gridPos"]
        columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        assert columns.stop <= 24
        cells = set(itertools.product(columns, rows))
        assert not taken & cells, panel["title"]
        taken |= cells

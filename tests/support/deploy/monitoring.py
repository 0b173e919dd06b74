"""The files of `deploy/monitoring/`, and the queries in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

MONITORING = ROOT / "deploy/monitoring"
_VARIABLES = {"$__rate_interval": "1m", "$job": "verve", "$instance": ".+"}


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel."""

    panel: str
    text: str

    @property
    def filled(self) -> str:
        """The query with values for the variables of the dashboard."""
        text = self.text
        for name, value in _VARIABLES.items():
            text = text.replace(name, value)
        assert "$" not in text, f"an unknown variable: {text}"
        return text


def rules_text() -> str:
    """The text of the file of rules."""
    return (MONITORING / "rules.yaml").read_text(encoding="utf-8")


def rules() -> list[dict[str, Any]]:
    """All rules, in the order of the file."""
    return [rule for group in yaml.safe_load(rules_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """The rules that are alerts."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    text = (MONITORING / "dashboard.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard, without its rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """The queries of all panels."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"])


def without_threshold(expression: str) -> str:
    """The expression of an alert, which gives 0 or 1 where the alert gives nothing or a value."""
    return re.sub(r"(==|>)(?= )", r"\1 bool", expression)

"""One name, one meaning, one type: everything that Verve gives out, against the table of fields."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import rig
from tests.support.paths import ROOT
from verve.commands.cluster_view import ClusterView, HostRow, WindowRow
from verve.fields import FIELDS, FORMS, Field, Kind, misfits, rendered
from verve.http.metrics import METRICS
from verve.ledger import expiry, ledger
from verve.log import event_log
from verve.publishing.sink_status import SinkStatus
from verve.sinks import FailureKind
from verve.sinks.kafka_message import message
from verve.status import cluster_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verve._verve import CallbackReport

WINDOW = replace(rig.window(unique=5), host_unique=3)


REPORT: CallbackReport = {
    "endpoint": "https://x.example/hook",
    "outcome": "retried",
    "status": None,
    "reason": "no connection",
    "attempt": 1,
    "seconds": 0.5,
    "window_start": WINDOW.window_start,
    "unique": None,
    "id": "msg_1",
    "logged": True,
    "failed": False,
}


@pytest.mark.parametrize("event", event_log.EVENTS.values(), ids=list(event_log.EVENTS))
def test_the_fields_of_each_event(event: event_log.Event) -> None:
    assert set(event.fields) <= FIELDS.keys()
    assert event.shown <= set(event.fields)
    # Those of the line itself.
    assert not set(event.fields) & {"time", "level", "event", "message", "exception", "process"}


@pytest.mark.parametrize(
    "given",
    [
        WINDOW.as_json(),
        SinkStatus(1, "no", FailureKind.TIMEOUT, 1.5, 2, 120).figures() | {"last_error": "no"},
        SinkStatus().figures(),
        cluster_status.Membership(skew_seconds=0.5, trouble="timeout").figures(60),
        json.loads(message(WINDOW, "web-1").value),
        rendered(REPORT),
    ],
    ids=["window", "sink", "no sink", "redis", "kafka", "callback"],
)
def test_what_answers_messages_and_files_hold(given: Mapping[str, Any]) -> None:
    assert misfits(given) == []


def test_the_view_of_a_cluster() -> None:
    host = HostRow("a" * 16, "web-1", "1.0", "2", 0.5, -0.1, 0, alive=True)
    window = WindowRow("2026-11-22T21:58:00Z", 1, None, complete=False, late_hosts=("a",))
    view = ClusterView("shop", (host,), (window,), ("odd",))
    assert misfits(json.loads(json.dumps(view.as_json()))) == []


def test_the_message_of_kafka_is_that_of_its_schema() -> None:
    text = (ROOT / "docs/reference/kafka-message.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    types = {"integer": {Kind.COUNT, Kind.SECONDS}, "boolean": {Kind.FLAG}}
    for name, its in schema["properties"].items():
        kinds = {Kind.TIME} if "format" in its else types.get(its["type"], {Kind.TEXT})
        assert FIELDS[name].kind in kinds, name


def test_the_columns_of_the_ledger(tmp_path: Path) -> None:
    made = rig.settings(tmp_path)
    opened = ledger.open_ledger(made)
    opened.record([WINDOW], sinks=["log"])
    opened.close()
    forms = {Kind.TEXT: "TEXT", Kind.SINCE_EPOCH: "REAL"}
    with closing(sqlite3.connect(ledger.path_of(made))) as connection:
        connection.execute(expiry.TABLE)
        for table in ("windows", "deliveries", "dropped"):
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            assert columns
            for _, name, form, *_ in columns:
                assert forms.get(FIELDS[name].kind, "INTEGER") == form, name
        stored = connection.execute("SELECT window_start FROM windows").fetchone()
    assert stored == (WINDOW.window_start,)


def test_the_files_of_the_cluster_and_of_the_sinks() -> None:
    # Of what only Verve reads: what has a name of the table has its type.
    told = asdict(cluster_status.Membership()) | {"error": "no", "since": 1.5, "live_hosts": 2}
    # The file has a form of its own for the hosts.
    del told["hosts"]
    assert misfits({name: value for name, value in told.items() if name in FIELDS}) == []
    assert misfits({"attempts": 1, "error": None, "trouble": None, "since": None}) == []


def test_the_labels_and_units_of_the_metrics() -> None:
    for metric in METRICS:
        for label in metric.labels:
            # A worker is named by a number, everything else by a word.
            wanted = Kind.NUMBER if label == "worker" else Kind.TEXT
            assert FIELDS[label].kind is wanted, metric.name
    units = {"seconds": Kind.SECONDS, "bytes": Kind.BYTES}
    for name, field in FIELDS.items():
        unit = units.get(name.rpartition("_")[2])
        assert unit in {None, field.kind}, name
    # A metric that is named as a field is of its kind.
    names = {metric.name.removeprefix("verve_").removesuffix("_total") for metric in METRICS}
    for name in names & FIELDS.keys():
        assert FIELDS[name].kind not in {Kind.TEXT, Kind.NAMES, Kind.OBJECT, Kind.OBJECTS}, name


@pytest.mark.parametrize(
    ("name", "value", "shown", "text"),
    [
        ("window_start", 1_795_384_680, "2026-11-22T21:58:00Z", "2026-11-22T21:58:00Z"),
        ("first", 0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("late_hosts", frozenset({"b", "a"}), ["a", "b"], "a,b"),
        ("sinks", ("log", "kafka"), ["log", "kafka"], "log,kafka"),
        ("status", None, None, "-"),
        ("path", Path("/a"), "/a", "/a"),
        ("error", ValueError("no"), "no", "no"),
        ("gap", True, True, "true"),
    ],
)
def test_values_have_one_form(name: str, value: object, shown: object, text: str) -> None:
    assert rendered({name: value}) == {name: shown}
    assert misfits({name: shown}) == []
    record = event_log.logger.makeRecord(
        "verve", 20, "", 0, "said", (), None, extra={"verve_fields": rendered({name: value})}
    )
    assert f" {name}={text} said" in event_log.TextFormatter(colour=False).format(record)


def test_a_time_that_no_calendar_has_fails_no_log_line() -> None:
    assert rendered({"window_start": 2**63}) == {"window_start": str(2**63)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window_start", 1_795_384_680),
        ("window_start", "2026-11-22 21:58:00"),
        ("unique", "5"),
        ("unique", -1),
        ("unique", True),
        ("gap", 0),
        ("seconds", "1"),
        ("late", "host"),
        ("late_hosts", "a,b"),
        ("status", "-"),
        ("windows", 3),
        ("windows", [{"window_start": 0}]),
        ("parts", []),
        ("error", 5),
        ("nameless", 1),
    ],
)
def test_what_does_not_fit_is_found(name: str, value: object) -> None:
    assert len(misfits({name: value})) == 1


def test_every_field_is_described() -> None:
    assert FORMS.keys() == set(Kind)
    assert all(field.meaning.endswith(".") for field in FIELDS.values())
    assert {name.name for name in fields(Field)} == {"kind", "meaning", "null"}

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import verve
from tests.support import rig
from verve.log import event_log, events
from verve.sinks import LogSink, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLISH = """
import sys
from tests.support import rig
from pathlib import Path
from verve.log import event_log
from verve.sinks import LogSink
event_log.configure(rig.settings(Path("/nowhere"), **dict(a.split("=") for a in sys.argv[1:])))
LogSink().take(rig.window(unique=5))
"""


def _published(*flags: str, environ: dict[str, str] | None = None, before: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", before + PUBLISH, *flags],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **(environ or {})},
    )
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    found: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        """Keeps what is logged."""

        def emit(self, record: logging.LogRecord) -> None:
            """Keep it."""
            found.append(record)

    keep = Keep()
    event_log.logger.addHandler(keep)
    yield found
    event_log.logger.removeHandler(keep)


def test_the_text_line_ends_with_the_message() -> None:
    line = _published().removesuffix("\n")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO window\.published process=\d+ "
        r"window_start=2027-01-15T08:00:00Z window_seconds=60 requests=0 duplicates=0 late=0 "
        r"rejected=0 gap=false degraded=false revision=1 Unique requests in the last minute: 5",
        line,
    )


def test_the_json_line() -> None:
    line = json.loads(_published("log_format=json"))
    assert line["message"] == "Unique requests in the last minute: 5"
    assert line["window_start"] == "2027-01-15T08:00:00Z"
    assert (line["unique"], line["revision"], line["gap"]) == (5, 1, False)
    assert (line["level"], line["event"]) == ("info", "window.published")


def test_the_level_does_not_hide_the_count() -> None:
    assert _published("log_level=error").endswith("Unique requests in the last minute: 5\n")


def test_a_line_names_its_process_and_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.LogRecord("granian", logging.INFO, "", 0, "up", None, None)
    text, lines = event_log.TextFormatter(colour=False), event_log.JsonFormatter()
    assert text.format(record).endswith(f"INFO granian process={os.getpid()} up")
    assert json.loads(lines.format(record))["process"] == os.getpid()
    assert "worker" not in json.loads(lines.format(record))
    monkeypatch.setattr(event_log, "_worker", 2)
    assert text.format(record).endswith(f"INFO granian process={os.getpid()} worker=2 up")
    assert json.loads(lines.format(record))["worker"] == 2


@pytest.mark.parametrize("where", ["handler", "filter"])
def test_an_error_of_a_user_handler_reaches_the_sink(where: str) -> None:
    class Raises(logging.Handler):
        """Raises what no handler should."""

        def emit(self, _record: logging.LogRecord) -> None:
            """Raise."""
            raise RuntimeError("of the user")

    def refuse(_record: logging.LogRecord) -> bool:
        raise LookupError("of the user")

    handler = Raises() if where == "handler" else event_log.Handler()
    if where == "filter":
        handler.addFilter(refuse)
    event_log.logger.addHandler(handler)
    try:
        with pytest.raises(SinkError, match="of the user"):
            LogSink().take(rig.window())
    finally:
        event_log.logger.removeHandler(handler)


def test_no_colour_where_nobody_looks() -> None:
    assert "\x1b" not in _published()


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not event_log.wants_colour()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert event_log.wants_colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not event_log.wants_colour()


def test_the_level_is_coloured() -> None:
    record = logging.LogRecord("verve", logging.WARNING, "", 0, "slow", None, None)
    assert "\x1b[33mWARNING\x1b[0m" in event_log.TextFormatter(colour=True).format(record)
    assert "\x1b" not in event_log.TextFormatter(colour=False).format(record)


def test_a_handler_of_the_user_is_left_alone() -> None:
    before = "import logging, sys; logging.basicConfig(format='mine %(message)s')\n"
    assert _published(before=before) == "mine Unique requests in the last minute: 5\n"


def test_configuring_twice_logs_once() -> None:
    before = (
        "from tests.support import rig; from pathlib import Path; from verve.log import event_log\n"
    )
    before += "event_log.configure(rig.settings(Path('/nowhere')))\n"
    assert len(_published(before=before).splitlines()) == 1


@given(st.text())
def test_a_line_stays_one_line(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    for formatter in (event_log.TextFormatter(colour=False), event_log.JsonFormatter()):
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e\u2028]", line)


@pytest.fixture
def _own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the events of a test out of the reference that another test compares."""
    monkeypatch.setattr(event_log, "EVENTS", dict(event_log.EVENTS))


@pytest.mark.usefixtures("_own_events")
def test_fields_with_spaces_are_quoted(records: list[logging.LogRecord]) -> None:
    with event_log.strict():
        event_log.Event("test.quoted", logging.INFO, "said", ("a", "b")).emit(
            a='x "y"', b="\x1b[31m"
        )
    line = event_log.TextFormatter(colour=False).format(records[0])
    assert line.endswith(rf'INFO test.quoted process={os.getpid()} a="x \"y\"" b=\x1b[31m said')


@pytest.mark.usefixtures("_own_events")
def test_exceptions(records: list[logging.LogRecord]) -> None:
    with event_log.strict():
        event = event_log.Event("test.failed", logging.ERROR, "failed", ())
        event.emit(exc_info=ValueError("bad\x1b"))
    text = event_log.TextFormatter(colour=False).format(records[0])
    assert text.splitlines()[0].endswith("failed")
    assert r"ValueError: bad\x1b" in text
    assert "ValueError" in json.loads(event_log.JsonFormatter().format(records[0]))["exception"]


def test_a_quiet_level_makes_no_record(records: list[logging.LogRecord]) -> None:
    level = event_log.logger.level
    event_log.logger.setLevel(logging.WARNING)
    try:
        events.SERVICE_STOPPED.emit()
    finally:
        event_log.logger.setLevel(level)
    assert records == []


def _take_many(number: int) -> None:
    for unique in range(number):
        LogSink().take(rig.window(unique=unique))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device is Linux's")
def test_an_unwritable_line_is_reported_to_the_sink_only() -> None:
    code = """
from pathlib import Path
from tests.support import rig
from verve.log import event_log, events
from verve.sinks import LogSink, SinkError
event_log.configure(rig.settings(Path("/nowhere")))
events.SERVICE_STOPPED.emit()
try:
    LogSink().take(rig.window())
except SinkError as error:
    print(error)
"""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, stderr=full, text=True
        )
    assert "No space left on device" in done.stdout


def test_a_full_pipe_that_does_not_block_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as reader:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(event_log, "_PATIENCE", 0.05)
        handler = event_log.Handler()
        event_log.logger.addHandler(handler)
        try:
            with pytest.raises(SinkError):
                _take_many(100_000)
            reader.read1(65_536)
            LogSink().take(rig.window(unique=7))
        finally:
            event_log.logger.removeHandler(handler)
        stream.close()
        assert reader.read().endswith(b"Unique requests in the last minute: 7\n")


def test_a_stream_that_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    handler = event_log.Handler()
    event_log.logger.addHandler(handler)
    try:
        LogSink().take(rig.window(unique=3))
    finally:
        event_log.logger.removeHandler(handler)
    assert stream.getvalue() == "Unique requests in the last minute: 3\n"


def test_each_event_is_emitted_with_its_fields() -> None:
    # Every `EVENT.emit(...)` and `put(EVENT, ...)` in the package names the fields of the table.
    declared = {name: e for name, e in vars(events).items() if isinstance(e, event_log.Event)}
    seen = set()
    for path in Path(verve.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            subject = call.func.value if call.func.attr == "emit" else None
            if call.func.attr == "put" and call.args:
                subject = call.args[0]
            name = getattr(subject, "attr", getattr(subject, "id", None))
            if name not in declared:
                continue
            seen.add(name)
            given = [keyword.arg for keyword in call.keywords]
            if None not in given:  # `**fields`
                assert set(given) == set(declared[name].fields), f"{name} in {path.name}"
    assert seen == set(declared)


def test_the_fields_of_a_window() -> None:
    assert set(rig.window().as_json()) == set(events.WINDOW_PUBLISHED.fields)


def test_the_table_of_events() -> None:
    page = events.markdown()
    assert "| `window.published` | info | Unique requests in the last minute: {unique} |" in page
    with pytest.raises(ValueError, match="of this name"):
        event_log.Event("window.published", logging.INFO, "", ())

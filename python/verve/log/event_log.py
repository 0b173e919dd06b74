"""The logger `verve`: the type of events, two line formats and a handler.

`events` defines the events. A line contains the time, the level, the event, the fields and the
message, in this order:

    2026-11-22T21:58:00.004Z INFO window.published process=71 worker=1 ... Unique requests in ...

With `VERVE_LOG_FORMAT=json`, a line is one JSON object with the same parts.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import json
import logging
import os
import sys
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any

from verve.config.choices import LogFormat
from verve.fields import rendered
from verve.printable import printable
from verve.timestamps import moment

from . import losses, stream_writer
from .deferred import Deferred
from .stream_writer import STANDARD, Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from verve.config import Settings

logger = logging.getLogger("verve")

# Maximum number of seconds that a line which is not queued waits for space in its output.
_PATIENCE = 1.0
_MOST_EVENTS = 1_000
_EXIT_SECONDS = 0.5

EVENTS: dict[str, Event] = {}
"""Every event by its name, in the order of the docs."""


_strict: ContextVar[bool] = ContextVar("verve_log_strict", default=False)


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """Log each event inside this context synchronously, at any level, and raise if that fails.

    Outside it, logging never raises and never blocks. The log sink uses it: the count of a window
    is the result of the service, and `VERVE_LOG_LEVEL` must not hide it.
    """
    token = _strict.set(True)
    try:
        yield
    finally:
        _strict.reset(token)


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of log event. `message` is a template over the fields that `emit` takes."""

    name: str
    level: int
    message: str
    fields: tuple[str, ...]

    def __post_init__(self) -> None:
        """Add the event to `EVENTS`. Raises `ValueError` if the name is taken."""
        if self.name in EVENTS:
            raise ValueError(f"there is an event of this name: `{self.name}`")
        EVENTS[self.name] = self

    @property
    def shown(self) -> frozenset[str]:
        """The fields that the message shows."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.message) if name)

    def emit(self, *, exc_info: BaseException | None = None, **values: object) -> None:
        """Queue the event with a value per field; inside `strict`, log it at once."""
        if not logger.isEnabledFor(self.level) and not _strict.get():
            return
        told = rendered(values)
        error = None if exc_info is None else (type(exc_info), exc_info, exc_info.__traceback__)
        record = logger.makeRecord(
            logger.name,
            self.level,
            self.name,
            0,
            "%s",
            (_Message(self.message, told),),
            error,
            extra={
                "verve_event": self.name,
                "verve_fields": told,
                "verve_shown": self.shown,
            },
        )
        if _strict.get():
            logger.handle(record)
        else:
            _events.put(record)


def _handle(records: list[logging.LogRecord]) -> None:
    """Pass records to the handlers; a handler of the user may block and may raise."""
    for record in records:
        try:
            logger.handle(record)
        except Exception:  # noqa: BLE001 - a fault of one line must not lose the others
            _print_once(traceback.format_exc())


@functools.lru_cache(maxsize=16)
def _print_once(trace: str) -> None:
    STANDARD[2].put(f"a filter or handler of the logger `verve` failed:\n{trace}".encode())


_events = Deferred[logging.LogRecord]("verve-events", _handle, _MOST_EVENTS)
atexit.register(lambda: _events.close(_EXIT_SECONDS))


def flush(timeout: float) -> bool:
    """Wait at most `timeout` seconds until all events are logged. Returns whether they are."""
    deadline = time.monotonic() + timeout
    handled = _events.flush(timeout)
    return stream_writer.flush(max(0.0, deadline - time.monotonic())) and handled


@dataclass(frozen=True, slots=True)
class _Message:
    """A message that is formatted only if a handler needs it."""

    template: str
    values: Mapping[str, object]

    def __str__(self) -> str:
        """The template with its values; control characters are escaped."""
        shown = {name: printable(_text(value)) for name, value in self.values.items()}
        return self.template.format_map(shown)


def _fields(record: logging.LogRecord) -> tuple[str, Mapping[str, Any]]:
    """The event and the fields of a record; a plain record has its logger's name and no fields."""
    event = getattr(record, "verve_event", record.name.lstrip("_"))
    return event, getattr(record, "verve_fields", {})


_worker: int | None = None


def number_worker(number: int) -> None:
    """Set the number of this worker of `verve serve`, which its log lines show."""
    global _worker  # noqa: PLW0603 - a fact about the process
    _worker = number


def _writer(record: logging.LogRecord) -> dict[str, int]:
    """The fields of the writing process: its id, and its number if it is a worker."""
    process = {"process": record.process or os.getpid()}
    return process if _worker is None else {**process, "worker": _worker}


def _exception(record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[1] is not None:
        return "".join(traceback.format_exception(record.exc_info[1]))
    return None


_COLOURS = {
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[31m",
}


class TextFormatter(logging.Formatter):
    """Time, level, event, fields, and the message at the end of the line."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colours = _COLOURS if colour else {}

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the traceback if there is one."""
        event, fields = _fields(record)
        level = record.levelname
        if start := self._colours.get(record.levelno):
            level = f"{start}{level}\x1b[0m"
        # A field that the message shows is not repeated.
        shown: frozenset[str] = getattr(record, "verve_shown", frozenset())
        told = _writer(record) | {n: v for n, v in fields.items() if n not in shown}
        pairs = [f"{name}={_quoted(value)}" for name, value in told.items()]
        line = " ".join(
            [moment(record.created), level, event, *pairs, printable(record.getMessage())]
        )
        trace = _exception(record)
        return line if trace is None else "\n".join([line, *map(printable, trace.splitlines())])


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case list():
            return ",".join(map(str, value))
        case _:
            return str(value)


def _quoted(value: object) -> str:
    text = printable(_text(value))
    return text if text and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, event and message, then the fields."""
        event, fields = _fields(record)
        parts: dict[str, Any] = {
            "time": moment(record.created),
            "level": record.levelname.lower(),
            "event": event,
            "message": printable(record.getMessage()),
            **_writer(record),
            **fields,
        }
        if trace := _exception(record):
            parts["exception"] = trace
        return json.dumps(parts, default=str)


class Handler(logging.Handler):
    """Writes whole lines to standard error or standard output, and does not wait for them.

    It bypasses the buffer of `sys.stderr`: the buffer would keep a line that failed on a full disk,
    and write it again before each later line.
    """

    def __init__(self, stream: str = "stderr") -> None:
        super().__init__()
        self._stream = stream
        self._other: Output | None = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Log a record without the lock of the base class: a blocked line must not delay others."""
        try:
            found: object = self.filter(record)
            if found:
                self.emit(found if isinstance(found, logging.LogRecord) else record)
        except Exception:  # noqa: BLE001 - logging must not fail its caller
            self.handleError(record)
            return False
        return bool(found)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line; inside `strict`, write it at once."""
        self._write(f"{self.format(record)}\n".encode(errors="backslashreplace"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Raise the error inside `strict`; else drop the line."""
        del record
        error = sys.exc_info()[1]
        if _strict.get() and error is not None:
            raise error

    def _write(self, line: bytes) -> None:
        stream = getattr(sys, self._stream)
        if stream is None:
            raise OSError(errno.EBADF, f"there is no {self._stream}")
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):  # the stream is no file, as in a notebook
            stream.write(line.decode())
            stream.flush()
            return
        if descriptor in STANDARD and not _strict.get():
            STANDARD[descriptor].put(line)
        else:
            self._output(descriptor).write(line, _PATIENCE)

    def _output(self, descriptor: int) -> Output:
        """The output of a descriptor; any but the standard ones may be closed at any time."""
        if descriptor in STANDARD:
            return STANDARD[descriptor]
        if self._other is None or self._other.descriptor != descriptor:
            self._other = Output(descriptor)
        return self._other


LINES_LOST = Event(
    "log.lost",
    logging.WARNING,
    "Lost lines of {output} that nobody read or that could not be written: {lines}",
    ("output", "lines"),
)


class _Losses:
    """Reports the lost lines of one output."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._unstored = 0
        self._untold = 0

    def tell(self, number: int, *, is_written: bool) -> None:
        """Store the number for the metric, and log it when lines are written again."""
        self._unstored += number
        self._untold += number
        with contextlib.suppress(OSError):
            losses.add(self._directory, self._name, self._unstored)
            self._unstored = 0
        if is_written:
            LINES_LOST.emit(output=self._name, lines=self._untold)
            self._untold = 0


def wants_colour() -> bool:
    """Whether standard error is a terminal, and the environment does not disable colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stderr is not None and sys.stderr.isatty()


def configure(settings: Settings) -> None:
    """Give the logger a handler on standard error, unless the user configured one."""
    for name, one in zip(losses.OUTPUTS, STANDARD.values(), strict=True):
        one.lost = _Losses(settings.state_dir, name).tell
        one.start()
    _events.start()
    if logger.level == logging.NOTSET:
        logger.setLevel(settings.log_level.value.upper())
    ours = next((handler for handler in logger.handlers if isinstance(handler, Handler)), None)
    if ours is None:
        if logger.hasHandlers():
            return
        ours = Handler()
        logger.addHandler(ours)
        # A handler that is added to the root logger later would print each line a second time.
        logger.propagate = False
    json_lines = settings.log_format is LogFormat.JSON
    ours.setFormatter(JsonFormatter() if json_lines else TextFormatter(colour=wants_colour()))


def for_granian(settings: Settings) -> dict[str, Any]:
    """The parts of Granian's log configuration that give its lines the formats of Verve."""
    generic: dict[str, Any] = {"()": "verve.log.event_log.JsonFormatter"}
    if settings.log_format is LogFormat.TEXT:
        generic = {"()": "verve.log.event_log.TextFormatter", "colour": wants_colour()}
    return {
        "formatters": {
            "generic": generic,
            "access": {"()": "logging.Formatter", "fmt": "%(message)s"},
        },
        "handlers": {
            "console": {"()": "verve.log.event_log.Handler", "formatter": "generic"},
            "access": {
                "()": "verve.log.event_log.Handler",
                "formatter": "access",
                "stream": "stdout",
            },
        },
    }

"""The log as a sink: one line per window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.log import event_log, events

from .base import FailureKind, Scope, SinkError

if TYPE_CHECKING:
    from verve.windows.window import Window

LOG = "log"
_UNWRITTEN = "the log line could not be written: `{}`"


class LogSink:
    """Logs `Unique requests in the last minute: <count>` for each window."""

    name = LOG
    scope = Scope.HOST

    def take(self, window: Window) -> None:
        """Write the line. Raises `SinkError` if it cannot be written or its handler fails."""
        try:
            with event_log.strict():
                events.WINDOW_PUBLISHED.emit(**window.as_json())
        except BlockingIOError as error:
            raise SinkError(_UNWRITTEN.format(error.strerror), FailureKind.TIMEOUT) from error
        except Exception as error:  # a handler or filter of the user may raise anything
            raise SinkError(_UNWRITTEN.format(error)) from error

    def interrupt(self) -> None:
        """Do nothing: a line waits at most one second."""

    def close(self) -> None:
        """Do nothing: the sink holds nothing."""

"""The log as a sink: one line a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve import events, log

from .base import SinkError

if TYPE_CHECKING:
    from verve.window import Window


class LogSink:
    """Logs `Unique requests in the last minute: <count>` for each window."""

    name = "log"

    def take(self, window: Window) -> None:
        """Write the line. Raises `SinkError` when standard error cannot be written."""
        try:
            with log.strict():
                events.WINDOW_PUBLISHED.emit(**window.as_json())
        except (OSError, ValueError) as error:
            raise SinkError(f"the log line could not be written: `{error}`") from error

    def interrupt(self) -> None:
        """A line waits a second at the most."""

    def close(self) -> None:
        """Nothing is held."""

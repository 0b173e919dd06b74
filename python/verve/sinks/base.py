"""The port of a sink: what `courier` asks of whatever takes closed windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from verve._verve import VerveError

if TYPE_CHECKING:
    from verve.window import Window


class SinkError(VerveError):
    """The sink did not take the window, or cannot tell; it will be offered again."""


@runtime_checkable
class Sink(Protocol):
    """Takes closed windows, one at a time, oldest first, at least once each.

    A sink is used by one thread. It may block, but not for ever: each call ends by a deadline of
    its own.
    """

    @property
    def name(self) -> str:
        """Its name in `VERVE_SINKS` and in the ledger."""

    def take(self, window: Window) -> None:
        """Take one window. Raises `SinkError` when it may not have arrived.

        A window may come again, in a later process too, when its arrival was not noted in time.
        """

    def close(self) -> None:
        """Give back what it holds. Windows are not offered after that."""

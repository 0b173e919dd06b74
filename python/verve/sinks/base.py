"""The port of a sink: what `sink_worker` asks of whatever takes closed windows."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from verve._verve import VerveError

if TYPE_CHECKING:
    from verve.windows.window import Window


class Scope(Enum):
    """How many hosts of a cluster publish to a sink. A host that counts alone always does."""

    HOST = auto()
    """Each host publishes every record that it has."""
    CLUSTER = auto()
    """One host, the deliverer, publishes each revision; revision 0 is not published."""


class Trouble(StrEnum):
    """What kept a sink from taking a window, in one word for metrics and readiness."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    TOPIC_MISSING = "topic-missing"
    TOO_LARGE = "too-large"
    INTERRUPTED = "interrupted"
    LEDGER = "ledger"
    OTHER = "other"


class SinkError(VerveError):
    """The sink did not take the window, or cannot tell; it will be offered again."""

    def __init__(self, message: str, trouble: Trouble = Trouble.OTHER) -> None:
        super().__init__(message)
        self.trouble = trouble


@runtime_checkable
class Sink(Protocol):
    """Takes closed windows, one at a time, oldest first, at least once each.

    A sink is used by one thread, but for `interrupt`. It may block, but not for ever: each call
    ends by a deadline of its own.
    """

    @property
    def name(self) -> str:
        """Its name in `VERVE_SINKS` and in the ledger."""
        ...

    @property
    def scope(self) -> Scope:
        """Whether each host of a cluster publishes to it, or one."""
        ...

    def take(self, window: Window) -> None:
        """Take one window. Raises `SinkError` when it may not have arrived.

        A window may come again, in a later process too, when its arrival was not noted in time.
        """

    def interrupt(self) -> None:
        """End a call of `take` soon, this one and all to come. Any thread may ask for it."""

    def close(self) -> None:
        """Give back what it holds. Windows are not offered after that."""

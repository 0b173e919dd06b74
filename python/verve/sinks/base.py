"""The port of a sink, which `publishing/sink_worker.py` calls with the records of windows."""

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


class FailureKind(StrEnum):
    """Why a sink did not take a window: the value of `trouble` in metrics and readiness."""

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
    """The sink may not have taken the window, which is offered again; `kind` says why."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.OTHER) -> None:
        super().__init__(message)
        self.kind = kind


@runtime_checkable
class Sink(Protocol):
    """Takes the records of windows, one at a time, oldest first, each at least once.

    One thread uses a sink, except for `interrupt`. A call may block, but only up to a deadline of
    its own.
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
        """Take one window. Raises `SinkError` if it may not have arrived.

        A window may come again, also in a later process, if its arrival was not noted in time.
        """

    def interrupt(self) -> None:
        """End this call of `take` and all later ones soon. Any thread may call it."""

    def close(self) -> None:
        """Release what the sink holds. No window is offered after that."""

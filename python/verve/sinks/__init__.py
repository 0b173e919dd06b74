"""Where the records of windows are published: the port in `base`, one module per adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import FailureKind, Scope, Sink, SinkError
from .kafka_settings import KAFKA, KAFKA_SCOPE, KafkaSettings, check
from .log import LOG, LogSink

if TYPE_CHECKING:
    from verve.config import Settings

__all__ = [
    "KAFKA",
    "LOG",
    "FailureKind",
    "LogSink",
    "Scope",
    "Sink",
    "SinkError",
    "check",
    "of_scope",
    "open_sink",
]

_SCOPES = {LOG: LogSink.scope, KAFKA: KAFKA_SCOPE}


def of_scope(settings: Settings, scope: Scope) -> tuple[str, ...]:
    """Names of the sinks in `settings` that have this scope."""
    return tuple(name for name in settings.sinks if _SCOPES[name] is scope)


def open_sink(settings: Settings, name: str) -> Sink:
    """Make the sink of this name."""
    if name == LOG:
        return LogSink()
    if name == KAFKA:
        from .kafka import KafkaSink  # noqa: PLC0415 - most services have no Kafka

        return KafkaSink(KafkaSettings.of(settings))
    raise ValueError(f"no sink of this name: `{name}`")

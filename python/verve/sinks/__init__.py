"""Where the count of each window goes: the port in `base`, one module an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Sink, SinkError, Trouble
from .kafka_settings import KAFKA, KafkaSettings, check
from .log import LogSink

if TYPE_CHECKING:
    from verve.config import Settings

__all__ = ["KAFKA", "LogSink", "Sink", "SinkError", "Trouble", "check", "kafka_sink"]


def kafka_sink(settings: Settings) -> Sink:
    """The sink `kafka`; its client is imported only when one is asked for."""
    from .kafka import KafkaSink  # noqa: PLC0415 - most services have no Kafka

    return KafkaSink(KafkaSettings.of(settings))

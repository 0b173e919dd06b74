"""Where the count of each window goes: the port in `base`, one module an adapter."""

from __future__ import annotations

from .base import Sink, SinkError
from .log import LogSink

__all__ = ["LogSink", "Sink", "SinkError"]

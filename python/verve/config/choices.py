"""What a setting of a few words may be."""

from __future__ import annotations

from enum import StrEnum


class Admin(StrEnum):
    """Who may see metrics and history."""

    GUARDED = "guarded"
    OPEN = "open"


class Callbacks(StrEnum):
    """Where callbacks may go."""

    PUBLIC = "public"
    LISTED = "listed"
    OFF = "off"


class CallbackLog(StrEnum):
    """Which callbacks are logged one by one."""

    ALL = "all"
    FAILURES = "failures"
    SUMMARY = "summary"


class KafkaSasl(StrEnum):
    """How the service proves to a Kafka broker who it is."""

    NONE = "none"
    PLAIN = "plain"
    SCRAM_SHA_256 = "scram-sha-256"
    SCRAM_SHA_512 = "scram-sha-512"


class Listener(StrEnum):
    """What serves the public address."""

    GRANIAN = "granian"
    NATIVE = "native"


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class RedisStrategy(StrEnum):
    """How the ids of a window are kept in Redis."""

    SETS = "sets"
    KEYS = "keys"


class Ack(StrEnum):
    """What an accept waits for."""

    HOST = "host"
    STORE = "store"

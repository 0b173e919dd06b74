"""The enumerations of the settings that take one of a few words."""

from __future__ import annotations

from enum import StrEnum


class Admin(StrEnum):
    """The access rule of metrics and history for requests without a token."""

    GUARDED = "guarded"
    OPEN = "open"


class Callbacks(StrEnum):
    """The destinations that the egress policy permits."""

    PUBLIC = "public"
    LISTED = "listed"
    OFF = "off"


class CallbackLog(StrEnum):
    """The attempts of callbacks that are logged one by one."""

    ALL = "all"
    FAILURES = "failures"
    SUMMARY = "summary"


class KafkaSasl(StrEnum):
    """The SASL mechanism by which the service authenticates to a Kafka broker."""

    NONE = "none"
    PLAIN = "plain"
    SCRAM_SHA_256 = "scram-sha-256"
    SCRAM_SHA_512 = "scram-sha-512"


class Listener(StrEnum):
    """The server of the public address."""

    GRANIAN = "granian"
    NATIVE = "native"


class LogFormat(StrEnum):
    """The format of a log line."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level of an event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class RedisStrategy(StrEnum):
    """The form in which Redis stores the ids of a window."""

    SETS = "sets"
    KEYS = "keys"


class Ack(StrEnum):
    """The place that must have the id before a request is answered `ok`."""

    HOST = "host"
    STORE = "store"

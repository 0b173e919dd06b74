"""The table of settings.

Each field carries how its text is parsed, its default, its section and its
help; `--help`, `verve config`, the docs and the parsing itself are all made from it. To add a
setting is to add one field.
"""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from . import defaults, limits, parsers
from .choices import (
    Ack,
    Admin,
    CallbackLog,
    Callbacks,
    KafkaSasl,
    LogFormat,
    LogLevel,
    RedisStrategy,
)
from .row import Derived, Setting, setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in effect. Made by `load`, never changed.

    `origins` tells where each value came from, `warnings` what was odd about the environment.
    """

    config: Path | None = setting(
        "server", parsers.path, None, "TOML file with settings.", in_file=False
    )
    host: str = setting(
        "server",
        parsers.host,
        "127.0.0.1",
        "Address to listen on, or a name: of its addresses the first of IPv4, else of IPv6.",
    )
    port: int = setting("server", parsers.integer(1, 65_535), "8000", "Port to listen on.")
    workers: int = setting(
        "server",
        parsers.integer(1, 1024),
        Derived("one a processor, at most 4", lambda _values, _env: min(4, limits.processors())),
        "Number of worker processes that `verve serve` starts.",
    )
    fast_path: bool = setting(
        "server", parsers.switch, "on", "Answer accepts without the event loop, under RSGI."
    )
    keep_alive: int = setting(
        "server",
        parsers.duration(1, 3_600),
        "75",
        "How long `verve serve` keeps an idle connection, and waits for the head of a request.",
    )
    max_body: int = setting(
        "server", parsers.size(1024, 2**31 - 1), "8MiB", "Largest body of a batch."
    )
    window: int = setting(
        "counting", parsers.duration(1, 86_400), "60", "Length of a window, aligned to the epoch."
    )
    state_dir: Path = setting(
        "counting",
        parsers.path,
        Derived(
            "`$STATE_DIRECTORY`, else `/var/lib/verve` for root, else `$XDG_STATE_HOME/verve`, "
            "else `~/.local/state/verve`",
            defaults.state_dir,
        ),
        "Directory of the ledger and the locks, on a disk.",
    )
    segment: Path = setting(
        "counting",
        parsers.path,
        Derived("`/dev/shm/verve-<uid>-<hash of the state directory>`", defaults.segment),
        "File that holds the counters, on a tmpfs.",
    )
    max_ids_per_window: int = setting(
        "counting",
        parsers.count(1, 2**31),
        Derived(
            "what half of the memory limit, of the free tmpfs and of `ulimit -v` can hold",
            lambda values, _env: limits.max_ids_per_window(values["segment"]),
        ),
        "Distinct ids that a window can hold.",
    )
    cluster: str = setting(
        "counting", parsers.text, "", "Name of the set of hosts that this one belongs to."
    )
    redis_url: str | None = setting(
        "redis",
        parsers.token,
        None,
        "Redis that the hosts of the cluster share: `redis://`, `rediss://`, `redis+cluster://`, "
        "`redis+sentinel://host:26379/<service>`.",
        secret=True,
    )
    redis_strategy: RedisStrategy = setting(
        "redis",
        parsers.choice(RedisStrategy),
        "sets",
        "How ids are kept there: `sets`, exact; `keys`, a key an id as the Go service did.",
    )
    redis_keep: int = setting(
        "redis",
        parsers.duration(300, 86_400),
        "24h",
        "How long ids are kept there, and hosts that were away may still add theirs.",
    )
    redis_tls_ca: Path | None = setting(
        "redis", parsers.path, None, "PEM file of the authorities to trust, not those of the host."
    )
    redis_tls_certificate: Path | None = setting(
        "redis", parsers.path, None, "PEM file of the service's own certificate."
    )
    redis_tls_key: Path | None = setting(
        "redis", parsers.path, None, "PEM file of its key, if it is not with the certificate."
    )
    ack: Ack = setting(
        "redis",
        parsers.choice(Ack),
        "host",
        "When an accept is answered `ok`: `host`, once this host has it; `store`, once Redis has.",
    )
    cluster_grace: int = setting(
        "redis",
        parsers.duration(1, 600),
        Derived("a quarter of the window, 1 to 5 s", defaults.cluster_grace),
        "How long a window's count waits for hosts that are late.",
    )
    spill_max: int = setting(
        "redis",
        parsers.size(1024, 2**50),
        "1GiB",
        "Disk for the ids of windows that wait for Redis.",
    )
    kafka_brokers: tuple[str, ...] | None = setting(
        "kafka", parsers.brokers, None, "Brokers to begin with: `host:9092`, separated by commas."
    )
    kafka_topic: str = setting(
        "kafka",
        parsers.topic,
        "unique-request-count",
        "Topic of the counts. It is made where it is missing.",
    )
    kafka_partitions: int = setting(
        "kafka", parsers.integer(1, 10_000), "1", "Partitions of a topic that is made."
    )
    kafka_replication: int | None = setting(
        "kafka",
        parsers.integer(1, 100),
        Derived("3, or one a broker where there are fewer", lambda _values, _env: None),
        "Copies of a topic that is made.",
    )
    kafka_tls: bool = setting("kafka", parsers.switch, "off", "Speak TLS to the brokers.")
    kafka_tls_ca: Path | None = setting(
        "kafka", parsers.path, None, "PEM file of the authorities to trust, not those of the host."
    )
    kafka_tls_certificate: Path | None = setting(
        "kafka", parsers.path, None, "PEM file of the service's own certificate."
    )
    kafka_tls_key: Path | None = setting(
        "kafka", parsers.path, None, "PEM file of its key, if it is not with the certificate."
    )
    kafka_tls_key_password: str | None = setting(
        "kafka", parsers.text, None, "Password of that key.", secret=True
    )
    kafka_sasl: KafkaSasl = setting(
        "kafka",
        parsers.choice(KafkaSasl),
        "none",
        "Authentication: `none`, `plain`, `scram-sha-256` or `scram-sha-512`.",
    )
    kafka_user: str | None = setting("kafka", parsers.name, None, "User to authenticate as.")
    kafka_password: str | None = setting(
        "kafka", parsers.text, None, "Password of that user.", secret=True
    )
    callbacks: Callbacks = setting(
        "callbacks",
        parsers.choice(Callbacks),
        "public",
        "Where callbacks may go: `public` (to listed destinations too), `listed` or `off`.",
    )
    callback_allow: tuple[str, ...] | None = setting(
        "callbacks",
        parsers.entries,
        None,
        "Internal destinations: networks, hosts and `*.suffix`, separated by commas.",
    )
    callback_rate: int = setting(
        "callbacks",
        parsers.integer(1, 100_000),
        "1000",
        "Callbacks a second to each destination that is not listed.",
    )
    callback_secret: tuple[str, ...] | None = setting(
        "callbacks",
        parsers.entries,
        None,
        "Secret `whsec_...` that signs callbacks; while it changes, the new and the old one.",
        secret=True,
    )
    callback_ca: Path | None = setting(
        "callbacks", parsers.path, None, "PEM file of authorities to trust beside the host's."
    )
    callback_certificate: Path | None = setting(
        "callbacks", parsers.path, None, "PEM file of the service's own certificate."
    )
    callback_key: Path | None = setting(
        "callbacks", parsers.path, None, "PEM file of its key, if it is not with the certificate."
    )
    callback_proxy: str | None = setting(
        "callbacks",
        parsers.token,
        None,
        "URL of a proxy that all go through.",
        secret=True,
    )
    callback_drain: int = setting(
        "callbacks", parsers.duration(0, 300), "5", "How long a stop waits for callbacks."
    )
    callback_max_age: int = setting(
        "callbacks", parsers.duration(60, 86_400), "1h", "Older ones are not sent after a start."
    )
    callback_log: CallbackLog = setting(
        "callbacks",
        parsers.choice(CallbackLog),
        "all",
        "What is logged one by one, up to 100 lines a second: `all`, `failures` or `summary`.",
    )
    keep: int = setting(
        "publishing",
        parsers.duration(60, 100 * 365 * 86_400),
        "365d",
        "How long the ledger keeps windows; ten times that where a sink has not taken them.",
    )
    sinks: tuple[str, ...] = setting(
        "publishing",
        parsers.names(("log", "kafka")),
        Derived("`log`; `kafka` where there are brokers", defaults.sinks),
        "Where the count of each window goes: `log`, `kafka`, or both.",
    )
    source: str = setting(
        "publishing",
        parsers.name,
        Derived("the cluster, else the host's name", defaults.source),
        "Name that published counts carry.",
    )
    admin: Admin = setting(
        "access",
        parsers.choice(Admin),
        "guarded",
        "Who sees metrics and history when no token is set: `guarded`: loopback; `open`: all.",
    )
    admin_token: str | None = setting(
        "access",
        parsers.token,
        None,
        "Bearer token that metrics and history then require from everyone, loopback included.",
        secret=True,
    )
    log_format: LogFormat = setting(
        "logging", parsers.choice(LogFormat), "text", "Form of the log lines: `text` or `json`."
    )
    log_level: LogLevel = setting(
        "logging",
        parsers.choice(LogLevel),
        "info",
        "Least important event that is logged: `debug`, `info`, `warning` or `error`.",
    )
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


TABLE: Mapping[str, Setting] = {
    item.name: Setting(item.name, *item.metadata["row"])
    for item in fields(Settings)
    if "row" in item.metadata
}
"""Every setting, in the order of the docs."""

"""The table of settings.

Each field carries its section, its parser, its default and its help text. `--help`, `verve config`,
the docs and the loader all read this table: a new setting is one new field.
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
    Listener,
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
    """The settings in effect, immutable. `load` makes them.

    `origins` names the source of each value; `warnings` are about the environment.
    """

    config: Path | None = setting(
        "server", parsers.path, None, "TOML file with settings.", in_file=False
    )
    host: str = setting(
        "server",
        parsers.host,
        "127.0.0.1",
        "Address to listen on, or a name: its first IPv4 address, else its first IPv6 address.",
    )
    port: int = setting("server", parsers.integer(1, 65_535), "8000", "Port to listen on.")
    workers: int = setting(
        "server",
        parsers.integer(1, 1024),
        Derived("one per processor, at most 4", lambda _values, _env: min(4, limits.processors())),
        "Worker processes of `verve serve`.",
    )
    listener: Listener = setting(
        "server",
        parsers.choice(Listener),
        "granian",
        "Server of the public address under `verve serve`: `granian`, or the faster `native`.",
    )
    admin_listen: str | None = setting(
        "server",
        parsers.address,
        None,
        "Separate address (`host:port`) of metrics and history: 404 at the public one then.",
    )
    fast_path: bool = setting(
        "server", parsers.switch, "on", "Answer accepts without the event loop (RSGI only)."
    )
    keep_alive: int = setting(
        "server",
        parsers.duration(1, 3_600),
        "75",
        "Time limit of `verve serve` for an idle connection, and for the head of a request.",
    )
    head_timeout: int = setting(
        "server",
        parsers.duration(1, 3_600),
        "30",
        "Time limit for the head of a request, from its first byte (native listener).",
    )
    write_timeout: int = setting(
        "server",
        parsers.duration(1, 3_600),
        "30",
        "Time limit for a client that reads no answers (native listener).",
    )
    max_head: int = setting(
        "server",
        parsers.size(8192, 2**20),
        "64KiB",
        "Maximum size of a request's head (native listener).",
    )
    max_connections: int = setting(
        "server",
        parsers.integer(1, 1_000_000),
        Derived(
            "as many as the limit of open files allows, at most 16384",
            lambda _values, _env: limits.max_connections(),
        ),
        "Maximum number of connections per worker.",
    )
    stream_seconds: int = setting(
        "server",
        parsers.duration(1, 86_400),
        "300",
        "How long an event stream lasts; its reader then connects again.",
    )
    max_body: int = setting(
        "server", parsers.size(1024, 2**31 - 1), "8MiB", "Maximum size of the body of a batch."
    )
    body_timeout: int = setting(
        "server", parsers.duration(1, 3_600), "30", "Time limit for the body of a batch."
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
        "Directory of the ledger and the locks; on a disk.",
    )
    segment: Path = setting(
        "counting",
        parsers.path,
        Derived("`/dev/shm/verve-<uid>-<hash of the state directory>`", defaults.segment),
        "File that all processes of the host count in; on a tmpfs.",
    )
    max_ids_per_window: int = setting(
        "counting",
        parsers.count(1, 2**31),
        Derived(
            "what fits into half of the memory limit, of the free tmpfs and of `ulimit -v`",
            lambda values, _env: limits.max_ids_per_window(values["segment"]),
        ),
        "Maximum number of distinct ids per window.",
    )
    cluster: str = setting(
        "counting", parsers.text, "", "Name of the cluster that this host belongs to."
    )
    redis_url: str | None = setting(
        "redis",
        parsers.token,
        None,
        "URL of the cluster's Redis: `redis://`, `rediss://`, `redis+cluster://`, "
        "`redis+sentinel://host:26379/<service>`.",
        secret=True,
    )
    redis_strategy: RedisStrategy = setting(
        "redis",
        parsers.choice(RedisStrategy),
        "sets",
        "Form of the ids in Redis: `sets`, exact; `keys`, one key per id, as the Go service did.",
    )
    redis_keep: int = setting(
        "redis",
        parsers.duration(300, 86_400),
        "24h",
        "How long Redis keeps the ids of a window, and late hosts may add theirs.",
    )
    redis_tls_ca: Path | None = setting(
        "redis", parsers.path, None, "PEM file of the authorities to trust in place of the host's."
    )
    redis_tls_certificate: Path | None = setting(
        "redis", parsers.path, None, "PEM file of the client certificate."
    )
    redis_tls_key: Path | None = setting(
        "redis", parsers.path, None, "PEM file of its private key, if not in the certificate file."
    )
    ack: Ack = setting(
        "redis",
        parsers.choice(Ack),
        "host",
        "What `ok` confirms: `host`, that this host has the id; `store`, that Redis has it.",
    )
    cluster_grace: int = setting(
        "redis",
        parsers.duration(1, 600),
        Derived("a quarter of the window, 1 to 5 s", defaults.cluster_grace),
        "How long after its end a window waits for late hosts.",
    )
    spill_max: int = setting(
        "redis",
        parsers.size(1024, 2**50),
        "1GiB",
        "Maximum disk space for the ids of windows that wait for Redis.",
    )
    kafka_brokers: tuple[str, ...] | None = setting(
        "kafka", parsers.brokers, None, "Bootstrap brokers: `host:9092`, separated by commas."
    )
    kafka_topic: str = setting(
        "kafka",
        parsers.topic,
        "unique-request-count",
        "Topic of the counts; created if it is missing.",
    )
    kafka_partitions: int = setting(
        "kafka", parsers.integer(1, 10_000), "1", "Partitions of a topic that Verve creates."
    )
    kafka_replication: int | None = setting(
        "kafka",
        parsers.integer(1, 100),
        Derived("3, or one per broker if there are fewer", lambda _values, _env: None),
        "Replicas of a topic that Verve creates.",
    )
    kafka_tls: bool = setting("kafka", parsers.switch, "off", "Connect to the brokers with TLS.")
    kafka_tls_ca: Path | None = setting(
        "kafka", parsers.path, None, "PEM file of the authorities to trust in place of the host's."
    )
    kafka_tls_certificate: Path | None = setting(
        "kafka", parsers.path, None, "PEM file of the client certificate."
    )
    kafka_tls_key: Path | None = setting(
        "kafka", parsers.path, None, "PEM file of its private key, if not in the certificate file."
    )
    kafka_tls_key_password: str | None = setting(
        "kafka", parsers.text, None, "Password of the private key.", secret=True
    )
    kafka_sasl: KafkaSasl = setting(
        "kafka",
        parsers.choice(KafkaSasl),
        "none",
        "Authentication: `none`, `plain`, `scram-sha-256` or `scram-sha-512`.",
    )
    kafka_user: str | None = setting("kafka", parsers.name, None, "User to authenticate as.")
    kafka_password: str | None = setting(
        "kafka", parsers.text, None, "Password of the user.", secret=True
    )
    callbacks: Callbacks = setting(
        "callbacks",
        parsers.choice(Callbacks),
        "public",
        "Allowed destinations: `public` (and listed ones), `listed` (only those), or `off`.",
    )
    callback_allow: tuple[str, ...] | None = setting(
        "callbacks",
        parsers.entries,
        None,
        "Listed destinations: networks, hosts and `*.suffix`, separated by commas.",
    )
    callback_rate: int = setting(
        "callbacks",
        parsers.integer(1, 100_000),
        "1000",
        "Maximum callbacks per second to each public destination.",
    )
    callback_secret: tuple[str, ...] | None = setting(
        "callbacks",
        parsers.entries,
        None,
        "Secret that signs callbacks: `whsec_...`; during a rotation the new and the old one.",
        secret=True,
    )
    callback_ca: Path | None = setting(
        "callbacks",
        parsers.path,
        None,
        "PEM file of authorities to trust in addition to the host's.",
    )
    callback_certificate: Path | None = setting(
        "callbacks", parsers.path, None, "PEM file of the client certificate."
    )
    callback_key: Path | None = setting(
        "callbacks",
        parsers.path,
        None,
        "PEM file of its private key, if not in the certificate file.",
    )
    callback_proxy: str | None = setting(
        "callbacks",
        parsers.token,
        None,
        "URL of an egress proxy for all callbacks.",
        secret=True,
    )
    callback_drain: int = setting(
        "callbacks",
        parsers.duration(0, 300),
        "5",
        "How long a stop waits for callbacks that are due.",
    )
    callback_max_age: int = setting(
        "callbacks", parsers.duration(60, 86_400), "1h", "Maximum age of a callback that is sent."
    )
    callback_log: CallbackLog = setting(
        "callbacks",
        parsers.choice(CallbackLog),
        "all",
        "Attempts to log one by one, at most 100 per second: `all`, `failures`, `summary` (none).",
    )
    keep: int = setting(
        "publishing",
        parsers.duration(60, 100 * 365 * 86_400),
        "365d",
        "How long the ledger keeps windows; ten times as long if a sink has not taken them.",
    )
    sinks: tuple[str, ...] = setting(
        "publishing",
        parsers.names(("log", "kafka")),
        Derived("`log`; `kafka` if `VERVE_KAFKA_BROKERS` is set", defaults.sinks),
        "Where counts are published: `log`, `kafka`, or both.",
    )
    source: str = setting(
        "publishing",
        parsers.name,
        Derived("the cluster, else the host's name", defaults.source),
        "Name of the source in published counts.",
    )
    archive: str | None = setting(
        "archive",
        parsers.archive,
        None,
        "Where the ids of each window are kept, for counts over any span: a directory, or "
        "`s3://bucket/prefix`, `gs://...`, `az://...`.",
    )
    archive_keep: tuple[parsers.LevelAge, ...] = setting(
        "archive",
        parsers.level_ages,
        "minutes:2d,hours:60d,days:400d",
        "How long the archive keeps files by level; one that is left out: forever. Hosts that "
        "share an archive need the same.",
    )
    archive_spool_max: int = setting(
        "archive",
        parsers.size(2**20, 2**50),
        "4GiB",
        "Maximum disk space for windows that wait to be archived, in the state directory.",
    )
    archive_reserve: int = setting(
        "archive",
        parsers.size(0, 2**50),
        "256MiB",
        "Space that the archive leaves free on the disk of the state directory.",
    )
    archive_memory: int = setting(
        "archive",
        parsers.size(2**24, 2**40),
        "256MiB",
        "Maximum memory for ids while the archive is written or queried.",
    )
    admin: Admin = setting(
        "access",
        parsers.choice(Admin),
        "guarded",
        "Access to metrics and history without a token: `guarded`, loopback only; `open`, for all.",
    )
    admin_token: tuple[str, ...] | None = setting(
        "access",
        parsers.tokens,
        None,
        "Bearer token that metrics and history require from every client, loopback included; "
        "during a rotation the new and the old one.",
        secret=True,
    )
    page: bool = setting("access", parsers.switch, "on", "Live page at `/`.")
    log_format: LogFormat = setting(
        "logging", parsers.choice(LogFormat), "text", "Format of log lines: `text` or `json`."
    )
    log_level: LogLevel = setting(
        "logging",
        parsers.choice(LogLevel),
        "info",
        "Lowest level to log: `debug`, `info`, `warning` or `error`.",
    )
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


TABLE: Mapping[str, Setting] = {
    item.name: Setting(item.name, *item.metadata["row"])
    for item in fields(Settings)
    if "row" in item.metadata
}
"""Every setting, in the order of the docs."""

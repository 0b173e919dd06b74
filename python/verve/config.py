"""The settings: one table, and how it is filled.

`Settings` is the table. Each field carries how its text is parsed, its default, its section and its
help; `--help`, `verve config`, the docs and the parsing itself are all made from it. To add a
setting is to add one field.

A value comes from the first that has it: a flag, the environment (`VERVE_WINDOW`), the TOML file
that `VERVE_CONFIG` names (`window = 60`), the default. Secrets have no flag, since every user of a
host can read the arguments of its processes; they can come from a file (`VERVE_ADMIN_TOKEN_FILE`,
`--admin-token-file`, or `admin_token_file` in the TOML file).
"""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config_defaults as defaults
from . import limits, parsers
from ._verve import SettingError
from .config_choices import Admin, CallbackLog, Callbacks, KafkaSasl, LogFormat, LogLevel
from .config_row import PREFIX, Derived, Setting, setting

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

SUPERVISOR = "VERVE_SUPERVISOR_PID"
"""Set by `verve serve` for its workers: the process that starts a worker again when one is gone."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in effect. Made by `load`, never changed.

    `origins` tells where each value came from, `warnings` what was odd about the environment,
    `secret_files` which file a secret was read from.
    """

    config: Path | None = setting(
        "server", parsers.path, None, "TOML file with settings.", in_file=False
    )
    host: str = setting("server", parsers.text, "127.0.0.1", "Address to listen on.")
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
            "`$STATE_DIRECTORY`, else `/var/lib/verve` for root, else `$XDG_STATE_HOME/verve`",
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
            "what half of the memory limit and half of the free tmpfs can hold",
            lambda values, _env: limits.max_ids_per_window(values["segment"]),
        ),
        "Distinct ids that a window can hold.",
    )
    cluster: str = setting(
        "counting", parsers.text, "", "Name of the set of hosts that this one belongs to."
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
    kafka_user: str | None = setting("kafka", parsers.text, None, "User to authenticate as.")
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
        "publishing", parsers.duration(60, 100 * 365 * 86_400), "365d", "How long the ledger keeps."
    )
    sinks: tuple[str, ...] = setting(
        "publishing",
        parsers.names(("log", "kafka")),
        Derived("`log`; `kafka` where there are brokers", defaults.sinks),
        "Where the count of each window goes: `log`, `kafka`, or both.",
    )
    source: str = setting(
        "publishing",
        parsers.text,
        Derived("the cluster, else the host's name", defaults.source),
        "Name that published counts carry.",
    )
    admin: Admin = setting(
        "access",
        parsers.choice(Admin),
        "guarded",
        "Who sees page, metrics and history: `open`: all; `guarded`: loopback, or with the token.",
    )
    admin_token: str | None = setting(
        "access",
        parsers.token,
        None,
        "Bearer token for page, metrics and history.",
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
    secret_files: Mapping[str, Path]

    def export(self, environ: MutableMapping[str, str]) -> None:
        """Set the variables that make `load` give these very settings in a worker.

        A secret is not put there: it stays where it was found.
        """
        for row in TABLE.values():
            value = getattr(self, row.name)
            if row.name in self.secret_files:
                environ.pop(row.variable, None)
                environ[f"{row.variable}_FILE"] = str(self.secret_files[row.name])
            elif value is not None and not row.secret:
                environ[row.variable] = parsers.as_text(value)


TABLE: Mapping[str, Setting] = {
    item.name: Setting(item.name, *item.metadata["row"])
    for item in fields(Settings)
    if "row" in item.metadata
}
"""Every setting, in the order of the docs."""

# What Kubernetes puts into the environment of each pod for a service named "verve", "verve-x"...
_KUBERNETES = re.compile(
    r"VERVE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)
_KUBERNETES_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


def load(
    flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings from `flags` (by setting name), the environment, the file and the defaults.

    Raises `SettingError` for a value that does not parse, an unknown flag or key, or a file that
    cannot be read.
    """
    environ = os.environ if environ is None else environ
    flags = flags or {}
    for name in flags:
        if name not in _names():
            raise unknown(name, "flag", _names())
    warnings: list[str] = []
    variables = _variables(environ, warnings)
    config_path, config_origin = _first("config", flags, variables, {}, None)
    file, file_path = {}, None
    if isinstance(config_path, str):
        file_path = _parsed(TABLE["config"], config_path, config_origin)
        file = _file(file_path)

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    secret_files: dict[str, Path] = {}
    for name, row in TABLE.items():
        raw, origin = _first(name, flags, variables, file, file_path)
        if isinstance(raw, Path):
            secret_files[name], raw = raw, _secret(name, raw)
        if raw is None and isinstance(row.default, Derived):
            values[name] = row.default.value(values, environ)
        else:
            given = row.default if raw is None else raw
            values[name] = _parsed(row, given, origin) if isinstance(given, str) else None
        origins[name] = origin
    return Settings(**values, origins=origins, warnings=tuple(warnings), secret_files=secret_files)


def unknown(name: str, kind: str, known: list[str]) -> SettingError:
    """The error for a name that nothing is called, with the nearest that something is."""
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`verve config` lists the settings"
    return SettingError(f"unknown {kind} `{name}`; hint: {hint}")


def _names() -> list[str]:
    """What a setting may be called in a file and among the flags."""
    return [*TABLE, *(f"{row.name}_file" for row in TABLE.values() if row.secret)]


def _variables(environ: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """The settings in the environment, by name; an empty value counts as absent."""
    known = {PREFIX + name.upper(): name for name in _names()}
    found: dict[str, str] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or not value or variable == SUPERVISOR:
            continue
        if _KUBERNETES.fullmatch(variable) and (
            variable not in known or _KUBERNETES_ADDRESS.match(value)
        ):
            continue
        if variable in known:
            found[known[variable]] = value
        else:
            near = get_close_matches(variable, known, n=1)
            hint = f", did you mean `{near[0]}`?" if near else ""
            warnings.append(f"unknown setting in the environment: `{variable}`{hint}")
    return found


def _file(path: Path) -> dict[str, str]:
    """The settings of a TOML file as texts, so that all sources share the parsers.

    An empty one counts as absent, as in the environment.
    """
    import tomllib  # noqa: PLC0415 - most workers have no file

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(
            f"cannot read the settings file: {error.strerror}: `{path}`\n"
            f"hint: `{PREFIX}CONFIG` or `--config` names it"
        ) from error
    except ValueError as error:
        raise SettingError(f"the settings file is no TOML: {error}: `{path}`") from error
    known = [name for name in _names() if name not in TABLE or TABLE[name].in_file]
    found: dict[str, str] = {}
    for key, value in document.items():
        if key not in known:
            raise unknown(key, f"setting in {path}:", known)
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | int | bool) for item in items):
            raise SettingError(
                f"the setting `{key}` in {path} has a value of the wrong kind: `{value}`\n"
                f"hint: write text in quotes, or a whole number"
            )
        if text := ",".join(parsers.as_text(item) for item in items):
            found[key] = text
    return found


def _first(
    name: str,
    flags: Mapping[str, str],
    variables: Mapping[str, str],
    file: Mapping[str, str],
    file_path: Path | None,
) -> tuple[str | Path | None, str]:
    """The text of a setting, or the file of a secret, from the first source that has it.

    With it comes what that source is called.
    """
    for source, label in (
        (flags, "flag"),
        (variables, "environment"),
        (file, f"file {file_path}"),
    ):
        direct, by_file = source.get(name), source.get(f"{name}_file")
        if direct is not None and by_file is not None and TABLE[name].secret:
            raise SettingError(
                f"the setting `{name}` is given twice ({label}), as itself and as `{name}_file`\n"
                "hint: keep one of them"
            )
        if by_file is not None and TABLE[name].secret:
            path = parsers.path(by_file)
            return path, f"{label}, in {path}"
        if direct is not None:
            return direct, label
    return None, "default"


def _secret(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"cannot read the file of `{name}`: {error}: `{path}`") from error


def _parsed(row: Setting, raw: str, origin: str) -> Any:  # noqa: ANN401 - one type a setting
    try:
        return row.parse(raw)
    except parsers.BadValue as error:
        shown = "***" if row.secret else raw
        raise SettingError(
            f"the setting `{row.name}` ({origin}) {error.problem}: `{shown}`; hint: {error.hint}"
        ) from None

"""The loader of the settings.

A value comes from the first source that has it: a flag, the environment (`VERVE_WINDOW`), the TOML
file that `VERVE_CONFIG` names (`window = 60`), the default. A secret has no flag, since every user
of a host can read the arguments of its processes. A file can hold a secret
(`VERVE_ADMIN_TOKEN_FILE`, `--admin-token-file`, or `admin_token_file` in the TOML file).
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verve._verve import SettingError

from . import parsers
from .masking import MASK
from .row import PREFIX, Derived, Setting
from .settings import TABLE, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPERVISOR = "VERVE_SUPERVISOR_PID"
"""Set by `verve serve` for its workers: the id of the process that restarts a dead worker."""

# Kubernetes sets these variables in each pod for a service named "verve" or "verve-x".
_KUBERNETES = re.compile(
    r"VERVE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)
_LARGEST_SECRET = 1 << 16
_KINDS = {str: "text in quotes", int: "a whole number", bool: "`true` or `false`"}
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
    for name, row in TABLE.items():
        raw, origin = _first(name, flags, variables, file, file_path)
        if isinstance(raw, Path):
            raw = _secret(name, raw)
        if raw is None and isinstance(row.default, Derived):
            values[name] = _derived(row, row.default, values, environ)
        else:
            given = row.default if raw is None else raw
            values[name] = _parsed(row, given, origin) if isinstance(given, str) else None
        origins[name] = origin
    return Settings(**values, origins=origins, warnings=tuple(warnings))


def unknown(name: str, kind: str, known: list[str]) -> SettingError:
    """The error for an unknown name; its hint is the nearest known name."""
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`verve config` lists the settings"
    return SettingError(f"unknown {kind} `{name}`; hint: {hint}")


def _names() -> list[str]:
    """The names of settings in a file and among the flags."""
    return [*TABLE, *(f"{row.name}_file" for row in TABLE.values() if row.secret)]


def _variables(environ: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """The settings in the environment, by name; an empty value counts as absent."""
    known = {PREFIX + name.upper(): name for name in _names()}
    found: dict[str, str] = {}
    for variable, value in environ.items():
        if not variable.upper().startswith(PREFIX) or not value or variable == SUPERVISOR:
            continue
        if _KUBERNETES.fullmatch(variable) and (
            variable not in known or _KUBERNETES_ADDRESS.match(value)
        ):
            continue
        if variable in known:
            found[known[variable]] = value
        else:
            near = get_close_matches(variable.upper(), known, n=1)
            hint = f", did you mean `{near[0]}`?" if near else ""
            warnings.append(f"unknown setting in the environment: `{variable}`{hint}")
    return found


def _file(path: Path) -> dict[str, str]:
    """The settings of a TOML file as texts, so that all sources share the parsers.

    An empty value counts as absent, as in the environment.
    """
    import tomllib  # noqa: PLC0415 - most workers have no file

    try:
        # Editors on Windows begin a file with a byte order mark.
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise SettingError(
            f"the settings file is not UTF-8: `{path}`; hint: save it as UTF-8"
        ) from None
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
        row = TABLE.get(key)
        is_secret = row is not None and row.secret
        kinds = _kinds(row)
        if not all(type(item) in kinds for item in items):
            names = [name for kind, name in _KINDS.items() if kind in kinds]
            raise SettingError(
                f"the setting `{key}` in {path} has a value of the wrong kind: "
                f"`{MASK if is_secret else value}`; hint: write {', or '.join(names)}"
            )
        if text := ",".join(parsers.as_text(item) for item in items):
            found[key] = text
    return found


def _kinds(row: Setting | None) -> set[type]:
    """The types of a setting in a TOML file.

    A secret is text only: the parsed number `0x10` would print as `16`, which is another secret.
    """
    if row is None or row.secret:
        return {str}
    return {str, int, bool} if row.parse is parsers.switch else {str, int}


def _first(
    name: str,
    flags: Mapping[str, str],
    variables: Mapping[str, str],
    file: Mapping[str, str],
    file_path: Path | None,
) -> tuple[str | Path | None, str]:
    """The text of a setting, or the file of a secret, from the first source that has it.

    The second value is the name of that source.
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
            path = _path(name, by_file, label)
            return path, f"{label}, in {path}"
        if direct is not None:
            return direct, label
    return None, "default"


def _path(name: str, raw: str, origin: str) -> Path:
    try:
        return parsers.path(raw)
    except parsers.BadValue as error:
        raise SettingError(
            f"the setting `{name}_file` ({origin}) {error.problem}: `{raw}`; hint: {error.hint}"
        ) from None


def _secret(name: str, path: Path) -> str:
    hint = "hint: it holds the secret and nothing else, as UTF-8 text"
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SECRET + 1)
    except OSError as error:
        raise SettingError(
            f"cannot read the file of `{name}`: {error.strerror}: `{path}`; {hint}"
        ) from error
    if len(content) > _LARGEST_SECRET:
        raise SettingError(f"the file of `{name}` is too large for a secret: `{path}`; {hint}")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        # The original error would show a part of the secret.
        raise SettingError(f"the file of `{name}` is not UTF-8: `{path}`; {hint}") from None
    if not text:
        raise SettingError(f"the file of `{name}` is empty: `{path}`; {hint}")
    return text


def _derived(
    row: Setting, default: Derived, values: Mapping[str, Any], environ: Mapping[str, str]
) -> Any:  # noqa: ANN401 - one type per setting
    try:
        return default.value(values, environ)
    except parsers.BadValue as error:
        raise SettingError(
            f"the default of the setting `{row.name}` {error.problem}: {row.default_text}; "
            f"hint: {error.hint}, or set `{row.variable}`"
        ) from None


def _parsed(row: Setting, raw: str, origin: str) -> Any:  # noqa: ANN401 - one type per setting
    try:
        return row.parse(raw)
    except parsers.BadValue as error:
        shown = MASK if row.secret else raw
        raise SettingError(
            f"the setting `{row.name}` ({origin}) {error.problem}: `{shown}`; hint: {error.hint}"
        ) from None

"""The options of Granian that the user gives: read by Granian's own command, then checked.

They come as arguments in either spelling or as `GRANIAN_*` variables. An option that would have no
effect under `verve serve`, or that contradicts a setting, is an error; a variable that a setting
overrides, or that nothing reads, is a warning.
"""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from click.core import ParameterSource

from verve._verve import SettingError
from verve.config.choices import Listener

from .application import TARGET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import click

    from verve.config import Settings

_PREFIX = "GRANIAN_"
_SETTINGS = ("host", "port", "workers", "log_level")
_WITHOUT_EFFECT = {
    "factory": ("the application is no factory", "leave it out"),
    "working_dir": (
        "the installed application is served, from any directory",
        "leave it out; change the directory by `cd`",
    ),
    "env_files": (
        "settings are read before Granian reads it",
        "set the variables before `verve serve` starts, or use `VERVE_CONFIG`",
    ),
}


class GranianOptions(NamedTuple):
    """The context of Granian's command, and warnings about the environment."""

    context: click.Context
    warnings: list[str]


def read(
    settings: Settings,
    arguments: Sequence[str],
    defaults: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
) -> GranianOptions:
    """Have Granian read its options. Raises `SettingError`, and `click.UsageError` as it does."""
    from granian.cli import cli  # noqa: PLC0415 - heavy, and only `verve serve` needs it

    bound = {
        "host": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "log_level": settings.log_level.value,
    }
    flags = [part for name in _SETTINGS for part in (_flag(name), str(bound[name]))]
    context = cli.make_context(
        "verve serve",
        [TARGET, *flags, *arguments],
        auto_envvar_prefix=_PREFIX.rstrip("_"),
        default_map=dict(defaults),
    )
    _check(context, bound, settings)
    names = [parameter.name for parameter in cli.params if parameter.name]
    warnings = [*_overridden(bound, environ), *_unknown(names, environ)]
    if context.params["uds"] is not None:
        given = [name for name in ("host", "port") if settings.origins[name] != "default"]
        warnings += [
            f"`{_variable(name)}` is not used: the service listens at `--uds`" for name in given
        ]
    return GranianOptions(context, warnings)


def _check(context: click.Context, bound: Mapping[str, Any], settings: Settings) -> None:
    """Raise `SettingError` for an option that contradicts a setting or would have no effect."""
    params = context.params
    for name, value in bound.items():
        given = getattr(params[name], "value", params[name])
        if given != value:
            raise SettingError(
                f"Granian gets another `{name}` than the service: `{given}`; "
                f"hint: set `{_variable(name)}`, or `{_flag(name)}` before `--`"
            )
    for name, (why, hint) in _WITHOUT_EFFECT.items():
        if params[name]:
            raise _without_effect(context, name, why, hint)
    interface = params["interface"].value
    if interface == "wsgi":
        raise _without_effect(
            context, "interface", "Verve does not speak `wsgi`", "use `rsgi` or `asgi`"
        )
    if interface == "rsgi" and params["url_path_prefix"]:
        why = "Granian knows no prefix under RSGI"
        hint = "use `--interface asgi`, or have the proxy remove the prefix"
        raise _without_effect(context, "url_path_prefix", why, hint)
    if settings.listener is Listener.NATIVE:
        _check_native(context)
    pair = {"ssl_certificate", "ssl_keyfile"}
    if len(missing := {name for name in pair if params[name] is None}) == 1:
        (given,) = pair - missing
        why = f"TLS needs `{_flag(missing.pop())}` too"
        raise _without_effect(context, given, why, "give both, or none for plain HTTP")


def _check_native(context: click.Context) -> None:
    """Granian serves nothing under the native listener."""
    params = context.params
    alternatives = {
        "ssl_certificate": ("it speaks no TLS", "have a proxy speak it"),
        "ssl_keyfile": ("it speaks no TLS", "have a proxy speak it"),
        "log_access_enabled": ("it writes no access log", "have a proxy write it"),
        "uds": ("it serves no Unix socket", "leave it out"),
    }
    for name, (why, hint) in alternatives.items():
        if params.get(name):
            raise _not_native(context, name, why, hint)
    if params["http"].value != "1":
        raise _not_native(context, "http", "it speaks HTTP/1 only", "leave it out")
    if params["interface"].value != "rsgi":
        raise _not_native(context, "interface", "it needs `rsgi`", "leave it out")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise SettingError(
            "the native listener needs worker processes, and this Python has worker threads; "
            "hint: `VERVE_LISTENER=granian`, or a Python with the GIL"
        )


def _not_native(context: click.Context, name: str, why: str, hint: str) -> SettingError:
    error = f"the native listener cannot be used, {why}: `{_named(context, name)}`"
    return SettingError(f"{error}; hint: {hint}, or set `VERVE_LISTENER=granian`")


def _without_effect(context: click.Context, name: str, why: str, hint: str) -> SettingError:
    named = _named(context, name)
    return SettingError(
        f"an option of Granian would have no effect, {why}: `{named}`; hint: {hint}"
    )


def _named(context: click.Context, name: str) -> str:
    """The option as the user has given it: a flag or a variable."""
    if context.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
        return _PREFIX + name.upper()
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    return flags[name]


def _overridden(bound: Mapping[str, Any], environ: Mapping[str, str]) -> Iterable[str]:
    for name, value in [*bound.items(), ("app", TARGET)]:
        variable = _PREFIX + name.upper()
        given = environ.get(variable, "")
        if given and given != str(value):
            instead = f"; `{_variable(name)}` sets it" if name in bound else ""
            yield f"variable of Granian that is not used: `{variable}`{instead}"


def _unknown(names: Iterable[str], environ: Mapping[str, str]) -> Iterable[str]:
    known = [_PREFIX + name.upper() for name in names]
    for variable, value in environ.items():
        if not variable.startswith(_PREFIX) or not value or variable in known:
            continue
        near = get_close_matches(variable, known, n=1)
        hint = f", did you mean `{near[0]}`?" if near else ""
        yield f"variable that Granian does not know: `{variable}`{hint}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return "VERVE_" + name.upper()

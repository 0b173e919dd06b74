"""The timers of Granian that follow from the settings: kill timeout and header read timeout.

Where the user sets one by Granian's own flag or variable, it must agree with the settings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from verve._verve import SettingError
from verve.config.choices import Callbacks
from verve.publishing import leader
from verve.service import callbacks

if TYPE_CHECKING:
    from verve.config import Settings

REQUESTS_SECONDS = 10
"""Time for the requests in flight at a stop, before a worker begins to close."""


def closing_seconds(settings: Settings) -> int:
    """The longest time that a worker may take to close, once its requests are answered."""
    seconds = leader.STOP_SECONDS
    if settings.callbacks is not Callbacks.OFF:
        seconds += settings.callback_drain + callbacks.STOP_SECONDS
    if settings.redis_url is not None:
        # Imported here, since most hosts count by themselves.
        from verve.cluster.replication import sender  # noqa: PLC0415

        seconds += 2 * sender.STOP_SECONDS
    return math.ceil(seconds)


def kill_timeout(settings: Settings) -> int:
    """Seconds after which a worker that was told to end is killed."""
    return REQUESTS_SECONDS + closing_seconds(settings)


def agree(options: dict[str, Any], settings: Settings) -> None:
    """Bring the arguments of Granian's server class in line. Raises `SettingError`."""
    timeout = options.get("workers_kill_timeout")
    closing = closing_seconds(settings)
    if timeout is not None and timeout <= closing:
        drain = 0 if settings.callbacks is Callbacks.OFF else settings.callback_drain
        raise SettingError(
            f"workers would be killed while they close, which may take {closing} s, {drain} of it "
            f"for `callback_drain`: `workers_kill_timeout={timeout}`; hint: leave "
            "`--workers-kill-timeout` to `verve serve`, or set it higher"
        )
    http1 = options.get("http1_settings")
    if http1 is None:
        return
    if not _is_given("http1_header_read_timeout"):
        # Granian's flag takes at most 60 s, its server class any number.
        http1.header_read_timeout = settings.keep_alive * 1_000
    elif settings.origins["keep_alive"] != "default":
        raise SettingError(
            "two settings for one timer of Granian: `keep_alive` and `http1_header_read_timeout`; "
            "hint: leave `--http1-header-read-timeout` out"
        )


def _is_given(parameter: str) -> bool:
    """Whether the user gave this option of Granian, by flag or variable, in any spelling."""
    context = click.get_current_context(silent=True)
    source = None if context is None else context.get_parameter_source(parameter)
    return source in {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}

"""What a worker is started with: read and checked once, by `verve serve` or by the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verve import config, sinks
from verve._verve import SettingError
from verve.archive import requirements
from verve.config.choices import Ack, Listener
from verve.log import event_log, events
from verve.service import callbacks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verve.config import Settings


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a worker needs to know at its start: it reads no file and no variable for it."""

    settings: Settings
    callback_options: Mapping[str, Any] | None
    """The options of the sender of callbacks; None where callbacks are off."""


def check(settings: Settings) -> Configuration:
    """Check that a worker can start with these settings. Raises `SettingError`."""
    sinks.check(settings)
    if settings.redis_url is not None or settings.ack is Ack.STORE:
        # Imported here, since most hosts count by themselves.
        from verve import stores  # noqa: PLC0415

        stores.check(settings)
    if settings.archive is not None:
        requirements.check(settings.archive)
    return Configuration(settings, callbacks.checked(settings))


def read() -> Configuration:
    """Read and check the settings, in a worker that `verve serve` did not start.

    Raises `SettingError`.
    """
    settings = config.load()
    event_log.configure(settings)
    for warning in settings.warnings:
        events.SETTING_ODD.emit(warning=warning)
    if settings.listener is Listener.NATIVE:
        raise SettingError(
            "the native listener is served by `verve serve`: `VERVE_LISTENER=native`; hint: start "
            "the service by `verve serve`, or leave it out"
        )
    return check(settings)

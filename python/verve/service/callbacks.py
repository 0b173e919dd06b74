"""Callbacks of a worker: set up their sender, which is in Rust, and log its attempts.

Each accept that names an `endpoint` causes a POST there. The sender reports up to 100 attempts per
second and worker; it counts the others, for one summary per second.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import threading
import time
from typing import TYPE_CHECKING, Any, TypeGuard

from verve import _verve
from verve.config.choices import Callbacks
from verve.fields import rendered
from verve.log import event_log, events, skipped
from verve.timestamps import moment
from verve.windows.window import LATEST_START

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from verve._verve import CallbackReport, Counter
    from verve.config import Settings

LINES_PER_SECOND = 100
"""Attempts per worker that are logged one by one."""
STOP_SECONDS = 1.5
"""Time that a stop may take beyond `callback_drain`, to log the outcomes."""
_DRAIN_EVERY_SECONDS = 0.1
_FLUSH_SECONDS = 0.5
_SUMMARY_SECONDS = 1.0
_FILE_BYTES = 1 << 20


def options(settings: Settings) -> dict[str, Any]:
    """The options of the sender that say where callbacks go and how.

    The PEM files are read here, once for all workers of `verve serve`. Raises `SettingError`.
    """
    return {
        "mode": settings.callbacks.value,
        "allow": settings.callback_allow or (),
        "secrets": settings.callback_secret or (),
        "authorities": _pem(settings.callback_ca),
        "certificate": _pem(settings.callback_certificate),
        "key": _pem(settings.callback_key),
        "proxy": settings.callback_proxy,
    }


def _pem(path: Path | None) -> tuple[Path, bytes] | None:
    """The path of a PEM file, and its content."""
    if path is None:
        return None
    try:
        return path, path.read_bytes()
    except OSError as error:
        raise _verve.SettingError(
            f"the file cannot be used: {error.strerror}: `{path}`; "
            "hint: set `VERVE_CALLBACK_CA`, `_CERTIFICATE` and `_KEY` to PEM files"
        ) from error


def checked(settings: Settings) -> dict[str, Any] | None:
    """The options, or None if callbacks are off. Raises `SettingError` if they cannot be used."""
    if settings.callbacks is Callbacks.OFF:
        return None
    found = options(settings)
    if _verve.check_callback_options(**found) == 0:
        events.CALLBACK_AUTHORITIES_MISSING.emit()
    return found


class CallbackDesk:
    """Takes, sends and logs the callbacks of this process."""

    def __init__(self, counter: Counter, settings: Settings, options: Mapping[str, Any]) -> None:
        """Start to send, with the options that `checked` gives. To be made after any fork."""
        # Sockets for callbacks must leave enough for the clients.
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.sender = _verve.Callbacks(
            counter,
            **options,
            rate=settings.callback_rate,
            oldest=settings.callback_max_age,
            most=max(16, min(1_024, files // 4)) if files > 0 else 1_024,
            log=settings.callback_log.value,
            lines=LINES_PER_SECOND,
        )
        self._drain_seconds = settings.callback_drain
        self._failures = failures_path(settings)
        self._left_out: dict[str, int] = {}
        self._summarized = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="verve-callback-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what is due for `callback_drain`; the rest waits in the segment."""
        self.sender.stop(self._drain_seconds)
        self._over.set()
        # The thread also writes its last failures to a file, which may take any time.
        deadline = time.monotonic() + STOP_SECONDS
        self._thread.join(STOP_SECONDS - _FLUSH_SECONDS)
        event_log.flush(deadline - time.monotonic())
        self.sender.close()

    def _run(self) -> None:
        while not self._over.wait(_DRAIN_EVERY_SECONDS):
            self._report(last=False)
        self._report(last=True)

    def _report(self, *, last: bool) -> None:
        found = self.sender.drain()
        for report in found.reports:
            if report["logged"]:
                self._log(report)
        self._note([report for report in found.reports if report["failed"]])
        for outcome, number in found.left_out.items():
            if number:
                self._left_out[outcome] = self._left_out.get(outcome, 0) + number
        now = time.monotonic()
        if self._left_out and (last or now - self._summarized >= _SUMMARY_SECONDS):
            outcomes = ", ".join(f"{number} {name}" for name, number in self._left_out.items())
            number = sum(self._left_out.values())
            events.CALLBACK_SUMMARY.emit(number=number, outcomes=outcomes)
            self._left_out = {}
            self._summarized = now

    def _log(self, report: CallbackReport) -> None:
        fields: dict[str, Any] = {**report}
        del fields["logged"], fields["failed"]
        if report["failed"]:
            events.CALLBACK_FAILED.emit(**fields)
            return
        del fields["outcome"]
        if report["outcome"] == "retried":
            events.CALLBACK_RETRIED.emit(**fields)
        else:
            del fields["reason"]
            events.CALLBACK_DELIVERED.emit(**fields)

    def _note(self, failed: list[CallbackReport]) -> None:
        """Keep the last failures for `verve callback failed`, if they can be written."""
        if not failed:
            return
        now = moment(time.time())
        lines = "".join(json.dumps({"time": now, **rendered(report)}) + "\n" for report in failed)
        with contextlib.suppress(OSError):
            _append(self._failures, lines.encode())


def _append(path: Path, lines: bytes) -> None:
    """Append in one write, so that lines of workers do not mix; a long file is renamed.

    The process that renames it holds its lock and checks that it still has the name: otherwise a
    second process would replace the long file by a new one. No process waits for the lock.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, lines)
        if os.fstat(descriptor).st_size > _FILE_BYTES:
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    path.replace(_before(path))
    finally:
        os.close(descriptor)


def failures_path(settings: Settings) -> Path:
    """The file of the failures."""
    return settings.state_dir / "callback-failures.jsonl"


def _before(path: Path) -> Path:
    return path.with_suffix(".before.jsonl")


def failures(settings: Settings) -> list[Mapping[str, Any]]:
    """The failures that are kept, oldest first."""
    return list(_read(failures_path(settings)))


def _read(path: Path) -> Iterator[Mapping[str, Any]]:
    for one in (_before(path), path):
        try:
            lines = one.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for number, line in enumerate(lines, 1):
            # A full disk may have cut a line off.
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            if _is_failure(found):
                yield found
            else:
                skipped.tell(f"`{one.name}`", number, line)


def _is_failure(found: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether it has all fields that are shown, each of its type."""
    if not isinstance(found, dict):
        return False
    when, status = found.get("time"), found.get("status")
    return (
        (isinstance(when, str) or (isinstance(when, float | int) and 0 <= when <= LATEST_START))
        and (status is None or type(status) is int)
        and type(found.get("attempt")) is int
        and all(isinstance(found.get(name), str) for name in ("outcome", "reason", "endpoint"))
    )

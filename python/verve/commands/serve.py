"""`verve serve`: Granian with what a service needs around it.

What `granian verve.app:app` does not do by itself: one service a state directory, a look at the
port and the segment before the first worker starts, the settings handed to all workers alike, more
open files, workers that are started again, and one line that says what serves.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import os
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import verve
from verve import events, log, output
from verve._verve import SegmentError, VerveError
from verve.attach import attach
from verve.config import limits
from verve.publishing import ledger
from verve.worker import check

from . import timers
from .application import TARGET, installed
from .supervisor import can_supervise, supervised

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from verve._verve import Keeper
    from verve.config import Settings

PORT_PATIENCE = 3.0
"""Seconds that the workers of a service that was killed get to leave the port."""
_MOST_CONNECTIONS = 16_384
_RESERVED_FILES = 256


class ServeError(VerveError):
    """The service cannot start."""


def granian_defaults(settings: Settings, files: int) -> dict[str, Any]:
    """What `verve serve` asks of Granian where the user says nothing else.

    `files` is the number of open files that each worker may have; a connection takes one.
    """
    return {
        "respawn_failed_workers": True,
        "workers_kill_timeout": timers.kill_timeout(settings),
        "backlog": 4096,
        "backpressure": max(64, min(_MOST_CONNECTIONS, files - _RESERVED_FILES)),
        "http": "1",
        "websockets": False,
        "loop": "uvloop" if importlib.util.find_spec("uvloop") else "auto",
    }


def serve(settings: Settings, arguments: Sequence[str]) -> None:
    """Serve until a signal ends it. `arguments` are Granian's own.

    Raises `ServeError`, `SegmentError`, `LedgerError` or `SettingError` when it cannot start.
    """
    from granian import cli as granian  # noqa: PLC0415 - heavy, and only needed here

    output.take_over()
    for warning in settings.warnings:
        events.SETTING_ODD.emit(warning=warning)
    given = check(settings)
    files = limits.raise_open_files()
    with _only_one(settings):
        if "--uds" not in arguments:
            _await_port(settings.host, settings.port)
        # Finds out what is wrong once and here, not in each worker.
        _look_at_ledger(settings)
        keeper = _make_segment(settings)
        _summary(settings, files)
        server: type[Any] = installed(vars(granian)["Server"], given)
        if can_supervise(server):
            server = supervised(server, settings, log.for_granian(settings))
        # The command builds the server from this name; there is no other way to give it one.
        granian.__dict__["Server"] = server
        status = granian.cli.main(
            [TARGET, *_bound(settings), *arguments],
            prog_name="verve serve",
            auto_envvar_prefix="GRANIAN",
            default_map=granian_defaults(settings, files),
            standalone_mode=False,
        )
    keeper.close()
    events.SERVICE_STOPPED.emit()
    if status:
        raise SystemExit(status)


def _make_segment(settings: Settings) -> Keeper:
    """Make the segment, or see that it can be used; in a cluster it begins with Redis's time.

    It is kept open here: the workers may all die, and its file may be removed meanwhile.
    """
    if settings.redis_url is None:
        counter = attach(settings)
    else:
        # Imported here, since most hosts count by themselves.
        from verve.joining import attach_to_cluster  # noqa: PLC0415

        counter = attach_to_cluster(settings)
    with counter:
        try:
            return counter.keep()
        except SegmentError as error:
            if error.reason != "busy":
                raise
            # Its lock on the state directory was removed.
            raise ServeError(
                f"another `verve serve` has the segment: `{settings.segment}`; hint: end it, or "
                "give this one `--state-dir` of its own"
            ) from error


def known_flags() -> list[str]:
    """The flags that Granian understands."""
    from granian import cli as granian  # noqa: PLC0415 - heavy, and only needed here

    return [
        flag
        for parameter in granian.cli.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--")
    ]


def _bound(settings: Settings) -> list[str]:
    return [
        *("--host", settings.host),
        *("--port", str(settings.port)),
        *("--workers", str(settings.workers)),
        *("--log-level", settings.log_level.value),
    ]


def _look_at_ledger(settings: Settings) -> None:
    """Find out about a ledger that cannot be used.

    One that is full or locked for now, or that the leader will replace, keeps nobody from counting.
    """
    try:
        ledger.rows(ledger.path_of(settings), limit=1)
    except ledger.LedgerError as error:
        if error.trouble in {ledger.LedgerTrouble.NEWER, ledger.LedgerTrouble.BROKEN}:
            raise


def _summary(settings: Settings, files: int) -> None:
    events.SERVICE_STARTING.emit(
        version=verve.__version__,
        host=f"[{settings.host}]" if ":" in settings.host else settings.host,
        port=settings.port,
        workers=settings.workers,
        window=settings.window,
        max_ids_per_window=settings.max_ids_per_window,
        segment=settings.segment,
        state_dir=settings.state_dir,
        sinks=settings.sinks,
        admin=settings.admin.value,
        open_files=files,
    )


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock on the state directory.

    A lock of the process, which its workers do not inherit: when it is killed, the next service
    may start while they drain.
    """
    path = settings.state_dir / "serve.lock"
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServeError(
            f"the state directory cannot be used: {error.strerror}: `{settings.state_dir}`; "
            "hint: `--state-dir` names another"
        ) from error
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ServeError(
                f"another `verve serve` ({_holder(descriptor)}) has the state directory: "
                f"`{settings.state_dir}`; hint: end it, or give this one `--state-dir` of its own"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who has the lock, as far as the system tells."""
    if sys.platform != "linux":
        return "another process"
    form = "hhqqi4x"
    try:
        asked = struct.pack(form, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        process = struct.unpack(form, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[4]
    except (OSError, struct.error):
        process = 0
    return f"process {process}" if process > 0 else "a process that is not visible from here"


def _await_port(host: str, port: int) -> None:
    """See that nobody listens on the port.

    Granian's workers share theirs, so a second service would start without an error and take half
    of the first one's requests.
    """
    deadline = time.monotonic() + PORT_PATIENCE
    while True:
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            if in_use and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            problem = "somebody listens there already" if in_use else error.strerror
            raise ServeError(
                f"cannot listen: {problem}: `{host}:{port}`; hint: `--host` and `--port` choose"
            ) from error
        else:
            return

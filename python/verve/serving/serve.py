"""`verve serve`: Granian with what a service needs around it.

`granian verve.app:app` does not do this by itself: keep to one service per state directory, check
the port and the segment before the first worker starts, give all workers the same settings, raise
the limit of open files, start workers again, and log one line about what serves.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import struct
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

import verve
from verve import directories
from verve._verve import Keeper, SegmentError, SettingError, VerveError
from verve.config import limits
from verve.config.choices import Listener
from verve.ledger import ledger
from verve.log import event_log, events, stream_writer
from verve.request.exchange import Entry
from verve.service.fast_path import TESTED_GRANIAN
from verve.service.sockets import BACKLOG, split
from verve.startup.configuration import check
from verve.startup.startup import open_counter

from . import granian_options, timers
from .application import installed
from .listening import place_of, wait_until_free
from .native_sockets import NativeSockets, can_hand_over, native
from .supervisor import can_supervise, supervised

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from verve.config import Settings

    from .listening import Place


class ServeError(VerveError):
    """The service cannot start."""


def granian_defaults(settings: Settings, files: int) -> dict[str, Any]:
    """The options of Granian that `verve serve` sets where the user does not.

    `files` is the number of open files that each worker may have; a connection takes one.
    """
    return {
        "respawn_failed_workers": True,
        "workers_kill_timeout": timers.kill_timeout(settings),
        "backlog": BACKLOG,
        "backpressure": max(1, min(settings.max_connections, files - limits.RESERVED_FILES)),
        "http": "1",
        "websockets": False,
        "loop": "uvloop" if importlib.util.find_spec("uvloop") else "auto",
    }


def serve(settings: Settings, arguments: Sequence[str]) -> None:
    """Serve until a signal ends it. `arguments` are Granian's own.

    Raises `ListenError`, `ServeError`, `SegmentError`, `LedgerError` or `SettingError` when it
    cannot start.
    """
    from granian import cli as granian  # noqa: PLC0415 - heavy, and only needed here

    stream_writer.take_over()
    files = limits.raise_open_files()
    context, odd = granian_options.read(settings, arguments, granian_defaults(settings, files))
    for warning in (*settings.warnings, *odd):
        events.SETTING_ODD.emit(warning=warning)
    configuration = check(settings)
    place = place_of(settings.host, settings.port, context.params["uds"])
    native_places = _native_places(settings, place)
    with _service_lock(settings):
        for one in dict.fromkeys((place, *native_places.values())):
            wait_until_free(one)
        # Here, so that an error is reported once, and not by each worker.
        _check_ledger(settings)
        keeper = _keep_segment(settings)
        _log_start(settings, files, place, context.params)
        server: type[Any] = installed(vars(granian)["Server"], configuration)
        if can_supervise(server):
            server = supervised(server, settings, event_log.for_granian(settings))
        if native_places:
            server = _with_sockets(server, settings, native_places, context.params["backlog"])
        # The command builds the server from this name; there is no other way to give it one.
        granian.__dict__["Server"] = server
        # Granian takes numeric addresses only.
        context.params["host"] = place.host or settings.host
        status = _run(granian.cli, context)
    keeper.close()
    events.SERVICE_STOPPED.emit()
    if status:
        raise SystemExit(status)


def _native_places(settings: Settings, public: Place) -> dict[Entry, Place]:
    """The addresses that the workers serve beside Granian, or in its place."""
    places = {}
    if settings.listener is Listener.NATIVE:
        places[Entry.PUBLIC] = public
    if settings.admin_listen is not None:
        places[Entry.ADMIN] = place_of(*split(settings.admin_listen), None)
    return places


def _with_sockets(
    server: type[Any], settings: Settings, places: Mapping[Entry, Place], backlog: int
) -> type[Any]:
    """Granian's server class, whose workers serve `places`. Raises `SettingError`."""
    if not can_hand_over(server):
        raise SettingError(
            "this Granian gives its workers no sockets; hint: leave `VERVE_LISTENER` and "
            f"`VERVE_ADMIN_LISTEN` out, or install Granian {max(TESTED_GRANIAN)}"
        )
    sockets = NativeSockets(places, backlog)
    return native(server, sockets, granian_listens=settings.listener is Listener.GRANIAN)


def _run(command: click.Command, context: click.Context) -> int:
    """Run Granian's command, and give its exit status."""
    try:
        with context:
            command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def _keep_segment(settings: Settings) -> Keeper:
    """Open the segment, or make it, and keep it: all workers may die while its file is removed."""
    with open_counter(settings) as counter:
        try:
            return Keeper(counter)
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


def _check_ledger(settings: Settings) -> None:
    """Raise `LedgerError` if the ledger cannot be used.

    A ledger that is full or locked for now, or that the leader will replace, does not stop a worker
    from counting.
    """
    try:
        ledger.rows(ledger.path_of(settings), limit=1)
    except ledger.LedgerError as error:
        if error.kind in {ledger.LedgerFailure.NEWER, ledger.LedgerFailure.BROKEN}:
            raise


def _log_start(settings: Settings, files: int, place: Place, options: Mapping[str, Any]) -> None:
    """Log what serves, with the options that Granian gets."""
    scheme = "https" if options["ssl_certificate"] else "http"
    events.SERVICE_STARTING.emit(
        version=verve.__version__,
        address=str(place) if place.uds else f"{scheme}://{place}",
        host=place.host or None,
        port=place.port or None,
        workers=options["workers"],
        interface=options["interface"].value,
        http=options["http"].value,
        loop=options["loop"].value,
        backlog=options["backlog"],
        backpressure=options["backpressure"],
        kill_timeout=options["workers_kill_timeout"],
        window=settings.window,
        max_ids_per_window=settings.max_ids_per_window,
        segment=settings.segment,
        state_dir=settings.state_dir,
        sinks=settings.sinks,
        admin=settings.admin.value,
        admin_address=settings.admin_listen,
        listener=settings.listener.value,
        open_files=files,
    )
    if settings.page and (page := _page_address(settings, place, scheme)) is not None:
        events.SERVICE_PAGE.emit(page=page)


def _page_address(settings: Settings, public: Place, scheme: str) -> str | None:
    """The address of the live page; None if a browser cannot reach it.

    A service on all interfaces is shown by a loopback name, which opens its figures.
    """
    place = public
    if settings.admin_listen is not None:
        place, scheme = place_of(*split(settings.admin_listen), None), "http"
    if place.uds is not None:
        return None
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to show, not to listen on
    return f"{scheme}://{replace(place, host=loopback.get(place.host, place.host))}/"


@contextlib.contextmanager
def _service_lock(settings: Settings) -> Iterator[None]:
    """Hold the lock on the state directory, so that it has one service.

    It is a lock of the process, which the workers do not inherit: when the process is killed, the
    next service may start while they drain.
    """
    path = settings.state_dir / "serve.lock"
    try:
        directories.make(settings.state_dir)
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
    """The process that holds the lock, as far as the system shows it."""
    if sys.platform != "linux":
        return "another process"
    form = "hhqqi4x"
    try:
        asked = struct.pack(form, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        process = struct.unpack(form, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[4]
    except (OSError, struct.error):
        process = 0
    return f"process {process}" if process > 0 else "a process that is not visible from here"

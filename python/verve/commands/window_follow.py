"""`verve windows --follow`: each window as the ledger gets it, and each revision of one."""

from __future__ import annotations

import io
import json
import select
import sys
import time
from typing import TYPE_CHECKING

import click

from verve.ledger import ledger

from . import window_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from verve.windows.window import Key, Window

WATCHED = 1_500
"""Number of the newest windows whose revisions are printed: a day of minutes, and an hour."""
_LOOK_SECONDS = 0.5
_READ_SECONDS = 5.0
"""Time between reads of a ledger whose file looks the same: times of files are coarse."""


def follow(path: Path, form: str | None, *, limit: int, since: int | None) -> None:
    """Print the newest `limit` windows, oldest first, and then what the ledger at `path` gets.

    `form` is `json`, `csv` or None for a table. Ends at SIGINT; raises `BrokenPipeError` when the
    reader of the standard output is gone, also while there is nothing to print.
    """
    try:
        for line in _head(form):
            click.echo(line)
        for found in _changes(path, limit, since):
            for line in _lines(found, form):
                click.echo(line)
    except KeyboardInterrupt:
        return


def _head(form: str | None) -> Iterator[str]:
    if form == "csv":
        yield window_view.csv_head()
    elif form is None:
        yield window_view.head()


def _lines(found: Sequence[Window], form: str | None) -> Iterator[str]:
    for window in found:
        if form == "json":
            yield json.dumps(window.as_json())
        elif form == "csv":
            yield window_view.csv_line(window)
        else:
            yield window_view.line(window)


def _changes(path: Path, limit: int, since: int | None) -> Iterator[list[Window]]:
    """The windows to print, oldest first: the closed ones, then those that are new or revised."""
    seen: dict[Key, Window] | None = None
    while True:
        stamp, read_at = _stamp(path), time.monotonic()
        try:
            found = ledger.rows(path, limit=max(limit, WATCHED), since=since)
        except ledger.LedgerError as error:
            if error.kind is not ledger.LedgerFailure.LOCKED:
                raise
        else:
            if seen is None:
                yield found[:limit][::-1]
            else:
                yield [window for window in reversed(found) if seen.get(window.key) != window]
            seen = {window.key: window for window in found}
            while _stamp(path) == stamp and time.monotonic() - read_at < _READ_SECONDS:
                _wait()
            continue
        _wait()


def _stamp(path: Path) -> list[tuple[int, int, int]]:
    """What changes with a write to the ledger: its file, and the log beside it."""
    stamp = []
    for file in (path, path.with_name(path.name + "-wal")):
        try:
            found = file.stat()
        except OSError:
            continue
        stamp.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return stamp


def _wait() -> None:
    """Wait a moment. Raises `BrokenPipeError` if nobody reads the standard output any more."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, io.UnsupportedOperation, ValueError):
        time.sleep(_LOOK_SECONDS)
        return
    watch = select.poll()
    # No event is asked for: that the other end is closed is reported without.
    watch.register(descriptor, 0)
    if watch.poll(_LOOK_SECONDS * 1_000):
        raise BrokenPipeError

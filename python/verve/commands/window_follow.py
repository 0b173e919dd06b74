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
from verve.ledger.changes import changes, next_changes

from . import window_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from verve.windows.window import Key, Window

WATCHED = 1_500
"""Windows that are compared where changes have no numbers: a day of minutes, and an hour."""
PAGE = 500
"""Changes that are read at once."""
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
    source = _Source(path, since)
    begun = False
    missed = False
    while True:
        stamp, read_at = _stamp(path), time.monotonic()
        missed = not stamp and _tell_missing(path, told=missed)
        try:
            found = source.more() if begun else source.first(limit)
        except ledger.LedgerError as error:
            # A ledger that is replaced at this moment may be gone, or half made.
            if error.kind is not ledger.LedgerFailure.LOCKED and _stamp(path) == stamp:
                raise
            _wait()
            continue
        begun = True
        yield found
        while not source.has_more and _stamp(path) == stamp:
            _wait()
            if time.monotonic() - read_at >= _READ_SECONDS:
                break


def _tell_missing(path: Path, *, told: bool) -> bool:
    """Say once that there is no ledger: it may be the wrong directory."""
    if not told:
        click.echo(
            f"waiting for a ledger: `{path}`; hint: `--state-dir` names its directory", err=True
        )
    return True


class _Source:
    """Reads each change of the ledger once, however many there are between two looks.

    A ledger that an earlier Verve made has no numbers of changes. Of that one, and when a ledger is
    replaced, the newest windows are compared with those that were printed.
    """

    def __init__(self, path: Path, since: int | None) -> None:
        self.has_more = False
        """Whether `more` has further windows at once."""
        self._path = path
        self._since = since
        self._ledger: str | None = None
        self._number = 0
        self._printed: dict[Key, Window] = {}

    def first(self, limit: int) -> list[Window]:
        """The newest windows, at most `limit`. Raises `LedgerError`."""
        # Before the windows: a change in between is then found twice, and printed once.
        found = changes(self._path, None, 0, 1)
        if found is not None:
            self._ledger, self._number = found.ledger, found.number
        known = ledger.rows(self._path, limit=max(limit, WATCHED), since=self._since)
        self._note(known[::-1])
        return known[:limit][::-1]

    def more(self) -> list[Window]:
        """The next windows that are new or revised. Raises `LedgerError`."""
        self.has_more = False
        if self._ledger is not None:
            found = next_changes(self._path, self._ledger, self._number, PAGE)
            if found is not None and found.ledger == self._ledger and found.number >= self._number:
                if found.changes:
                    self._number = found.changes[-1].number
                self.has_more = len(found.changes) == PAGE
                return self._fresh([change.window for change in found.changes])
        newest = changes(self._path, None, 0, WATCHED)
        if newest is None:
            self._ledger = None
            return self._fresh(ledger.rows(self._path, limit=WATCHED, since=self._since)[::-1])
        self._ledger, self._number = newest.ledger, newest.number
        return self._fresh([change.window for change in newest.changes])

    def _fresh(self, found: list[Window]) -> list[Window]:
        """Those that are not printed yet; they are noted as printed."""
        fresh = [
            window
            for window in found
            if self._printed.get(window.key) != window
            and (self._since is None or window.window_start >= self._since)
        ]
        self._note(fresh)
        return fresh

    def _note(self, printed: Sequence[Window]) -> None:
        for window in printed:
            self._printed.pop(window.key, None)
            self._printed[window.key] = window
        for key in list(self._printed)[:-WATCHED]:
            del self._printed[key]


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

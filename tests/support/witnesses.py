"""The published windows of a service according to each witness: log, ledger, history.

The load generator records the answers; each witness must agree with it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.support.records import Records
    from tests.support.service import Service


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger. `logged_at` is the time of its delivery to the log, if noted."""

    window_start: int
    window_seconds: int
    unique: int
    logged_at: float | None


def ledger_path(service: Service) -> Path:
    """The path of the ledger."""
    return service.state_directory / "ledger.sqlite3"


def ledger(path: Path) -> list[Row]:
    """The rows of the ledger file by window start; none while the file is being created."""
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        if not connection.execute("SELECT name FROM sqlite_schema").fetchall():
            return []
        found = connection.execute(
            'SELECT window_start, window_seconds, "unique", taken_at FROM windows '
            "LEFT JOIN deliveries d USING (window_start, window_seconds) "
            "WHERE d.sink = 'log' OR d.sink IS NULL ORDER BY window_start, window_seconds"
        )
        return [Row(*row) for row in found]


def in_log(service: Service, *, repeats: bool = False) -> dict[int, int]:
    """Window starts and counts according to the log. `repeats` allows repeated lines."""
    found: dict[int, int] = {}
    for minute in service.minutes():
        start = minute.window_start
        assert repeats or start not in found, f"the window {start} is in the log twice"
        assert found.setdefault(start, minute.unique) == minute.unique, f"two counts for {start}"
        assert minute.window_seconds == service.window
    return found


def in_ledger(service: Service) -> dict[int, int]:
    """Window starts and counts according to the ledger."""
    return {row.window_start: row.unique for row in ledger(ledger_path(service))}


def in_history(service: Service) -> dict[int, int]:
    """Window starts and counts according to `/api/verve/windows`."""
    return {moment(window["window_start"]): window["unique"] for window in service.windows()}


def moment(text: str) -> int:
    """Seconds since the epoch of a time in the format of the log and the history."""
    return int(datetime.fromisoformat(text).timestamp())


def delay(service: Service, window_start: int) -> float:
    """Seconds from the end of a window to the time of its line in the log."""
    line: Mapping[str, Any] = service.wait_minute(window_start).fields
    logged_at = datetime.fromisoformat(line["time"]).timestamp()
    return logged_at - (window_start + int(line["window_seconds"]))


def settled(
    service: Service,
    last: int,
    *,
    repeats: bool = False,
    read_ledger: Callable[[Service], dict[int, int]] = in_ledger,
) -> dict[int, int]:
    """Wait until all witnesses have the window that starts at `last`; return the counts by window.

    Fails if log, ledger and history differ, or if one of them lacks a window.
    """
    service.wait_minute(last)
    service.wait_until(lambda: last in read_ledger(service), 10, f"{last} in the ledger")
    logged = {s: n for s, n in in_log(service, repeats=repeats).items() if s <= last}
    stored = {s: n for s, n in read_ledger(service).items() if s <= last}
    shown = {s: n for s, n in in_history(service).items() if s <= last}
    assert logged == stored == shown
    assert_unbroken(logged, service.window)
    return logged


def assert_unbroken(starts: Iterable[int], seconds: int) -> None:
    """Assert that no window is missing between the first and the last."""
    found = sorted(starts)
    missing = set(range(found[0], found[-1] + 1, seconds)) - set(found)
    assert not missing, f"windows are missing: {sorted(missing)}"


def assert_exact(counts: Mapping[int, int], records: Records) -> None:
    """Assert that each count is that of the ids that answers placed there, each new once."""
    placed = {start: ids.size for start, ids in records.placed().items()}
    assert dict(counts) == {start: placed.get(start, 0) for start in counts}
    assert placed.keys() <= counts.keys()
    assert {start: ids.size for start, ids in records.new().items()} == placed
    assert_new_once(records)


def assert_new_once(records: Records) -> None:
    """Assert that no id was answered `new` twice in one window."""
    for start, ids in records.new().items():
        twice = ids[1:][ids[1:] == ids[:-1]]
        assert not twice.size, f"new more than once in {start}: {twice[:5]}"

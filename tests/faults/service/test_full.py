"""No room: in the table, under the segment, under the ledger.

Answers and reports say so, nobody dies of it, and all goes on when there is room again.
"""

from __future__ import annotations

import json
import sys
from array import array
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from tests.support.service import ACCEPT, Server
from tests.support.small_disk import SmallDisk
from tests.support.timing import sleep_into_window, window_at
from tests.support.witnesses import assert_exact, delay, in_history, settled
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

FULL_WINDOWS = 3
PROMPT = 4.0
"""Seconds from the end of a window to its line in the log."""

_READ_LEDGER = """
import json, sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
made = connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
rows = connection.execute('SELECT window_start, "unique" FROM windows') if made else ()
print(json.dumps(list(rows)))
"""


class Filled(NamedTuple):
    """A window that was filled: its start, and how many ids of this test are in it."""

    window_start: int
    ids: int


def test_a_full_table(serve: Serve, start_load: StartLoad) -> None:
    service = serve(Server.VERVE, workers=2, window=5, max_ids=2_000)
    _overfill(service, start_load, "table full")


def test_no_space_for_the_segment(tmp_path: Path, serve: Serve, start_load: StartLoad) -> None:
    with SmallDisk(tmp_path / "memory", 4 << 20) as disk:
        service = serve(
            Server.VERVE,
            workers=2,
            window=5,
            command=disk.command,
            segment=disk.path / "segment",
        )
        _overfill(service, start_load, "no space")


def test_a_full_disk_under_the_ledger(tmp_path: Path, serve: Serve, start_load: StartLoad) -> None:
    with SmallDisk(tmp_path / "disk", 2 << 20) as disk:
        service = _serve_on(disk, serve)
        workers = service.workers()
        load = start_load(service, "--connections", "32", "--ids", "uniform:20000")
        service.wait_until(lambda: len(_ledger_on(disk)) > 1, 10, "writing the ledger")
        with disk.filled():
            stored = _ledger_on(disk)
            first = window_at(1)
            for start in range(first, first + 5):
                assert delay(service, start) < PROMPT
            assert first + 4 not in _ledger_on(disk), "there was room for the ledger"
            assert max(in_history(service)) >= first + 4
            assert service.metrics()["verve_ledger_lag_seconds"] >= 4
            assert _readiness(service) == "ready, degraded: ledger behind"
            assert service.events("ledger.delayed")
        result = load.stop()

        assert result.faults == {}
        last = max(result.records.windows()[-1], first + 4)
        counts = settled(service, last, read_ledger=lambda _: _ledger_on(disk))
        assert_exact(counts, result.records)
        assert stored.items() <= counts.items()
        service.wait_until(lambda: _readiness(service) == "ready", 5, "ready again")
        assert service.events("ledger.recovered")
        _assert_nobody_died(service, workers)


def test_a_start_on_a_full_disk(tmp_path: Path, serve: Serve) -> None:
    with SmallDisk(tmp_path / "disk", 2 << 20) as disk:
        service = _serve_on(disk, serve)
        answer = service.get(f"{ACCEPT}?id=1&verdict=1")
        counted = int(answer.headers["verve-window"])
        service.wait_until(lambda: counted in _ledger_on(disk), 10, "in the ledger")
        service.stop()
        with disk.filled():
            service.start()
            assert service.get(f"{ACCEPT}?id=1").text == "ok"
            first = window_at(1)
            for start in range(first, first + 2):
                assert delay(service, start) < PROMPT
            service.wait_until(lambda: "ledger behind" in _readiness(service), 5, "degraded")
        counts = settled(service, first + 2, read_ledger=lambda _: _ledger_on(disk))
        assert sum(counts.values()) == 2


def _serve_on(disk: SmallDisk, serve: Serve) -> Service:
    """A service with its state directory on `disk`."""
    return serve(
        Server.VERVE,
        workers=2,
        window=1,
        command=disk.command,
        environment={"VERVE_STATE_DIR": str(disk.path)},
    )


def _ledger_on(disk: SmallDisk) -> dict[int, int]:
    """The counts in the ledger. SQLite follows links, those of `/proc` too: it has to be there."""
    path = disk.path / "ledger.sqlite3"
    if not (disk.seen / path.name).exists():
        return {}
    return dict(json.loads(disk.run(sys.executable, "-c", _READ_LEDGER, path)))


def _readiness(service: Service) -> str:
    answer = service.get("/readyz")
    assert answer.status_code == 200
    return answer.text


def _overfill(service: Service, start_load: StartLoad, reason: str) -> None:
    """Fill several windows beyond what they can hold, and look at every answer and count."""
    workers = service.workers()
    load = start_load(service, "--connections", "16", "--ids", "uniform:500", "--base", "-500")
    fresh = count(1)
    filled = []
    for _ in range(FULL_WINDOWS):
        sleep_into_window(service.window, 0.1)
        filled.append(_fill(service, fresh, reason))
    label = reason.replace(" ", "_")
    assert service.metrics()[f'verve_rejected_total{{reason="{label}"}}'] > 0

    sleep_into_window(service.window, 0.1)
    recovered = service.get(f"{ACCEPT}?id={next(fresh)}&verdict=1")
    assert recovered.text == "ok"
    assert recovered.headers["verve-seen"] == "new"
    filled.append(Filled(int(recovered.headers["verve-window"]), 1))
    result = load.stop()

    assert result.faults.keys() <= {"503"}
    last = max(result.records.windows()[-1], filled[-1].window_start)
    counts = settled(service, last)
    placed = {start: ids.size for start, ids in result.records.placed().items()}
    ours = dict(filled)
    assert len(ours) == FULL_WINDOWS + 1
    assert counts == {start: placed.get(start, 0) + ours.get(start, 0) for start in counts}
    _assert_nobody_died(service, workers)


def _fill(service: Service, fresh: count[int], reason: str) -> Filled:
    """Send ids to the current window until one is refused."""
    first = next(fresh)
    known = service.get(f"{ACCEPT}?id={first}&verdict=1")
    window, recorded = int(known.headers["verve-window"]), 1
    status = 200
    while status == 200:
        batch = array("q", [next(fresh) for _ in range(20_000)])
        answer = service.post(
            content=batch.tobytes(), headers={"content-type": "application/octet-stream"}
        )
        status = answer.status_code
        if status == 200:
            placed = [part["window_start"] for part in answer.json()["windows"]]
            assert placed == [rfc3339(window)]
            recorded += answer.json()["new"]
    assert (status, answer.text) == (503, "failed")
    assert answer.headers["verve-error"] == reason
    in_time = int(answer.headers["verve-recorded"])
    refused = service.get(f"{ACCEPT}?id={batch[in_time]}&verdict=1")
    assert (refused.status_code, refused.text) == (503, "failed")
    assert refused.headers["verve-error"] == reason
    again = service.get(f"{ACCEPT}?id={first}&verdict=1")
    assert (again.text, again.headers["verve-seen"]) == ("ok", "duplicate")
    assert int(again.headers["verve-window"]) == window, "too slow to mean anything"
    return Filled(window, recorded + in_time)


def _assert_nobody_died(service: Service, workers: list[int]) -> None:
    assert service.workers() == workers
    assert not service.events("worker.respawned")

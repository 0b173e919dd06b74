from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import logged, rig
from tests.support.running import running_service
from tests.unit.publishing.test_ledger_writer import Office
from verve.clock import Clock
from verve.http import exposition
from verve.ledger import expiry, ledger
from verve.ledger.expiry import Dropped
from verve.ledger.ledger import Ledger
from verve.publishing.ledger_writer import DropReporter
from verve.service import host_facts
from verve.timestamps import rfc3339
from verve.windows.window import LATEST_START

if TYPE_CHECKING:
    from pathlib import Path

    from verve.windows.window import Window

LONGEST = expiry.longest(120)
FUTURE = LATEST_START


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ledger.FILE_NAME


def _minutes(path: Path) -> list[int]:
    """The numbers of the minutes that the ledger holds."""
    return [(window.window_start - rig.MINUTE) // 60 for window in ledger.rows(path)][::-1]


def _at(number: int) -> int:
    return rig.MINUTE + 60 * number


def test_old_windows_are_dropped(path: Path) -> None:
    with closing(Ledger(path, 120, ["log"])) as opened:
        opened.record([rig.window(n) for n in range(5)], sinks=["log"])
        rig.mark_taken(opened, "log", [rig.window(n).key for n in range(5)], 1.0)
        assert opened.expire(_at(4)) == []
    assert _minutes(path) == [2, 3, 4]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone() == (3,)
    assert ledger.dropped(path) == {}


def test_a_row_far_in_the_future_expires_nothing(path: Path) -> None:
    with closing(Ledger(path, 120)) as opened:
        far = rig.window((FUTURE - rig.MINUTE) // 60)
        opened.record([*(rig.window(n) for n in range(3)), far])
        assert opened.expire(_at(2)) == []
    assert _minutes(path)[:3] == [0, 1, 2]


def test_what_a_sink_has_not_taken_stays(path: Path) -> None:
    with closing(Ledger(path, 120, ["log", "kafka"])) as opened:
        opened.record([rig.window(n) for n in range(20)], sinks=["log", "kafka"])
        rig.mark_taken(opened, "log", [rig.window(n).key for n in range(20)], 1.0)
        rig.mark_taken(opened, "kafka", [rig.window(n).key for n in range(3)], 1.0)
        assert opened.expire(_at(20)) == []
        assert len(opened.undelivered("kafka")) == 17
        assert _minutes(path) == list(range(3, 20))
        rig.mark_taken(opened, "kafka", [rig.window(n).key for n in range(3, 20)], 2.0)
        assert opened.expire(_at(20)) == []
    assert _minutes(path) == [18, 19]
    assert ledger.dropped(path) == {}


def test_a_sink_that_is_switched_off_keeps_nothing(path: Path) -> None:
    with closing(Ledger(path, 120, ["log"])) as opened:
        opened.record([rig.window(n) for n in range(5)], sinks=["kafka"])
        assert opened.expire(_at(4)) == []
    assert _minutes(path) == [2, 3, 4]


def test_an_undelivered_window_beyond_the_bound_is_dropped_and_counted(path: Path) -> None:
    with closing(Ledger(path, 120, ["log", "kafka"])) as opened:
        opened.record([rig.window(n) for n in range(5)], sinks=["log", "kafka"])
        rig.mark_taken(opened, "log", [rig.window(n).key for n in range(4)], 1.0)
        assert opened.expire(_at(2) + LONGEST) == [("kafka", 2, _at(0))]
        assert _minutes(path) == [2, 3, 4]
        assert opened.expire(_at(9) + LONGEST) == [("log", 1, _at(4)), ("kafka", 3, _at(2))]
    assert ledger.rows(path) == []
    assert ledger.dropped(path) == {"kafka": 5, "log": 1}


def test_at_most_some_thousand_are_dropped_at_once(path: Path) -> None:
    with closing(Ledger(path, 60, ["kafka"])) as opened:
        opened.record([rig.window(n) for n in range(12_000)], sinks=["kafka"])
        lost = []
        while found := opened.expire(_at(12_001) + LONGEST):
            lost += found
        assert [one.windows for one in lost] == [5_000, 5_000, 2_000]
    assert ledger.dropped(path) == {"kafka": 12_000}


def test_the_bound_is_stated() -> None:
    assert expiry.longest(365 * 86_400) == 3_650 * 86_400
    assert expiry.longest(60) == 30 * 86_400


class Odd:
    """A clock that the test sets."""

    def __init__(self, says: float) -> None:
        self.says = says

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.says


@pytest.fixture
def wall() -> Odd:
    return Odd(rig.MINUTE)


@pytest.fixture
def office(tmp_path: Path, wall: Odd) -> Office:
    made = Office(
        rig.settings(tmp_path, keep="60", sinks="log,kafka", kafka_brokers="127.0.0.1:1"),
        rig.clock_in_minute(),
    )
    made.ledger_writer._clock = Clock(wall_ns=lambda: int(wall() * 1e9))
    return made


def _deliver(office: Office, *windows: Window) -> None:
    with closing(ledger.open_ledger(office.settings)) as opened:
        rig.mark_taken(opened, "kafka", [window.key for window in windows], 1.0)


def _turn(office: Office) -> list[int]:
    office.minutes(1)
    office.worker.step()
    assert office.ledger_writer.step() is None, office.ledger_writer.error
    return [number for number, _ in office.rows()]


def test_a_window_is_old_by_both_clocks_or_not_at_all(office: Office, wall: Odd) -> None:
    for number in range(4):
        _turn(office)
        _deliver(office, rig.window(number))
    # The wall clock was set back, so that windows go by the time since boot: nothing is old.
    assert _turn(office) == [0, 1, 2, 3, 4]
    # It runs far ahead, and is not followed yet: window time decides.
    wall.says = FUTURE
    _deliver(office, rig.window(4))
    assert _turn(office) == [5]
    office.ledger_writer.close()
    office.counter.close()


def test_what_was_dropped_is_logged_and_shown(
    office: Office, wall: Odd, caplog: pytest.LogCaptureFixture
) -> None:
    _turn(office)
    _turn(office)
    # Days later, and the broker was away all the time.
    wall.says = FUTURE
    office.clock.advance(expiry.longest(60) - 60)
    with caplog.at_level("INFO", logger="verve"):
        assert 0 not in _turn(office)
        told = logged.records(caplog, "ledger.dropped")
        assert [r.levelname for r in told] == ["ERROR"]
        fields = told[0].__dict__["verve_fields"]
        assert (fields["sink"], fields["first"]) == ("kafka", rfc3339(rig.MINUTE))
    total = sum(ledger.dropped(ledger.path_of(office.settings)).values())
    service = running_service(office.settings, office.counter)
    facts = host_facts.read(office.settings, office.counter)
    page = exposition.render(service, facts)[1].decode()
    assert f'verve_ledger_dropped_windows_total{{sink="kafka"}} {total}.0' in page
    assert 'verve_ledger_dropped_windows_total{sink="log"} 0.0' in page
    assert total == fields["number"] >= 2
    office.ledger_writer.close()
    office.counter.close()


def test_drops_within_an_hour_are_logged_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = Odd(0.0)
    drops = DropReporter(Clock(monotonic=clock))
    with caplog.at_level("INFO", logger="verve"):
        for number in range(3):
            drops.add([Dropped("kafka", 2, _at(number)), Dropped("log", 1, _at(number))])
        assert len(logged.records(caplog)) == 2
        clock.says += 3_600
        drops.add([])
        told = [record.__dict__["verve_fields"] for record in logged.records(caplog)]
    assert told[2:] == [
        {"sink": "kafka", "number": 4, "first": rfc3339(_at(1))},
        {"sink": "log", "number": 2, "first": rfc3339(_at(1))},
    ]

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.ledger import ledger
from verve.publishing import sink_status
from verve.publishing.sink_status import SinkStatus, SinkStatusFile
from verve.publishing.sink_worker import DeliveryState
from verve.sinks import FailureKind

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings

FAILED = DeliveryState("kafka", 3, "no answer: `host:9092`", FailureKind.TIMEOUT)
FINE = DeliveryState("kafka", 0, None)


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    settings = rig.settings(tmp_path, sinks="kafka", kafka_brokers="host:9092")
    settings.state_dir.mkdir()
    return settings


def test_nothing_is_known_at_first(made: Settings) -> None:
    assert sink_status.of(made, "kafka") == SinkStatus(waiting=0, lag_seconds=0)
    assert not sink_status.of(made, "kafka").is_behind(60)


def test_what_was_reported_is_read(made: Settings) -> None:
    report = SinkStatusFile(made, "kafka")
    report(FAILED)
    found = sink_status.of(made, "kafka")
    assert (found.attempts, found.error, found.failure) == (3, FAILED.error, "timeout")
    assert found.since is not None
    assert found.is_behind(60)
    assert FAILED.error not in found.figures().values()
    report(DeliveryState("kafka", 4, FAILED.error, FailureKind.TIMEOUT))
    assert sink_status.of(made, "kafka").since == found.since
    report(FINE)
    assert sink_status.of(made, "kafka") == SinkStatus(waiting=0, lag_seconds=0)
    (file,) = made.state_dir.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"attempts": "x", "error": 7, "since": "now"}'])
def test_an_odd_file_says_nothing(made: Settings, text: str) -> None:
    (made.state_dir / "kafka.json").write_text(text)
    assert sink_status.of(made, "kafka").attempts == 0


def test_a_directory_that_cannot_be_written_harms_nothing(made: Settings) -> None:
    made.state_dir.rmdir()
    SinkStatusFile(made, "kafka")(FAILED)


def test_windows_that_wait(made: Settings) -> None:
    opened = ledger.open_ledger(made)
    opened.record([rig.window(n) for n in range(4)], sinks=["kafka"])
    opened.close()
    found = sink_status.of(made, "kafka")
    assert (found.waiting, found.lag_seconds) == (4, 240)
    assert found.is_behind(60)
    assert not found.is_behind(120)


def test_a_ledger_that_cannot_be_read(made: Settings) -> None:
    ledger.path_of(made).write_bytes(b"no database" * 1000)
    found = sink_status.of(made, "kafka")
    assert found.lag_seconds is None
    assert found.is_behind(60)

"""What every sink does, whichever it is: the same tests against each of them."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import rig
from tests.support.kafka.broker import Reader
from verve.log import event_log
from verve.sinks import LogSink, Sink, SinkError
from verve.sinks.kafka import KafkaSink
from verve.sinks.kafka_settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kafka.broker import Broker


class InLog:
    """The log, written to a file, and how it is read and broken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sink: Sink = LogSink()
        self._stream = path.open("w", encoding="utf-8")
        self._handler = _Strict(self._stream)
        self._handler.setFormatter(event_log.JsonFormatter())
        event_log.logger.addHandler(self._handler)

    def taken(self, count: int) -> list[tuple[str, int]]:
        """The windows that arrived, once there are `count`."""
        lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        assert len(lines) >= count
        return [(line["window_start"], line["unique"]) for line in lines]

    def broken(self) -> Sink:
        """A sink that cannot deliver."""
        self._stream.close()
        return self.sink

    def end(self) -> None:
        """Remove what was set up."""
        event_log.logger.removeHandler(self._handler)
        self._stream.close()


class _Strict(logging.StreamHandler[Any]):
    """Raises what goes wrong, as the handler of the service does while a window is published."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        del record
        raise  # noqa: PLE0704 - called from an except clause


class InKafka:
    """Kafka, with a topic for each test."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._topic = topic
        self.sink: Sink = KafkaSink(
            KafkaSettings(brokers=(broker.address,), topic=topic, source="host")
        )
        self._reader = Reader(broker.address, topic).__enter__()

    def taken(self, count: int) -> list[tuple[str, int]]:
        """The windows that arrived, once there are `count`."""
        messages = self._reader.wait_until(lambda messages: len(messages) >= count)
        return [(message.value["window_start"], message.unique) for message in messages]

    def broken(self) -> Sink:
        """A sink that cannot deliver."""
        return KafkaSink(KafkaSettings(brokers=("127.0.0.1:1",), topic=self._topic, source="host"))

    def end(self) -> None:
        """Remove what was set up."""
        self._reader.__exit__()
        self.sink.close()


@pytest.fixture(params=["log", "kafka"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InLog | InKafka]:
    made: InLog | InKafka
    if request.param == "log":
        made = InLog(tmp_path / "log")
    else:
        topic = f"contract-{time.time_ns()}"
        made = InKafka(request.getfixturevalue("broker"), topic)
    yield made
    made.end()


WINDOWS = [rig.window(number, number * 7) for number in range(5)]
TOLD = [(window.as_json()["window_start"], window.unique) for window in WINDOWS]


def test_it_is_a_sink_with_a_name(place: InLog | InKafka) -> None:
    assert isinstance(place.sink, Sink)
    assert place.sink.name in {"log", "kafka"}


def test_windows_arrive_in_order(place: InLog | InKafka) -> None:
    for window in WINDOWS:
        place.sink.take(window)
    assert place.taken(len(WINDOWS)) == TOLD


def test_a_window_may_come_again(place: InLog | InKafka) -> None:
    for window in (WINDOWS[0], WINDOWS[1], WINDOWS[0]):
        place.sink.take(window)
    assert place.taken(3) == [TOLD[0], TOLD[1], TOLD[0]]


def test_what_did_not_arrive_is_an_error(place: InLog | InKafka) -> None:
    broken = place.broken()
    for _ in range(2):
        with pytest.raises(SinkError) as caught:
            broken.take(WINDOWS[0])
        assert str(caught.value)
    broken.close()


def test_closing_twice_is_closing(place: InLog | InKafka) -> None:
    place.sink.take(WINDOWS[0])
    place.sink.close()
    place.sink.close()


def test_an_interrupt_from_another_thread_harms_nothing(place: InLog | InKafka) -> None:
    place.sink.take(WINDOWS[0])
    thread = threading.Thread(target=place.sink.interrupt)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    place.sink.close()

"""Every window reaches Kafka, in order, with the count of the ids that were sent."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tests.support.kafka.broker import Reader, repeats
from tests.support.kafka.witnesses import assert_all_sent, environment, new_topic
from tests.support.paths import ROOT
from tests.support.service import ACCEPT, Server
from tests.support.witnesses import assert_exact, in_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve, StartLoad
    from tests.support.kafka.broker import Broker

SCHEMA = ROOT / "docs" / "reference" / "kafka-message.schema.json"


@pytest.mark.timeout(240)
def test_windows_under_load(
    broker: Broker, serve: Serve, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    topic = new_topic()
    service = serve(
        Server.VERVE, workers=2, window=1, environment=environment(broker.address, topic)
    )
    with Reader(broker.address, topic) as reader:
        load = start_load(service, "--rate", "2000", "--ids", "mixed:50/50:500")
        windows = scale(100)
        time.sleep(windows + 1)
        result = load.stop()
        last = result.records.windows()[-1]
        messages = assert_all_sent(service, reader, last)

    assert not result.faults
    assert repeats(messages) == 0
    sent = {message.window_start: message.unique for message in messages}
    assert len(result.records.windows()) >= windows
    assert_exact(sent, result.records)
    # Kafka has the log's place.
    assert service.minutes() == []
    (announced,) = service.events("kafka.chosen")
    assert announced["message"] == f"Counts go to Kafka, topic {topic}, in the place of the log"
    assert service.stop() == 0


def test_a_message_is_as_the_schema_says(broker: Broker, serve: Serve) -> None:
    topic = new_topic()
    service = serve(
        Server.GRANIAN,
        workers=2,
        window=1,
        environment=environment(
            broker.address, topic, VERVE_SINKS="kafka,log", VERVE_KAFKA_PARTITIONS="7"
        ),
    )
    window = int(service.get(f"{ACCEPT}?id=7&verdict=1").headers["verve-window"])
    with Reader(broker.address, topic) as reader:
        messages = assert_all_sent(service, reader, window + 1)

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    for message in messages:
        validator.validate(message.value)
    (found,) = (message for message in messages if message.window_start == window)
    assert found.key == f"host:{window}"
    assert found.headers == {"content-type": b"application/json", "verve-schema": b"1"}
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(window))
    assert found.value == {
        "unique_request_count": 1,
        "window_start": start,
        "window_seconds": 1,
        "source": "host",
        "revision": 1,
        "degraded": False,
    }
    # Where Kafka's own clients put the key `host` among seven partitions.
    assert found.partition == 1
    # Both by name: the log has them, too.
    service.wait_minute(window + 1)
    logged = in_log(service)
    assert {start: logged[start] for start in (window, window + 1)} == {window: 1, window + 1: 0}

"""The broker starts late, is killed, is stopped or loses its data, under load.

No window may be missing, none out of order, and callers must not notice.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import records
from tests.support.kafka.broker import Broker, Reader, counts, repeats
from tests.support.kafka.witnesses import (
    assert_all_sent,
    environment,
    new_topic,
    status_of_kafka,
    stored,
    wait_delivered,
    wait_failing,
)
from tests.support.service import Server
from tests.support.witnesses import assert_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Serve, StartLoad
    from tests.support.load import Result

pytestmark = pytest.mark.alone(reason="judges latencies under load")

LOAD = ("--rate", "1000", "--connections", "16", "--ids", "mixed:50/50:500")
SLACK_US = 50_000
"""The machine may be busy, also with a starting broker. A wait for a broker takes seconds."""
LONGEST_US = 3_500_000
"""Far below any wait for a broker, above what a busy machine does to one request of a hundred."""


@pytest.fixture
def own(kafka: None, tmp_path: Path) -> Iterator[Broker]:  # noqa: ARG001
    """A broker of the test's own, not started."""
    one = Broker(tmp_path / "broker")
    yield one
    one.kill()


@pytest.mark.timeout(400)
def test_a_broker_that_starts_late_is_killed_and_is_stopped(
    own: Broker, serve: Serve, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    topic = new_topic()
    service = serve(
        Server.VERVE,
        workers=2,
        window=1,
        environment=environment(own.address, topic, VERVE_SINKS="log,kafka"),
    )

    def sent_for(seconds: float) -> Result:
        load = start_load(service, *LOAD, "--base", str(10_000_000 * len(results) + 1))
        time.sleep(seconds)
        outs.append(load.out)
        results.append(load.stop())
        assert not results[-1].faults
        return results[-1]

    results: list[Result] = []
    outs: list[Path] = []
    # Started late.
    late = sent_for(scale(30))
    assert wait_failing(service)["trouble"] == "unreachable"
    own.start()
    wait_delivered(service)
    with Reader(own.address, topic) as reader:
        calm = sent_for(5)
        wait_delivered(service)
        assert status_of_kafka(service)["failed_attempts"] == 0

        own.kill()
        killed = sent_for(scale(30))
        part = wait_failing(service)
        assert part["state"] == "degraded"
        assert part["trouble"] == "unreachable"
        assert "last_error" in part
        own.start()
        wait_delivered(service)

        own.pause()
        stopped = sent_for(scale(60))
        own.resume()
        wait_delivered(service)
        assert status_of_kafka(service)["trouble"] is None

        last = results[-1].records.windows()[-1]
        messages = assert_all_sent(service, reader, last)
    sent = counts(messages)
    placed = records.load(*outs)
    assert_exact({start: sent[start] for start in placed.windows()}, placed)

    latency = {
        name: result.report["latency_us"]
        for name, result in (
            ("calm", calm),
            ("late", late),
            ("killed", killed),
            ("stopped", stopped),
        )
    }
    shown = {name: f"{us['p50']:.0f} and {us['p99']:.0f}" for name, us in latency.items()}
    sys.stdout.write(f"accepts, us, p50 and p99: {shown}; repeats: {repeats(messages)}\n")
    assert max(us["p50"] for us in latency.values()) <= 2 * latency["calm"]["p50"] + SLACK_US
    assert max(us["p99"] for us in latency.values()) < LONGEST_US
    # The log waited for none of it.
    assert all(event["attempts"] <= 2 for event in service.events("ledger.delayed"))
    starts = [minute.window_start for minute in service.minutes()]
    assert starts == list(range(starts[0], starts[-1] + 1))
    assert service.events("sink.recovered")


@pytest.mark.timeout(240)
def test_a_broker_that_comes_back_with_an_empty_disk(
    own: Broker, serve: Serve, start_load: StartLoad
) -> None:
    topic = new_topic()
    own.start()
    service = serve(Server.VERVE, window=1, environment=environment(own.address, topic))
    load = start_load(service, *LOAD)
    with Reader(own.address, topic) as reader:
        reader.wait_until(lambda messages: len(messages) >= 3)
        # Right after one came, so that the broker acknowledges none that is not read.
        reader.wait_count(len(reader.messages) + 1)
        own.kill()
        before = list(reader.messages)
    own.wipe()
    own.start()
    with Reader(own.address, topic) as reader:
        again = reader.wait_until(lambda messages: len(messages) >= 3, 60)
        # Nothing between the two is missing, and the topic was made again.
        first, last = before[0].window_start, again[-1].window_start
        both = counts([*before, *again])
        assert sorted(both) == list(range(first, last + 1))
        held = stored(service)
        assert both == {start: held[start] for start in both}

        # What was on the disk comes back when the operator asks for it.
        since, until = before[0].window_start, before[-1].window_start + 1
        service.command("windows", "--redeliver", f"{since}..{until}")
        lost = {message.window_start: message.unique for message in before}
        reader.wait_until(
            lambda messages: lost.keys() <= {message.window_start for message in messages}
        )
        messages = list(reader.messages)
    assert not load.stop().faults
    found = counts(messages)
    assert {start: found[start] for start in lost} == lost
    assert sorted(found) == list(range(first, max(found) + 1))

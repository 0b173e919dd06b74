"""The sink `kafka` with a broker that fails."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from aiokafka.errors import SaslAuthenticationFailed

from examples.kafka_consumer import Counts
from tests.support import rig
from tests.support.kafka.silence import Silence
from verve.config.choices import KafkaSasl
from verve.sinks import FailureKind, SinkError
from verve.sinks.kafka import CLOSE_SECONDS, GRACE, KafkaSink
from verve.sinks.kafka_settings import KafkaSettings

pytestmark = pytest.mark.alone(reason="judges how long it waits")

SLACK = 2.4
"""Seconds: the machine may be busy."""


def _sink(address: str, seconds: float) -> KafkaSink:
    settings = KafkaSettings(brokers=(address,), topic="t", source="s")
    return KafkaSink(settings, take_seconds=seconds)


def test_an_attempt_ends_by_its_deadline() -> None:
    with Silence() as silence:
        sink = _sink(silence.address, 0.5)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(
                SinkError, match=r"no answer within 0\.5 s while connecting"
            ) as caught:
                sink.take(rig.window())
            assert time.monotonic() - began < 0.5 + 2 * CLOSE_SECONDS + SLACK
            assert caught.value.kind is FailureKind.TIMEOUT
        sink.close()


def test_an_attempt_can_be_interrupted() -> None:
    with Silence() as silence:
        sink = _sink(silence.address, 60)
        threading.Timer(0.2, sink.interrupt).start()
        began = time.monotonic()
        with pytest.raises(SinkError) as caught:
            sink.take(rig.window())
        assert caught.value.kind is FailureKind.INTERRUPTED
        assert time.monotonic() - began < 0.2 + GRACE + 2 * CLOSE_SECONDS + SLACK
        # And so are all that come after it.
        with pytest.raises(SinkError) as caught:
            sink.take(rig.window())
        assert caught.value.kind is FailureKind.INTERRUPTED
        sink.close()


def test_a_name_that_does_not_exist() -> None:
    sink = _sink("no-such-host.invalid:9092", 20)
    with pytest.raises(SinkError, match=r"no-such-host\.invalid:9092") as caught:
        sink.take(rig.window())
    assert caught.value.kind is FailureKind.UNREACHABLE
    sink.close()


def test_a_short_password_spoils_no_hint() -> None:
    settings = KafkaSettings(
        brokers=("verve:9092",),
        topic="v",
        source="s",
        sasl=KafkaSasl.PLAIN,
        user="u",
        password="v",  # noqa: S106 - of nothing
    )
    refused = SaslAuthenticationFailed("invalid: v")
    error = KafkaSink(settings)._sink_error(refused, None, "verifying")
    assert str(error).endswith(
        "invalid: ***, while verifying: `verve:9092`; "
        "hint: see `VERVE_KAFKA_SASL`, `VERVE_KAFKA_USER` and its password"
    )


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    sink = _sink("127.0.0.1:1", 5)
    with pytest.raises(SinkError):
        sink.take(rig.window())
    sink.close()
    assert set(threading.enumerate()) <= before


def test_the_client_is_imported_only_when_it_is_needed() -> None:
    code = "import sys, verve.app, verve.commands.cli; sys.exit('aiokafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_consumer_keeps_the_highest_revision() -> None:
    counts = Counts()
    first = {"revision": 1, "unique_request_count": 1}
    second = {"revision": 2, "unique_request_count": 5}
    assert counts.take("a:60", first)
    assert not counts.take("a:60", first)
    assert counts.take("a:60", second)
    assert not counts.take("a:60", first)
    assert counts.take("b:60", first)
    assert counts.by_key == {"a:60": second, "b:60": first}

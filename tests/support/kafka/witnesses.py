"""What a service stored and sent to Kafka, and its status of Kafka."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.support.kafka.broker import assert_ordered, counts
from tests.support.witnesses import assert_unbroken, ledger_path
from verve.ledger import ledger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.kafka.broker import Message, Reader
    from tests.support.service import Service


def environment(address: str, topic: str, **more: str) -> dict[str, str]:
    """The settings of a service that publishes to this topic."""
    return {
        "VERVE_KAFKA_BROKERS": address,
        "VERVE_KAFKA_TOPIC": topic,
        "VERVE_SOURCE": "host",
        **more,
    }


def new_topic() -> str:
    """A new name for a topic."""
    return f"test-{time.time_ns()}"


def stored(service: Service) -> dict[int, int]:
    """Window starts and counts by the ledger."""
    return {window.window_start: window.unique for window in ledger.rows(ledger_path(service))}


def status_of_kafka(service: Service) -> Mapping[str, Any]:
    """The part `kafka` of `/readyz?verbose` of a service that is ready."""
    answer = service.get("/readyz?verbose")
    assert answer.status_code == 200
    part: dict[str, Any] = answer.json()["parts"]["kafka"]
    return part


def wait_delivered(service: Service, timeout: float = 40) -> None:
    """Wait until Kafka lacks at most two windows of the ledger."""
    service.wait_until(
        lambda: (
            status_of_kafka(service)["state"] == "ok"
            and status_of_kafka(service)["windows_waiting"] <= 2
        ),
        timeout,
        "delivered to Kafka",
    )


def wait_failing(service: Service, timeout: float = 30) -> Mapping[str, Any]:
    """Wait until a delivery failed, and return the status."""

    def failing() -> Mapping[str, Any] | None:
        part = status_of_kafka(service)
        return part if part["trouble"] else None

    return service.wait_until(failing, timeout, "failing")


def assert_all_sent(
    service: Service, reader: Reader, last: int, timeout: float = 40
) -> Sequence[Message]:
    """Assert that Kafka has, in order, what the ledger has up to the window `last`."""
    reader.wait_window(last, timeout)
    messages = [message for message in reader.messages if message.window_start <= last]
    sent = counts(messages)
    assert_ordered(messages)
    assert_unbroken(sent, service.window)
    held = {start: unique for start, unique in stored(service).items() if start <= last}
    assert sent == held
    return messages

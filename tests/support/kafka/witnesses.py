"""What a service that publishes to Kafka stored and sent, and how it says it does."""

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
    """The settings of a service that publishes there."""
    return {
        "VERVE_KAFKA_BROKERS": address,
        "VERVE_KAFKA_TOPIC": topic,
        "VERVE_SOURCE": "host",
        **more,
    }


def new_topic() -> str:
    """A topic that nobody else uses."""
    return f"test-{time.time_ns()}"


def stored(service: Service) -> dict[int, int]:
    """Window starts and counts by the ledger."""
    return {window.window_start: window.unique for window in ledger.rows(ledger_path(service))}


def standing(service: Service) -> Mapping[str, Any]:
    """What `/readyz?verbose` says of Kafka; the service is ready all the while."""
    answer = service.get("/readyz?verbose")
    assert answer.status_code == 200
    part: dict[str, Any] = answer.json()["parts"]["kafka"]
    return part


def wait_delivered(service: Service, timeout: float = 40) -> None:
    """Wait until Kafka has all that the ledger holds but for the newest window or two."""
    service.wait_until(
        lambda: standing(service)["state"] == "ok" and standing(service)["windows_waiting"] <= 2,
        timeout,
        "delivered to Kafka",
    )


def wait_trouble(service: Service, timeout: float = 30) -> Mapping[str, Any]:
    """Wait until a delivery has failed, and tell how it is then."""

    def failing() -> Mapping[str, Any] | None:
        part = standing(service)
        return part if part["trouble"] else None

    return service.wait_until(failing, timeout, "failing")


def assert_all_sent(
    service: Service, reader: Reader, last: int, timeout: float = 40
) -> Sequence[Message]:
    """Up to the window that starts at `last`, Kafka has what the ledger has, and in order."""
    reader.wait_window(last, timeout)
    messages = [message for message in reader.messages if message.window_start <= last]
    sent = counts(messages)
    assert_ordered(messages)
    assert_unbroken(sent, service.window)
    held = {start: unique for start, unique in stored(service).items() if start <= last}
    assert sent == held
    return messages

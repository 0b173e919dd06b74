"""`kill -9` of the service between the broker's acknowledgement and the note in the ledger."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.kafka_witnesses import assert_all_sent, environment, new_topic, stored
from tests.kafka import Reader, repeats
from tests.service import ACCEPT, Server
from tests.witnesses import ledger_path
from verve import ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve
    from tests.kafka import Broker
    from tests.service import Service


@pytest.mark.timeout(1_800)
def test_killed_after_the_acknowledgement(
    broker: Broker, serve: Serve, scale: Callable[[int], int]
) -> None:
    topic = new_topic()
    service = serve(
        Server.VERVE,
        workers=1,
        window=1,
        start=False,
        environment=environment(broker.address, topic),
    )
    unmarked = 0
    with Reader(broker.address, topic) as reader:
        for number in range(scale(200)):
            before = len(reader.messages)
            service.start()
            assert service.get(f"{ACCEPT}?id={number}").text == "ok"
            # The acknowledgement and the note are a few milliseconds apart. The reader has a
            # message about when the service has the acknowledgement.
            reader.wait_until(lambda messages, n=before: len(messages) > n)
            time.sleep(random.uniform(0, 0.003))
            service.kill()
            unmarked += _was_not_noted(service, {m.window_start for m in reader.messages})
        service.start()
        start = max(stored(service)) + 2
        reader.wait_window(start)
        messages = assert_all_sent(service, reader, start)
    twice = repeats(messages)
    sys.stdout.write(f"killed before the note: {unmarked}; windows that came twice: {twice}\n")
    assert unmarked > 0, "no kill fell between the two"
    # Each window that was sent and not noted was sent again, and none besides.
    assert unmarked <= twice


def _was_not_noted(service: Service, sent: set[int]) -> bool:
    """Whether the ledger does not know of a window that the broker has."""
    waiting = ledger.undelivered(ledger_path(service))
    return bool(sent & {window.window_start for window, _ in waiting})

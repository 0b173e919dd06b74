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

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve
    from tests.kafka import Broker


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
    kills = scale(200)
    with Reader(broker.address, topic) as reader:
        for number in range(kills):
            service.start()
            before = len(reader.messages)
            assert service.get(f"{ACCEPT}?id={number}").text == "ok"
            # The reader has a message about when the service has its acknowledgement, and the note
            # in the ledger takes some milliseconds more.
            reader.wait_until(lambda messages, n=before: len(messages) > n)
            time.sleep(random.uniform(0, 0.003))
            service.kill()
        service.start()
        last = max(stored(service)) + 2
        messages = assert_all_sent(service, reader, last, timeout=60)
    again = repeats(messages)
    sys.stdout.write(f"{kills} kills, {len(messages)} messages, {again} of them repeats\n")
    # A window comes again exactly if it was acknowledged and not noted.
    assert again > 0, "no kill fell between the two"
    assert again <= kills

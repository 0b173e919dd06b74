"""What was answered is sent, whoever is killed: at least one attempt for every `ok`."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.callbacks.receivers import Gate, Receiver
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Serve
    from tests.support.service import Service

PENDING = 10_000
# A destination may hold an eighth of the cells, and shares some of them with others.
DESTINATIONS = 25
_CONNECTIONS = 4
_AT_ONCE = 50

pytestmark = pytest.mark.timeout(900)


class Sender:
    """Sends accepts over some connections, many at once, and knows which were answered `ok`."""

    def __init__(self, service: Service, receivers: list[Receiver]) -> None:
        self.accepted: set[str] = set()
        self.refused: list[bytes] = []
        self._service = service
        self._receivers = receivers
        self._lock = threading.Lock()

    def send(self, numbers: range) -> None:
        """Send all of them, over new connections."""
        parts = [numbers[at::_CONNECTIONS] for at in range(_CONNECTIONS)]
        threads = [threading.Thread(target=self._send, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, numbers: range) -> None:
        for at in range(0, len(numbers), _AT_ONCE):
            some = numbers[at : at + _AT_ONCE]
            try:
                with socket.create_connection(("127.0.0.1", self._service.port), 10) as connection:
                    self._exchange(connection, some)
            except OSError:
                # The worker was killed, or its port is closed for a moment.
                time.sleep(0.02)

    def _exchange(self, connection: socket.socket, numbers: range) -> None:
        requests = []
        for number in numbers:
            receiver = self._receivers[number % len(self._receivers)]
            endpoint = quote(receiver.url(f"/{number}"), safe="")
            close = "connection: close\r\n" if number == numbers[-1] else ""
            requests.append(f"GET {ACCEPT}?id={number}&endpoint={endpoint} HTTP/1.1\r\n")
            requests.append(f"host: x\r\n{close}\r\n")
        connection.sendall("".join(requests).encode())
        received = bytearray()
        try:
            while chunk := connection.recv(65_536):
                received += chunk
        finally:
            # Answers come in the order of the requests; the last one may be cut off.
            answers = received.split(b"HTTP/1.1 ")[1:]
            whole = [one for one in answers if one.endswith((b"ok", b"failed"))]
            with self._lock:
                for number, one in zip(numbers, whole, strict=False):
                    if one.startswith(b"200"):
                        self.accepted.add(f"/{number}")
                    else:
                        self.refused.append(bytes(one))


@pytest.fixture
def gate() -> Gate:
    """What holds up all receivers."""
    return Gate()


@pytest.fixture
def receivers(gate: Gate) -> Iterator[list[Receiver]]:
    """Destinations that answer while the gate is open."""
    with ExitStack() as stack:
        yield [stack.enter_context(Receiver(gate)) for _ in range(DESTINATIONS)]


def targets(receivers: list[Receiver]) -> set[str]:
    """What was asked for, at all of them."""
    return {post.target for receiver in receivers for post in list(receiver.posts)}


def test_each_ok_leads_to_an_attempt_whoever_is_killed(
    serve: Serve, gate: Gate, receivers: list[Receiver], scale: Callable[[int], int]
) -> None:
    environment = {
        "VERVE_CALLBACKS": "public",
        "VERVE_CALLBACK_ALLOW": "127.0.0.1",
        "VERVE_CALLBACK_LOG": "summary",
    }
    service = serve(Server.VERVE, workers=2, window=3600, environment=environment)
    sender = Sender(service, receivers)
    numbers = itertools.count(1, PENDING)
    pending = []
    for turn in range(scale(100)):
        gate.close()
        begin = next(numbers)
        before = len(sender.accepted)
        # Some die while they take callbacks, some while they hold all of them; some all at once.
        killer = None
        if turn % 3 == 0:
            killer = threading.Timer(random.uniform(0, 1), _kill, (service, 1))
            killer.start()
        sender.send(range(begin, begin + PENDING))
        if killer is not None:
            killer.join()
        pending.append(len(sender.accepted) - before)
        _kill(service, 2 if turn % 5 == 4 else 1)
        gate.open()
        _wait_delivered(service, sender, receivers)
        service.wait_until(lambda: len(service.workers()) == 2, 30, "both workers")
        service.wait_ready()
        assert not [one for one in sender.refused if b"segment" in one]
        for receiver in receivers:
            receiver.posts.clear()
        sender.accepted.clear()
    # Most turns had them all pending.
    assert sorted(pending)[len(pending) // 2] > PENDING * 0.9


def _kill(service: Service, number: int) -> None:
    """Kill some of the workers there are."""
    workers = service.workers()
    for pid in random.sample(workers, min(number, len(workers))):
        os.kill(pid, signal.SIGKILL)


def _wait_delivered(service: Service, sender: Sender, receivers: list[Receiver]) -> None:
    end = time.monotonic() + 60
    while missing := sender.accepted - targets(receivers):
        if time.monotonic() > end:
            raise service.error(f"{len(missing)} callbacks were not attempted: {min(missing)}")
        time.sleep(0.05)


def test_what_a_stop_leaves_is_sent_after_the_next_start(
    serve: Serve, gate: Gate, receivers: list[Receiver]
) -> None:
    environment = {
        "VERVE_CALLBACKS": "public",
        "VERVE_CALLBACK_ALLOW": "127.0.0.1",
        "VERVE_CALLBACK_DRAIN": "1",
    }
    service = serve(Server.VERVE, workers=2, window=3600, environment=environment)
    sender = Sender(service, receivers)
    sender.send(range(1, 2_001))
    assert len(sender.accepted) == 2_000
    service.stop()
    gate.open()
    service.start()
    _wait_delivered(service, sender, receivers)
    posts = [post for receiver in receivers for post in receiver.posts]
    assert {post.count for post in posts} <= set(range(1, 2_001))
    by_target: dict[str, set[str]] = {}
    for post in posts:
        by_target.setdefault(post.target, set()).add(post.headers["webhook-id"])
    assert all(len(ids) == 1 for ids in by_target.values())
    assert len(set().union(*by_target.values())) == 2_000

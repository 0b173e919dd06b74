"""Services that get one or more signals to end while requests are in flight: each is answered."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.http import raw
from tests.support.network import tcp
from tests.support.redis.server import RedisServer
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service

CLIENTS = 16
THREE_SIGNALS_SECONDS = 1.2
"""Time in which the supervisor repeats the signal twice to a worker that does not end."""


def _by_the_supervisor(service: Service) -> None:
    os.kill(service.pid, signal.SIGTERM)


def _by_a_terminal(service: Service) -> None:
    """Ctrl-C reaches the whole group, and an impatient user presses it again."""
    for _ in range(4):
        os.killpg(service.pid, signal.SIGINT)
        time.sleep(0.05)


def _by_systemd(service: Service) -> None:
    os.killpg(service.pid, signal.SIGTERM)


@pytest.mark.parametrize(
    ("server", "tell", "arguments"),
    [
        (Server.VERVE, _by_the_supervisor, []),
        (Server.VERVE, _by_a_terminal, ["--loop", "asyncio"]),
        (Server.VERVE, _by_systemd, ["--interface", "asgi"]),
        (Server.GRANIAN, _by_a_terminal, []),
        (Server.NATIVE, _by_the_supervisor, []),
        (Server.NATIVE, _by_systemd, ["--loop", "asyncio"]),
    ],
    ids=["supervisor", "terminal", "systemd", "plain-granian", "native", "native-systemd"],
)
def test_a_batch_whose_second_half_comes_after_the_signal(
    server: Server, tell: Callable[[Service], None], arguments: list[str], serve: Serve
) -> None:
    service = serve(server, workers=2, window=3600, arguments=arguments)
    kind = [("content-type", "application/json")]
    with ExitStack() as stack:
        clients = []
        for number in range(CLIENTS):
            client = stack.enter_context(raw.connect(service))
            whole = raw.request(
                "POST", ACCEPT, kind, json.dumps([2 * number, -number - 1]).encode()
            )
            client.sendall(whole[:-3])
            clients.append((client, whole[-3:]))
        service.wait_until(lambda: _reading(service) == CLIENTS, 5, "at the batches")
        tell(service)
        time.sleep(THREE_SIGNALS_SECONDS)
        for client, rest in clients:
            client.sendall(rest)
        answers = [raw.parse(_read(client)) for client, _ in clients]
    assert [answer.status for answer in answers] == [200] * CLIENTS
    assert [json.loads(answer.body)["new"] for answer in answers] == [2] * CLIENTS
    assert service.wait_end() == 0
    assert "refused to gracefully stop" not in service.output()


def test_a_stop_of_the_whole_group_is_clean_though_idle_workers_end_first(serve: Serve) -> None:
    for _ in range(3):
        service = serve(Server.VERVE, workers=2, window=3600)
        _by_systemd(service)
        assert service.wait_end() == 0
        assert "Unexpected exit" not in service.output()


def test_accepts_that_wait_for_redis_when_the_signal_comes(serve: Serve, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        service = serve(
            Server.VERVE,
            workers=2,
            window=3600,
            environment={
                "VERVE_ACK": "store",
                "VERVE_CLUSTER": "drain",
                "VERVE_REDIS_URL": redis.url,
            },
        )
        redis.pause()
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = [
                pool.submit(raw.ask, service, "GET", f"{ACCEPT}?id={id}") for id in range(CLIENTS)
            ]
            time.sleep(0.3)
            os.kill(service.pid, signal.SIGTERM)
            time.sleep(THREE_SIGNALS_SECONDS)
            redis.resume()
            assert [answer.result().status for answer in answers] == [200] * CLIENTS
        assert service.wait_end() == 0
        # What was sent to Redis before the end is there.
        keys = redis.command("KEYS", "verve:*:ids")
        members = [member for key in keys for member in redis.command("SMEMBERS", key)]
        assert sum(len(member) == 8 for member in members) == CLIENTS
    assert "refused to gracefully stop" not in service.output()


def _reading(service: Service) -> int:
    """Connections that a worker has accepted."""
    return sum(
        one.local == service.port and one.remote != 0 and one.inode != "0"
        for one in tcp.connections()
    )


def _read(client: socket.socket) -> bytes:
    received = bytearray()
    while chunk := client.recv(65_536):
        received += chunk
    return bytes(received)

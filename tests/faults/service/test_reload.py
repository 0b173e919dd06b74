"""Reloads: a worker takes the place of another one, and no answer is cut."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.http import raw
from tests.support.network.ports import free_port
from tests.support.service import ACCEPT, Server
from verve.service.termination import RETIRE
from verve.serving.worker_sockets import Listeners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

OVERLAP = "1"
"""Seconds that the old worker and the new one both serve."""
_PROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  option redispatch 1
listen verve
  bind 127.0.0.1:{port}
  option {option}
  {servers}
"""


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
@pytest.mark.parametrize("option", ["http-keep-alive", "http-server-close"])
def test_a_reload_behind_a_proxy(  # noqa: PLR0913, PLR0917 - fixtures
    option: str,
    server: Server,
    serve: Serve,
    start_load: StartLoad,
    tmp_path: Path,
    proxies: ExitStack,
) -> None:
    service = serve(server, workers=2, window=60, arguments=["--respawn-interval", OVERLAP])
    port = _proxy(proxies, tmp_path, option, service)
    load = start_load(service, "--connections", "64", "--rate", "2000", port=port)
    before = service.workers()
    time.sleep(0.5)
    _reload(service, workers=2)
    result = load.stop()

    assert result.faults == {}
    assert result.records.placed()
    assert not set(before) & set(service.workers())
    assert "refused to gracefully stop" not in service.output()


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_a_stop_of_one_of_two_services_behind_a_proxy(
    server: Server, serve: Serve, start_load: StartLoad, tmp_path: Path, proxies: ExitStack
) -> None:
    stays, goes = (serve(server, workers=1, window=60) for _ in range(2))
    port = _proxy(proxies, tmp_path, "http-keep-alive", stays, goes)
    load = start_load(stays, "--connections", "32", "--rate", "2000", port=port)
    goes.wait_until(lambda: goes.metrics()["verve_ids_total"] > 500, 10, "in use")
    assert goes.stop() == 0
    time.sleep(0.2)
    assert load.stop().faults == {}


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_a_new_worker_takes_over_the_queue_of_a_stopped_one(server: Server, serve: Serve) -> None:
    service = serve(server, workers=1, window=60, arguments=["--respawn-interval", OVERLAP])
    (old,) = service.workers()
    os.kill(old, signal.SIGSTOP)
    # A thread that has not heard of it yet would take a connection, and keep it.
    service.wait_until(lambda: _is_stopped(old), 10, "stopped")
    with ExitStack() as stack:
        clients = [stack.enter_context(raw.connect(service)) for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(raw.request("GET", f"{ACCEPT}?id={number}"))
        service.signal(signal.SIGHUP)
        answers = [raw.parse(client.recv(65_536)) for client in clients]
        os.kill(old, signal.SIGCONT)
    assert [answer.status for answer in answers] == [200] * len(clients)
    service.wait_until(lambda: "Stopped old worker-1" in service.output(), 10, "reloaded")
    assert "refused to gracefully stop" not in service.output()


def _is_stopped(process: int) -> bool:
    threads = Path(f"/proc/{process}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)


@pytest.mark.alone(reason="judges how long a stop takes")
def test_a_stop_does_not_wait_for_the_rest_of_a_reload(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=3, arguments=["--respawn-interval", "2"])
    service.signal(signal.SIGHUP)
    service.wait_until(lambda: "Respawning worker-1" in service.output(), 5, "reloading")
    begun = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begun < 4
    assert "Respawning worker-2" not in service.output()


@pytest.mark.parametrize(
    ("server", "interface"),
    [(Server.VERVE, "rsgi"), (Server.VERVE, "asgi"), (Server.NATIVE, "rsgi")],
)
def test_a_retiring_worker_closes_connections_after_an_answer(
    server: Server, interface: str, serve: Serve
) -> None:
    service = serve(server, workers=1, arguments=["--interface", interface])
    (worker,) = service.workers()
    with raw.connect(service) as kept:
        assert b"connection" not in _ask(kept, f"{ACCEPT}?id=1").lower()
        os.kill(worker, RETIRE)
        service.wait_until(lambda: _closes(service), 5, "retiring")
        answer = _ask(kept, f"{ACCEPT}?id=1&verdict=1")
        assert b"200 OK" in answer
        assert b"verve-seen: duplicate" in answer
        assert b"connection: close" in answer
        assert kept.recv(1) == b""
    # It is as ready as before: its successor may be asked by the same balancer.
    assert service.get("/readyz").text == "ready"


def test_a_connection_comes_to_a_worker_with_its_first_bytes() -> None:
    kept = Listeners()
    listener = kept.of(0, _Bound).socket
    assert kept.of(0, _Bound).socket is listener
    listener.listen()
    listener.setblocking(False)
    with socket.create_connection(listener.getsockname()) as client:
        time.sleep(0.05)
        with pytest.raises(BlockingIOError):
            listener.accept()
        client.sendall(b"GET")
        listener.setblocking(True)
        listener.settimeout(2)
        connection, _ = listener.accept()
        assert connection.recv(3) == b"GET"
        connection.close()
    other = kept.of(1, _Bound).socket
    assert kept.others(0) == [other.fileno()]
    kept.drop(0)
    assert listener.fileno() == -1
    kept.drop_all()
    assert other.fileno() == -1


class _Bound:
    """A socket as Granian binds it."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))

    def get_fd(self) -> int:
        """Its descriptor, which belongs to the caller."""
        return self._socket.detach()


@pytest.fixture
def proxies() -> Iterator[ExitStack]:
    """What ends the proxy of a test."""
    if _haproxy() is None:
        if os.environ.get("CI"):
            pytest.fail("haproxy is missing")
        pytest.skip("haproxy is missing; hint: scripts/setup installs it")
    with ExitStack() as stack:
        yield stack


def _haproxy() -> str | None:
    """The program; Debian has it where only root's PATH leads."""
    return shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")


def _proxy(proxies: ExitStack, directory: Path, option: str, *services: Service) -> int:
    """Start HAProxy before these services; its port."""
    port = free_port()
    servers = "\n  ".join(f"server s{one.port} 127.0.0.1:{one.port}" for one in services)
    configuration = directory / "haproxy.cfg"
    configuration.write_text(_PROXY.format(port=port, option=option, servers=servers))
    binary = _haproxy()
    assert binary is not None
    proxy = subprocess.Popen([binary, "-db", "-f", configuration])
    proxies.callback(proxy.wait)
    proxies.callback(proxy.terminate)
    return port


def _reload(service: Service, workers: int) -> None:
    service.signal(signal.SIGHUP)
    last = f"Stopped old worker-{workers}"
    service.wait_until(lambda: last in service.output(), 30, "reloaded")


def _closes(service: Service) -> bool:
    return "close" in service.get("/livez").headers.get_list("connection")


def _ask(connection: socket.socket, target: str) -> bytes:
    connection.sendall(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return connection.recv(65_536)

"""nginx and HAProxy as `deploy/proxies/` configures them, in front of two hosts of Verve."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from tests.support.network import tcp
from tests.support.network.ports import free_port
from tests.support.proxies.shipped import PROXIES, ShippedHAProxy, ShippedProxy
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Serve

TOKEN = "s3cret"  # noqa: S105 - of these tests
BEARER = {"authorization": f"Bearer {TOKEN}"}
STREAM = "/api/verve/stream"
GUARDED = ["/metrics", "/api/verve/current", "/api/verve/windows", STREAM]
LARGEST = 8 * 1024 * 1024
"""`VERVE_MAX_BODY`."""
_ids = itertools.count(1)


class Rig(NamedTuple):
    """A proxy and its two hosts."""

    proxy: ShippedProxy
    hosts: list[Service]

    def accept(self, count: int) -> list[int]:
        """Send that many accepts over one connection; how many of them each host got."""
        before = [host.metrics()["verve_ids_total"] for host in self.hosts]
        with self.proxy.client() as client:
            for id in itertools.islice(_ids, count):
                answer = client.get(self.proxy.url(f"{ACCEPT}?id={id}"))
                assert (answer.status_code, answer.text) == (200, "ok")
        after = [host.metrics()["verve_ids_total"] for host in self.hosts]
        return [int(now - then) for now, then in zip(after, before, strict=True)]

    def wait_balanced(self) -> None:
        """Wait until both hosts get requests."""
        self.hosts[1].wait_until(lambda: all(self.accept(20)), 30, "balanced")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Two hosts, one under each server."""
    token = {"VERVE_ADMIN_TOKEN": TOKEN}
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Service(tmp_path_factory.mktemp("host"), server, window=3600, environment=token)
            )
            for server in (Server.VERVE, Server.NATIVE)
        ]


@pytest.fixture(scope="module", params=PROXIES)
def rig(
    request: pytest.FixtureRequest, hosts: list[Service], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    """Each proxy in front of the hosts, which the tests leave as they were."""
    ports = [host.port for host in hosts]
    with PROXIES[request.param](tmp_path_factory.mktemp("proxy") / "it", ports) as proxy:
        rig = Rig(proxy, hosts)
        rig.wait_balanced()
        yield rig


def connect(proxy: ShippedProxy, protocol: str) -> ssl.SSLSocket:
    """A connection for that protocol, whose certificate is verified."""
    context = ssl.create_default_context(cafile=str(proxy.pem))
    context.set_alpn_protocols([protocol])
    raw = socket.create_connection(("127.0.0.1", proxy.port), 10)
    return context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_tls(rig: Rig) -> None:
    with connect(rig.proxy, "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert connection.version() == "TLSv1.3"
    plain = httpx.get(
        f"http://127.0.0.1:{rig.proxy.plain_port}{ACCEPT}?id=1",
        headers={"host": "verve.example"},
        trust_env=False,
    )
    assert plain.status_code == 308
    assert plain.headers["location"] == f"https://verve.example{ACCEPT}?id=1"


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return (
        len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content
    )


def test_http_2(rig: Rig) -> None:
    path = f"{ACCEPT}?id=2".encode()
    head = b"\x82\x87\x04" + bytes([len(path)]) + path + b"\x01\x09localhost"
    with connect(rig.proxy, "h2") as connection:
        assert connection.selected_alpn_protocol() == "h2"
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
        connection.sendall(preface + frame(1, 0x5, 1, head))
        received = connection.makefile("rb")
        answered: list[tuple[int, bytes]] = []
        while not answered or answered[-1][0] != 0:
            length, kind, _, stream = (
                int.from_bytes(received.read(size), "big") for size in (3, 1, 1, 4)
            )
            content = received.read(length)
            if stream == 1 and kind in {0, 1}:
                answered.append((kind, content))
    (_, headers), *data = answered
    assert b"\x88" in headers[:4]  # `:status: 200`, after a change of the table at most
    assert b"".join(content for _, content in data) == b"ok"


def test_every_route(rig: Rig) -> None:
    with rig.proxy.client() as client:
        for path in ("/livez", "/readyz", "/openapi.json"):
            assert client.get(rig.proxy.url(path)).status_code == 200
        page = client.get(rig.proxy.url("/"))
        assert page.headers["content-type"].startswith("text/html")
        assert page.text.rstrip().endswith("</html>")
        for path in GUARDED:
            assert client.get(rig.proxy.url(path)).status_code == 401
            if path != STREAM:
                assert client.get(rig.proxy.url(path), headers=BEARER).status_code == 200
        batch = client.post(rig.proxy.url(ACCEPT), json=list(range(10_000)))
        assert batch.json()["accepted"] == 10_000
        rejected = client.get(rig.proxy.url(f"{ACCEPT}?id=x"))
        assert (rejected.status_code, rejected.text) == (400, "failed")
        assert rejected.headers["verve-error"] == "id invalid"


def test_the_stream_flows(rig: Rig) -> None:
    """It lasts 300 s: a proxy that kept it back would show nothing in the time of this test."""
    with (
        rig.proxy.client() as client,
        client.stream("GET", rig.proxy.url(STREAM), headers=BEARER) as answer,
    ):
        assert answer.status_code == 200
        found = []
        for line in answer.iter_lines():
            if line.startswith("data:") and '"now"' in line:
                found.append(json.loads(line.removeprefix("data:"))["now"])
            if len(found) == 3:
                break
    assert found == sorted(found)


def test_sizes(rig: Rig) -> None:
    text = {"content-type": "text/plain"}
    with rig.proxy.client() as client:
        # One id and blanks up to the limit.
        full = client.post(rig.proxy.url(ACCEPT), content=b"7\n" * (LARGEST // 2), headers=text)
        assert full.json()["accepted"] == LARGEST // 2
        above = client.post(rig.proxy.url(ACCEPT), content=b"7" * (LARGEST + 1), headers=text)
        assert (above.status_code, above.text) == (413, "failed")
        assert above.headers["verve-error"] == "body too large"
        assert client.get(rig.proxy.url("/livez"), headers={"x-long": "x" * 12_000}).text == "live"
        with pytest.raises((httpx.HTTPStatusError, httpx.TransportError)):
            client.get(rig.proxy.url("/livez"), headers={"x-long": "x" * 80_000}).raise_for_status()


def between(ports: set[int]) -> set[tuple[int, int]]:
    """The connections to these ports, closed ones included for a minute: both ends."""
    return {
        (min(one.local, one.remote), max(one.local, one.remote))
        for one in tcp.connections()
        if ports & {one.local, one.remote}
    }


def test_connections_to_the_hosts_are_kept(rig: Rig) -> None:
    """New connections of callers, 20 of them, share the ones to the hosts."""

    def send() -> None:
        for _ in range(20):
            with rig.proxy.client() as client:
                for id in itertools.islice(_ids, 10):
                    assert client.get(rig.proxy.url(f"{ACCEPT}?id={id}")).text == "ok"

    if isinstance(rig.proxy, ShippedHAProxy):
        # It counts its checks apart.
        figure = "haproxy_server_connection_attempts_total"
        before = rig.proxy.figure(figure)
        send()
        made = rig.proxy.figure(figure) - before
    else:
        ports = {host.port for host in rig.hosts}
        known = between(ports)
        send()
        made = len(between(ports) - known)
    assert made < 50, f"{made} connections for 200 requests"


def test_a_host_that_drains_gets_no_more(rig: Rig) -> None:
    first, second = rig.hosts
    assert first.command("drain").returncode == 0
    try:
        # Each accept meanwhile is answered `ok`, too.
        second.wait_until(lambda: rig.accept(20) == [0, 20], 30, "alone")
    finally:
        assert first.command("drain", "--undo").returncode == 0
    rig.wait_balanced()


def test_a_host_that_is_away_is_left_out(rig: Rig) -> None:
    _, second = rig.hosts
    second.stop()
    try:
        with rig.proxy.client() as client:
            for id in itertools.islice(_ids, 50):
                assert client.get(rig.proxy.url(f"{ACCEPT}?id={id}")).text == "ok"
            batch = client.post(rig.proxy.url(ACCEPT), json=[1, 2, 3])
            assert batch.json()["accepted"] == 3
    finally:
        second.start()
    rig.wait_balanced()


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_rate_limit(hosts: list[Service], tmp_path: Path, proxy: str) -> None:
    with PROXIES[proxy](tmp_path / proxy, [host.port for host in hosts], rate=5) as limited:
        counted = sum(host.metrics()["verve_ids_total"] for host in hosts)
        accepted = 0
        with limited.client() as client:

            def ask() -> httpx.Response:
                return client.get(limited.url(f"{ACCEPT}?id={next(_ids)}"))

            # At most 5 and the burst are free, and 5 in each second; this is much faster.
            for _ in range(2_000):
                answer = ask()
                if answer.status_code != 200:
                    break
                accepted += 1
            assert (answer.status_code, answer.text) == (429, "failed")
            assert answer.headers["retry-after"] == "1"
            # What was rejected was not counted.
            assert sum(host.metrics()["verve_ids_total"] for host in hosts) == counted + accepted
            hosts[0].wait_until(lambda: ask().text == "ok", 30, "accepted again")


@pytest.mark.parametrize(
    "server", [Server.VERVE, Server.GRANIAN_ASGI, Server.UVICORN, Server.NATIVE]
)
@pytest.mark.parametrize("proxy", PROXIES)
def test_without_a_token_the_callers_of_a_proxy_get_no_figures(
    serve: Serve, tmp_path: Path, server: Server, proxy: str
) -> None:
    """Whatever names and addresses they claim."""
    service = serve(server)
    claims = [
        {},
        {"host": "localhost"},
        {"host": "localhost", "x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1"},
        {"host": "localhost", "x-forwarded-for": b"\xff", "x-forwarded-proto": b"\xff"},
        {"host": "localhost", "connection": "x-forwarded-for, x-forwarded-proto"},
    ]
    with PROXIES[proxy](tmp_path / proxy, [service.port] * 2) as through:
        for headers in claims:
            for path in GUARDED:
                assert through.get(path, headers=headers).status_code == 401
            assert "service" not in through.get("/readyz?verbose", headers=headers).json()
    assert service.get("/metrics").status_code == 200


@pytest.mark.parametrize("proxy", PROXIES)
def test_with_an_admin_address_nothing_guarded_is_behind_the_proxy(
    serve: Serve, tmp_path: Path, proxy: str
) -> None:
    admin = {"VERVE_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
    service = serve(Server.NATIVE, environment=admin)
    with PROXIES[proxy](tmp_path / proxy, [service.port] * 2) as through:
        for path in [*GUARDED, "/"]:
            assert through.get(path).status_code == 404
        assert through.get(f"{ACCEPT}?id=1").text == "ok"

"""A host without IPv4: service, callbacks, commands, and hosts that share a Redis."""

from __future__ import annotations

import contextlib
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
import redis

from tests.support.callbacks.receivers import Receiver, answer
from tests.support.network.ipv6 import NAME, PRIVATE, PUBLIC, without_ipv4
from tests.support.redis.connection import wait_until
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERVERS = {
    Server.VERVE: "localhost",
    Server.NATIVE: "::",
    Server.GRANIAN: "::1",
    Server.GRANIAN_ASGI: "::",
    Server.UVICORN: "::1",
}
PORT, ADMIN_PORT = 8000, 9000


def _get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=10)


@pytest.mark.parametrize("server", SERVERS)
def test_a_service_counts_and_calls_back(tmp_path: Path, server: Server) -> None:
    admin = {"VERVE_ADMIN_LISTEN": f"[::1]:{ADMIN_PORT}"}
    callbacks = {"VERVE_CALLBACKS": "public", "VERVE_CALLBACK_ALLOW": f"{NAME},[{PRIVATE}]"}

    def scenario() -> None:
        host = SERVERS[server]
        environment = {**callbacks, **admin}
        with (
            Receiver(host=PRIVATE) as listed,
            Receiver(host=PUBLIC) as public,
            Service(tmp_path, server, host=host, port=PORT, environment=environment) as service,
        ):
            assert service.get(f"{ACCEPT}?id=1").text == "ok"
            if host == "::":
                assert _get(f"http://[{PRIVATE}]:{PORT}{ACCEPT}?id=1").text == "ok"
            by_name = f"http://{NAME}:{listed.port}/name"
            for endpoint in (listed.url("/listed"), public.url("/public"), by_name):
                answer = service.get(f"{ACCEPT}?id=1&endpoint={quote(endpoint, safe='')}")
                assert answer.text == "ok", answer.headers
            inside = quote(f"http://[::1]:{PORT}/", safe="")
            answer = service.get(f"{ACCEPT}?id=1&endpoint={inside}")
            assert answer.headers["verve-error"] == "endpoint address"
            assert {post.target for post in listed.wait_for(2)} == {"/listed", "/name"}
            assert {post.headers["host"] for post in listed.posts} == {
                f"[{PRIVATE}]:{listed.port}",
                f"{NAME}:{listed.port}",
            }
            assert [post.target for post in public.wait_for(1)] == ["/public"]

            assert service.get("/api/verve/current").status_code == 404
            figures = _get(f"http://[::1]:{ADMIN_PORT}/api/verve/current").json()
            assert figures["unique"] == 1

            for command in (["check"], ["check", "--ready"], ["check", "--ready", "--at-admin"]):
                done = service.command(*command)
                assert done.returncode == 0, done.stdout
            done = service.command("callback", "test", by_name)
            assert done.returncode == 0, done.stdout + done.stderr
            assert PRIVATE in done.stdout
            service.stop()

    without_ipv4(tmp_path, scenario)


def test_callbacks_go_through_a_proxy(tmp_path: Path) -> None:
    def scenario() -> None:
        with Receiver(answer(502), host=PRIVATE) as proxy:
            environment = {"VERVE_CALLBACKS": "public", "VERVE_CALLBACK_PROXY": proxy.url("")}
            service = Service(
                tmp_path, Server.VERVE, host="::1", port=PORT, environment=environment
            )
            with service:
                endpoint = quote(f"http://[{PUBLIC}]:8443/hook", safe="")
                assert service.get(f"{ACCEPT}?id=1&endpoint={endpoint}").text == "ok"
                post = proxy.wait_for(1)[0]
                assert (post.method, post.target) == ("POST", f"http://[{PUBLIC}]:8443/hook")

    without_ipv4(tmp_path, scenario)


def test_only_the_loopback_may_look(tmp_path: Path) -> None:
    def scenario() -> None:
        with Service(tmp_path, Server.VERVE, host="::", port=PORT) as service:
            assert service.get("/api/verve/current").status_code == 200
            other = httpx.HTTPTransport(local_address=PRIVATE)
            with httpx.Client(transport=other, trust_env=False) as client:
                url = f"http://[{PRIVATE}]:{PORT}/api/verve/current"
                assert client.get(url).status_code == 401

    without_ipv4(tmp_path, scenario)


def test_the_default_address_is_refused_with_one_that_works(tmp_path: Path) -> None:
    def scenario() -> None:
        service = Service(tmp_path, Server.VERVE, port=PORT).start(ready=False)
        assert service.wait_end() != 0
        assert "`::1` for the loopback of a host without IPv4" in service.output()
        service.close()

    without_ipv4(tmp_path, scenario)


@contextlib.contextmanager
def _started(directory: Path, *arguments: str, port: int) -> Iterator[redis.Redis]:
    """A Redis server of this network; its output goes to a file in `directory`."""
    directory.mkdir()
    with (directory / "log").open("wb") as log:
        address = ["--port", str(port), "--bind", PRIVATE, "--protected-mode", "no"]
        process = subprocess.Popen(
            ["redis-server", *arguments, *address], cwd=directory, stdout=log, stderr=log
        )
    client = redis.Redis(host=PRIVATE, port=port, protocol=2)

    def answers() -> bool | None:
        assert process.poll() is None, (directory / "log").read_text()
        with contextlib.suppress(redis.exceptions.ConnectionError):
            return bool(client.ping())
        return None

    try:
        wait_until(answers, "a Redis", 20)
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


@contextlib.contextmanager
def _redis(directory: Path, form: str) -> Iterator[str]:
    """A Redis in one of its forms: its URL."""
    with contextlib.ExitStack() as servers:
        cluster = ["--cluster-enabled", "yes", "--cluster-announce-ip", PRIVATE]
        options = cluster if form == "cluster" else []
        one = servers.enter_context(
            _started(directory / "redis", "--save", "", *options, port=6379)
        )
        if form == "sentinel":
            file = directory / "sentinel.conf"
            file.write_text(f"sentinel monitor main {PRIVATE} 6379 1\n", encoding="utf-8")
            watched = servers.enter_context(
                _started(directory / "sentinel", str(file), "--sentinel", port=26379)
            )
            wait_until(lambda: watched.sentinel_masters() or None, "a watched master", 20)
            yield f"redis+sentinel://[{PRIVATE}]:26379/main"
        elif form == "cluster":
            ask: Callable[..., Any] = one.execute_command
            ask("CLUSTER ADDSLOTSRANGE", 0, 16_383)
            wait_until(lambda: ask("CLUSTER INFO")["cluster_state"] == "ok" or None, "a cluster")
            yield f"redis+cluster://[{PRIVATE}]:6379"
        else:
            yield f"redis://[{PRIVATE}]:6379"


@pytest.mark.parametrize("form", ["single", "cluster", "sentinel"])
def test_two_hosts_count_as_one(tmp_path: Path, form: str) -> None:
    def scenario() -> None:
        with _redis(tmp_path, form) as url, contextlib.ExitStack() as started:
            environment = {"VERVE_REDIS_URL": url, "VERVE_CLUSTER": "shop"}
            places = ((Server.VERVE, "::1", 8001), (Server.NATIVE, "::", 8002))
            hosts = [
                Service(
                    tmp_path / server,
                    server,
                    host=address,
                    port=port,
                    window=2,
                    environment=environment,
                )
                for server, address, port in places
            ]
            for host in hosts:
                started.enter_context(host)
            window = _counted_together(hosts)
            for host in hosts:
                host.wait_until(partial(_published, host, window), 30, "published")
            done = hosts[0].command("check", "--cluster")
            assert done.returncode == 0, done.stdout

    without_ipv4(tmp_path, scenario)


def _counted_together(hosts: list[Service]) -> int:
    """The window in which both hosts took two ids each, one of them the same."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        answers = [
            host.get(f"{ACCEPT}?id={number}&verdict=1")
            for host, numbers in zip(hosts, ((1, 2), (2, 3)), strict=True)
            for number in numbers
        ]
        windows = {int(answer.headers["verve-window"]) for answer in answers}
        if len(windows) == 1:
            return windows.pop()
    raise AssertionError("no window was long enough for four requests")


def _published(host: Service, window: int) -> bool:
    found = [minute for minute in host.minutes() if minute.window_start == window]
    return any(one.unique == 3 and not one.fields["degraded"] for one in found)

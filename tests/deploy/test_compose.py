"""The topology of the compose file in real containers. Only in `make test-full`."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.container import composition as compose
from tests.support.container import parts
from tests.support.container.composition import HOSTS, Composition
from tests.support.container.engine import podman
from tests.support.timing import sleep_clear_of_boundary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.container.image import Image

pytestmark = [
    pytest.mark.full,
    pytest.mark.alone("the compose file publishes fixed ports, and starts all parts at once"),
    pytest.mark.timeout(1_200),
]
WINDOW = 10
PAGES = dict(zip(HOSTS, ("http://127.0.0.1:9001", "http://127.0.0.1:9002"), strict=True))
PROXY = "https://127.0.0.1:8443"
ACCEPT = f"{PROXY}/api/verve/accept"


@pytest.fixture(scope="module")
def topology(
    verve_image: Image,
    kafka: None,  # noqa: ARG001 - it fetches the broker
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Composition]:
    """All services but Grafana, running."""
    why = None if compose.program() else "docker-compose is missing"
    for port in compose.ports():
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            why = f"the compose file publishes a port that is taken: `{port}`"
    if why:
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    parts.build()
    podman("tag", verve_image.name, "docker.io/library/verve:latest")
    with Composition(tmp_path_factory.mktemp("compose"), WINDOW) as one:
        one.up()
        yield one


class Caller:
    """Sends ids through the proxy, each over a new connection, and notes their windows."""

    def __init__(self, certificate: str) -> None:
        self.trusted = ssl.create_default_context(cadata=certificate)
        self._placed: dict[int, set[int]] = defaultdict(set)

    def get(self, path: str) -> httpx.Response:
        """Ask the proxy."""
        return httpx.get(f"{PROXY}{path}", verify=self.trusted, timeout=20)

    def accept(self, *ids: int, more: str = "") -> None:
        """Send ids, and assert that each is answered `ok`."""
        for id in ids:
            answer = self.get(f"/api/verve/accept?id={id}&verdict=1{more}")
            assert answer.text == "ok", (answer.status_code, answer.headers)
            self._placed[int(answer.headers["verve-window"])].add(id)

    def counts(self) -> dict[int, int]:
        """The number of distinct ids that were answered, by the start of their window."""
        return {start: len(ids) for start, ids in self._placed.items()}


@pytest.fixture(scope="module")
def caller(topology: Composition) -> Caller:
    """A caller that trusts the certificate that the proxy got."""
    return Caller((topology.volume("tls") / "certificate.pem").read_text(encoding="ascii"))


def _windows(host: str) -> dict[int, int]:
    """The counts that a host published, by the start of the window."""
    answer = httpx.get(f"{PAGES[host]}/api/verve/windows?limit=1000", timeout=10).json()
    return {_moment(one["window_start"]): one["unique"] for one in answer["windows"]}


def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _accepted(host: str) -> float:
    """How many ids a host took; 0 while it does not answer."""
    try:
        text = httpx.get(f"{PAGES[host]}/metrics", timeout=10).text
    except httpx.TransportError:
        return 0
    found = [one.split() for one in text.splitlines() if one.startswith("verve_ids_total ")]
    return float(found[0][1]) if found else 0


def _messages(topology: Composition) -> list[dict[str, Any]]:
    """What is on the topic."""
    consumer = ["/opt/kafka/bin/kafka-console-consumer.sh", "--bootstrap-server", "kafka:9092"]
    consumer += ["--topic", "unique-request-count", "--from-beginning", "--timeout-ms", "5000"]
    printed = topology.run("kafka", *consumer, check=False)
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def test_each_image_but_that_of_grafana_has_a_stand_in() -> None:
    lines = compose.COMPOSE.read_text(encoding="utf-8").splitlines()
    named = {line.split()[1] for line in lines if line.split()[:1] == ["image:"]}
    missing = {one.split(":")[0] for one in named - parts.names()}
    assert missing == {"verve", "docker.io/grafana/grafana"}


def test_all_parts_run_and_those_with_a_health_check_are_healthy(topology: Composition) -> None:
    assert topology.state("certificate")["ExitCode"] == 0
    for service in (*HOSTS, "redis", "kafka"):
        assert topology.state(service)["Health"]["Status"] == "healthy", service
    for service in ("haproxy", "receiver", "prometheus"):
        state = topology.state(service)
        assert state["Status"] == "running", topology.logs(service)


def test_both_hosts_count_as_one_behind_the_proxy(topology: Composition, caller: Caller) -> None:
    before = {host: _accepted(host) for host in HOSTS}
    sleep_clear_of_boundary(WINDOW, WINDOW / 2)
    for _ in range(2):
        caller.accept(*range(40))
    for host in HOSTS:  # the proxy gives some of the ids to each
        assert _accepted(host) - before[host] >= 20

    def sent() -> dict[int, int]:
        found = [one for one in _messages(topology) if not one["degraded"]]
        return {_moment(one["window_start"]): one["unique_request_count"] for one in found}

    expected = caller.counts().items()
    topology.wait_until(
        lambda: all(expected <= _windows(host).items() for host in HOSTS), "the same count of both"
    )
    topology.wait_until(lambda: expected <= sent().items(), "the count on the topic")


def test_a_callback_reaches_the_receiver(topology: Composition, caller: Caller) -> None:
    caller.accept(7, more="&endpoint=http://receiver:9999/")
    topology.wait_until(lambda: "unique ids" in topology.logs("receiver"), "the callback")


def test_prometheus_has_both_hosts_and_the_rules(topology: Composition) -> None:
    def ask(path: str) -> Any:  # noqa: ANN401 - JSON
        return httpx.get(f"http://127.0.0.1:9090/api/v1/{path}", timeout=10).json()["data"]

    def scraped() -> bool:
        up = ask("query?query=up")["result"]
        found = {one["metric"]["instance"] for one in up if one["value"][1] == "1"}
        return found == {f"{host}:9000" for host in HOSTS}

    topology.wait_until(scraped, "scraped")
    assert {group["name"] for group in ask("rules")["groups"]} >= {"verve-figures", "verve-host"}


def test_figures_are_not_for_callers_of_the_proxy(topology: Composition, caller: Caller) -> None:
    assert caller.get("/metrics").status_code in {401, 404}
    redirected = httpx.get("http://127.0.0.1:8080/api/verve/accept?id=7", timeout=10)
    assert redirected.status_code == 308
    for page in PAGES.values():
        assert httpx.get(f"{page}/", timeout=10).text.lower().startswith("<!doctype html>")
    assert "0.0.0.0:" not in topology.compose("ps")


def test_callers_notice_nothing_of_a_host_that_is_replaced(
    topology: Composition, caller: Caller
) -> None:
    topology.compose("stop", "--timeout", "30", "verve-1")
    caller.accept(*range(1_000, 1_040))
    topology.compose("rm", "--force", "verve-1")
    topology.compose("up", "--detach", "--no-build", "--no-deps", "verve-1")
    caller.accept(*range(1_040, 1_080))

    def takes_again() -> bool:
        caller.accept(*range(1_080, 1_084))
        return _accepted("verve-1") > 0

    topology.wait_until(takes_again, "in the proxy again")
    expected = caller.counts().items()
    topology.wait_until(lambda: expected <= _windows("verve-2").items(), "the counts")

"""A real Prometheus scrapes a cluster under load: panels have data, rules work, an alert fires."""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import pytest

from tests.support.callbacks.receivers import Receiver, answer
from tests.support.caller import FULL
from tests.support.deploy.monitoring import alerts, queries, rules, rules_text, without_threshold
from tests.support.deploy.prometheus import Prometheus
from tests.support.redis.server import RedisServer
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "s3cret"  # noqa: S105 - of these tests
WINDOW = 2
# Figures that are greater than zero under the load below. The others are zero on a sound host.
BUSY = {
    "Accepts by lane (native listener)",
    "Batches",
    "CPU",
    "Callbacks",
    "Connections (native listener)",
    "Failed attempts by cause",
    "Hosts up",
    "Ids",
    "Ids per second",
    "Ids to Redis",
    "Live hosts",
    "New and duplicate ids",
    "Redis",
    "Rejected",
    "Rejections",
    "Resident memory",
    "Spool of the archive",
    "Versions",
    "Windows of the archive",
}


class Scraped(NamedTuple):
    """A cluster, its Redis and the Prometheus that scrapes its hosts."""

    prometheus: Prometheus
    hosts: list[Service]
    redis: RedisServer
    receiver: Receiver

    def load(self) -> None:
        """Send new ids, duplicates, a batch, rejected ids and callbacks to each host."""
        endpoint = quote(self.receiver.url("/hook"))
        for host in self.hosts:
            for id in range(20):
                host.get(f"{ACCEPT}?id={id}")
            host.get(f"{ACCEPT}?id=x")
            host.post(json=[1, 2, 1_000])
            host.get(f"{ACCEPT}?id=7&endpoint={endpoint}")

    def wait(self, met: Callable[[], bool], what: str) -> None:
        """Send load until `met` is true."""

        def is_met() -> bool:
            self.load()
            return met()

        self.hosts[0].wait_until(is_met, 150, what)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Two hosts that count as one, one under each server, and Prometheus with the rules."""
    text = rules_text()
    if not FULL:
        # An alert waits for as long as a test should take.
        text, count = re.subn(r"^( +for:) \w+$", r"\1 1s", text, flags=re.MULTILINE)
        assert count > 10
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tmp_path_factory.mktemp("redis")))
        # Some posts are refused for good, too few for the receiver to count as broken.
        behaviours = [answer(200), answer(200), answer(200), answer(404)] * 500
        receiver = stack.enter_context(Receiver(*behaviours))
        environment = {
            "VERVE_ADMIN_TOKEN": TOKEN,
            "VERVE_REDIS_URL": redis.url,
            "VERVE_CLUSTER": "monitored",
            "VERVE_CALLBACKS": "listed",
            "VERVE_CALLBACK_ALLOW": "127.0.0.1",
            "VERVE_ARCHIVE": str(tmp_path_factory.mktemp("archive")),
        }
        hosts = [
            Service(tmp_path_factory.mktemp("host"), server, window=WINDOW, environment=environment)
            for server in (Server.VERVE, Server.NATIVE)
        ]
        for host in hosts:
            stack.enter_context(host)
        targets = [f"127.0.0.1:{host.port}" for host in hosts]
        prometheus = stack.enter_context(
            Prometheus(
                tmp_path_factory.mktemp("data") / "prometheus", *targets, token=TOKEN, rules=text
            )
        )
        yield Scraped(prometheus, hosts, redis, receiver)


@pytest.mark.timeout(300)
def test_every_panel_and_every_rule_has_data(scraped: Scraped) -> None:
    prometheus = scraped.prometheus
    # Each query with whether its value must be greater than zero.
    wanted = {query.filled: query.panel in BUSY for query in queries()}
    for rule in rules():
        text = rule.get("record") or without_threshold(rule["expr"])
        if rule.get("alert") == "VerveAbsent":
            text = text.removeprefix("absent(").removesuffix(")")
        wanted[text] = False

    def have_data() -> bool:
        for text, greater in list(wanted.items()):
            values = [value for _, value in prometheus.series(text)]
            if any(map(math.isfinite, values)) and (not greater or any(v > 0 for v in values)):
                del wanted[text]
        return not wanted

    try:
        scraped.wait(have_data, "filled")
    except AssertionError as error:
        raise AssertionError(f"no data: {sorted(wanted)}") from error
    # Both hosts are in each of these.
    for name in ("up", "verve_redis_up == 1", "verve_cluster_hosts == 2"):
        assert len(prometheus.series(name)) == 2, name
    assert {query.panel for query in queries()} >= BUSY


@pytest.mark.timeout(300)
def test_an_alert_fires_and_ends(scraped: Scraped) -> None:
    """Redis is stopped, for long enough, and comes back."""
    prometheus, hosts = scraped.prometheus, scraped.hosts

    def away() -> set[str]:
        return {
            alert["labels"]["instance"]
            for alert in prometheus.alerts()
            if alert["labels"]["alertname"] == "VerveRedisAway"
        }

    hosts[0].wait_until(lambda: len(prometheus.series("verve_redis_up == 1")) == 2, 60, "joined")
    assert away() == set()
    scraped.redis.kill()
    try:
        both = {f"127.0.0.1:{host.port}" for host in hosts}
        scraped.wait(lambda: away() == both, "an alert")
        (rule,) = [one for one in alerts() if one["alert"] == "VerveRedisAway"]
        for alert in prometheus.alerts():
            if alert["labels"]["alertname"] == "VerveRedisAway":
                told = alert["annotations"]
                assert told["summary"] == f"{alert['labels']['instance']} does not reach Redis"
                assert told["runbook_url"] == rule["annotations"]["runbook_url"]
                assert alert["labels"]["severity"] == "warning"
        # It names what an operator asks next.
        failing = prometheus.series('verve_redis_failing{trouble="unreachable"} == 1')
        assert len(failing) == 2
    finally:
        scraped.redis.start()
    scraped.wait(lambda: away() == set(), "the end of the alert")

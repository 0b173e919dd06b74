"""Callbacks send the count of all hosts; a host that joins a cluster continues its minute."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.callbacks.receivers import Receiver
from tests.support.cluster.hosts import Cluster, final
from tests.support.redis.server import RedisServer
from tests.support.service import ACCEPT, Server, Service
from tests.support.timing import sleep_clear_of_boundary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LONG = 30
"""Seconds of a window in which a host may be stopped and started."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def accept(host: Service, id: int, endpoint: str | None = None) -> int:
    """Have an id accepted; the start of the window that it was placed in."""
    also = "" if endpoint is None else f"&endpoint={quote(endpoint, safe='')}"
    answer = host.get(f"{ACCEPT}?id={id}&verdict=1{also}")
    assert answer.text == "ok", answer.headers
    return int(answer.headers["verve-window"])


@pytest.mark.timeout(120)
def test_a_callback_tells_what_all_hosts_counted(redis: RedisServer, tmp_path: Path) -> None:
    environment = {"VERVE_CALLBACKS": "public", "VERVE_CALLBACK_ALLOW": "127.0.0.1"}
    with (
        Receiver() as receiver,
        Cluster(tmp_path, redis.url, hosts=2, window=LONG, environment=environment) as cluster,
    ):
        first, second = cluster.hosts
        sleep_clear_of_boundary(LONG, 15)
        placed = {accept(first, id) for id in range(1, 6)}
        placed |= {accept(second, id) for id in range(4, 9)}
        assert len(placed) == 1
        for host in cluster.hosts:
            host.wait_until(
                lambda host=host: host.get("/api/verve/current").json()["unique"] == 8,  # type: ignore[misc]
                5,
                "the count of both hosts",
            )
        # A duplicate on either host; neither has more than five ids itself.
        for number, (host, id) in enumerate(((first, 1), (second, 8)), 1):
            assert accept(host, id, receiver.url()) in placed
            receiver.wait_for(number)
        assert [post.count for post in receiver.posts] == [8, 8]
        redis.kill()
        assert accept(second, 8, receiver.url()) in placed
        receiver.wait_for(3)
        # The count from before the outage still holds.
        assert receiver.posts[2].count == 8


def successor(directory: Path, before: Service, environment: Mapping[str, str]) -> Service:
    """A service on the state and the segment of one that was stopped."""
    return Service(
        directory,
        Server.VERVE,
        workers=2,
        window=LONG,
        segment=before.segment,
        environment=environment,
    )


@pytest.mark.timeout(300)
def test_a_host_that_joins_goes_on_with_its_minute(redis: RedisServer, tmp_path: Path) -> None:
    shared = {"VERVE_REDIS_URL": redis.url, "VERVE_CLUSTER": "shop"}
    one, two = tmp_path / "one", tmp_path / "two"
    other = Service(two, Server.VERVE, workers=2, window=LONG, environment=shared)
    with other, Service(one, Server.VERVE, workers=2, window=LONG) as alone:
        sleep_clear_of_boundary(LONG, 25)
        placed = {accept(alone, id) for id in (1, 2, 3)}
        alone.stop()
        with successor(one, alone, shared) as joined:
            placed |= {accept(joined, id) for id in (3, 4)} | {accept(other, id) for id in (4, 5)}
            (window,) = placed
            current = joined.get("/api/verve/current").json()
            assert (current["host_unique"], current["duplicates"]) == (4, 1)

            def agree() -> bool:
                found = [final(host, window).get(window) for host in (joined, other)]
                return all(one is not None and not one.degraded for one in found)

            joined.wait_until(agree, LONG + 20, "the record of both")
            assert {final(host, window)[window].unique for host in (joined, other)} == {5}
            (retired,) = joined.events("segment.retired")
            assert retired["cluster"] == ""
            # It was one minute all along, so it is published once, with the count of all hosts.
            told = [m for m in joined.minutes() if m.window_start == window]
            assert (told[-1].unique, told[-1].fields["host_unique"]) == (5, 4)
            revisions = [m.fields["revision"] for m in told]
            assert min(revisions) == 1
            assert revisions == sorted(set(revisions))
            joined.stop()

        # It leaves the cluster again while Redis is away.
        redis.kill()
        other.kill()
        with successor(one, alone, {}) as left:
            window = accept(left, 7)
            assert left.wait_minute(window, LONG + 10).unique >= 1

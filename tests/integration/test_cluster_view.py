"""How hosts of a cluster show how they do: readiness, metrics, current count, `verve check`."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.cluster.hosts import Cluster
from tests.support.network.ports import free_port
from tests.support.redis.server import RedisServer
from tests.support.service import ACCEPT
from verve.cluster.redis_state.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import Service

WINDOW = 2


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def part(host: Service) -> dict[str, Any]:
    """The part of `/readyz?verbose` on Redis."""
    found: dict[str, Any] = host.get("/readyz?verbose").json()["parts"]["redis"]
    return found


def check(host: Service, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """`verve check --cluster --json`: exit status, output, warnings."""
    done = host.command("check", "--cluster", "--json", *arguments)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.timeout(240)
def test_a_cluster_shows_how_it_does(redis: RedisServer, tmp_path: Path) -> None:
    with Cluster(tmp_path, redis.url, hosts=2, window=WINDOW) as cluster:
        first, second = cluster.hosts
        assert part(first)["state"] == "ok"

        def whole() -> bool:
            return [host.metrics()["verve_cluster_hosts"] for host in cluster.hosts] == [2, 2]

        first.wait_until(whole, 10, "known to each other")
        found = second.metrics()
        assert found["verve_redis_up"] == 1
        assert abs(found["verve_cluster_skew_seconds"]) < 1
        assert found["verve_cluster_unsent_windows"] <= 1
        _count_together(first, second)
        _look_from_outside(cluster)

        redis.pause()
        first.wait_until(lambda: part(first)["state"] == "degraded", 10, "degraded")
        ready = first.get("/readyz")
        assert (ready.status_code, ready.text) == (200, "ready, degraded: redis away")
        told = part(first)
        assert (told["detail"], told["trouble"]) == ("redis away", "timeout")
        assert f":{redis.port}" in told["last_error"]
        assert first.metrics()["verve_redis_up"] == 0
        assert first.metrics()['verve_redis_failing{trouble="timeout"}'] == 1
        assert first.get(f"{ACCEPT}?id=-1").text == "ok"
        time.sleep(WINDOW + 0.2)
        running = first.get("/api/verve/current").json()
        assert running["cluster_age_seconds"] is None
        done = first.command("check")
        assert done.returncode == 1
        assert "FAIL redis    away, " in done.stdout
        redis.resume()
        first.wait_until(lambda: part(first)["state"] == "ok", 20, "ready as before")
        first.wait_until(lambda: first.command("check").returncode == 0, 20, "in order")


def _count_together(first: Service, second: Service) -> None:
    """Ids of both hosts in one window, seen by both while it runs."""

    def counted() -> bool:
        ids = [first.get(f"{ACCEPT}?id={n}").text for n in range(10)]
        ids += [second.get(f"{ACCEPT}?id={n}").text for n in range(5, 15)]
        assert set(ids) == {"ok"}
        time.sleep(0.7)
        seen = [host.get("/api/verve/current").json() for host in (first, second)]
        # Not if the window has changed in between.
        return all(
            one["unique"] == 15
            and one["host_unique"] == 10
            and one["cluster_age_seconds"] <= WINDOW
            for one in seen
        )

    first.wait_until(counted, 60, "counted together")


def _look_from_outside(cluster: Cluster) -> None:
    first, second = cluster.hosts

    def in_order() -> bool:
        code, found, warned = check(first)
        # Windows of the time when the first host had not met the second are not complete.
        return code == 0 and not warned and len(found["windows"]) >= 3

    first.wait_until(in_order, 40, "in order")
    _, found, _ = check(second)
    assert found["cluster"] == "test"
    assert len({host["host_id"] for host in found["hosts"]}) == 2
    assert all(host["alive"] and host["heartbeat_age"] < 5 for host in found["hosts"])
    (living, _) = (host["host_id"] for host in found["hosts"])
    done = second.command("check", "--cluster", "--forget", living)
    assert done.returncode == 1
    assert f"the host is alive: `{living}`" in done.stderr


@pytest.mark.timeout(120)
def test_a_host_that_dies_is_reported_and_forgotten(redis: RedisServer, tmp_path: Path) -> None:
    with Cluster(tmp_path, redis.url, hosts=2, workers=1, window=WINDOW) as cluster:
        first, second = cluster.hosts
        first.wait_until(lambda: len(check(first)[1]["hosts"]) == 2, 30, "two")
        second.kill()

        def silent() -> str | None:
            code, found, warned = check(first)
            dead = [host["host_id"] for host in found["hosts"] if host["heartbeat_age"] > 10]
            return (
                dead[0] if code == 1 and dead and f"({dead[0]}) has been silent" in warned else None
            )

        dead = first.wait_until(silent, 60, "silent")
        done = first.command("check", "--cluster", "--forget", dead)
        assert (done.returncode, done.stdout) == (0, f"forgot {dead}\n")
        assert dead not in {host["host_id"] for host in check(first)[1]["hosts"]}


@pytest.mark.timeout(120)
def test_a_host_of_another_protocol_is_refused(redis: RedisServer, tmp_path: Path) -> None:
    key, other = Keys("test", WINDOW).hosts, "f" * 16
    # It seems to live for an hour.
    redis.command("HSET", key, other, f"{int((time.time() + 3_600) * 1_000)} 99 what it says")
    cluster = Cluster(tmp_path, redis.url, hosts=1, workers=1, window=WINDOW)
    (host,) = cluster.hosts
    try:
        host.start(ready=False)

        def refused() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return "refused" in host.get("/readyz").text
            return False

        host.wait_until(refused, 20, "refused")
        answer = host.get("/readyz")
        assert answer.status_code == 503
        assert answer.text == "not ready: refused by the cluster: hosts speak another protocol"
        assert other in part(host)["last_error"]
        redis.command("HDEL", key, other)
        host.wait_ready()
        assert part(host)["state"] == "ok"
    finally:
        cluster.close()


def test_a_host_that_never_had_the_time_does_not_start(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, f"redis://127.0.0.1:{free_port()}", hosts=1, window=WINDOW)
    (host,) = cluster.hosts
    try:
        assert host.start(ready=False).wait_end(30) == 1
        assert host.output().count("this host never had the time of its cluster") == 1
    finally:
        cluster.close()

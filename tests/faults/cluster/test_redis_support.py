"""The helpers of the cluster tests: faults of Redis happen, and are noticed."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.redis.server import (
    Connection,
    FaultProxy,
    Monitor,
    RedisCluster,
    RedisError,
    RedisServer,
    Sentinels,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as one:
        yield one


def client(port: int, name: str | None = "verve", **options: Any) -> redis.Redis:  # noqa: ANN401
    never = Retry(NoBackoff(), 0)
    return redis.Redis(port=port, client_name=name, retry=never, **{"socket_timeout": 5, **options})


def test_a_server_comes_back_empty_on_its_port(server: RedisServer) -> None:
    for end in (server.kill, server.stop):
        server.command("SET", "a", 1)
        before = server.info("run_id")
        end()
        with pytest.raises(OSError, match="refused"):
            server.command("PING")
        server.start()
        assert server.command("DBSIZE") == 0
        assert server.info("run_id") != before
    # Neither its files nor those of a cluster's node: nothing is on a disk.
    assert [path.name for path in server.directory.iterdir()] == ["log"]


def test_a_stopped_server_takes_connections_and_answers_nothing(server: RedisServer) -> None:
    with client(server.port, socket_timeout=1.5) as one:
        assert one.ping()
        server.pause()
        for _ in range(2):
            with pytest.raises(redis.TimeoutError):
                one.ping()
        socket.create_connection(("127.0.0.1", server.port), 0.3).close()
        server.resume()
        assert one.ping()


@pytest.mark.parametrize("name", ["verve", None])
@pytest.mark.parametrize("in_script", [False, True])
def test_the_monitor_finds_what_is_forbidden(
    server: RedisServer, name: str | None, in_script: bool
) -> None:
    with Monitor(server) as monitor, client(server.port, name) as one, client(server.port) as other:
        other.set("a", 1)
        server.command("FLUSHALL")
        with Connection(server.port) as connection:
            assert connection.command("KEYS", "*") == []
        monitor.assert_no_forbidden()
        server.kill()
        server.start()
        assert monitor.commands["SET"] == 1
        wait_until(
            lambda: (other.set("a", 1) and monitor.commands["SET"] > 1) or None, "heard again"
        )
        monitor.assert_no_forbidden()
        server.command("ACL", "SETUSER", "default", "+keys")
        if in_script:
            one.eval("return redis.call('KEYS', '*')", 0)
        else:
            one.keys("*")
        assert monitor.commands["KEYS"] == 1
        with pytest.raises(AssertionError, match="must not use"):
            monitor.assert_no_forbidden()


@pytest.mark.parametrize("in_script", [False, True])
def test_a_server_refuses_what_is_forbidden_and_tells_at_the_end(
    tmp_path: Path, in_script: bool
) -> None:
    server = RedisServer(tmp_path / "redis").start()
    words = ("EVAL", "return redis.call('SCAN', 0)", 0) if in_script else ("SCAN", 0)
    with client(server.port) as one, pytest.raises(redis.RedisError, match="run"):
        one.execute_command(*words)
    with pytest.raises(RedisError, match="must not use SCAN"):
        server.stop()
    assert not server.runs


def test_a_monitor_that_saw_nothing_says_so(server: RedisServer) -> None:
    with Monitor(server) as monitor:
        server.command("SET", "a", 1)
        with pytest.raises(AssertionError, match="too little"):
            monitor.assert_no_forbidden()


def test_the_monitor_hears_all_nodes_of_a_cluster(tmp_path: Path) -> None:
    with RedisCluster(tmp_path, replicas=True) as cluster, Monitor(cluster) as monitor:
        port = cluster.nodes[0].port
        with redis.RedisCluster("127.0.0.1", port, client_name="verve") as one:
            for number in range(30):
                one.set(f"key-{number}", number)
        cluster.command("FLUSHALL")
        # Each once, though the replicas execute it too.
        assert monitor.commands["SET"] == 30
        monitor.assert_no_forbidden()
        assert len({command.port for command in monitor.seen if command.name == "SET"}) == 3


def test_replies_that_are_lost_are_to_what_was_done(server: RedisServer) -> None:
    with FaultProxy(server.port) as proxy, client(proxy.port) as one:
        one.set("a", 1)
        proxy.lose = 1.0
        with pytest.raises(redis.ConnectionError):
            one.set("a", 2)
        assert server.command("GET", "a") == b"2"
        assert proxy.lost == 1
        proxy.lose = 0.0
        began = time.monotonic()
        proxy.delay = 0.3
        assert one.get("a") == b"2"
        assert time.monotonic() - began >= 0.3
        proxy.delay = 0.0
        with ThreadPoolExecutor() as pool:
            cut = pool.submit(proxy.cut_replies, 2.0)
            wait_until(lambda: proxy._cuts.is_set() or None, "replies that are cut")
            with pytest.raises(redis.ConnectionError):
                one.set("a", 3)
            cut.result()
        assert proxy.lost == 2
        assert one.get("a") == b"3"


def test_a_proxy_to_a_server_that_is_away_ends_connections(server: RedisServer) -> None:
    with FaultProxy(server.port) as proxy, client(proxy.port) as one:
        server.kill()
        for _ in range(3):
            with pytest.raises(redis.ConnectionError):
                one.ping()
        server.start()
        assert one.ping()


def test_a_failover_loses_what_the_replica_was_kept_from(tmp_path: Path) -> None:
    with Sentinels(tmp_path) as sentinels:
        master, replica = sentinels.master, sentinels.replica
        master.command("SET", "before", 1)
        assert master.command("WAIT", 1, 5_000) == 1
        sentinels.hold_replica()
        master.command("SET", "after", 1)
        time.sleep(0.7)
        sentinels.kill_master()
        sentinels.release_replica()
        sentinels.wait_failover()
        assert replica.command("GET", "before") == b"1"
        assert replica.command("GET", "after") is None


def test_a_failover_by_hand_demotes_the_master(tmp_path: Path) -> None:
    with Sentinels(tmp_path) as sentinels:
        sentinels.master.command("SET", "before", 1)
        sentinels.fail_over()
        assert sentinels.replica.command("GET", "before") == b"1"
        wait_until(lambda: sentinels.master.info("role") == "slave" or None, "demoted")
        with pytest.raises(RedisError, match="READONLY"):
            sentinels.master.command("SET", "after", 1)

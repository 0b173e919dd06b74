"""One service and one Redis of each kind, shared by tests that do not change their state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cluster.store_use import Redis, Use
from tests.support.redis.server import PATIENT_MS, RedisCluster, RedisServer, Sentinels
from tests.support.service import Server, Service
from verve.stores import client, connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Every way to serve the application, with its options for `Service`.
KINDS: dict[str, tuple[Server, dict[str, Any]]] = {
    "fast path": (Server.GRANIAN, {}),
    "fast path, rust tasks": (Server.GRANIAN, {"arguments": ["--task-impl", "rust"]}),
    "fast path, asyncio loop": (Server.GRANIAN, {"arguments": ["--loop", "asyncio"]}),
    "plain RSGI": (Server.GRANIAN, {"fast_path": False}),
    "plain RSGI, access log": (Server.GRANIAN, {"arguments": ["--access-log"]}),
    "ASGI, Granian": (Server.GRANIAN_ASGI, {}),
    "ASGI, uvicorn": (Server.UVICORN, {"arguments": ["--http", "httptools"]}),
    "ASGI, uvicorn with h11": (Server.UVICORN, {"arguments": ["--http", "h11"]}),
    "verve serve": (Server.VERVE, {}),
    "native": (Server.NATIVE, {}),
}
MAX_BODY = 65_536


@pytest.fixture(scope="session", params=KINDS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with windows of an hour and batches of at most `MAX_BODY` bytes."""
    server, options = KINDS[request.param]
    directory = tmp_path_factory.mktemp("service")
    environment = {"VERVE_MAX_BODY": str(MAX_BODY)}
    with Service(directory, server, window=3600, environment=environment, **options) as service:
        yield service


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A single Redis server."""
    with RedisServer(tmp_path_factory.mktemp("single")) as server:
        yield server


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Redis Cluster."""
    with RedisCluster(tmp_path_factory.mktemp("masters"), patience_ms=PATIENT_MS) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """A Redis server watched by sentinels."""
    with Sentinels(tmp_path_factory.mktemp("watched"), patience_ms=PATIENT_MS) as sentinels:
        yield sentinels


@pytest.fixture(
    params=["sets-single", "sets-masters", "sets-watched", "keys-single", "keys-masters"]
)
def redis(request: pytest.FixtureRequest) -> Redis:
    """Redis in each topology, with each strategy."""
    strategy, _, form = request.param.partition("-")
    place = request.getfixturevalue(form)
    return Redis(place.url, strategy, place)


@pytest.fixture
def use(redis: Redis, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch) -> Use:
    """The store over Redis, in a cluster of hosts of this test alone.

    Its tests judge answers, not times: beside load, a call over six servers may take seconds.
    """
    monkeypatch.setattr(client, "CALL_SECONDS", 30.0)
    monkeypatch.setattr(connection, "TIMEOUT", 15.0)
    return redis.use(tmp_path, cluster)

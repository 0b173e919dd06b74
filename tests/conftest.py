"""Fixtures that start services, Redis, Kafka and load; the counts of short and full runs."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import pytest

from tests.support.caller import FULL
from tests.support.kafka.broker import Broker, missing
from tests.support.load import Load, find_binary
from tests.support.redis.server import RedisServer
from tests.support.service import Server, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# A busy machine must not make a test fail.
hypothesis.settings.register_profile("verve", deadline=None)
hypothesis.settings.load_profile("verve")


class Serve(Protocol):
    """Starts a service that ends with the test."""

    def __call__(self, server: Server = ..., *, start: bool = ..., **options: Any) -> Service:  # noqa: ANN401
        """`options` go to `Service`; with `start=False` the test starts it."""


class StartLoad(Protocol):
    """Starts load on a service that ends with the test."""

    def __call__(self, service: Service, *arguments: str, port: int | None = None) -> Load:
        """`arguments` go to `verve-load`; `port` is the port of a proxy in front of the service."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests marked `full`, except in full runs."""
    left_out = [item for item in items if not FULL and item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def scale() -> Callable[[int], int]:
    """The number of repetitions: `count` with `VERVE_FULL=1`, else a tenth, at least 1."""
    return lambda count: count if FULL else max(1, count // 10)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start services with `serve(workers=4, window=2)`. A failed test shows their output."""
    services: list[Service] = []
    numbers = itertools.count()

    def begin(
        server: Server = Server.GRANIAN,
        *,
        start: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> Service:
        service = Service(tmp_path / f"service-{next(numbers)}", server, **options)
        services.append(service)
        return service.start() if start else service

    yield begin
    for service in services:
        service.close()
        sys.stdout.write(f"{service.server} on {service.port}:\n{service.output()[-8_000:]}")


@pytest.fixture(scope="session")
def load_binary() -> Path:
    """The path of the load generator, which is built first if it is missing."""
    return find_binary()


@pytest.fixture(scope="session")
def kafka() -> None:
    """Require that Kafka can run here. Without Java the test is skipped; in CI it fails."""
    if why := missing():
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture(scope="session")
def broker(kafka: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:  # noqa: ARG001
    """A broker that the tests of a lane share; each test uses its own topic."""
    with Broker(tmp_path_factory.mktemp("kafka")) as one:
        yield one


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server that the tests of a lane share; each test uses its own cluster."""
    one = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield one
    one.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server of one test, which may stop and start it."""
    one = RedisServer(tmp_path).start()
    yield one
    one.stop()


@pytest.fixture
def cluster() -> str:
    """A cluster name that no other test uses."""
    return f"cluster-{os.urandom(6).hex()}"


@pytest.fixture
def start_load(load_binary: Path, tmp_path: Path) -> Iterator[StartLoad]:
    """Start load with `start_load(service, "--ids", "uniform:1000")`."""
    with contextlib.ExitStack() as loads:
        numbers = itertools.count()

        def begin(service: Service, *arguments: str, port: int | None = None) -> Load:
            out = tmp_path / f"load-{next(numbers)}"
            return loads.enter_context(Load(load_binary, service, out, *arguments, port=port))

        yield begin

"""Fixtures that start services, and how much of a test is run."""

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


# A machine that is busy must not fail a test.
hypothesis.settings.register_profile("verve", deadline=None)
hypothesis.settings.load_profile("verve")


class Serve(Protocol):
    """Starts a service that ends with the test."""

    def __call__(self, server: Server = ..., *, start: bool = ..., **options: Any) -> Service:  # noqa: ANN401
        """`options` are those of `Service`; `start=False` leaves it to the test to start it."""


class StartLoad(Protocol):
    """Starts load on a service that ends with the test."""

    def __call__(self, service: Service, *arguments: str, port: int | None = None) -> Load:
        """`arguments` are those of `verve-load`; `port` is that of a proxy before the service."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests marked `full` to full runs."""
    left_out = [item for item in items if not FULL and item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def scale() -> Callable[[int], int]:
    """What a full run does `count` times: `count` with `VERVE_FULL=1`, else a tenth of it."""
    return lambda count: count if FULL else max(1, count // 10)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start services by `serve(workers=4, window=2)`; their output is shown when a test fails."""
    services: list[Service] = []
    numbers = itertools.count()

    def begin(  # the options of `Service`, passed on
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
    """The load generator, built if need be."""
    return find_binary()


@pytest.fixture(scope="session")
def kafka() -> None:
    """Kafka can be run here. Without Java the tests that need it are left out, but not in CI."""
    if why := missing():
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture(scope="session")
def broker(kafka: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:  # noqa: ARG001
    """A broker that all tests share; each has a topic of its own."""
    with Broker(tmp_path_factory.mktemp("kafka")) as one:
        yield one


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that many tests share; each has a cluster of its own."""
    one = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield one
    one.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of a test's own, to be stopped and started."""
    one = RedisServer(tmp_path).start()
    yield one
    one.stop()


@pytest.fixture
def cluster() -> str:
    """The name of a cluster that nobody else has."""
    return f"cluster-{os.urandom(6).hex()}"


@pytest.fixture
def start_load(load_binary: Path, tmp_path: Path) -> Iterator[StartLoad]:
    """Start load by `start_load(service, "--ids", "uniform:1000")`."""
    with contextlib.ExitStack() as loads:
        numbers = itertools.count()

        def begin(service: Service, *arguments: str, port: int | None = None) -> Load:
            out = tmp_path / f"load-{next(numbers)}"
            return loads.enter_context(Load(load_binary, service, out, *arguments, port=port))

        yield begin

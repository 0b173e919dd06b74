"""The comparison of `bench/accuracy` with real services, in short: the judge finds no error."""

from __future__ import annotations

import math
import shutil
import time

import pytest

from bench.accuracy import stores
from bench.accuracy.cases import STATSD_LEAD, Case, run
from bench.accuracy.contenders import CONTENDERS
from bench.harness import server_process
from tests.support.network.ports import free_port

SHORT = Case("short", "across a boundary", window=2, begin=3.0, seconds=2.0, rate=200)


@pytest.fixture(autouse=True)
def _own_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    # The benchmark takes any port that is free now; beside other tests it may be taken a moment
    # later.
    for module in (server_process, stores):
        monkeypatch.setattr(module, "free_port", free_port)


def check(name: str) -> None:
    contender = next(one for one in CONTENDERS if one.name == name)
    contender.prepare()
    boundary = math.ceil((time.time() + 2 * STATSD_LEAD) / SHORT.window) * SHORT.window
    found = run(SHORT, contender, boundary)
    assert found["requests"] == 400
    assert found["refused"] == 0
    assert sum(found["published"].values()) >= found["acknowledged"] > 200
    assert found["error"] == 0


def test_verve_is_exact() -> None:
    check("verve")


# It builds the Gin service.
@pytest.mark.full
@pytest.mark.skipif(not shutil.which("go"), reason="Go, which builds the Gin service, is missing")
def test_a_set_in_redis_is_exact() -> None:
    check("gin-sadd")

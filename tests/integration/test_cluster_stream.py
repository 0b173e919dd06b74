"""The event stream of a host in a cluster, when another host sends its ids late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.hosts import Cluster
from tests.support.http.events import PATH, Events
from tests.support.redis.proxy import FaultProxy
from tests.support.redis.server import RedisServer
from tests.support.service import ACCEPT, Server
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Service

COMMON, OF_FIRST, OF_LATE = 7, 1, 2


def _send(host: Service, id: int) -> int:
    """Send an id; return the start of the window that counted it."""
    answer = host.get(f"{ACCEPT}?id={id}&verdict=1")
    assert answer.text == "ok"
    return int(answer.headers["verve-window"])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [Server.VERVE, Server.NATIVE])
def test_ids_of_a_late_host_are_a_revision(tmp_path: Path, kind: Server) -> None:
    with RedisServer(tmp_path / "redis") as redis, FaultProxy(redis.port) as proxy:
        each = [{}, {"VERVE_REDIS_URL": proxy.url}]
        with Cluster(
            tmp_path, redis.url, hosts=2, workers=1, window=2, server=kind, each=each
        ) as cluster:
            first, late = cluster.hosts
            with Events(first.url(PATH)) as stream:
                stream.wait("figures", lambda one: one.data["cluster"]["live_hosts"] == 2)
                proxy.go_away()
                # Both hosts count the same window; the ids of earlier ones do not matter.
                while True:
                    starts = {_send(late, COMMON), _send(late, OF_LATE)}
                    starts |= {_send(first, COMMON), _send(first, OF_FIRST)}
                    if len(starts) == 1:
                        break
                start = rfc3339(starts.pop())

                def is_of_window(name: str, unique: int) -> dict[str, object]:
                    return stream.wait(
                        name,
                        lambda one: (
                            one.data["window_start"] == start and one.data["unique"] == unique
                        ),
                    ).data

                window = is_of_window("window", 2)
                assert window["degraded"] is True
                proxy.come_back()
                revision = is_of_window("revision", 3)
            assert revision["degraded"] is False
            assert isinstance(window["revision"], int)
            assert isinstance(revision["revision"], int)
            assert revision["revision"] > window["revision"]
            assert revision["host_unique"] == window["host_unique"] == 2
            # It is what the history has by now, and both hosts agree.
            for host in cluster.hosts:

                def has_it(host: Service = host) -> bool:
                    found = {one["window_start"]: one for one in host.windows()}
                    return start in found and found[start]["unique"] == 3

                host.wait_until(has_it, 30, "aware of the revision")

"""The archive of a cluster: each host writes its own files, and names the hosts and their count."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.support.cluster.hosts import Cluster
from tests.support.witnesses import moment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartLoad
    from tests.support.redis.server import RedisServer
    from tests.support.service import Service


def entries(root: Path) -> dict[int, list[dict[str, Any]]]:
    """The entries of all hosts by window, each with the ids of its file and its segment."""
    found = defaultdict(list)
    for path in root.rglob("manifest-*.json"):
        manifest = json.loads(path.read_bytes())
        for entry in manifest["windows"]:
            ids: set[int] = set()
            if entry["file"]:
                column = pq.read_table(path.parent / entry["file"], partitioning=None)["id"]
                ids = set(column.to_pylist())
            known = entry | {"ids": ids, "segment": manifest["segment"]}
            found[moment(entry["start"])].append(known)
    return found


def has_counted(host: Service) -> bool:
    """Whether three windows with ids are closed."""
    return sum(minute.unique > 0 for minute in host.minutes()) >= 3


@pytest.mark.timeout(300)
def test_the_union_of_the_hosts_is_the_count_of_the_cluster(
    tmp_path: Path, server: RedisServer, start_load: StartLoad
) -> None:
    root = tmp_path / "ids"
    environment = {"VERVE_ARCHIVE": str(root), "VERVE_ARCHIVE_RESERVE": "0"}
    with Cluster(tmp_path, server.url, hosts=2, window=2, environment=environment) as cluster:
        loads = [
            start_load(host, "--connections", "4", "--ids", f"uniform:{3_000 + 500 * number}")
            for number, host in enumerate(cluster.hosts)
        ]
        first = cluster.hosts[0]
        for host in cluster.hosts:
            host.wait_until(partial(has_counted, host), 90, "three windows")
        sent = [load.stop().records for load in loads]
        last = max(one.windows()[-1] for one in sent)
        published = cluster.settled(last)

        def final() -> bool:
            known = entries(root).get(last, [])
            return len(known) == 2 and all(entry["final"] for entry in known)

        first.wait_until(final, 90, "final in the archive")
        placed: dict[int, set[int]] = defaultdict(set)
        for one in sent:
            for start, ids in one.placed().items():
                placed[start] |= set(map(int, ids))
        found = entries(root)
        checked = 0
        for start, expected in placed.items():
            known = found[start]
            assert set().union(*(entry["ids"] for entry in known)) == expected
            hosts = {entry["segment"] for entry in known}
            for entry in known:
                assert entry["final"]
                assert set(entry["hosts"]) >= hosts
                assert entry["cluster_count"] == published[start].unique == len(expected)
                checked += 1
        assert checked >= 4
        for host in cluster.hosts:
            assert not host.events("archive.dropped")
            assert host.metrics()['verve_arenas{state="sealed"}'] <= 8

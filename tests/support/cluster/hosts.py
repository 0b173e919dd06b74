"""Several hosts of one cluster on this machine, and the records that they published.

    with Cluster(tmp_path, redis.url, hosts=3, window=2) as cluster:
        loads = [start_load(host, ...) for host in cluster.hosts]
        ...
        final = cluster.settled(last)
        assert_counted(final, sent)

A host is a service with a state directory and a segment of its own.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tests.support.service import Server, Service
from tests.support.witnesses import ledger_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.records import Records


@dataclass(frozen=True, slots=True, order=True)
class Published:
    """One revision of a window, as a host has it. Revision 0 is that of the host alone."""

    window_start: int
    revision: int
    unique: int
    degraded: bool


class Cluster:
    """Hosts that share a Redis and the name of a cluster."""

    def __init__(  # noqa: PLR0913 - every one has a default but two
        self,
        directory: Path,
        url: str,
        *,
        hosts: int = 3,
        workers: int = 2,
        window: int = 2,
        server: Server = Server.VERVE,
        environment: Mapping[str, str] | None = None,
        each: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """`each`: the environment of each host, beside that of all."""
        self.window = window
        self.hosts = [
            Service(
                directory / f"host-{number}",
                server,
                workers=workers,
                window=window,
                environment={
                    "VERVE_REDIS_URL": url,
                    "VERVE_CLUSTER": "test",
                    **(environment or {}),
                    **(each[number] if each else {}),
                },
            )
            for number in range(hosts)
        ]

    def __enter__(self) -> Self:
        try:
            for host in self.hosts:
                host.start(ready=False)
            for host in self.hosts:
                host.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all hosts."""
        for host in self.hosts:
            host.close()

    def settled(self, last: int, timeout: float = 30) -> dict[int, Published]:
        """Wait until all hosts have the same final record of each window up to `last`."""
        end = time.monotonic() + timeout
        while True:
            finals = [final(host, last) for host in self.hosts]
            if agreed(finals, last):
                # A host that started later has none of the first window.
                return {start: one for found in finals for start, one in found.items()}
            if time.monotonic() > end:
                raise self.hosts[0].error(f"the hosts do not agree: {difference(finals)}")
            time.sleep(0.2)


def revisions(host: Service) -> list[Published]:
    """All that a host has logged, in the order of the log."""
    return [
        Published(m.window_start, m.fields["revision"], m.unique, m.fields["degraded"])
        for m in host.minutes()
    ]


def final(host: Service, last: int) -> dict[int, Published]:
    """The newest revision of each window in the ledger of a host, up to the one at `last`."""
    path = ledger_path(host)
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute(
                'SELECT window_start, revision, "unique", degraded FROM windows '
                "WHERE window_start <= ?",
                (last,),
            ).fetchall()
        except sqlite3.OperationalError:  # it is being made
            return {}
    return {row[0]: Published(row[0], row[1], row[2], bool(row[3])) for row in found}


def agreed(finals: Sequence[Mapping[int, Published]], last: int) -> bool:
    """Whether all have the window at `last`, and the same complete record of each window.

    A host has no record from before its first window.
    """
    for found in finals:
        if last not in found or any(one.degraded for one in found.values()):
            return False
    starts = set().union(*finals)
    return all(len({found[start] for found in finals if start in found}) == 1 for start in starts)


def difference(finals: Sequence[Mapping[int, Published]]) -> dict[int, list[Any]]:
    """The windows whose records differ, are missing or degraded, newest last."""
    starts = sorted(set().union(*finals))
    rows = {start: [found.get(start) for found in finals] for start in starts}
    return {
        start: row
        for start, row in rows.items()
        if len(set(row)) > 1 or any(one is None or one.degraded for one in row)
    }


def assert_counted(final: Mapping[int, Published], sent: Records) -> None:
    """The published count of each window is that of the ids that answers of any host placed in it.

    Where answers are missing, it lies between those and all that may have been counted.
    """
    placed = {start: ids.size for start, ids in sent.placed().items()}
    wrong = []
    for start, one in sorted(final.items()):
        least = placed.get(start, 0)
        most = sent.possible(start).size
        if not least <= one.unique <= most:
            wrong.append(f"{start}: {one.unique}, not {least} to {most}")
    assert not wrong, f"wrong counts: {wrong}"
    missing = placed.keys() - final.keys()
    assert not missing, f"windows without a record: {sorted(missing)}"


def assert_exactly_counted(final: Mapping[int, Published], sent: Records) -> None:
    """As `assert_counted`, where every request was answered: zero differences."""
    placed = {start: ids.size for start, ids in sent.placed().items()}
    counted = {start: one.unique for start, one in final.items() if start in placed}
    assert counted == placed
    assert all(one.unique == 0 for start, one in final.items() if start not in placed)


def assert_never_lowered(hosts: Sequence[Service]) -> None:
    """On each host revisions rise, counts do not fall; one revision has one count everywhere."""
    seen: dict[tuple[int, int], int] = {}
    for host in hosts:
        newest: dict[int, Published] = {}
        for one in revisions(host):
            before = newest.get(one.window_start)
            if before is not None and one.revision != before.revision:
                assert one.revision > before.revision, f"{before} is followed by {one}"
                # The others may go on without this host, whose own count has revision 0.
                if before.revision or not one.degraded:
                    assert one.unique >= before.unique, f"{before} is lowered by {one}"
            newest[one.window_start] = one
            if one.revision > 0:
                key = (one.window_start, one.revision)
                assert seen.setdefault(key, one.unique) == one.unique, f"two counts of {key}"


def assert_overlap(sent: Sequence[Records]) -> None:
    """The hosts had ids in common, and ids of their own: else a sum would do for a union."""
    sets = [np.unique(part.rows["id"]) for part in sent]
    common = np.intersect1d(sets[0], sets[1])
    assert common.size
    assert all(common.size < ids.size for ids in sets)

"""What the components of a rig published: ledgers, logs, Kafka."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

from tests.support.witnesses import ledger_path
from tests.torture.reference.judge import Record, judge_counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.torture.faults.rig import Host, Rig
    from tests.torture.reference.reference import Reference

SETTLE_SECONDS = 150.0


def in_ledger(host: Host, first: int, last: int) -> dict[int, Record]:
    """The newest record of each window in the ledger of a host."""
    with contextlib.suppress(sqlite3.OperationalError):
        uri = f"file:{ledger_path(host.service)}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=2)) as connection:
            found = connection.execute(
                'SELECT window_start, revision, "unique", degraded FROM windows '
                "WHERE window_start BETWEEN ? AND ?",
                (first, last),
            )
            return {row[0]: Record(row[0], row[1], row[2], bool(row[3])) for row in found}
    return {}


def settled(rig: Rig, reference: Reference, last: int) -> tuple[dict[int, Record], list[str]]:
    """The final records up to `last`, and how the hosts differ if they never come to agree.

    Waits for counts that are right, too: a host that came back may still owe ids, and with them a
    revision.
    """
    first = min(reference.windows(), default=last)
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        found = [in_ledger(host, first, last) for host in rig.hosts]
        differences = _differences(found, range(first, last + 1, rig.plan.window))
        union = {start: one for each in found for start, one in each.items()}
        is_right = not differences and not judge_counts(union, reference, last).problems
        if is_right or time.monotonic() > end:
            return union, differences
        time.sleep(0.2)


def _differences(found: Sequence[Mapping[int, Record]], starts: Sequence[int]) -> list[str]:
    rows = [[each.get(start) for each in found] for start in starts]
    return [
        f"the hosts differ, or have no complete record of {start}: {row}"
        for start, row in zip(starts, rows, strict=True)
        if len(set(row)) > 1 or row[0] is None or row[0].degraded
    ]


def in_log(host: Host, first: int, last: int) -> list[Record]:
    """What a host logged, in its order."""
    return [
        Record(
            one.window_start,
            one.fields.get("revision", 1),
            one.unique,
            one.fields.get("degraded", False),
        )
        for one in host.service.minutes()
        if first <= one.window_start <= last
    ]


def in_kafka(rig: Rig, final: Mapping[int, Record]) -> list[Record]:
    """What Kafka has of these windows, in its order, once it has the final ones."""
    assert rig.reader is not None
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        found = [
            Record(m.window_start, m.value["revision"], m.unique, m.value["degraded"])
            for m in list(rig.reader.messages)
            if m.window_start in final
        ]
        newest = {one.start: one.unique for one in sorted(found)}
        if newest == {start: one.unique for start, one in final.items()}:
            return found
        if time.monotonic() > end:
            return found
        time.sleep(0.2)

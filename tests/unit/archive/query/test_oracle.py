"""Counts of random spans against the sets of ids that hosts archived, on each kind of store."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.archive import places as archive
from verve.archive.format import id_file_writer
from verve.archive.format.levels import DAY, HOUR
from verve.archive.format.manifest import State, WindowEntry
from verve.archive.query import counting
from verve.archive.query.counting import Limits
from verve.archive.query.distinct import distinct
from verve.archive.query.span import By, Span, SpanError
from verve.archive.store import open_store
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.forgetting import forget
from verve.archive.upkeep.roll_up import Host
from verve.archive.upkeep.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from verve.archive.store import ArchiveStore

START = 1_796_083_200 - HOUR  # an hour before midnight
HOURS = 3
LENGTH = 600


@dataclass
class Truth:
    """What each host counted in each window, and what the archive cannot have."""

    ids: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    missing: set[tuple[str, int]] = field(default_factory=set)
    hosts: dict[int, set[str]] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)
    named: bool = True
    """Whether the windows name the hosts of the cluster."""

    def distinct(self, since: int, until: int) -> int:
        """The ids of a span."""
        found: set[int] = set()
        for (_, start), ids in self.ids.items():
            if since <= start < until:
                found |= ids
        return len(found - self.forgotten)

    def lacks(self, since: int, until: int) -> set[tuple[str, int]]:
        """The windows of a span that are not whole."""
        return {(host, start) for host, start in self.missing if since <= start < until}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with archive.s3(tmp_path_factory.mktemp("s3") / "log") as environment:
        yield environment


@pytest.fixture
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ArchiveStore:
    # So that a small archive has many row groups, and a count takes many ranges.
    monkeypatch.setattr(id_file_writer, "ROW_GROUP", 32)
    monkeypatch.setattr(counting, "LEAST_MEMORY", 8 * 1500)
    if request.param == "folder":
        return open_store(tmp_path / "ids")
    for name, value in request.getfixturevalue("bucket").items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{archive.BUCKET}/{tmp_path.name}")


def filled(store: ArchiveStore, scratch: Path, draw: random.Random, *, named: bool) -> Truth:
    """Archive random minutes of a cluster whose hosts come late, restart and lose windows."""
    truth = Truth(named=named)
    pool = [draw.randrange(-(2**63), 2**63) for _ in range(3000)]
    begins = {"one": 0, "two": draw.randrange(4), "late": draw.randrange(4, 10)}
    for number in range(HOURS * HOUR // LENGTH):
        start = START + number * LENGTH
        hosts = {host for host, begin in begins.items() if number >= begin}
        truth.hosts[start] = hosts
        # Without the names of a cluster, each host owes each window.
        truth.missing |= {(host, start) for host in begins if host not in hosts and not named}
        # A restart with a new segment divides a window; the ids of the earlier one may be gone.
        kinds = ["kept", "divided", "unobserved", "lost", "gap", *(["half"] if named else [])]
        weights = [30, 10, 1, 1, 1, 1]
        fates = {host: draw.choices(kinds, weights[: len(kinds)])[0] for host in sorted(hosts)}
        names = tuple(
            f"{host}{part}"
            for host, fate in fates.items()
            for part in range(2 if fate in {"divided", "half"} else 1)
        )
        cluster = names if named else None
        for host, fate in fates.items():
            if fate not in {"kept", "divided"}:
                truth.missing.add((host, start))
            if fate in {"lost", "gap"}:
                entry = WindowEntry(
                    start=start, length=LENGTH, state=State(fate), reason="a test", hosts=cluster
                )
                archive.put_entry(store, entry, host=host, cluster="web")
            if fate in {"unobserved", "lost", "gap"}:
                continue
            ids = set(draw.sample(pool, draw.choice([0, 5, 120])))
            truth.ids[host, start] = ids
            for part in {"kept": [0], "divided": [0, 1], "half": [1]}[fate]:
                archive.put_window(
                    store,
                    scratch,
                    start,
                    {id for id in ids if fate != "divided" or id % 2 == part},
                    host=host,
                    segment=f"{host}{part}",
                    length=LENGTH,
                    hosts=cluster,
                    cluster="web",
                )
    return truth


def check(store: ArchiveStore, truth: Truth, draw: random.Random, spans: int, step: int) -> None:
    """Compare random spans, divided in random ways."""
    count = HOURS * HOUR // step
    for _ in range(spans):
        first, last = sorted(draw.sample(range(count + 1), 2))
        span = Span(START + first * step, START + last * step)
        by = draw.choice([None, None, By.HOUR, By.DAY, By.MINUTE])
        if by is By.MINUTE and step != LENGTH:
            by = None
        answer = distinct(store, "web", span, by=by, limits=Limits(memory=0))
        for one in answer.buckets:
            assert one.distinct == truth.distinct(one.since, one.until), (span, by, one)
        lacks = truth.lacks(span.since, span.until)
        observed = {
            # A host without any record is named by its segment.
            ((one.host or "").rstrip("01"), start)
            for one in answer.missing
            for start in range(one.since, one.until, LENGTH)
        }
        # A host without any record in a span is not known there, unless the cluster names it.
        known = set(answer.hosts) | (set().union(*truth.hosts.values()) if truth.named else set())
        wanted = {pair for pair in lacks if pair[0] in known}
        assert observed == wanted, (span, by)
        assert answer.complete == (not wanted)
        assert sum(one.windows for one in answer.missing) == len(wanted)
        assert (answer.buckets[0].since, answer.buckets[-1].until) == (span.since, span.until)


@pytest.mark.parametrize(
    ("store", "named"),
    [
        ("folder", True),
        ("folder", False),
        ("s3", True),
        pytest.param("s3", False, marks=pytest.mark.full),
    ],
    indirect=["store"],
    ids=["folder, cluster", "folder, hosts", "s3, cluster", "s3, hosts"],
)
@pytest.mark.timeout(590)
def test_random_spans(
    store: ArchiveStore, tmp_path: Path, scale: Callable[[int], int], named: bool
) -> None:
    draw = random.Random(str(tmp_path.name))
    truth = filled(store, tmp_path, draw, named=named)
    spans = scale(100) if "S3" in repr(store) or "Object" in repr(store) else scale(1000) // 4
    check(store, truth, draw, spans, LENGTH)

    def upkeep(now: int, keep: Keep) -> tuple[str, ...]:
        work: tuple[str, ...] = ()
        for host in ("one", "two", "late"):
            owner = Host(cluster="web", host=host, segment=f"{host}0", scratch=tmp_path, memory=0)
            done = Upkeep(store, owner, keep).turn(now)
            work += done.rolled_up + done.deleted
        return work

    assert upkeep(START + DAY * 3, Keep())
    assert upkeep(START + DAY * 3, Keep()) == ()
    check(store, truth, draw, spans, LENGTH)
    for id in draw.sample(sorted(set().union(*truth.ids.values())), 2):
        gone = forget(store, "web", id, tmp_path)
        assert gone.rewritten
        truth.forgotten.add(id)
    check(store, truth, draw, spans // 3, LENGTH)
    assert upkeep(START + DAY * 3, Keep(minutes=DAY))
    assert not [one for one in store.list("cluster=web/level=minute/") if "60s" in one.name]
    check(store, truth, draw, spans // 3, LENGTH)
    assert upkeep(START + DAY * 3, Keep(minutes=DAY, hours=DAY))
    check(store, truth, draw, spans // 3, HOUR)
    with pytest.raises(SpanError, match="only a day file is left"):
        distinct(store, "web", Span(START + LENGTH, START + 2 * HOUR))

"""An object store that fails, hangs and loses replies, between writers, queries and a real server.

What reached the server is read without Verve's own code. A query answers from exactly that, or with
an error; and once the store is well, all windows get there.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
import pyarrow.parquet as pq
import pytest
from obstore.store import from_url

from tests.faults.archive.test_archive_faults import archive_in
from tests.support.archive.faulty_store import Fate, FaultyStore
from tests.support.archive.places import BUCKET, ask, s3
from tests.support.archive.state import START, Place
from tests.support.service import ACCEPT, Server
from tests.support.witnesses import moment
from verve.archive.errors import StoreError
from verve.archive.format.manifest import State
from verve.archive.query.distinct import distinct
from verve.archive.query.span import By, DeadlineError, Span
from verve.archive.spool.spool import IDS
from verve.archive.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.archive.faulty_store import Put
    from verve.archive.query.answer import Answer

PLACE = f"s3://{BUCKET}/ids"
HOSTS = ("one", "two")
# What one request may take here; a service waits for longer.
TIMEOUT = timedelta(seconds=1)
WORST = 0.7
"""The largest share of requests that are not served."""


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    """A bucket behind a proxy, to which the environment leads."""
    with s3(tmp_path / "s3.log") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with FaultyStore(environment["AWS_ENDPOINT_URL"]) as proxy:
            yield proxy


class Bucket:
    """The bucket as the server has it, read by obstore and pyarrow alone."""

    def __init__(self) -> None:
        self._store: Any = from_url(PLACE, client_options={"allow_http": True})

    def recorded(self) -> dict[tuple[str, int], set[int] | None]:
        """The windows of all manifests, with the ids of their files."""
        found = {}
        names = [one["path"] for page in obstore.list(self._store) for one in page]
        for name in names:
            if not name.endswith(".json"):
                continue
            manifest = json.loads(self._get(name))
            for entry in manifest["windows"]:
                ids = None
                if entry["file"]:
                    file = io.BytesIO(self._get(f"{name.rpartition('/')[0]}/{entry['file']}"))
                    ids = set(pq.read_table(file)["id"].to_pylist())
                found[manifest["host"], moment(entry["start"])] = ids
        return found

    def _get(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, name).bytes())


def check(answer: Answer, recorded: dict[tuple[str, int], set[int] | None]) -> bool:
    """Hold an answer against what the server has; whether it is complete."""
    span = answer.span
    known = {host for host, start in recorded if span.since <= start < span.until}
    assert set(answer.hosts) == known

    def lacks(since: int, until: int) -> bool:
        windows = range(since, until, 60)
        return not known or any(
            recorded.get((host, start)) is None for host in known for start in windows
        )

    for one in answer.buckets:
        ids: set[int] = set()
        for host in known:
            for start in range(one.since, one.until, 60):
                ids |= recorded.get((host, start)) or set()
        assert one.distinct == len(ids), one
        assert one.complete != lacks(one.since, one.until), one
    assert answer.complete != lacks(span.since, span.until)
    return answer.complete


def check_puts(puts: list[Put]) -> int:
    """No file was put with other ids, and no manifest lost a window; how many files came again."""
    contents: dict[str, set[str]] = defaultdict(set)
    windows: dict[str, set[str]] = defaultdict(set)
    for put in puts:
        if put.path.endswith(".json"):
            now = {json.dumps(entry) for entry in json.loads(put.body)["windows"]}
            assert windows[put.path] <= now, put.path
            windows[put.path] = now
        else:
            contents[put.path].add(put.digest)
    assert [path for path, digests in contents.items() if len(digests) > 1] == []
    counts = Counter(put.path for put in puts if put.path.endswith(".parquet"))
    return sum(count - 1 for count in counts.values())


class Run:
    """Writers of two hosts and queries, beside what was sent."""

    def __init__(self, proxy: FaultyStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = Bucket()
        self.direct = open_store(PLACE)
        self.proxy = proxy
        self.sent: dict[tuple[str, int], set[int] | None] = {}
        """The ids by host and window; None: they were dropped."""
        self.outcomes = Counter[str]()
        self.draw = random.Random(20)
        self._monkeypatch = monkeypatch
        self._share = 0.0
        # Requests come from many threads: they must not disturb the draws of the test.
        self._luck = random.Random(21)
        faults = [fate for fate in Fate if fate is not Fate.SERVED]
        self._faults = itertools.cycle(self._luck.sample(faults, len(faults)))
        proxy.fate = self._fate
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr("verve.archive.store.objects.MOST_RETRIES", 1)
        self.places = {
            host: Place(root / host, archive=PLACE, host=host, segment=f"{host}0") for host in HOSTS
        }

    def _fate(self, method: str, path: str) -> Fate:
        if method == "PUT" and path.endswith(".parquet") and Fate.LOST not in self.proxy.fates:
            return Fate.LOST
        return next(self._faults) if self._luck.random() < self._share else Fate.SERVED

    @contextlib.contextmanager
    def failing(self, share: float) -> Iterator[None]:
        """This share of requests fails."""
        self._share = share
        with self._monkeypatch.context() as patched:
            patched.setattr("verve.archive.store.objects.TIMEOUT", TIMEOUT)
            yield
        self._share = 0.0

    def add(self, number: int) -> None:
        """Close the window `number` of each host. The second host comes later."""
        for host, place in self.places.items():
            if number < 3 and host == "two":
                continue
            ids = set(self.draw.sample(range(1000), self.draw.choice([0, 5, 120])))
            dropped = number == 1 or self.draw.random() < 0.1
            place.add(number, () if dropped else ids, State.DROPPED if dropped else None)
            self.sent[host, START + 60 * number] = None if dropped else ids

    def write(self) -> None:
        """Take a turn of each writer, while more or less of the store fails."""
        for place in self.places.values():
            with self.failing(self.draw.choice([0, WORST / 2, WORST])):
                try:
                    place.turn()
                    self.outcomes["written"] += 1
                except StoreError:
                    self.outcomes["not written"] += 1

    def ask(self, span: Span, by: By | None) -> None:
        """Hold answers against what the server has, while little of the store fails, then none."""
        recorded = self.server.recorded()
        for key, ids in recorded.items():
            assert ids == self.sent[key], key
        with self.failing(WORST / 4):
            try:
                check(distinct(open_store(PLACE), "", span, by=by), recorded)
                self.outcomes["answered"] += 1
            except StoreError:
                self.outcomes["not answered"] += 1
        check(distinct(self.direct, "", span, by=by), recorded)

    def finish(self, count: int) -> None:
        """Write what is left, now that the store is well, and ask for each window."""
        for place in self.places.values():
            place.turn()
            assert place.spool.files(IDS) == []
        assert self.server.recorded() == self.sent
        for number in range(count):
            span = Span(START + 60 * number, START + 60 * (number + 1))
            complete = check(distinct(self.direct, "", span), self.sent)
            self.outcomes["complete" if complete else "incomplete"] += 1


@pytest.mark.timeout(590)
def test_a_store_that_fails_hangs_and_loses_replies(
    bucket: FaultyStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scale: Callable[[int], int],
) -> None:
    run = Run(bucket, tmp_path, monkeypatch)
    rounds = max(8, scale(80))
    for number in range(rounds):
        run.add(number)
        run.write()
        first, last = sorted(run.draw.sample(range(number + 2), 2))
        span = Span(START + 60 * first, START + 60 * last)
        run.ask(span, run.draw.choice([None, By.MINUTE]))
        if run.draw.random() < 0.3:
            # It is well for a while.
            for place in run.places.values():
                place.turn()
    run.finish(rounds)
    run.outcomes["put again"] = check_puts(bucket.puts)
    wanted = ("written", "not written", "answered", "complete", "incomplete", "put again")
    assert all(run.outcomes[name] for name in wanted), run.outcomes
    assert set(bucket.fates) == set(Fate)


def test_a_listing_ends_though_the_store_hangs(
    bucket: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    store = open_store(PLACE)
    # More than one page of what the client hands on at once.
    for number in range(120):
        store.put(f"many/{number}", b"")
    assert len(store.list("many/")) == 120
    left = iter(range(2))

    def check() -> None:
        if next(left, None) is None:
            raise DeadlineError("it is over")

    with pytest.raises(DeadlineError, match="it is over"):
        store.list("many/", check)
    bucket.fate = lambda _method, _path: Fate.HUNG
    with pytest.raises(StoreError, match="many/"):
        open_store(PLACE, timeout=timedelta(seconds=0.3)).list("many/")
    # A query says what failed, and needs not be killed.
    found = ask(PLACE, tmp_path, START, START + 120, seconds=6)
    assert found["kind"] == "failed", found
    assert "the archive's store failed" in found["error"]


@pytest.mark.full
@pytest.mark.timeout(590)
def test_a_service_goes_on_while_its_store_fails(
    bucket: FaultyStore, tmp_path: Path, serve: Serve
) -> None:
    fates = itertools.cycle(Fate)
    failing = True

    def fate(_method: str, _path: str) -> Fate:
        return next(fates) if failing else Fate.SERVED

    bucket.fate = fate
    service = serve(
        Server.VERVE,
        workers=2,
        window=1,
        environment=archive_in(tmp_path) | {"VERVE_ARCHIVE": PLACE, "AWS_ENDPOINT_URL": bucket.url},
    )
    placed: dict[int, set[int]] = {}
    number = 0
    while len(placed) < 20 or set(bucket.fates) != set(Fate):
        answer = service.get(f"{ACCEPT}?id={number}&verdict=1")
        placed.setdefault(int(answer.headers["verve-window"]), set()).add(number)
        number += 1
    failing = False
    server = Bucket()

    def found() -> dict[int, set[int] | None]:
        return {start: ids for (_, start), ids in server.recorded().items()}

    service.wait_until(lambda: max(placed) in found(), 200, "in the bucket")
    there = found()
    assert {start: there[start] for start in placed} == placed
    assert not service.events("archive.dropped")
    check_puts(bucket.puts)

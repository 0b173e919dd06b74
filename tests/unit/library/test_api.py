"""The counter as a library: how it is opened, and how it ends."""

from __future__ import annotations

import gc
import threading
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from verve import (
    ClosedError,
    Counter,
    IdError,
    ManualClock,
    SegmentError,
    SettingError,
    VerveError,
    segment_identity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_800_000_000


@pytest.fixture
def clock() -> ManualClock:
    """A clock at the start of a minute."""
    return ManualClock(NOW)


@pytest.fixture
def counter(clock: ManualClock) -> Iterator[Counter]:
    """A counter in memory."""
    with Counter(max_ids=10_000, clock=clock) as counter:
        yield counter


# Opening


@pytest.mark.parametrize("window", [0, -1, 86_401, 1 << 40])
def test_a_window_has_a_second_to_a_day(window: int) -> None:
    with pytest.raises(SettingError, match="a window has 1 to 86,400 seconds"):
        Counter(window=window)


@pytest.mark.parametrize("window", [1, 7, 60, 86_400])
def test_windows_are_aligned_to_the_epoch(window: int) -> None:
    with Counter(window=window, max_ids=100, clock=ManualClock(NOW + 12.5)) as counter:
        assert counter.window == window
        new, start = counter.add_in_window(1)
        assert new
        assert start == (NOW + 12) // window * window
        assert counter.current().window_start == start
        assert counter.until_boundary() == pytest.approx(start + window - NOW - 12.5)
        assert counter.now() == NOW + 12.5


@pytest.mark.parametrize("max_ids", [0, -1, (1 << 31) + 1, 1 << 62])
def test_a_window_is_made_for_some_number_of_ids(max_ids: int) -> None:
    with pytest.raises(SettingError, match="1 to 2147483648 ids"):
        Counter(max_ids=max_ids)


@pytest.mark.parametrize("name", ["cluster", "state_directory"])
def test_names_have_a_length(tmp_path: Path, name: str) -> None:
    longest: dict[str, Any] = {name: "é" * 255}
    with Counter(tmp_path / "segment", max_ids=100, **longest):
        assert segment_identity(tmp_path / "segment")[name] == "é" * 255  # type: ignore[literal-required]
    too_long: dict[str, Any] = {name: "é" * 255 + "x"}
    with pytest.raises(SettingError, match="longer than 510 bytes"):
        Counter(tmp_path / "other", max_ids=100, **too_long)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "arguments",
    [{"window": "60"}, {"window": 1.5}, {"max_ids": "x"}, {"cluster": None}, {"path": 5}],
)
def test_arguments_of_other_types_are_type_errors(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Counter(**arguments)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_text_or_a_path(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    path = tmp_path / "ségment"
    with Counter(kind(path), max_ids=100) as counter:
        assert counter.path == str(path)
        assert path.stat().st_mode & 0o777 == 0o600
    with Counter() as counter:
        assert counter.path is None


@pytest.mark.parametrize("path", ["", "a\0b", "/dev/null/x", "/nonexistent/x"])
def test_a_path_that_cannot_be_is_a_segment_error(path: str) -> None:
    with pytest.raises(SegmentError) as caught:
        Counter(path)
    assert caught.value.reason == "io"
    assert not caught.value.alive
    assert isinstance(caught.value, VerveError)
    assert not isinstance(caught.value, OSError)


def test_what_it_was_made_for_is_kept(tmp_path: Path) -> None:
    with Counter(tmp_path / "segment", max_ids=1_234) as counter:
        assert counter.max_ids == 1_234
    with Counter(tmp_path / "segment", max_ids=99) as counter:
        assert counter.max_ids == 1_234


# Its end


EVERY_CALL: dict[str, Callable[[Counter], object]] = {
    "add": lambda c: c.add(1),
    "add_in_window": lambda c: c.add_in_window(1),
    "add_many": lambda c: c.add_many([1]),
    "add_many_by_window": lambda c: c.add_many_by_window(array("q", [1])),
    "count": lambda c: c.count(),
    "current": lambda c: c.current(),
    "ids": lambda c: c.ids(),
    "hold": lambda c: c.hold(),
    "release": lambda c: c.release(NOW),
    "seal": lambda c: c.seal(),
    "closed": lambda c: c.closed(),
    "window": lambda c: c.window,
    "max_ids": lambda c: c.max_ids,
    "lease.acquire": lambda c: c.lease.acquire(),
    "lease.release": lambda c: c.lease.release(),
    "lease.holder": lambda c: c.lease.holder(),
    "lease.is_current": lambda c: c.lease.is_current(1),
    "maintenance.run": lambda c: c.maintenance.run(),
    "maintenance.populate": lambda c: c.maintenance.populate(),
    "now": lambda c: c.now(),
    "until_boundary": lambda c: c.until_boundary(),
    "ring.newest": lambda c: c.ring.newest(),
    "in_place": lambda c: c.in_place(),
    "ring.cursor": lambda c: c.ring.cursor(0),
    "ring.advance_cursor": lambda c: c.ring.advance_cursor(0, NOW, 1),
    "http.reject": lambda c: c.http.reject("id missing"),
    "stats": lambda c: c.stats(),
    "worker_figures.add": lambda c: c.worker_figures.add("sent", 1),
    "worker_figures.report_listeners": lambda c: c.worker_figures.report_listeners(0, 0, 0, 0),
    "worker_figures.set": lambda c: c.worker_figures.set("waiting", 1),
    "http.accept": lambda c: c.http.accept("id=1"),
    "http.accept_batch": lambda c: c.http.accept_batch("text", b"1"),
    "http.accept_placed": lambda c: c.http.accept_placed("id=1"),
    "http.accept_batch_placed": lambda c: c.http.accept_batch_placed("text", b"1"),
    "replication.queue": lambda c: c.replication.queue(1),
    "replication.take": lambda c: c.replication.take(1),
    "replication.queued": lambda c: c.replication.queued(),
    "replication.left_out": lambda c: c.replication.left_out(),
    "replication.acknowledge": lambda c: c.replication.acknowledge(NOW, 1),
    "replication.acknowledged": lambda c: c.replication.acknowledged(NOW),
    "retention.enable": lambda c: c.retention.enable(),
    "retention.disable": lambda c: c.retention.disable(),
    "retention.settle": lambda c: c.retention.settle(NOW),
    "retention.settled": lambda c: c.retention.settled(),
    "retention.kept": lambda c: c.retention.kept(),
    "retention.read_ids": lambda c: c.retention.read_ids(NOW, 0, 1),
    "reference_clock.follow": lambda c: c.reference_clock.follow(),
    "reference_clock.steer": lambda c: c.reference_clock.steer(0),
    "reference_clock.was_followed": lambda c: c.reference_clock.was_followed,
    "reference_clock.boot": lambda c: c.reference_clock.boot(),
    "replication.note_cluster_count": lambda c: c.replication.note_cluster_count(NOW, 1),
    "replication.cluster_count": lambda c: c.replication.cluster_count(NOW),
    "drain.announce": lambda c: c.drain.announce(1),
    "drain.leave": lambda c: c.drain.leave(),
    "drain.figures": lambda c: c.drain.figures(1),
    "drain.newest": lambda c: c.drain.newest(),
    "drain.begin": lambda c: c.drain.begin(1),
    "drain.end": lambda c: c.drain.end(),
    "drain.drained": lambda c: c.drain.drained(),
    "enter": lambda c: c.__enter__().count(),
}


HANDLES = (
    "drain",
    "lease",
    "ring",
    "maintenance",
    "http",
    "worker_figures",
    "replication",
    "retention",
    "reference_clock",
)


def _public(of: object) -> list[str]:
    return [name for name in dir(of) if not name.startswith("_")]


@pytest.mark.parametrize("name", EVERY_CALL)
def test_nothing_can_be_done_after_close(counter: Counter, name: str) -> None:
    before = counter.is_closed
    counter.close()
    assert (before, counter.is_closed) == (False, True)
    with pytest.raises(ClosedError, match="closed"):
        EVERY_CALL[name](counter)
    counter.close()


def test_all_of_the_interface_is_in_that_list() -> None:
    public = set(_public(Counter)) - {"close", "is_closed", "path"}
    with Counter(max_ids=100) as counter:
        for handle in HANDLES:
            public.remove(handle)
            public.update(f"{handle}.{name}" for name in _public(getattr(counter, handle)))
    assert public - set(EVERY_CALL) == set()


def test_a_context_ends_with_close_also_by_an_error(tmp_path: Path) -> None:
    counter = Counter(tmp_path / "segment", max_ids=100)
    with pytest.raises(IdError), counter as same:
        same.add(1 << 63)
    assert counter.is_closed
    assert not segment_identity(tmp_path / "segment")["alive"]


def test_a_forgotten_counter_leaves_the_segment(tmp_path: Path) -> None:
    Counter(tmp_path / "segment", max_ids=100).add(1)
    gc.collect()
    assert not segment_identity(tmp_path / "segment")["alive"]


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # what earlier tests left is not to be given back meanwhile
    before = descriptors()
    for _ in range(50):
        with Counter(tmp_path / "segment", max_ids=100) as counter, Counter(max_ids=100) as other:
            counter.add(1)
            other.add(1)
    with pytest.raises(SegmentError):
        Counter(tmp_path / "segment", window=5)
    assert descriptors() == before


class Counting:
    """Threads that count in one counter until it is closed."""

    def __init__(self) -> None:
        self.counter = Counter(max_ids=2_000_000)
        self.answered = [0] * 4
        self.failures: list[BaseException] = []
        self.begun = threading.Barrier(5, timeout=10)
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(4)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        try:
            self._count(number)
        except ClosedError:
            pass
        except BaseException as failure:  # noqa: BLE001 - looked at by the test
            self.failures.append(failure)

    def _count(self, number: int) -> None:
        self.begun.wait()
        for id in range(number << 40, (number << 40) + 400_000):
            if number == 3:
                self.counter.add_many(array("q", range(id * 100, id * 100 + 100)))
            else:
                self.counter.add(id)
            self.answered[number] += 1


def test_close_while_threads_count() -> None:
    """Each call counts or raises `ClosedError`, and nothing else happens."""
    for _ in range(20):
        counting = Counting()
        counting.begun.wait()
        while not any(counting.answered):
            time.sleep(0.001)
        counting.counter.close()
        for thread in counting.threads:
            thread.join()
        assert not counting.failures
        assert sum(counting.answered) > 0

"""Many processes that make and attach a segment at once, some of them killed in the middle."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import resource
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.processes.children import Child, wait_until
from tests.support.processes.parts import Opening
from verve import Counter, SegmentError, segment_identity
from verve._verve import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.conftest import Start
    from tests.support.processes.children import Link
    from tests.support.processes.parts import Remote

NOW = 1_800_000_000.0
AT_ONCE = 50
IDS = 20


def attach_and_count(link: Link, opening: Opening, gate: Path, number: int) -> None:
    """Wait for the gate, attach, count some ids of one's own and one of all, stay."""
    # Else those that the gate lets through keep the killer from its turn until they are done.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with gate.open("rb") as file:
        link.send("ready")
        fcntl.flock(file, fcntl.LOCK_SH)
    try:
        counter = opening.open()
    except SegmentError as error:
        link.send(str(error))
        return
    first = number * IDS
    new = [counter.add(id) for id in (*range(first, first + IDS), -1)]
    link.send((counter.stats()["identity"], all(new[:IDS]), new[-1]))
    link.recv()


@contextlib.contextmanager
def at_the_gate(gate: Path) -> Iterator[None]:
    """Who waits for the gate meanwhile goes on when this ends, all at once."""
    with gate.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def headers_are_whole(path: Path) -> None:
    """Nobody ever meets half a header: who looks sees a whole segment or none."""
    try:
        known = segment_identity(path)
    except SegmentError as error:
        assert error.reason == "io"  # noqa: PT017 - it may be there or not
        assert "there is no segment" in str(error)  # noqa: PT017
    else:
        assert known["ours"]
        assert known["window"] == 60


@pytest.mark.alone(reason="its processes get no time beside other work")
@pytest.mark.timeout(300)
def test_fifty_processes_make_and_attach_at_once(
    segment: Path, tmp_path: Path, start: Start, scale: Callable[[int], int]
) -> None:
    opening = Opening(segment, wall=NOW)
    for round_ in range(scale(20)):
        gate = tmp_path / f"gate-{round_}"
        with at_the_gate(gate):
            children = [start(attach_and_count, opening, gate, n) for n in range(AT_ONCE)]
            for child in children:
                child.receive()
        answers = []
        for child in children:
            while not child.link.poll(0.001):
                headers_are_whole(segment)
            answers.append(child.receive())
        assert all(len(answer) == 3 for answer in answers), answers
        assert len({identity for identity, _, _ in answers}) == 1, "one segment"
        assert all(own for _, own, _ in answers)
        assert sum(common for *_, common in answers) == 1, "new for one of them"
        with opening.open() as counter:
            assert counter.count() == AT_ONCE * IDS + 1
            assert sorted(counter.ids()) == list(range(-1, AT_ONCE * IDS))
            pids = sorted(child.pid for child in children)
            assert sorted(counter.stats()["processes"]) == sorted([*pids, os.getpid()])
        end(children)
        remove(segment)


class Case(NamedTuple):
    """How many come at once, how many of them are killed, and in which time, in seconds."""

    at_once: int
    killed: int
    within: float
    rounds: int


# The first to come makes the segment, which takes about a millisecond; fifty have
# attached after some ten of them.
@pytest.mark.alone(reason="its processes get no time beside other work")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "case", [Case(8, 5, 0.002, 100), Case(AT_ONCE, 25, 0.01, 20)], ids=["few", "many"]
)
def test_kills_between_making_and_attaching(
    segment: Path, tmp_path: Path, start: Start, scale: Callable[[int], int], case: Case
) -> None:
    opening = Opening(segment, wall=NOW)
    chance = random.Random()
    killed_in_time = 0
    for round_ in range(scale(case.rounds)):
        gate = tmp_path / f"gate-{round_}"
        with at_the_gate(gate):
            children = [start(attach_and_count, opening, gate, n) for n in range(case.at_once)]
            for child in children:
                child.receive()
        dead = chance.sample(children, case.killed)
        for child in dead:
            child.kill()
            time.sleep(chance.uniform(0, 2 * case.within / case.killed))
            headers_are_whole(segment)
        answers = {child: answer(child) for child in children}
        for child in dead:
            child.join()
        survivors = [child for child in children if child not in dead]
        assert all(answers[child] is not None for child in survivors)
        identities = {one[0] for one in answers.values() if one is not None}
        assert len(identities) == 1, "one segment"
        killed_in_time += sum(answers[child] is None for child in dead)
        with opening.open() as counter:
            assert counter.stats()["identity"] in identities
            ids = set(counter.ids())
            assert counter.count() == len(ids)
            assert ids <= set(range(-1, case.at_once * IDS))
            for number, child in enumerate(children):
                own = set(range(number * IDS, number * IDS + IDS))
                assert own <= ids or not answers[child]
            pids = [os.getpid(), *(child.pid for child in survivors)]
            assert sorted(counter.stats()["processes"]) == sorted(pids), "the dead are gone"
        assert not segment.with_name("segment.new").exists()
        end(children)
        remove(segment)
    assert killed_in_time, "nobody was killed in time"


def answer(child: Child) -> tuple[str, bool, bool] | None:
    """What it sent before it ended or was done."""
    try:
        child.link.poll(30)
        answer = child.link.recv()
    except (EOFError, ConnectionResetError):
        return None
    assert isinstance(answer, tuple), answer
    return answer


def end(children: list[Child]) -> None:
    """End them, so that the next round has its own."""
    for child in children:
        if child.process.is_alive():
            child.kill()
    for child in children:
        child.join()


def remove(segment: Path) -> None:
    """Remove a segment that nobody uses."""
    wait_until(lambda: not segment_identity(segment)["alive"], 5, "left by all")
    segment.unlink()


def test_every_writer_slot_is_taken(segment: Path, remote: Callable[[Opening], Remote]) -> None:
    opening = Opening(segment, max_ids=1_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2_048), hard))
    counters: list[Counter] = []
    try:
        counters.extend(opening.open() for _ in range(255))
        other = remote(opening)
        with pytest.raises(SegmentError, match="all writer slots") as caught:
            opening.open()
        assert (caught.value.reason, caught.value.alive) == ("no-slot", True)
        assert all(counter.add(number) for number, counter in enumerate(counters))
        assert other.call("count") == 255
        # A slot that is left, or whose owner is killed, can be taken again.
        counters.pop().close()
        counters.append(opening.open())
        other.child.kill()
        other.child.join()
        counters.append(opening.open())
        assert counters[-1].count() == 255
        with pytest.raises(SegmentError):
            opening.open()
    finally:
        for counter in counters:
            counter.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with opening.open() as counter:
        assert counter.count() == 255
        assert counter.stats()["processes"] == [os.getpid()]


def test_a_segment_opened_twice_in_one_process(segment: Path) -> None:
    opening = Opening(segment)
    with opening.open() as one, opening.open() as two:
        assert one.add(1)
        assert not two.add(1)
        assert two.add(2)
        assert one.count() == two.count() == 2
        assert one.stats()["processes"] == [os.getpid()] * 2
        window = one.hold()
        two.close()
        assert one.stats()["processes"] == [os.getpid()], "alive, though one of the two is closed"
        assert one.add(3)
        one.release(window)
        assert segment_identity(segment)["alive"]
    assert not segment_identity(segment)["alive"]


def remove_it(segment: Path) -> None:
    """Remove the segment alone."""
    segment.unlink()


def remove_all(segment: Path) -> None:
    """Remove the segment and what lies beside it."""
    for path in segment.parent.iterdir():
        path.unlink()


def remove_folder(segment: Path) -> None:
    """Remove the folder, too, and make another."""
    shutil.rmtree(segment.parent)
    segment.parent.mkdir(mode=0o700)


def replace(segment: Path) -> None:
    """Put another segment in its place."""
    other = segment.with_name("other")
    Counter(other).close()
    other.replace(segment)


@pytest.mark.parametrize("lose", [remove_it, remove_all, remove_folder, replace])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_an_open_joins_the_processes_of_a_lost_segment(
    segment: Path,
    remote: Callable[[Opening], Remote],
    lose: Callable[[Path], None],
    where: str,
) -> None:
    opening = Opening(segment)
    with opening.open() if where == "here" else contextlib.nullcontext() as here:
        other = None if here else remote(opening)
        assert here.add(1) if here else other is not None and other.call("add", 1)
        lose(segment)
        with opening.open() as new:
            assert not new.in_place()
            assert not new.add(1), "one count"
            assert segment_identity(segment)["identity"] == new.stats()["identity"]
        if other is not None:
            other.call("close")
    # Nobody lives in it any more: the next one begins anew.
    with opening.open() as new:
        assert new.in_place()
        assert new.add(1)


def test_a_removed_segment_of_other_settings_refuses(segment: Path) -> None:
    with Counter(segment, window=60):
        segment.unlink()
        with pytest.raises(SegmentError, match="restart") as caught:
            Counter(segment, window=30)
    assert (caught.value.reason, caught.value.alive) == ("mismatch", True)


def test_another_segment_beside_a_removed_one_is_no_matter(segment: Path) -> None:
    with Counter(segment) as one:
        assert one.add(1)
        segment.unlink()
        with Counter(segment.with_name("other")) as other:
            assert other.add(1)


def test_a_state_directory_finds_its_segment_under_another_name(
    segment: Path, tmp_path: Path
) -> None:
    with Counter(segment, state_directory=str(tmp_path)) as one:
        assert one.add(1)
        segment.rename(segment.with_name("moved"))
        with Counter(segment, state_directory=str(tmp_path)) as two:
            assert not two.add(1)


def test_a_segment_out_of_reach_refuses_a_second_one(segment: Path, tmp_path: Path) -> None:
    """As where `/proc` does not show the others: the state directory tells of them."""
    far = tmp_path / "far"
    far.mkdir(mode=0o700)
    with Counter(far / "removed", state_directory=str(tmp_path)):
        (far / "removed").unlink()
        with pytest.raises(SegmentError, match="cannot be reached") as caught:
            Counter(segment, state_directory=str(tmp_path))
        assert (caught.value.reason, caught.value.alive) == ("busy", True)
        assert not segment.exists()
    Counter(segment, state_directory=str(tmp_path)).close()


def test_a_kept_segment_outlives_its_name(segment: Path) -> None:
    with Counter(segment) as one:
        assert one.add(1)
        keeper = Keeper(one)
        with pytest.raises(SegmentError, match="keeps the segment"):
            Keeper(one)
    segment.unlink()
    with pytest.raises(SegmentError, match="restart"):
        Counter(segment, window=30)
    with Counter(segment) as two:
        assert not two.add(1)
    keeper.close()
    with Counter(segment) as three:
        assert three.add(1)
        Keeper(three).close()

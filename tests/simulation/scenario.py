"""One simulation from a seed: hosts, load and faults, then calm, then what the checker says."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from verve.cluster.coordinator import coordinator, work
from verve.cluster.replication import sender
from verve.cluster.spill import spill_file, spills
from verve.ledger.errors import LedgerError, LedgerFailure
from verve.ledger.ledger import Ledger

from . import faults
from .checker import check
from .history import Fault, History
from .host import SECONDS, Host, Kafka, facts_of
from .network import Redis
from .world import EPOCH, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ACTIVE_SECONDS = 30.0
CALM_SECONDS = 200.0
"""Seconds after the last fault within which all counts are complete. A dead host takes 60."""
_LOOK_SECONDS = 5.0
_END_SECONDS = 10.0
_IDS = 40
_LOOK_AROUND_SECONDS = 0.1
_MEETING = 884
"""From this seed on faults may meet. The earlier ones, of recorded runs, replay as they were."""


@dataclass(frozen=True)
class Outcome:
    """What became of a seed."""

    seed: int
    faults: list[Fault]
    problems: list[str]
    history: list[str]
    trace: list[str]
    seconds: float
    """Seconds of the simulation."""
    ids: int


class Scenario:
    """The parts of a simulation."""

    def __init__(self, seed: int, directory: Path) -> None:
        """Everything but the faults follows from `seed`."""
        self.chance = random.Random(f"{seed} scenario")
        self.world = World()
        self.history = History()
        self.redis = Redis(self.world, lambda: int((EPOCH + self.world.now) * 1e6))
        self.kafka = Kafka(self.world, self.history)
        self.hosts = [
            Host(
                directory,
                number,
                self.world,
                self.redis,
                self.kafka,
                self.history,
                seed=f"{seed} {number}",
                workers=self.chance.choice([1, 1, 2]),
                skew=self.chance.choice([0.0, 0.3, -0.7, 3_600.0]),
            )
            for number in range(_hosts(seed))
        ]
        self.redis.weathers = [host.weather for host in self.hosts]
        self._load = random.Random(f"{seed} load")
        self._arrive()

    def lost(self, what: str) -> None:
        """Redis loses something."""
        self.world.note(f"lost: {what}")
        somebody_is_new = any(not host.has_joined() for host in self.hosts)
        for host in self.hosts:
            # The other hosts learn of its ids from Redis only; so does one that joins after this.
            if host.has_left or (somebody_is_new and host.has_joined()):
                host.forget()
        self.history.add(self.world.now, "lost", what=what, window=int(EPOCH + self.world.now))

    def _arrive(self) -> None:
        """One request, and the next one later."""
        load = self._load
        host = load.choice(self.hosts)
        place, id = load.random(), load.randrange(_IDS)
        if host.processes:
            host.processes[int(place * len(host.processes))].add(id)
        if self.world.now < ACTIVE_SECONDS:
            self.world.after(load.expovariate(8.0), self._arrive)

    def run(self, planned: list[Fault], calm: float) -> list[str]:
        """Run it until all is well, at most `calm` seconds after the last fault; what is wrong."""
        faults.schedule(self, planned)
        over = max([ACTIVE_SECONDS, *(fault.at + fault.seconds + 8 for fault in planned)])
        self.world.run(over)
        faults.heal(self)
        problems = ["nothing was looked at"]
        while problems and self.world.now < over + calm:
            problems = self._look()
        # What is well stays so.
        problems = problems or self._look()
        self.history.facts.extend(self._at_the_end().facts)
        return problems

    def _look(self) -> list[str]:
        """What is wrong some seconds later."""
        self.world.run(self.world.now + _LOOK_SECONDS)
        return check([*self.history.lines(), *self._at_the_end().lines()])

    def _at_the_end(self) -> History:
        """What hosts and Redis have now."""
        found, now = History(), self.world.now
        for host in self.hosts:
            for window in host.stored():
                found.add(now, "stored", host=host.name, **facts_of(window))
            for process in host.processes[:1]:
                host.tell_time()
                kept = process.counter.retention.kept()
                for start in kept:
                    if start < EPOCH + now - 4 * SECONDS:
                        found.add(now, "kept", host=host.name, what=f"the arena of {start}")
            for path in (host.settings.state_dir / spills.DIRECTORY).glob("*"):
                found.add(now, "kept", host=host.name, what=path.name)
        server = self.redis.master
        for key in server.command(b"KEYS", b"*"):
            if server.command(b"TTL", key) < 0:
                found.add(now, "kept", host="redis", what=key.decode())
        return found

    def close(self) -> None:
        """End everything that runs, and free it."""
        processes = [process for host in self.hosts for process in host.all_processes]
        for process in processes:
            process.end()
        self.world.run(self.world.now + _END_SECONDS)
        for process in processes:
            process.close()


def planned(seed: int, kinds: Sequence[str] = (), *, meets: bool = False) -> list[Fault]:
    """The faults of a seed, only of some `kinds` if they are given. `meets`: see `faults.plan`."""
    chance = random.Random(f"{seed} faults")
    return faults.plan(chance, _hosts(seed), ACTIVE_SECONDS, kinds, meets=meets or seed >= _MEETING)


def _hosts(seed: int) -> int:
    return random.Random(f"{seed} hosts").choice([2, 2, 3, 4])


def simulate(seed: int, chosen: list[Fault] | None = None, calm: float = CALM_SECONDS) -> Outcome:
    """Run a seed, with its own faults or with these."""
    going_wrong = planned(seed) if chosen is None else chosen
    root = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a directory of its own
    directory = Path(tempfile.mkdtemp(prefix="verve-simulation-", dir=root))
    try:
        with _full_disks(), _rarer_looks():
            scenario = Scenario(seed, directory)
            try:
                problems = scenario.run(going_wrong, calm)
                # The path is another one in each run.
                trace = [line.replace(str(directory), "") for line in scenario.world.trace]
                history, seconds = list(scenario.history.lines()), scenario.world.now
            finally:
                scenario.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    accepted = sum('"kind": "accepted"' in line for line in history)
    return Outcome(seed, going_wrong, problems, history, trace, seconds, accepted)


def shrink(seed: int, chosen: list[Fault], calm: float = CALM_SECONDS) -> list[Fault]:
    """The fewest of these faults that still fail, found by leaving out one after another."""
    left = list(chosen)
    place = 0
    while place < len(left):
        fewer = left[:place] + left[place + 1 :]
        if simulate(seed, fewer, calm).problems:
            left = fewer
        else:
            place += 1
    return left


@contextlib.contextmanager
def _rarer_looks() -> Iterator[None]:
    """Have senders and leaders look less often than in a service: looking takes most of a run.

    Nothing of the protocol depends on how often they look.
    """
    with (
        mock.patch.object(sender, "LINGER", _LOOK_AROUND_SECONDS),
        mock.patch.object(coordinator, "LOCAL_SECONDS", _LOOK_AROUND_SECONDS),
        mock.patch.object(work, "LOCAL_SECONDS", _LOOK_AROUND_SECONDS),
    ):
        yield


@contextlib.contextmanager
def _full_disks() -> Iterator[None]:
    """Have writes of a host fail while its disk is full."""
    write, transaction = spill_file.write, Ledger._transaction

    def checked_write(path: Path, *args: Any) -> None:  # noqa: ANN401 - those of `write`
        if Host.entered is not None and Host.entered.has_full_disk:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *args)

    def checked_transaction(self: Ledger, fence: Callable[[], bool]) -> Any:  # noqa: ANN401
        if Host.entered is not None and Host.entered.has_full_disk:
            raise LedgerError(LedgerFailure.FULL, "no space", self.path)
        return transaction(self, fence)

    with (
        mock.patch.object(spill_file, "write", checked_write),
        mock.patch.object(Ledger, "_transaction", checked_transaction),
    ):
        yield

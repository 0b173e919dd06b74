"""Segments with damage, attached in a process of their own, which may crash or hang.

    python -m tests.support.crashes.damaged_segment DIRECTORY SEED FIRST COUNT

prints a line "number offset outcome" per damage, before and after it is opened.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from tests.support.crashes.damage import Damage, Outcome, judged
from tests.support.rig import MINUTE
from verve import Counter, ManualClock, VerveError

UNIQUES = (300, 200, 100, 50)
"""The ids of the windows from `MINUTE` on; the last one is open."""
_PAGE = 4_096


class Segments:
    """A sound segment, of which damaged copies are attached."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "segment"
        self.expected = {MINUTE + 60 * number: ids for number, ids in enumerate(UNIQUES)}
        clock = ManualClock(wall=MINUTE + 1.0)
        with self._counter(clock) as counter:
            for number, ids in enumerate(UNIQUES):
                if number:
                    clock.advance(60)
                    counter.maintenance.run()
                counter.add_many(range(ids))
        self._length = self._path.stat().st_size
        self.extents = extents(self._path)

    def _counter(self, clock: ManualClock) -> Counter:
        return Counter(self._path, window=60, max_ids=1_000, clock=clock)

    def damage(self, chance: random.Random) -> Damage:
        """Damage to a byte that has storage, or a length."""
        if chance.random() < 0.02:
            return Damage(chance.randrange(self._length), None)
        at = chance.randrange(sum(len(content) for _, content in self.extents))
        for start, content in self.extents:
            if at < len(content):
                return Damage(start + at, chance.randrange(8))
            at -= len(content)
        raise AssertionError(at)

    def attached(self, damage: Damage) -> Outcome:
        """What the real code counts in the damaged segment, and in its open window at its end."""
        with self._path.open("r+b") as file:
            file.truncate(0)
            file.truncate(self._length)
            for start, content in self.extents:
                os.pwrite(file.fileno(), content, start)
        damage.apply_to(self._path)
        # Its clock begins where that of the maker did.
        clock = ManualClock(wall=MINUTE + 1.0)
        clock.advance(60.0 * (len(UNIQUES) - 1))
        open_start = MINUTE + 60 * (len(UNIQUES) - 1)
        try:
            with self._counter(clock) as counter:
                current = counter.current()
                open_now = {current.window_start: counter.count()}
                clock.advance(60)
                # The first id of a window ends the one before.
                counter.add(7)
                counter.maintenance.run()
                found = {one.window_start: one.unique for one in counter.closed(10) if not one.gap}
        except VerveError:
            return Outcome.ERROR
        outcome = judged(found, self.expected)
        if open_now != {open_start: UNIQUES[-1]}:
            return Outcome.WRONG
        return outcome


def extents(path: Path) -> list[tuple[int, bytes]]:
    """The pages of a file that are not empty."""
    found: list[tuple[int, bytes]] = []
    descriptor = os.open(path, os.O_RDONLY)
    end = os.fstat(descriptor).st_size
    at = 0
    while at < end:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # no more data
            break
        hole = os.lseek(descriptor, at, os.SEEK_HOLE)
        for start in range(at, hole, _PAGE):
            content = os.pread(descriptor, min(_PAGE, hole - start), start)
            if any(content):
                found.append((start, content))
        at = hole
    os.close(descriptor)
    return found


def main(directory: str, seed: str, first: str, count: str) -> None:
    """Attach `count` damaged segments, from the number `first` on."""
    segments = Segments(Path(directory))
    for number in range(int(first), int(first) + int(count)):
        damage = segments.damage(random.Random(f"{seed}-{number}"))
        print(number, damage.at, damage.bit, end=" ", flush=True)  # noqa: T201 - for the parent
        print(segments.attached(damage), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

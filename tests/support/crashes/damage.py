"""Damage to files: flipped bits, and files cut short. And what reads them makes of it."""

from __future__ import annotations

import os
from collections import Counter as Tally
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from pathlib import Path

TRUNCATED_SHARE = 0.1


class Outcome(StrEnum):
    """What became of a damaged file, from the reader's side."""

    ERROR = "error"
    """It was refused, or an entry of it was, with a message."""
    RIGHT = "right"
    """All counts are right."""
    FEWER = "fewer"
    """What is there is right, and something is missing."""
    WRONG = "wrong"


class Damage(NamedTuple):
    """One bit that is flipped, or the length to which the file is cut."""

    at: int
    bit: int | None

    def apply(self, content: bytes) -> bytes:
        """The content after it."""
        if self.bit is None:
            return content[: self.at]
        changed = bytearray(content)
        changed[self.at] ^= 1 << self.bit
        return bytes(changed)

    def apply_to(self, path: Path) -> None:
        """Damage a file in its place, which may be sparse."""
        with path.open("r+b") as file:
            if self.bit is None:
                file.truncate(self.at)
            else:
                byte = os.pread(file.fileno(), 1, self.at)[0]
                os.pwrite(file.fileno(), bytes([byte ^ 1 << self.bit]), self.at)


def some_damage(length: int, chance: random.Random) -> Damage:
    """Damage to a file of `length` bytes."""
    at = chance.randrange(length)
    return Damage(at, None if chance.random() < TRUNCATED_SHARE else chance.randrange(8))


Outcomes = Tally[Outcome]


def judged(found: dict[int, int], expected: dict[int, int]) -> Outcome:
    """The outcome of counts by window that were read without an error."""
    if found == expected:
        return Outcome.RIGHT
    return Outcome.FEWER if found.items() <= expected.items() else Outcome.WRONG

"""What a thread sent and which answers it got, in a mapped file that outlives its process.

A call is noted before it is made and again once it has returned, so a process killed at any moment
leaves, for each of its threads, at most one call that was sent and not answered.

A call counts the `length` ids from `first` on. Its answer is a list of up to three windows with the
number of ids that were new there; a refusal names no window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.processes.children import Board

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STAGE, BEGUN_AT, SENT, ANSWERED = range(4)
ATTACHING, ATTACHED = 1, 2

HEADER = 8
CALL = 9  # first, length, number of answers, then pairs
REASONS = ("full", "space", "arena")


class Journal:
    """The journal of one thread, while it writes."""

    def __init__(self, path: Path, calls: int) -> None:
        self._board = Board(path, HEADER + CALL * calls)
        self._words = self._board.words
        self._calls = calls

    def stage(self, stage: int, now: int = 0) -> None:
        """Note what the process does, and the time."""
        self._words[BEGUN_AT] = now
        self._words[STAGE] = stage

    def full(self) -> bool:
        """Whether there is no room for another call."""
        return self._words[SENT] >= self._calls

    def sent(self, first: int, length: int = 1) -> None:
        """Note a call that is made now."""
        words = self._words
        number = words[SENT]
        at = HEADER + CALL * number
        words[at] = first
        words[at + 1] = length
        words[SENT] = number + 1

    def answered(self, answer: Sequence[tuple[int, int]]) -> None:
        """Note what the last call returned."""
        words = self._words
        number = words[ANSWERED]
        at = HEADER + CALL * number + 2
        words[at] = len(answer)
        for window, new in answer:
            words[at + 1] = window
            words[at + 2] = new
            at += 2
        words[ANSWERED] = number + 1

    def answered_one(self, new: bool, window: int) -> None:
        """Note what the last call, of one id, returned."""
        words = self._words
        number = words[ANSWERED]
        at = HEADER + CALL * number
        words[at + 2] = 1
        words[at + 3] = window
        words[at + 4] = new
        words[ANSWERED] = number + 1

    def refused(self, reason: str) -> None:
        """Note that the last call raised, and counted nothing."""
        words = self._words
        number = words[ANSWERED]
        words[HEADER + CALL * number + 2] = -1 - REASONS.index(reason)
        words[ANSWERED] = number + 1

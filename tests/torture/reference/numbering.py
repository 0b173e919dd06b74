"""The ids of a run: numbered from 0, spread over all of int64 by a bijection.

The first `HOT` are sent again and again, to all hosts. Each of the others is sent in one request at
most: how many were answered is then how many distinct ones there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOT = 1 << 12
_FACTOR = 0x9E37_79B9_7F4A_7C15
"""Odd, so multiplication by it modulo 2^64 is a bijection."""
_MASK = (1 << 64) - 1


def id_of(number: int) -> int:
    """The id with this number."""
    spread = number * _FACTOR & _MASK
    return spread - (1 << 64) if spread >> 63 else spread


def ids_of(first: int, count: int) -> NDArray[np.int64]:
    """The ids with the numbers from `first` on."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    return (numbers * np.uint64(_FACTOR)).view(np.int64)


HOT_IDS = [id_of(number) for number in range(HOT)]


class Fresh:
    """Hands out numbers of ids that were never sent."""

    def __init__(self) -> None:
        self.next = HOT

    def take(self, count: int = 1) -> int:
        """The first of `count` numbers."""
        first = self.next
        self.next += count
        return first

"""Markers: what tells that a set was never lost and begun anew (rule 2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from verve.cluster.redis_state.window_state import Outcome
from verve.stores.base import MARKER_BYTES

if TYPE_CHECKING:
    from verve.cluster.redis_state.window_state import WindowStates
    from verve.stores.base import Store

# Of earlier terms it is not known how many there were; a leader rarely needs a third.
_TERMS = 8
_OF_EACH = 3


def marker_of(host: str, term: int, number: int) -> bytes:
    """The marker `number` of a leader's term, for any window."""
    name = f"{host} {term} {number}".encode()
    return b"v" + blake2b(name, digest_size=MARKER_BYTES - 1).digest()


@dataclass(frozen=True, slots=True)
class Trust:
    """A marker that went in before any id of the host, and the epochs from before it did.

    `whole`: all ids of the window were sent behind it.
    """

    marker: bytes
    epochs: str
    whole: bool = False


class Markers:
    """The markers of one host in one term.

    Each attempt has a marker of its own: one that was given up as late must not vouch for what was
    sent after it.
    """

    def __init__(self, host: str, term: int, by: str | None = None) -> None:
        """`by`: who speaks for `host`, if that one is no more."""
        self.host = host
        self._name = host if by is None else f"{host} by {by}"
        self._term = term
        self._used: Counter[int] = Counter()
        self._others: dict[int, dict[bytes, str]] = {}
        self._trusted: dict[int, Trust] = {}

    def fresh(self, window_start: int) -> bytes:
        """A marker that was not in this window before."""
        number = self._used[window_start]
        self._used[window_start] += 1
        return marker_of(self._name, self._term, number)

    def learn(self, window_start: int, markers: dict[bytes, str]) -> None:
        """Remember whose markers are among the ids, should the state be lost."""
        self._others.setdefault(window_start, {}).update(markers)

    def known(self, window_start: int) -> dict[bytes, str]:
        """The markers that are known to be among the ids of a window, with their hosts."""
        own = [
            marker_of(self._name, self._term, number) for number in range(self._used[window_start])
        ]
        return dict.fromkeys(own, self.host) | self._others.get(window_start, {})

    def possible(self, window_start: int) -> dict[bytes, str]:
        """Those, and what earlier leaders of the host may have put there."""
        before = [
            marker_of(self._name, term, number)
            for term in range(max(0, self._term - _TERMS), self._term)
            for number in range(_OF_EACH)
        ]
        return dict.fromkeys(before, self.host) | self.known(window_start)

    def trusted(self, window_start: int) -> Trust | None:
        """What this leader trusts of a window without sending all ids again."""
        return self._trusted.get(window_start)

    def trust(self, window_start: int, trust: Trust) -> None:
        """Trust a marker from here on."""
        self._trusted[window_start] = trust

    def forget(self, window_start: int) -> None:
        """Nothing is to be done any more for this window."""
        for kept in (self._used, self._others, self._trusted):
            kept.pop(window_start, None)


async def register(
    states: WindowStates,
    markers: Markers,
    window_start: int,
    *,
    is_open: bool = False,
    after_loss: bool = False,
) -> bool:
    """Take part in a window, without a marker. Whether the state knew this host. `StoreError`."""
    known = markers.possible(window_start) if after_loss else markers.known(window_start)
    step = await states.register(window_start, markers.host, known, is_open=is_open)
    markers.learn(window_start, dict(step.state.markers))
    return step.outcome is Outcome.KNOWN


async def mark(
    states: WindowStates,
    store: Store,
    markers: Markers,
    window_start: int,
    *,
    is_open: bool = False,
) -> Trust:
    """Put a fresh marker into all shards; by it a loss is noticed later. Raises `StoreError`.

    First the epochs, so that a master that is replaced in between is noticed; then the state, so
    that the marker is known wherever it is.
    """
    epochs = await store.epochs()
    trust = Trust(markers.fresh(window_start), epochs)
    await register(states, markers, window_start, is_open=is_open)
    await store.mark(window_start, trust.marker)
    return trust

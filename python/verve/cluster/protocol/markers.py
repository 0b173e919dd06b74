"""Markers: members of a set that show that it was never lost and begun anew (rule 2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from verve.cluster.redis_state.window_state import Outcome
from verve.stores.base import MARKER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verve.cluster.redis_state.cluster_state import ClusterState

# Nobody knows how many markers earlier terms used; a leader rarely needs a third.
_EARLIER_TERMS = 8
_MARKERS_PER_TERM = 3


def marker_of(host: str, term: int, number: int) -> bytes:
    """The marker `number` of a leader's term, for any window."""
    name = f"{host} {term} {number}".encode()
    return b"v" + blake2b(name, digest_size=MARKER_BYTES - 1).digest()


@dataclass(frozen=True, slots=True)
class PlacedMarker:
    """A marker that was added to all shards, and the epochs of the masters before that.

    `covers_all`: all ids of the window were sent after it.
    """

    marker: bytes
    epochs: str
    covers_all: bool = False
    losses: int = 0
    """The losses that were noticed before it was placed."""


@dataclass(slots=True)
class _Noticed:
    """Counts the losses that a leader noticed, for all of its markers."""

    losses: int = 0


class Markers:
    """The markers of one host in one term.

    Each attempt has a marker of its own: one that was given up and comes late must not vouch for
    the ids that were sent since.
    """

    def __init__(
        self, host: str, term: int, by: str | None = None, noticed: _Noticed | None = None
    ) -> None:
        """`by`: the host that acts in the name of `host`, if that one is no more."""
        self._noticed = noticed or _Noticed()
        self.host = host
        self._name = host if by is None else f"{host} by {by}"
        self._term = term
        self._used: Counter[int] = Counter()
        self._others: dict[int, dict[bytes, str]] = {}
        self._trusted: dict[int, PlacedMarker] = {}

    def in_the_name_of(self, host: str) -> Markers:
        """Markers of another host that is no more, placed by this one."""
        return Markers(host, self._term, by=self.host, noticed=self._noticed)

    @property
    def losses(self) -> int:
        """The losses that were noticed so far."""
        return self._noticed.losses

    def distrust(self) -> None:
        """Redis lost something: the markers so far vouch for no ids.

        That a marker is still there, under the same epochs, does not show that the ids went to the
        same server: a host may have been sent to an old master for a while, and back.
        """
        self._noticed.losses += 1

    def fresh(self, window_start: int) -> bytes:
        """A marker that this window has not had yet."""
        number = self._used[window_start]
        self._used[window_start] += 1
        return marker_of(self._name, self._term, number)

    def learn(self, window_start: int, markers: Mapping[bytes, str]) -> None:
        """Remember markers and their hosts, in case Redis loses the state."""
        self._others.setdefault(window_start, {}).update(markers)

    def known(self, window_start: int) -> dict[bytes, str]:
        """The markers that are known to be among the ids of a window, with their hosts."""
        own = [
            marker_of(self._name, self._term, number) for number in range(self._used[window_start])
        ]
        return dict.fromkeys(own, self.host) | self._others.get(window_start, {})

    def possible(self, window_start: int) -> dict[bytes, str]:
        """The known markers, and those that earlier leaders of the host may have added."""
        before = [
            marker_of(self._name, term, number)
            for term in range(max(0, self._term - _EARLIER_TERMS), self._term)
            for number in range(_MARKERS_PER_TERM)
        ]
        return dict.fromkeys(before, self.host) | self.known(window_start)

    def trusted(self, window_start: int) -> PlacedMarker | None:
        """The marker that makes a full send needless, if there is one."""
        placed = self._trusted.get(window_start)
        return placed if placed is not None and placed.losses == self.losses else None

    def trust(self, window_start: int, placed: PlacedMarker) -> None:
        """Trust a marker from here on."""
        self._trusted[window_start] = placed

    def forget(self, window_start: int) -> None:
        """The window is over for this host."""
        for kept in (self._used, self._others, self._trusted):
            kept.pop(window_start, None)


async def register(
    cluster: ClusterState,
    markers: Markers,
    window_start: int,
    *,
    is_open: bool = False,
    after_loss: bool = False,
) -> bool:
    """Register the host for a window; whether Redis knew it already. Raises `StoreError`.

    `is_open`: ids may still come. `after_loss`: the state may have lost markers of earlier terms.
    """
    known = markers.possible(window_start) if after_loss else markers.known(window_start)
    step = await cluster.windows.register(window_start, markers.host, known, is_open=is_open)
    markers.learn(window_start, step.state.markers)
    return step.outcome is Outcome.KNOWN


async def place_marker(
    cluster: ClusterState,
    markers: Markers,
    window_start: int,
    *,
    is_open: bool = False,
    after_loss: bool = False,
) -> PlacedMarker:
    """Register, see `register`, and add a fresh marker to all shards. Raises `StoreError`.

    The epochs are read first, so that a master that is replaced in between is noticed; the state
    is written before the sets, so that every marker in a set is known.
    """
    losses = markers.losses
    epochs = await cluster.store.epochs()
    placed = PlacedMarker(markers.fresh(window_start), epochs, losses=losses)
    await register(cluster, markers, window_start, is_open=is_open, after_loss=after_loss)
    await cluster.store.mark(window_start, placed.marker)
    return placed

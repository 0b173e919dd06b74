"""The reference count: what each answer says, kept without any code of Verve.

An id that was answered `ok` belongs to the window that its answer names. An id whose request got no
such answer may be counted in any window from then on, until no process or proxy can still hold the
request. So the count of a window has a least and a greatest value, and both are equal in a window
near which no request was left unanswered.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_DELAY = 30
"""Seconds for which a stopped process, or what waits in its sockets, may hold a request."""
_SKEW = 0.25
"""Seconds by which the time of a host may be behind the sender's."""


class Bounds(NamedTuple):
    """The count of a window lies between these."""

    least: int
    most: int


@dataclass(slots=True)
class _Unknown:
    """The ids of requests of one second that got no answer that says where they were counted."""

    fresh: int = 0
    hot: set[int] = field(default_factory=set)


class Reference:
    """What a run sent, and what the answers said."""

    def __init__(self, window: int, *, ahead: float = 0, behind: float = 0) -> None:
        """Windows are at most `ahead` of the sender's time in seconds, or `behind` it."""
        self.window = window
        self.ahead = ahead
        self.behind = behind
        self.fresh: Counter[int] = Counter()
        """By window: acknowledged ids that were sent once."""
        self.hot: defaultdict[int, set[int]] = defaultdict(set)
        """By window: acknowledged numbers of ids that are sent again and again."""
        self.unknown: defaultdict[int, _Unknown] = defaultdict(_Unknown)
        """By second of sending."""

    def unanswered(self, sent_at: float, *, fresh: int = 0, hot: Iterable[int] = ()) -> None:
        """Ids that may be counted, once, at any time from `sent_at` on."""
        one = self.unknown[int(sent_at - _SKEW)]
        one.fresh += fresh
        one.hot.update(hot)

    def windows(self) -> list[int]:
        """The windows that answers named, in order."""
        return sorted(self.fresh.keys() | self.hot.keys())

    def bounds(self, start: int) -> Bounds:
        """The least and the greatest count of a window."""
        least = self.fresh[start] + len(self.hot.get(start, ()))
        fresh = sum(one.fresh for one in self._near(start))
        return Bounds(least, least + fresh + self.perhaps(start))

    def perhaps(self, start: int) -> int:
        """How many ids that are sent again and again the window may have beyond those answered."""
        known = self.hot.get(start, set())
        return len(set[int]().union(*(one.hot for one in self._near(start))) - known)

    def unanswered_fresh(self) -> int:
        """The ids that were sent once, without an answer: each is counted once at most."""
        return sum(one.fresh for one in self.unknown.values())

    def _near(self, start: int) -> list[_Unknown]:
        return [
            one
            for second, one in self.unknown.items()
            if start - LONGEST_DELAY - self.ahead <= second < start + self.window + self.behind
        ]

    def saved(self) -> dict[str, Any]:
        """The reference as JSON."""
        return {
            "window": self.window,
            "ahead": self.ahead,
            "behind": self.behind,
            "fresh": dict(self.fresh),
            "hot": {start: sorted(ids) for start, ids in self.hot.items()},
            "unknown": {
                second: [one.fresh, sorted(one.hot)] for second, one in self.unknown.items()
            },
        }

    @classmethod
    def loaded(cls, saved: Mapping[str, Any]) -> Self:
        """The reference that was saved."""
        made = cls(saved["window"], ahead=saved["ahead"], behind=saved["behind"])
        made.fresh.update({int(start): count for start, count in saved["fresh"].items()})
        made.hot.update({int(start): set(ids) for start, ids in saved["hot"].items()})
        for second, (fresh, hot) in saved["unknown"].items():
            made.unknown[int(second)] = _Unknown(fresh, set(hot))
        return made

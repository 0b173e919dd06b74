"""What the sender saw: the reference count, wrong answers, refusals, callbacks, shown windows."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any

from tests.torture.reference.numbering import HOT, Fresh
from tests.torture.reference.reference import Reference

MOST_SHOWN = 50


class Tally:
    """Shared by all connections of a sender."""

    def __init__(self, window: int, *, ahead: float = 0, behind: float = 0) -> None:
        """See `Reference`."""
        self.reference = Reference(window, ahead=ahead, behind=behind)
        self.fresh = Fresh()
        self.counts: Counter[str] = Counter()
        """Requests, answers and ids by kind."""
        self.refused: Counter[str] = Counter()
        """Refusals of good requests, and failures of connections, by reason."""
        self.wrong: list[str] = []
        """What no fault excuses."""
        self.wrong_total = 0
        self.promised: dict[int, int] = {}
        """By number of a callback: the window of the id whose accept was answered `ok`."""
        self.denied: set[int] = set()
        """Callbacks whose accept was refused."""
        self.called: defaultdict[int, list[int]] = defaultdict(list)
        """By number of a callback: the counts that the receiver got."""
        self.shown: list[dict[str, Any]] = []
        """Windows as streams and history showed them, with the host."""
        self._new: set[tuple[str, int, int]] = set()

    def fault(self, text: str) -> None:
        """Note what no fault excuses."""
        self.wrong_total += 1
        if len(self.wrong) < MOST_SHOWN:
            self.wrong.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}")

    def placed(self, host: str, window: int, *, seen: bytes, hot: int | None) -> None:
        """An accept of one id was answered `ok`, with its window and verdict."""
        if window % self.reference.window:
            self.fault(f"no window starts at {window}")
        if hot is None:
            self.reference.fresh[window] += 1
            if seen != b"new":
                self.fault(f"an id that was sent once is `{seen!r}` in {window} at {host}")
            return
        self.reference.hot[window].add(hot)
        if seen == b"new":
            key = (host, window, hot)
            if key in self._new:
                self.fault(f"hot id {hot} is new twice in {window} at {host}")
            self._new.add(key)
            if len(self._new) > 64 * HOT:
                newest = max(start for _, start, _ in self._new)
                self._new = {one for one in self._new if one[1] >= newest - 120}

    def saved(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "reference": self.reference.saved(),
            "counts": dict(self.counts),
            "refused": dict(self.refused),
            "wrong": self.wrong,
            "wrong_total": self.wrong_total,
            "promised": self.promised,
            "denied": sorted(self.denied),
            "called": dict(self.called),
            "shown": self.shown,
        }

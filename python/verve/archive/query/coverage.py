"""Which windows of a span are missing, of which hosts, and why."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verve.archive.format.manifest import State
from verve.timestamps import rfc3339

from .catalogue import expected_segments, hosts_of
from .span import Span, blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .catalogue import Catalogue, Record

USUAL_LENGTH = 60
UNOBSERVED = "unobserved"
"""The reason of a window without a record."""
NOT_FINAL = "the cluster's count is not final"
"""The reason of a window of which late hosts, or hosts that nobody named yet, may have ids."""
_REASONS = (State.LOST, State.DROPPED, State.GAP)
"""The states that leave ids missing; the first one that a window has is its reason."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Windows that follow one another, of a host, of which ids are missing; host None: of all."""

    host: str | None
    since: int
    until: int
    windows: int
    reason: str

    def plain(self) -> dict[str, Any]:
        """The values for JSON."""
        return {
            "host_name": self.host,
            "span_start": rfc3339(self.since),
            "span_end": rfc3339(self.until),
            "missing_windows": self.windows,
            "reason": self.reason,
        }


class Coverage:
    """The records of a catalogue by host and window."""

    def __init__(self, catalogue: Catalogue) -> None:
        records = catalogue.records
        self.hosts = hosts_of(records)
        self._hosts_of_segments = catalogue.hosts
        self._by_host: dict[str, dict[tuple[int, int], list[Record]]] = {
            host: {} for host in self.hosts
        }
        self._expected: dict[int, tuple[int, set[str] | None]] = {}
        self._segments: dict[tuple[int, int], set[str]] = defaultdict(set)
        self._final: set[tuple[int, int]] = set()
        for one in records:
            entry = one.entry
            key = entry.start, entry.length
            self._by_host[one.host].setdefault(key, []).append(one)
            length, names = self._expected.get(entry.start, (0, None))
            if entry.hosts is not None:
                self._segments[key].update(entry.hosts)
                names = (names or set()) | {self._host_of(name) for name in entry.hosts}
                if entry.final:
                    # What one host knows of all of them is enough.
                    self._final.add(key)
            self._expected[entry.start] = max(length, entry.length), names
        self.hosts_known = bool(records) and all(names for _, names in self._expected.values())
        expected = {self._host_of(name) for name in expected_segments(records)}
        self._silent = sorted(expected - set(self.hosts))
        self._starts = {host: sorted(windows) for host, windows in self._by_host.items()}
        self._expected_starts = sorted(self._expected)
        self.blocks = blocks({key for windows in self._by_host.values() for key in windows})
        self._block_starts = [start for start, _ in self.blocks]
        self.length = min((one.entry.length for one in records), default=USUAL_LENGTH)

    def _host_of(self, segment: str) -> str:
        """The host of a segment; the segment's own name, if it has no record."""
        return self._hosts_of_segments.get(segment, segment)

    def cut_window(self, moment: int) -> bool:
        """Whether `moment` lies inside a window, so that a span cuts it."""
        return self.around(moment) != (moment, moment)

    def around(self, moment: int) -> tuple[int, int]:
        """The last and the next moment that cuts no window: `moment` itself, if it does not."""
        before = moment - moment % self.length
        after = -(-moment // self.length) * self.length
        position = bisect_left(self._block_starts, moment)
        if position < len(self.blocks):
            after = min(after, self.blocks[position][0])
        if position:
            start, end = self.blocks[position - 1]
            if moment < end:
                return start, end
            before = max(before, end)
        # A block that begins or ends here.
        return (moment, moment) if moment in {before, after} else (before, after)

    def nearest(self, span: Span) -> tuple[Span, ...]:
        """The next smaller and the next larger span that cut no window."""
        (low, since), (until, high) = self.around(span.since), self.around(span.until)
        spans = dict.fromkeys((Span(since, until), Span(low, high)))
        return tuple(one for one in spans if one.since < one.until)

    def records(self, host: str, span: Span) -> Iterator[list[Record]]:
        """The records of each recorded window of a host that starts in a span, in order."""
        starts = self._starts.get(host, [])
        position = bisect_left(starts, (span.since, 0))
        while position < len(starts) and starts[position][0] < span.until:
            yield self._by_host[host][starts[position]]
            position += 1

    def missing(self, span: Span) -> list[Missing]:
        """The windows of a span that are not whole."""
        if not self.hosts and not self._silent:
            return [self._unobserved(None, span.since, span.until)]
        found: list[Missing] = []
        for host in self.hosts:
            position = span.since
            for records in self.records(host, span):
                entry = records[0].entry
                if entry.start > position:
                    found += self._absent(host, position, entry.start, only_named=False)
                if reason := self._reason(host, records):
                    found.append(Missing(host, entry.start, entry.end, 1, reason))
                position = max(position, entry.end)
            if position < span.until:
                found += self._absent(host, position, span.until, only_named=False)
        for host in self._silent:
            found += self._absent(host, span.since, span.until, only_named=True)
        return merged(found)

    def _absent(self, host: str, since: int, until: int, *, only_named: bool) -> Iterator[Missing]:
        """What a host without records from `since` to `until` owes, as far as it was expected."""
        position = since
        for start in self._expected_starts[bisect_left(self._expected_starts, since) :]:
            if start >= until:
                break
            length, names = self._expected[start]
            if start > position and not only_named:
                yield self._unobserved(host, position, start)
            if host in names if names is not None else not only_named:
                yield Missing(host, start, min(start + length, until), 1, UNOBSERVED)
            position = max(position, start + length)
        if position < until and not only_named:
            yield self._unobserved(host, position, until)

    def _reason(self, host: str, records: list[Record]) -> str | None:
        """Why a recorded window is not whole; None if it is."""
        states = {one.entry.state for one in records}
        for state in _REASONS:
            # Another segment of the host may have counted while this one skipped the window.
            if state in states and not (state is State.GAP and any(one.is_whole for one in states)):
                texts = [one.entry.reason for one in records if one.entry.state is state]
                return f"{state}: {texts[0]}" if texts[0] else str(state)
        key = records[0].entry.start, records[0].entry.length
        known = {one.writer for one in records}
        owed = {name for name in self._segments.get(key, ()) if self._host_of(name) == host}
        # Of a window that was skipped a roll-up does not say by which segment: it may be any.
        if len(owed - known) > sum(one.writer is None for one in records):
            return UNOBSERVED
        if key not in self._final and not all(one.entry.final for one in records):
            return NOT_FINAL
        return None

    def _unobserved(self, host: str | None, since: int, until: int) -> Missing:
        return Missing(host, since, until, -(-(until - since) // self.length), UNOBSERVED)


def merged(missing: Iterable[Missing]) -> list[Missing]:
    """Put neighbours of a host and a reason together; in order of time."""
    found: list[Missing] = []
    for one in sorted(missing, key=lambda one: (one.host or "", one.since)):
        last = found[-1] if found else None
        if last and (last.host, last.until, last.reason) == (one.host, one.since, one.reason):
            found[-1] = Missing(
                one.host, last.since, one.until, last.windows + one.windows, one.reason
            )
        else:
            found.append(one)
    return sorted(found, key=lambda one: (one.since, one.host or ""))

"""Which windows of a span are missing, of which hosts, and why."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verve.archive.format.manifest import State
from verve.timestamps import rfc3339

from .catalogue import expected_hosts, hosts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .catalogue import Catalogue, Record
    from .span import Span

USUAL_LENGTH = 60
UNOBSERVED = "unobserved"
"""The reason of a window without a record."""
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
        segments = {one.segment: one.host for one in records if one.segment}
        self._by_host: dict[str, dict[tuple[int, int], list[Record]]] = {
            host: {} for host in self.hosts
        }
        self._expected: dict[int, tuple[int, set[str] | None]] = {}
        for one in records:
            entry = one.entry
            key = entry.start, entry.length
            self._by_host[one.host].setdefault(key, []).append(one)
            known = self._expected.get(entry.start)
            names = None
            if entry.hosts is not None:
                names = {segments.get(name, name) for name in entry.hosts}
                names |= (known[1] if known else None) or set()
            elif known:
                names = known[1]
            self._expected[entry.start] = entry.length, names
        self.hosts_known = bool(records) and all(names for _, names in self._expected.values())
        expected = {segments.get(name, name) for name in expected_hosts(records)}
        self._silent = sorted(expected - set(self.hosts))
        self._starts = {host: sorted(windows) for host, windows in self._by_host.items()}
        self._expected_starts = sorted(self._expected)
        self.length = min((length for length, _ in self._expected.values()), default=USUAL_LENGTH)

    @property
    def boundaries(self) -> list[int]:
        """The starts and ends of the recorded windows."""
        ends = {start + length for start, (length, _) in self._expected.items()}
        return sorted(ends | set(self._expected))

    def cut_window(self, moment: int) -> bool:
        """Whether `moment` lies inside a window, so that a span cuts it."""
        if moment in self._expected:
            return False
        position = bisect_left(self._expected_starts, moment) - 1
        if position >= 0:
            start = self._expected_starts[position]
            end = start + self._expected[start][0]
            if moment <= end:
                return moment < end
        return moment % self.length != 0

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
                if reason := _reason(records):
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


def _reason(records: list[Record]) -> str | None:
    """Why a recorded window is not whole; None if it is."""
    states = {one.entry.state for one in records}
    for state in _REASONS:
        # Another segment of the host may have counted while this one skipped the window.
        if state in states and not (state is State.GAP and any(one.is_whole for one in states)):
            texts = [one.entry.reason for one in records if one.entry.state is state]
            return f"{state}: {texts[0]}" if texts[0] else str(state)
    return None

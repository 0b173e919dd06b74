"""The plan of a query: which files answer each bucket, and what is missing. It reads no ids yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve.archive.errors import DamagedFileError
from verve.archive.format import layout
from verve.archive.format.head import Contents
from verve.archive.format.levels import DAY, HOUR, Level

from .catalogue import Catalogue, mapped, open_file
from .choice import choose
from .coverage import Coverage, Missing, merged
from .pieces import Piece
from .span import MOST_BUCKETS, By, Span, SpanError, buckets, too_many

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from verve.archive.store import ArchiveStore

    from .catalogue import Record, RollUp
    from .choice import Choice

GONE = "its file is gone"


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """The files of a bucket, and what is missing in it.

    `known` are the rows of the only file, which need not be read; None: they must be read.
    `cluster_count` is what the union must equal; None: nothing says it.
    """

    span: Span
    pieces: tuple[Piece, ...]
    missing: tuple[Missing, ...]
    known: int | None
    cluster_count: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All buckets of a query."""

    span: Span
    by: By | None
    buckets: tuple[BucketPlan, ...]
    hosts: tuple[str, ...]
    hosts_known: bool
    forgotten: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The rows to be read."""
        return sum(
            piece.file.contents.rows
            for one in self.buckets
            if one.known is None
            for piece in one.pieces
        )

    @property
    def files(self) -> int:
        """The files to be read."""
        return len({piece.file.name for one in self.buckets for piece in one.pieces})


class Planner:
    """Makes plans for one archive."""

    def __init__(self, store: ArchiveStore, cluster: str) -> None:
        self._store = store
        self._cluster = cluster

    def plan(self, span: Span, by: By | None, check: Callable[[], object] = lambda: None) -> Plan:
        """Plan a query. Raises `SpanError`, and what the store, the files and `check` raise.

        `check` is called again and again, so that it can end the work.
        """
        # Before anything is read: a span of centuries is an error at once. No window is longer
        # than a day.
        longest = HOUR if by is By.HOUR else DAY
        if by is not None and span.until - span.since > MOST_BUCKETS * longest:
            raise too_many(span, by)
        catalogue = Catalogue.read(
            self._store, self._cluster, span, check=check, for_query=True, by=by
        )
        coverage = Coverage(catalogue)
        found = buckets(span, by, coverage.blocks, coverage.length)
        for edge in sorted({edge for one in found for edge in (one.since, one.until)}):
            if coverage.cut_window(edge):
                step = coverage.length
                raise SpanError(
                    f"a span does not consist of whole windows, which last {step} s",
                    span,
                    coverage.nearest(span)
                    if by is None or by is By.MINUTE
                    else span.nearest(_step(by)),
                )
        choices = []
        for one in found:
            check()
            choices.append(choose(catalogue, coverage, one))
        if any(choice.coarser for choice in choices):
            raise SpanError(
                "only a day file is left for a part of a span, and it answers whole hours",
                span,
                span.nearest(HOUR),
            )
        wanted = {name: record for choice in choices for name, record in choice.windows.items()}
        opened = self.opened(catalogue, wanted, check)
        return Plan(
            span,
            by,
            tuple(
                self._bucket(
                    coverage,
                    one,
                    choice,
                    opened,
                    None if by is None else _known(choice, one, catalogue.forgotten),
                )
                for one, choice in zip(found, choices, strict=True)
            ),
            tuple(coverage.hosts),
            coverage.hosts_known,
            tuple(catalogue.forgotten),
        )

    def opened(
        self,
        catalogue: Catalogue,
        wanted: dict[str, Record],
        check: Callable[[], object] = lambda: None,
    ) -> dict[str, Piece]:
        """The files of windows, opened and compared with what manifests say."""

        def open_window(name: str) -> Piece:
            check()
            parsed = layout.parsed(name, self._cluster, Level.MINUTE)
            file = open_file(self._store, parsed, catalogue.windows[name])
            record = wanted[name]
            promised = file.head.promised(file.contents)
            if (
                promised != Contents(record.entry.rows, record.entry.digest or "")
                or file.head.host != record.host
                or parsed.start != record.entry.start
                or parsed.length != record.entry.length
            ):
                raise DamagedFileError("a file of ids is not the one of its manifest", name)
            return Piece(file, lambda ranges: self._store.get_ranges(name, ranges))

        return dict(zip(wanted, mapped(open_window, wanted), strict=True))

    def _bucket(
        self,
        coverage: Coverage,
        span: Span,
        choice: Choice,
        opened: dict[str, Piece],
        known: int | None,
    ) -> BucketPlan:
        pieces = [opened[name] for name in choice.windows]
        pieces += [self.piece(roll_up, mask) for roll_up, mask in choice.roll_ups]
        missing = coverage.missing(span)
        missing += [
            Missing(one.host, one.entry.start, one.entry.end, 1, GONE) for one in choice.gone
        ]
        whole = not missing and not any(piece.file.head.forgotten for piece in pieces)
        return BucketPlan(
            span,
            tuple(pieces),
            tuple(merged(missing)),
            known,
            _cluster_count(coverage, span) if whole else None,
        )

    def piece(self, roll_up: RollUp, mask: int | None) -> Piece:
        """A roll-up to be read, in whole or only some of its parts."""
        name = roll_up.file.name
        return Piece(roll_up.file, lambda ranges: self._store.get_ranges(name, ranges), mask)


def _known(choice: Choice, span: Span, forgotten: Sequence[int]) -> int | None:
    """The rows of the only roll-up of a bucket, as a footer says them; None: there are more files.

    A footer has a checksum of its own, and a file has each id once.
    """
    if choice.windows or len(choice.roll_ups) != 1:
        return None
    roll_up, mask = choice.roll_ups[0]
    if mask is None:
        return roll_up.file.contents.rows
    hour = roll_up.hours.get(span.since)
    if hour is None or forgotten or span.until != span.since + HOUR:
        # The day file may lack a forgotten id that the hour file had.
        return None
    return hour.rows


def _cluster_count(coverage: Coverage, span: Span) -> int | None:
    """What a cluster counted in a bucket of one window, if that is final."""
    records: list[Record] = [
        one for host in coverage.hosts for some in coverage.records(host, span) for one in some
    ]
    windows = {(one.entry.start, one.entry.length) for one in records}
    if windows != {(span.since, span.until - span.since)}:
        return None
    counts = {
        one.entry.cluster_count
        for one in records
        if one.entry.final and one.entry.cluster_count is not None
    }
    return max(counts) if counts else None


def _step(by: By) -> int:
    return HOUR if by is By.HOUR else DAY

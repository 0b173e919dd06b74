"""What a query answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from .coverage import Missing
    from .span import By, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The exact count of a part of a span, over all windows that are not missing."""

    since: int
    until: int
    distinct: int
    complete: bool

    def plain(self) -> dict[str, Any]:
        """The values for JSON."""
        return {
            "span_start": rfc3339(self.since),
            "span_end": rfc3339(self.until),
            "distinct": self.distinct,
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The counts of a span.

    `complete`: no window is missing. `hosts` have records of the span; `hosts_known`: a cluster
    says that there are no others. `rows` were read from `files`.
    """

    span: Span
    by: By | None
    buckets: tuple[Bucket, ...]
    hosts: tuple[str, ...]
    hosts_known: bool
    missing: tuple[Missing, ...]
    rows: int
    files: int

    @property
    def complete(self) -> bool:
        """Whether the counts are those of all ids."""
        return not self.missing

    @property
    def distinct(self) -> int:
        """The count of a span that is not divided."""
        if self.by is not None:
            raise ValueError("the span is divided: each bucket has its count")
        return self.buckets[0].distinct

    def plain(self) -> dict[str, Any]:
        """The values for JSON."""
        values: dict[str, Any] = {
            "span_start": rfc3339(self.span.since),
            "span_end": rfc3339(self.span.until),
            "complete": self.complete,
            "archive_hosts": list(self.hosts),
            "hosts_known": self.hosts_known,
            "missing": [one.plain() for one in self.missing],
            "rows": self.rows,
            "files": self.files,
        }
        if self.by is None:
            return {**values, "distinct": self.distinct}
        return {**values, "by": str(self.by), "buckets": [one.plain() for one in self.buckets]}

"""Answers queries: plans them, counts, and starts anew when files are replaced meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.archive.errors import DamagedFileError, GoneError

from .answer import Answer, Bucket
from .counting import Limits, count, known
from .coverage import Missing, merged
from .plan import Plan, Planner
from .span import Span, SpanError

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve.archive.store import ArchiveStore

    from .plan import BucketPlan
    from .span import By

ATTEMPTS = 3
"""Roll-ups and the expiry replace files while a query reads them."""


def distinct(  # noqa: PLR0913 - a query and its limits
    store: ArchiveStore,
    cluster: str,
    span: Span,
    *,
    by: By | None = None,
    limits: Limits | None = None,
    planned: Callable[[Plan], object] | None = None,
) -> Answer:
    """Count the distinct ids of a span, in whole or in buckets. `planned` sees each plan.

    Raises `SpanError`, `DeadlineError`, and `ArchiveError` for a file that is not sound.
    """
    if span.since >= span.until:
        raise SpanError("a span ends before it begins", span)
    planner = Planner(store, cluster)
    limits = limits or Limits()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            plan = planner.plan(span, by, limits.check)
            if planned is not None:
                planned(plan)
            return _answer(plan, limits)
        except (GoneError, DamagedFileError):
            # A file that is replaced while it is read looks damaged; one that is damaged stays so.
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _answer(plan: Plan, limits: Limits) -> Answer:
    found: list[Bucket] = []
    missing: list[Missing] = []
    rows = 0
    for one in plan.buckets:
        limits.check()
        if one.known is None:
            counted = count(one.pieces, plan.forgotten, limits)
        else:
            counted = known(one.pieces[0], one.known, plan.forgotten)
        rows += counted.rows
        wrong = _differs(one, counted.distinct + counted.forgotten)
        lacking = (*one.missing, *wrong)
        missing += lacking
        found.append(
            Bucket(
                since=one.span.since,
                until=one.span.until,
                distinct=counted.distinct,
                complete=not lacking,
            )
        )
    return Answer(
        span=plan.span,
        by=plan.by,
        buckets=tuple(found),
        hosts=plan.hosts,
        hosts_known=plan.hosts_known,
        missing=tuple(merged(missing)),
        rows=rows,
        files=plan.files,
    )


def _differs(bucket: BucketPlan, distinct: int) -> list[Missing]:
    """The window of a bucket, if its union is not what the cluster counted."""
    if bucket.cluster_count is None or bucket.cluster_count == distinct:
        return []
    reason = f"the cluster counted {bucket.cluster_count}, the files have {distinct}"
    return [Missing(None, bucket.span.since, bucket.span.until, 1, reason)]

"""`verve drain`: have the service of this host get no more requests, and wait until it got none."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from verve._verve import SegmentError, VerveError, segment_identity

from . import segment_view
from .options import settings_from, with_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from verve._verve import Counter
    from verve.config import Settings

QUIET_SECONDS = 2.0
"""A service is drained once nothing was accepted, and nothing was open, for as long."""
DEFAULT_TIMEOUT = 60.0
_LOOK_SECONDS = 0.1


class DrainError(VerveError):
    """The service cannot drain, or has not drained in time."""


@click.command(
    help="Have the service answer `/readyz` with 503, so that its load balancer sends it no more "
    "requests. It counts what arrives all the same. `--undo` ends this, and so does a restart of "
    "the service. Exit status 0; 1 if no service runs, or if it is not drained in time."
)
@with_settings(("config", "state_dir", "segment"))
@click.option("--undo", is_flag=True, help="Make the service ready again.")
@click.option(
    "--wait",
    is_flag=True,
    help=f"Wait until the service accepts nothing for {QUIET_SECONDS:.0f} s, no batch is open and "
    "no request waits for the store.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help=f"With --wait: seconds to wait at most. Default: {DEFAULT_TIMEOUT:.0f}.",
)
def drain(*, undo: bool, wait: bool, timeout: float | None, **options: Any) -> None:  # noqa: ANN401 - see with_settings
    """Drain the service, or undo it. Raises `DrainError` and `SegmentError`."""
    if undo and wait:
        raise click.UsageError("--undo and --wait exclude each other")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout requires --wait")
    if timeout is not None and math.isnan(timeout):
        raise click.UsageError("--timeout is not a number")
    with _service(settings_from(options)) as (counter, start):
        if undo:
            was_on = counter.drain.drained() == start and counter.drain.end()
            _say("the service is ready again" if was_on else "the service does not drain")
            return
        if counter.drain.begin(start):
            _say("the service drains: it counts, and is not ready for more requests")
        else:
            _say("the service drains already")
        if wait:
            wait_until_drained(counter, start, DEFAULT_TIMEOUT if timeout is None else timeout)
            _say("the service is drained")


def _say(message: str) -> None:
    click.echo(message, err=True)


@contextlib.contextmanager
def _service(settings: Settings) -> Iterator[tuple[Counter, int]]:
    """The counter of the service's segment, and the number of the service's start."""
    path = settings.segment
    no_service = DrainError(
        f"no service counts in this segment: `{path}`; hint: use the `--segment` or `--state-dir` "
        "of the service"
    )
    try:
        found = segment_identity(path)
    except SegmentError as error:
        if path.exists():
            raise
        raise no_service from error
    if not found["alive"]:
        raise no_service
    if not found["ours"]:
        raise DrainError(
            f"the service has another version, and its segment another format: `{path}`; "
            "hint: use the `verve` of the service"
        )
    with segment_view.opened(path, found) as counter:
        start = counter.drain.newest()
        if not start:
            raise no_service
        yield counter, start


@dataclass(frozen=True, slots=True)
class Activity:
    """What one start of the service does, over all of its workers.

    Another service of the segment, and programs that count by `verve.Counter`, are left out.
    """

    accepts: int
    """Accepted ids. Only a change has a meaning."""
    workers: int
    unaware: int
    """Workers that have not reported since the drain began."""
    batches: int
    """Batches that have begun and are not counted."""
    waits: int
    """Requests that wait for the store."""

    @classmethod
    def of(cls, counter: Counter, start: int) -> Activity:
        """Read the figures of the segment."""
        workers = counter.drain.figures(start)
        return cls(
            accepts=workers["accepts"],
            workers=workers["serving"],
            unaware=workers["serving"] - workers["draining"],
            batches=workers["open_batches"],
            waits=workers["store_waits"],
        )

    def open(self) -> list[str]:
        """What keeps the service from being drained."""
        found = [
            (self.batches, "batch is open", "batches are open"),
            (self.waits, "request waits for the store", "requests wait for the store"),
            (self.unaware, "worker does not report", "workers do not report"),
        ]
        named = [f"{n} {one if n == 1 else more}" for n, one, more in found if n > 0]
        return named if self.workers else ["no worker runs"]


def wait_until_drained(
    counter: Counter,
    start: int,
    timeout: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until nothing is accepted and nothing is open for `QUIET_SECONDS`.

    Raises `DrainError` after `timeout` seconds, and when the service is drained no more.
    """
    begun = quiet_since = clock()
    accepted_at = None
    before = Activity.of(counter, start)
    while True:
        _check(counter, start)
        activity, now = Activity.of(counter, start), clock()
        if activity.accepts != before.accepts:
            before, accepted_at = activity, now
        if activity.open() or accepted_at == now:
            quiet_since = now
        if now - quiet_since >= QUIET_SECONDS:
            return
        if now - begun >= timeout:
            raise _not_drained(
                timeout, activity, None if accepted_at is None else now - accepted_at
            )
        sleep(min(_LOOK_SECONDS, max(0.0, begun + timeout - now)))


def _check(counter: Counter, start: int) -> None:
    """Raise `DrainError` if it is not this start of the service that drains."""
    has_workers = counter.drain.figures(start)["serving"] > 0
    if not has_workers and counter.drain.newest() not in {0, start}:
        raise DrainError("the service was started again, and does not drain; hint: drain it again")
    drained = counter.drain.drained()
    if drained == start:
        return
    if drained:
        raise DrainError("a newer start of the service drains; hint: wait for that one")
    if not has_workers:
        raise DrainError("the service has ended; hint: nothing is left to wait for")
    raise DrainError("`verve drain --undo` ended the drain; hint: drain it again")


def _not_drained(timeout: float, activity: Activity, since_accept: float | None) -> DrainError:
    found = activity.open()
    if since_accept is not None and since_accept < QUIET_SECONDS:
        found.append(f"it accepted ids {since_accept:.1f} s ago")
    what = ", ".join(found) or f"it has not been quiet for {QUIET_SECONDS:.0f} s yet"
    return DrainError(
        f"the service is not drained after {timeout:g} s: {what}; hint: it still drains: wait "
        "again, or look who sends; `verve drain --undo` makes it ready again"
    )

"""docs/internals/torture.md and its picture, made from the recorded runs."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from tests.support.paths import ROOT
from tests.torture.report.plot import percentile, plot
from tests.torture.report.results import lines, totals

if TYPE_CHECKING:
    from tests.torture.report.results import Totals

PAGE = ROOT / "docs/internals/torture.md"
PICTURE = ROOT / "docs/internals/torture.svg"

_HEAD = """\
# Torture

`make torture ARGS="--minutes 60 --record"` runs the real components for an hour: one to three
hosts under `verve serve`, with the native listener and with Granian, a real Redis and a real
Kafka, HAProxy in front, and a receiver of callbacks. It sends mixed load, injects faults by seed,
and holds each count against the ids that were sent. This page is made from
`tests/torture/results.jsonl`, a line per run, by `make torture ARGS=report`; each figure is a sum
over the runs.

`make test` plays one round of one seed, with two minutes of load at 800 accepts per second, and
`make test-full` another seed each time (`tests/torture/test_torture.py`).

**The judge.** The sender and the reference (`tests/torture/load/`, `tests/torture/reference/`)
share no code with Verve. An id that was answered `ok` must be counted in the window that its
answer names. An id whose request was not answered may be counted, once, in any window of the next
30 s. So a count has a least and a greatest value; near faults they differ by the requests that
got no answer, and elsewhere they are equal: such a window is right to the id. Also judged: an id
that is sent once is `new`; a bad request counts nothing and is answered with its reason; the
ledgers of all hosts, the logs, Kafka and the event streams agree; no revision lowers a count;
each promised callback comes.

**Clocks.** Each host has a wall clock of its own, which is set by up to 40 s and back. In a cluster
that changes nothing: its time is that of Redis. A host alone follows a step forward that lasts, so
there a request without an answer may count up to 40 s later. Every second of those rounds leaves
the clock alone.

**The load.** Accepts of new ids, of ids sent again and again, and with an endpoint, twelve in
flight on each of 18 connections, two thirds through the proxy; batches in the three forms; bad
requests and bad batches; per host a reader of the event stream and one of page, metrics,
readiness and history.

"""

_RECOVERY = """
## Recovery

Seconds until all worked again, while the other faults went on: from the kill, or from the end of a
stop, of an outage or of a full disk. A host works if it answers accepts, all of its workers are
there, and one of them leads. After a full disk it also has a complete record of a window that began
since in its ledger; after a fault of Redis all hosts have one, and after a fault of Kafka Kafka has
one. These include the length of that window.

"""

_FIGURES = {
    "rounds": "rounds, each with its own components",
    "windows": "windows of 2, 3 or 5 s",
    "exact": "of them with one possible count: right to the id",
    "wrong": "windows with a wrong count",
    "missing": "windows missing",
    "lost": "acknowledged ids missing",
    "ids": "ids in the published counts",
    "singles": "accepts of one id answered `ok`",
    "batches": "batches answered",
    "bad": "bad requests, each refused with its reason",
    "unanswered": "ids whose request got no answer",
    "callbacks": "callbacks received",
    "stream_events": "events of streams",
    "pages": "pages, metrics and histories read",
    "faults": "faults injected",
    "kills": "processes of Verve killed, at least",
    "problems": "problems of any kind: `docs/found.md`, 43 (the wrong count) and 44, both fixed",
}


def render(made: Totals) -> str:
    """The page."""
    seconds = made.sums["seconds"]
    text = [_HEAD, f"## {made.runs} runs, {seconds / 3_600:.1f} hours\n\n"]
    text.append("| figure | sum |\n|---|---|\n")
    text += [f"| {what} | {made.sums[name]:,} |\n" for name, what in _FIGURES.items()]
    text.append(_RECOVERY)
    if made.recoveries:
        text.append("![Seconds until all worked again, by kind of fault](torture.svg)\n\n")
        text.append("| fault | times | median | 95 % | longest |\n|---|---|---|---|---|\n")
        for kind, found in sorted(made.recoveries.items()):
            text.append(
                f"| {kind} | {len(found):,} | {median(found):.2f} s | "
                f"{percentile(found, 95):.2f} s | {max(found):.2f} s |\n"
            )
    text.append("\n## Not covered\n\n")
    text.append(
        "Steps of the clock of Redis, which has the machine's.\n"
        "Redis Cluster, sentinels and `VERVE_ACK=store`: see "
        "[what is lost when](../concepts/losses.md).\n"
    )
    if made.left_out:
        text.append(f"Left out where the runs were made: {', '.join(sorted(made.left_out))}.\n")
    return "".join(text)


def write() -> None:
    """Write page and picture."""
    made = totals(lines())
    PAGE.write_text(render(made), encoding="utf-8")
    PICTURE.write_text(plot(made.recoveries), encoding="utf-8")

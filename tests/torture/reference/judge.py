"""Holds what was published against the reference. It shares no code with Verve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.torture.reference.reference import Reference


class Record(NamedTuple):
    """One published revision of a window."""

    start: int
    revision: int
    unique: int
    degraded: bool


@dataclass(slots=True)
class Verdict:
    """The outcome for all windows of a round."""

    windows: int = 0
    """Windows that were judged."""
    exact: int = 0
    """Those whose least and greatest count are equal."""
    wrong: int = 0
    missing: int = 0
    counted: int = 0
    """Ids in all of them."""
    lost: int = 0
    """Acknowledged ids that are missing at least."""
    problems: list[str] = field(default_factory=list)


def judge_counts(final: Mapping[int, Record], reference: Reference, last: int) -> Verdict:
    """Judge the final records of all windows from the first with ids up to the one at `last`."""
    verdict = Verdict()
    named = [start for start in reference.windows() if start <= last]
    if not named:
        verdict.problems.append("no id was acknowledged")
        return verdict
    extra = 0
    for start in range(named[0], last + 1, reference.window):
        verdict.windows += 1
        least, most = reference.bounds(start)
        record = final.get(start)
        if record is None:
            verdict.missing += 1
            verdict.lost += least
            verdict.problems.append(f"the window {start} is missing, with {least} ids at least")
            continue
        verdict.exact += least == most
        verdict.counted += record.unique
        # What is beyond the acknowledged ids, and beyond the hot ones that may be there.
        extra += max(0, record.unique - least - reference.perhaps(start))
        if not least <= record.unique <= most:
            verdict.wrong += 1
            verdict.lost += max(0, least - record.unique)
            verdict.problems.append(f"{record}: expected {least} to {most} ids")
        if record.degraded:
            verdict.problems.append(f"{record} is never made complete")
    spare = reference.unanswered_fresh()
    if extra > spare:
        verdict.problems.append(f"{extra} ids too many in all, of {spare} without an answer")
    if any(start % reference.window for start in final):
        verdict.problems.append("the start of a window is no multiple of its length")
    return verdict


def judge_order(who: str, published: Sequence[Record], final: Mapping[int, Record]) -> list[str]:
    """What one witness published, in its order: each window, never lowered, at last the final."""
    problems = []
    newest: dict[int, Record] = {}
    for one in published:
        before = newest.get(one.start)
        if before is not None and one.revision < before.revision:
            # A witness may repeat a record after a death, and then those after it.
            continue
        # Revision 0 is what one host counted while Redis had no record: that may have been more
        # than a record without that host.
        if before is not None and before.revision > 0 and one.unique < before.unique:
            problems.append(f"{who}: {one} lowers {before}")
        if before is not None and one.revision == before.revision and one.unique != before.unique:
            problems.append(f"{who}: {before} and {one} have the same revision")
        newest[one.start] = one
    for start, one in sorted(final.items()):
        if start not in newest:
            problems.append(f"{who} lacks {one}")
        elif newest[start].unique != one.unique:
            problems.append(f"{who} has {newest[start]}, not {one}")
    return problems


def judge_shown(shown: Iterable[Mapping[str, Any]], final: Mapping[int, Record]) -> list[str]:
    """What streams and histories showed: never more than the final count."""
    return [
        f"{one} was shown, and {final[one['start']]} is final"
        for one in shown
        if one["start"] in final and one["unique"] > final[one["start"]].unique
    ]


def judge_callbacks(report: Mapping[str, Any], final: Mapping[int, Record]) -> list[str]:
    """Each promised callback came, with a count that its window had; no denied one came."""
    called: Mapping[str, list[int]] = report["called"]
    promised: Mapping[str, int] = report["promised"]
    problems = [f"callback {one} never came" for one in promised if one not in called]
    for number, counts in called.items():
        if len(set(counts)) > 1:
            problems.append(f"callback {number} came with several counts: {counts}")
        record = final.get(promised.get(number, 0))
        if record is not None and not 1 <= counts[0] <= record.unique:
            problems.append(f"callback {number} came with {counts[0]}, not {record}")
    problems += [
        f"callback {one} came, and its accept was refused"
        for one in report["denied"]
        if str(one) in called
    ]
    return problems

"""Reads a history and says what is wrong with it. It knows nothing of Verve's code.

The reference for the method is the set checker of Jepsen: each acknowledged element must be in the
final read, and no read may have an element that nobody added. Here a read is a count, so it is
held against the number of distinct ids that were accepted.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


_PUBLISHED = {"logged", "sent", "stored"}


@dataclass(frozen=True, order=True)
class Count:
    """A published count of a window."""

    revision: int
    count: int
    degraded: bool


_NOTHING = Count(-1, 0, degraded=True)


def check(lines: Iterable[str]) -> list[str]:
    """What is wrong with a history; empty if nothing is."""
    facts = [json.loads(line) for line in lines]
    accepted: dict[int, set[int]] = defaultdict(set)
    for fact in facts:
        if fact["kind"] == "accepted":
            accepted[fact["window"]].add(fact["id"])
    excused = _excused(facts)
    truth = {window: len(ids) for window, ids in accepted.items() if window not in excused}
    return [
        *_too_high(facts),
        *_too_early(facts, excused),
        *_provisional(facts),
        *_final(facts, truth),
        *_kept(facts),
        *_lowered(facts),
        *_contradictions(facts),
    ]


def _count_of(fact: dict[str, Any]) -> Count:
    return Count(fact["revision"], fact["count"], fact["degraded"])


def _published(facts: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return (fact for fact in facts if fact["kind"] in _PUBLISHED)


def _too_high(facts: list[dict[str, Any]]) -> Iterable[str]:
    """No count is above the number of distinct ids that were accepted by then."""
    known: dict[int, set[int]] = defaultdict(set)
    for fact in facts:
        if fact["kind"] == "accepted":
            known[fact["window"]].add(fact["id"])
        elif fact["kind"] in _PUBLISHED and fact["count"] > len(known[fact["window"]]):
            yield f"too high: {fact}, {len(known[fact['window']])} ids"


def _excused(facts: list[dict[str, Any]]) -> set[int]:
    """Windows that lack ids for good, as a host has said.

    A host that Redis had forgotten came back with ids, and Redis lost those of the others, who had
    given theirs up.
    """
    if not any(fact["kind"] == "forgotten" for fact in facts):
        return set()
    return {fact["window"] for fact in facts if fact["kind"] == "lower"}


def _too_early(facts: list[dict[str, Any]], excused: set[int]) -> Iterable[str]:
    """A count that is called complete has all ids of the hosts that are known."""
    accepted: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    forgotten: set[str] = set()
    for fact in facts:
        match fact["kind"]:
            case "accepted" if fact["joined"]:
                accepted[fact["window"]][fact["id"]].add(fact["host"])
            case "forgotten":
                forgotten.add(fact["host"])
            case "known":
                forgotten.discard(fact["host"])
            case kind if kind in _PUBLISHED and not fact["degraded"]:
                ids = sum(bool(hosts - forgotten) for hosts in accepted[fact["window"]].values())
                if fact["count"] < ids and fact["window"] not in excused:
                    yield f"called complete: {fact}, {ids} ids"


def _provisional(facts: list[dict[str, Any]]) -> Iterable[str]:
    """What one host knows alone is not sent to Kafka."""
    return (
        f"provisional: {fact}" for fact in facts if fact["kind"] == "sent" and not fact["revision"]
    )


def _final(facts: list[dict[str, Any]], truth: dict[int, int]) -> Iterable[str]:
    """In the end each host that has a window, its log, and Kafka have the complete count."""
    last: dict[int, dict[tuple[str, str], Count]] = defaultdict(dict)
    for fact in _published(facts):
        places, place = last[fact["window"]], (fact["kind"], fact["host"])
        places[place] = max(places.get(place, _NOTHING), _count_of(fact))
    for window, ids in sorted(truth.items()):
        places = last[window]
        hosts = sorted(host for kind, host in places if kind == "stored")
        if not hosts:
            yield f"missing: no host has the window {window} of {ids} ids"
        logs = [("logged", host) for host in hosts]
        for kind, host in [*(("stored", host) for host in hosts), *logs, ("sent", "kafka")]:
            count = places.get((kind, host), _NOTHING)
            if count.count != ids or count.degraded:
                yield f"final: {kind} by {host}: {count} of the window {window} of {ids} ids"


def _contradictions(facts: list[dict[str, Any]]) -> Iterable[str]:
    """A revision is one record, whoever publishes it.

    Of a record that Redis lost, hosts may have seen another one under the same number.
    """
    lost = _last_loss(facts)
    counts: dict[tuple[int, int], set[Count]] = defaultdict(set)
    for fact in _published(facts):
        if fact["revision"] > 0 and fact["window"] > lost:
            counts[fact["window"], fact["revision"]].add(_count_of(fact))
    for (window, revision), different in sorted(counts.items()):
        if len(different) > 1:
            yield f"two records: window {window}, revision {revision}: {sorted(different)}"


def _lowered(facts: list[dict[str, Any]]) -> Iterable[str]:
    """A later revision never has a lower count.

    Of two records of one number, as two masters may have had, the higher one may be the lost one.
    """
    lost = _last_loss(facts)
    counts: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for fact in _published(facts):
        if fact["revision"] > 0:
            counts[fact["window"]][fact["revision"]].add(fact["count"])
    for window, revisions in sorted(counts.items()):
        in_order = [
            count
            for _, its in sorted(revisions.items())
            for count in (sorted(its) if window > lost else [min(its)])
        ]
        if in_order != sorted(in_order):
            shown = [(revision, sorted(its)) for revision, its in sorted(revisions.items())]
            yield f"lowered: window {window}: {shown}"


def _last_loss(facts: list[dict[str, Any]]) -> int:
    """When Redis lost data for the last time; 0: never."""
    return max((fact["window"] for fact in facts if fact["kind"] == "lost"), default=0)


def _kept(facts: list[dict[str, Any]]) -> Iterable[str]:
    """Nothing is kept that is needed no more."""
    return (f"kept: {fact['host']}: {fact['what']}" for fact in facts if fact["kind"] == "kept")

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


@dataclass(frozen=True, order=True)
class Count:
    """A published count of a window."""

    revision: int
    count: int
    degraded: bool


def check(lines: Iterable[str]) -> list[str]:
    """What is wrong with a history; empty if nothing is."""
    facts = [json.loads(line) for line in lines]
    accepted: dict[int, set[int]] = defaultdict(set)
    for fact in facts:
        if fact["kind"] == "accepted":
            accepted[fact["window"]].add(fact["id"])
    truth = {window: len(ids) for window, ids in accepted.items()}
    found = [
        *_too_high(facts, truth),
        *_too_early(facts),
        *_provisional(facts),
        *_final(facts, truth),
        *_kept(facts),
        *_lowered(facts),
    ]
    if not any(fact["kind"] == "lost" for fact in facts):
        # Of a record that Redis lost, hosts may have seen another one under the same number.
        found += _contradictions(facts)
    return found


def _count_of(fact: dict[str, Any]) -> Count:
    return Count(fact["revision"], fact["count"], fact["degraded"])


def _published(facts: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return (fact for fact in facts if fact["kind"] in {"logged", "sent", "stored"})


def _too_high(facts: list[dict[str, Any]], truth: dict[int, int]) -> Iterable[str]:
    """No count is above the number of distinct ids."""
    for fact in _published(facts):
        if fact["count"] > truth.get(fact["window"], 0):
            yield f"too high: {fact}, {truth.get(fact['window'], 0)} ids"


def _too_early(facts: list[dict[str, Any]]) -> Iterable[str]:
    """A count that is called complete has all ids of the hosts that had joined."""
    known: dict[int, set[int]] = defaultdict(set)
    for fact in facts:
        if fact["kind"] == "accepted" and fact["joined"]:
            known[fact["window"]].add(fact["id"])
    for fact in _published(facts):
        if not fact["degraded"] and fact["count"] < len(known[fact["window"]]):
            yield f"called complete: {fact}, {len(known[fact['window']])} ids"


def _provisional(facts: list[dict[str, Any]]) -> Iterable[str]:
    """What one host knows alone is not sent to Kafka."""
    return (
        f"provisional: {fact}" for fact in facts if fact["kind"] == "sent" and not fact["revision"]
    )


def _final(facts: list[dict[str, Any]], truth: dict[int, int]) -> Iterable[str]:
    """In the end each host that has a window, and Kafka, has the complete count."""
    stored: dict[int, dict[str, Count]] = defaultdict(dict)
    sent: dict[int, Count] = {}
    for fact in facts:
        if fact["kind"] == "stored":
            stored[fact["window"]][fact["host"]] = _count_of(fact)
        elif fact["kind"] == "sent":
            sent[fact["window"]] = max(
                sent.get(fact["window"], Count(-1, 0, True)), _count_of(fact)
            )
    for window, ids in sorted(truth.items()):
        if not stored[window]:
            yield f"missing: no host has the window {window} of {ids} ids"
        for host, count in sorted(stored[window].items()):
            if count.count != ids or count.degraded:
                yield f"final: host {host} has {count} of the window {window} of {ids} ids"
        if window not in sent:
            yield f"missing: Kafka has no message of the window {window} of {ids} ids"
        elif sent[window].count != ids or sent[window].degraded:
            yield f"final: Kafka has {sent[window]} of the window {window} of {ids} ids"


def _contradictions(facts: list[dict[str, Any]]) -> Iterable[str]:
    """A revision has one count, whoever publishes it."""
    counts: dict[tuple[int, int], set[int]] = defaultdict(set)
    for fact in _published(facts):
        if fact["revision"] > 0:
            counts[fact["window"], fact["revision"]].add(fact["count"])
    for (window, revision), different in sorted(counts.items()):
        if len(different) > 1:
            yield f"two counts: window {window}, revision {revision}: {sorted(different)}"


def _lowered(facts: list[dict[str, Any]]) -> Iterable[str]:
    """A later revision never has a lower count."""
    counts: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for fact in _published(facts):
        if fact["revision"] > 0:
            counts[fact["window"]].add((fact["revision"], fact["count"]))
    for window, revisions in sorted(counts.items()):
        in_order = [count for _, count in sorted(revisions)]
        if in_order != sorted(in_order):
            yield f"lowered: window {window}: {sorted(revisions)}"


def _kept(facts: list[dict[str, Any]]) -> Iterable[str]:
    """Nothing is kept that is needed no more."""
    return (f"kept: {fact['host']}: {fact['what']}" for fact in facts if fact["kind"] == "kept")

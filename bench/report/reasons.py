"""Why Verve is slower somewhere: sentences of docs/decisions.md, found by a phrase of theirs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Reason:
    """Where the reason stands, for which scenarios and rivals."""

    scenario: str
    against: str
    """The contender's name, a pattern; empty for a goal in our own figure."""
    section: str
    phrases: tuple[str, ...]
    """One of each sentence."""


HAND_OVER = "Worker threads are scheduled in batches"
START = "A start is that of Python, twice"
IDLE = "An idle service looks twenty times a second"
SINGLE = "Where the time of a single insert goes"
GROWING = "A growing table moves its ids"
AHEAD = "A batch asks for one line with each insert"
EXTENTS = "An arena is one run of buckets, and its extents follow each other"

# The first that fits.
REASONS = (
    Reason("accept-*", "hyper", HAND_OVER, ("network thread to a Python thread", "each wakes")),
    Reason("latency", "hyper", HAND_OVER, ("network thread to a Python thread", "each wakes")),
    Reason("accept-*", "*", HAND_OVER, ("two thirds",)),
    Reason("start-up", "*", START, ("The parent imports", "A worker that is forked")),
    Reason("idle", "*", IDLE, ("A leader that stopped", "All in all")),
    Reason("memory", "*", START, ("At rest",)),
    Reason("table-single-1m", "*", SINGLE, ("lies in the caches", "takes 23 ns")),
    Reason("table-single*", "*", SINGLE, ("Alone on a core", "in the way of the next insert")),
    Reason("table-growing*", "*", GROWING, ("Singly that is as fast",)),
    Reason("table-batch*", "*", AHEAD, ("32 places ahead", "At 1 M ids", "two to four")),
    Reason("table-memory", "*", EXTENTS, ("each further one twice",)),
)


def why(decisions: str, scenario: str, against: str) -> tuple[str, str] | None:
    """The section and the sentences, if a reason is recorded."""
    for reason in REASONS:
        if fnmatch(scenario, reason.scenario) and fnmatch(against, reason.against):
            found = sentences(decisions, reason)
            return (reason.section, " ".join(found)) if found else None
    return None


def sentences(decisions: str, reason: Reason) -> list[str]:
    """The sentences of a section that hold the phrases, in the order of the phrases."""
    _, _, after = decisions.partition(f"\n## {reason.section}\n")
    text = " ".join(after.partition("\n## ")[0].split())
    # A sentence ends before a capital; "1.3 M/s" and "no. 5" do not end one.
    all_sentences = re.split(r"(?<=[.:;])\s+(?=[A-Z`])", text)
    return [one for phrase in reason.phrases for one in all_sentences if phrase in one]


def read(path: Path) -> str:
    """The decisions; nothing where they are not at hand."""
    return path.read_text() if path.exists() else ""


def anchor(section: str) -> str:
    """What a repository view calls a heading in a link."""
    return re.sub(r"[^\w\- ]", "", section.lower()).replace(" ", "-")

"""The reference and the judge find what is wrong, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import ROOT
from tests.torture.load.answers import AnswerError, Meaning, Parser
from tests.torture.load.tally import Tally
from tests.torture.reference.judge import (
    Record,
    judge_callbacks,
    judge_counts,
    judge_order,
    judge_shown,
)
from tests.torture.reference.numbering import HOT, HOT_IDS, id_of, ids_of
from tests.torture.reference.reference import LONGEST_DELAY, Bounds, Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW = 2
HERE = ROOT / "tests/torture"


@pytest.fixture
def reference() -> Reference:
    """Windows 100 and 102: 5 and 3 ids sent once, and hot ids 1 to 3 and 3 to 4."""
    made = Reference(WINDOW)
    made.fresh.update({100: 5, 102: 3})
    made.hot[100].update({1, 2, 3})
    made.hot[102].update({3, 4})
    return made


def records(*uniques: int) -> dict[int, Record]:
    """Complete records of the windows from 100 on."""
    starts = range(100, 100 + WINDOW * len(uniques), WINDOW)
    return {
        start: Record(start, 1, unique, degraded=False)
        for start, unique in zip(starts, uniques, strict=True)
    }


def test_right_counts(reference: Reference) -> None:
    verdict = judge_counts(records(8, 5), reference, 102)
    assert verdict.problems == []
    assert (verdict.windows, verdict.exact, verdict.counted) == (2, 2, 13)


@pytest.mark.parametrize(
    ("final", "found"),
    [
        (records(7, 5), (1, 0, 1)),
        (records(9, 5), (1, 0, 0)),
        (records(8), (0, 1, 5)),
        (records(5, 8), (1, 0, 3)),
    ],
)
def test_wrong_counts(
    final: Mapping[int, Record], found: tuple[int, int, int], reference: Reference
) -> None:
    verdict = judge_counts(final, reference, 102)
    assert verdict.problems
    # Of the last case the second window is wrong too: it has more than was sent.
    assert (min(verdict.wrong, 1), verdict.missing, verdict.lost) == found


def test_an_id_without_an_answer_may_be_counted_or_not(reference: Reference) -> None:
    reference.unanswered(101.9, fresh=2, hot=(3, 9))
    assert reference.bounds(100) == Bounds(8, 11)
    # Of the hot ones the window has one in any case.
    assert reference.bounds(102) == Bounds(5, 8)
    assert reference.bounds(98) == Bounds(0, 0)
    assert reference.bounds(102 + LONGEST_DELAY).most == 0
    assert reference.unanswered_fresh() == 2


def test_windows_of_a_clock_that_is_set_may_be_ahead_and_behind() -> None:
    made = Reference(WINDOW, ahead=40, behind=5)
    made.unanswered(200.5, fresh=1)
    found = [start for start in range(100, 300, WINDOW) if made.bounds(start).most]
    assert (found[0], found[-1]) == (194, 200 + LONGEST_DELAY + 40)
    assert Reference.loaded(made.saved()).bounds(194) == Bounds(0, 1)


def test_each_id_without_an_answer_is_counted_once_at_most(reference: Reference) -> None:
    reference.unanswered(101.9, fresh=2)
    assert judge_counts(records(10, 5), reference, 102).problems == []
    assert judge_counts(records(9, 6), reference, 102).problems == []
    assert judge_counts(records(10, 6), reference, 102).problems


def test_a_degraded_record_is_not_final(reference: Reference) -> None:
    final = records(8, 5) | {102: Record(102, 1, 5, degraded=True)}
    assert judge_counts(final, reference, 102).problems


def test_it_is_the_same_after_saving(reference: Reference) -> None:
    reference.unanswered(101.9, fresh=2, hot=(3, 9))
    again = Reference.loaded(reference.saved())
    assert again.saved() == reference.saved()
    assert again.bounds(100) == reference.bounds(100)


def test_what_a_witness_published_in_order() -> None:
    final = records(8, 5)
    first, second = Record(100, 1, 7, degraded=True), Record(100, 2, 8, degraded=False)
    other = final[102]
    final[100] = second
    assert judge_order("log", [first, second, other], final) == []
    assert judge_order("log", [first, first, second, first, second, other], final) == []
    alone = Record(100, 0, 8, degraded=True)
    assert judge_order("log", [alone, first, second, other], final) == []
    assert judge_order("log", [first, other], final)
    assert judge_order("log", [first, second], final)
    assert judge_order("log", [second, second._replace(unique=9), other], final)
    assert judge_order("log", [first._replace(unique=9), second, other], final)


def test_what_was_shown() -> None:
    final = records(8)
    assert judge_shown([{"start": 100, "unique": 8}, {"start": 98, "unique": 9}], final) == []
    assert judge_shown([{"start": 100, "unique": 9}], final)


@pytest.mark.parametrize(
    ("called", "is_right"),
    [
        ({"7": [3]}, True),
        ({"7": [3, 3], "9": [1]}, True),
        ({}, False),
        ({"7": [3, 4]}, False),
        ({"7": [9]}, False),
        ({"7": [0]}, False),
        ({"7": [3], "8": [1]}, False),
    ],
)
def test_callbacks(called: Mapping[str, list[int]], is_right: bool) -> None:
    report = {"promised": {"7": 100}, "denied": [8], "called": called}
    assert (judge_callbacks(report, records(8)) == []) is is_right


def test_ids_are_distinct() -> None:
    count = 300_000
    ids = set(ids_of(0, count).tolist())
    assert len(ids) == count
    assert [id_of(number) for number in range(HOT)] == HOT_IDS
    assert set(HOT_IDS) < ids
    assert min(ids) < -(1 << 62)
    assert max(ids) > 1 << 62


def test_answers_are_cut_from_bytes() -> None:
    ok = b"HTTP/1.1 200 OK\r\nVerve-Window: 100\r\ncontent-length: 2\r\nverve-seen: new\r\n\r\nok"
    full = b"HTTP/1.1 503 X\r\nverve-error: no space\r\ncontent-length: 6\r\n\r\nfailed"
    away = b"HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n"
    idle = (
        b"HTTP/1.1 503 X\r\ncontent-length: 46\r\n\r\n"
        b"No server is available to handle this request\n"
    )
    lost = b"HTTP/1.1 503 X\r\nverve-error: store unconfirmed\r\ncontent-length: 0\r\n\r\n"
    text = ok + full + away + idle + lost
    whole = Parser().feed(text)
    assert [one.meaning for one in whole] == [
        Meaning.COUNTED,
        Meaning.NOT_COUNTED,
        Meaning.NOT_KNOWN,
        Meaning.NOT_COUNTED,
        Meaning.NOT_KNOWN,
    ]
    assert whole[0].fields == {b"verve-window": b"100", b"verve-seen": b"new"}
    parser = Parser()
    assert [one for byte in text for one in parser.feed(bytes([byte]))] == whole
    with pytest.raises(AnswerError):
        Parser().feed(b"hello\r\n\r\n")


def test_verdicts_that_cannot_be() -> None:
    tally = Tally(WINDOW)
    tally.placed("a", 100, seen=b"new", hot=7)
    tally.placed("b", 100, seen=b"new", hot=7)
    tally.placed("a", 100, seen=b"duplicate", hot=7)
    tally.placed("a", 102, seen=b"new", hot=7)
    tally.placed("a", 100, seen=b"new", hot=None)
    assert tally.wrong == []
    tally.placed("a", 100, seen=b"new", hot=7)
    tally.placed("a", 100, seen=b"duplicate", hot=None)
    tally.placed("a", 101, seen=b"new", hot=None)
    assert tally.wrong_total == len(tally.wrong) == 3


def test_sender_and_reference_share_no_code_with_verve() -> None:
    for folder in ("load", "reference"):
        for file in (HERE / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not [name for name in names if name.split(".")[0] == "verve"], file
    program = (
        "import sys, tests.torture.load.__main__, tests.torture.reference.judge\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'verve']"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)

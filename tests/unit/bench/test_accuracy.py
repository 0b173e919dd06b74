from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from bench.accuracy import page, results
from bench.accuracy.cases import CASES
from bench.accuracy.contenders import CONTENDERS
from bench.accuracy.judge import Bounds, Requests, judge

WINDOW = 10


def requests(*rows: tuple[int, float, float, bool]) -> Requests:
    """Requests of an id, sent and answered at times, acknowledged or not."""
    ids, begins, ends, acknowledged = zip(*rows, strict=True)
    return Requests(np.array(ids), np.array(begins), np.array(ends), np.array(acknowledged))


def drawn(seed: int, number: int = 400) -> Requests:
    """Requests over three windows: many near a boundary, some without an answer."""
    draw = random.Random(seed)
    rows = []
    for _ in range(number):
        begin = draw.choice([draw.uniform(0, 29), draw.choice([9.9, 19.9])])
        took = draw.choice([0.001, 0.3])
        rows.append((draw.randrange(150), begin, begin + took, draw.random() < 0.9))
    return requests(*rows)


def counted(found: Requests, draw: random.Random) -> dict[int, set[int]]:
    """The ids of each window as an exact counter has them, which decides what is undecided."""
    windows: dict[int, set[int]] = {}
    for id, begin, end, acknowledged in zip(*found, strict=True):
        if acknowledged or draw.random() < 0.5:
            start = int(draw.choice([begin, end]) // WINDOW * WINDOW)
            windows.setdefault(start, set()).add(int(id))
    return windows


def sizes(windows: dict[int, set[int]]) -> dict[int, int]:
    return {start: len(ids) for start, ids in windows.items()}


@pytest.mark.parametrize("seed", range(20))
def test_an_exact_counter_has_no_error(seed: int) -> None:
    found = drawn(seed)
    judged = judge(found, sizes(counted(found, random.Random(seed))), WINDOW)
    assert judged.error == judged.lost == 0
    assert set(judged.bounds) >= {0, 10, 20}


def test_a_repeated_id_counts_once_in_a_window_and_again_in_the_next() -> None:
    found = requests((1, 1, 2, True), (1, 3, 4, True), (1, 12, 13, True), (2, 5, 6, True))
    assert judge(found, {0: 2, 10: 1}, WINDOW).error == 0
    assert judge(found, {0: 3, 10: 1}, WINDOW).error == 1
    assert judge(found, {0: 1, 10: 1}, WINDOW).error == -1
    assert judge(found, {0: 2}, WINDOW).error == -1


def test_a_request_in_progress_at_the_boundary_counts_on_one_side() -> None:
    found = requests((1, 9.9, 10.1, True), (2, 5, 6, True))
    assert judge(found, {0: 2}, WINDOW).error == 0
    assert judge(found, {0: 1, 10: 1}, WINDOW).error == 0
    # In neither window, and in both.
    missed, doubled = judge(found, {0: 1}, WINDOW), judge(found, {0: 2, 10: 1}, WINDOW)
    assert (missed.error, missed.lost) == (-1, -1)
    assert (doubled.error, doubled.lost) == (1, 1)
    assert set(missed.errors.values()) == set(doubled.errors.values()) == {0}


def test_a_request_without_a_good_answer_may_count() -> None:
    found = requests((1, 1, 2, False), (2, 3, 4, True), (2, 5, 6, False))
    judged = judge(found, {0: 2}, WINDOW)
    assert (judged.bounds[0], judged.acknowledged, judged.refused) == (Bounds(1, 2), 1, 2)
    assert [judge(found, {0: n}, WINDOW).error for n in range(4)] == [-1, 0, 0, 1]


def test_ids_that_move_over_a_boundary_are_an_error_of_both_windows() -> None:
    found = requests(*((id, 5, 6, True) for id in range(4)), (9, 15, 16, True))
    judged = judge(found, {0: 3, 10: 2}, WINDOW)
    assert (dict(judged.errors), judged.lost) == ({0: -1, 10: 1}, 0)
    assert judged.error == -1
    assert judged.share == pytest.approx(-1 / 5)


def test_a_count_of_a_window_without_requests_is_an_error() -> None:
    assert judge(requests((1, 1, 2, True)), {0: 1, 30: 7}, WINDOW).error == 7


def test_every_reason_is_of_a_service_and_a_case() -> None:
    cases = {case.name for case in CASES} | {results.SPEED}
    assert set(page.REASONS) <= {one.name for one in CONTENDERS}
    assert {case for reasons in page.REASONS.values() for case in reasons} <= cases


def sample(error: int, refused: int = 0) -> dict[str, Any]:
    return {
        "acknowledged": 100,
        "requests": 200,
        "refused": refused,
        "lost_messages": 7,
        "bounds": {"0": [100, 100]},
        "published": {"0": 100 + error},
        "error": error,
        "share": error / 100,
    }


def test_the_page_shows_the_median_and_the_worst() -> None:
    cases = {
        "samples": {
            "lost/gin-setnx": [sample(-2), sample(-9), sample(-3)],
            "away/gin-sadd": [sample(0, refused=50)],
            "kill/verve": [sample(0), {"problem": "it did not start"}],
        }
    }
    speed = {"samples": {"verve": [{"rate": 5e4, "cpu_us": 9.5, "error": 0, "share": 0.0}]}}
    for one in speed["samples"]["verve"]:
        one["disturbed"] = 0.3
    text = page.text_of(cases, speed, "raw")
    assert "-3 (-3.0%), worst -9" in text
    assert "0; refuses 25%" in text
    assert page.REASONS["gin-setnx"]["lost"] in text
    assert "**FAILED: Verve: it did not start**" in text
    assert "other programs used the cores" in text
    assert "50,000, 50,000" in text

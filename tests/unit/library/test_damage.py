"""A segment whose words are damaged: refused at attach, an error of Verve in who lives in it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from verve import Counter, SegmentError, VerveError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = 4096


def place_of_current(path: Path, counter: Counter) -> int:
    """Where the current word is: the one word of the header that names the window."""
    window = counter.current().window_start // 60
    words = np.fromfile(path, "<u8", count=HEADER // 8)
    (place,) = np.flatnonzero(words >> np.uint64(16) == window)
    return int(place) * 8


CALLS: list[Callable[[Counter], object]] = [
    lambda counter: counter.add(7),
    lambda counter: counter.add_many([7, 8]),
    lambda counter: counter.count(),
    lambda counter: counter.ids(),
    lambda counter: counter.http.accept("id=7"),
    lambda counter: counter.http.accept_batch("text", b"7"),
    lambda counter: counter.maintenance.run(),
]


def test_a_damaged_word_is_an_error_of_verve(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    with Counter(path, window=60, max_ids=10_000) as counter:
        assert counter.add(1)
        place = place_of_current(path, counter)
        with path.open("r+b") as file:
            file.seek(place)
            sound = file.read(8)
            file.seek(place)
            file.write(b"\xff" + sound[1:])
        for call in CALLS:
            with pytest.raises(VerveError, match="hint"):
                call(counter)
        with pytest.raises(SegmentError, match="damaged, the current word is `0x") as caught:
            Counter(path, window=60, max_ids=10_000)
        assert caught.value.reason == "format"
        assert caught.value.alive
        with path.open("r+b") as file:
            file.seek(place)
            file.write(sound)
        # Nothing was left behind.
        assert counter.add(2)
        assert counter.count() == 2
        with Counter(path, window=60, max_ids=10_000) as other:
            assert other.count() == 2


def test_signals_hold_up_no_reservation() -> None:
    rung = 0

    def ring(*_: object) -> None:
        nonlocal rung
        rung += 1

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        with Counter(window=60, max_ids=8_000_000) as counter:
            assert counter.add_many(np.arange(4_000_000)) == 4_000_000
            assert counter.seal().unique == 4_000_000
            assert counter.add(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # Python runs the handler between two calls, once for all signals of a call.
    assert rung

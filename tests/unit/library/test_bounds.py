"""Input without end, or beyond the memory, ends in an exception, and nothing of it is counted."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from verve import Counter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

LIMITED = """
import itertools, json, resource
from array import array
import numpy as np
from verve import Counter

MANY = 4_000_000
counter = Counter(max_ids=3_000_000)
counter.add_many(np.arange(2_000_000))
big = {
    "numpy": np.zeros(MANY, np.int64),
    "big-endian": np.zeros(MANY, ">i8"),
    "list": [7] * MANY,
    "array": array("q", [7]) * MANY,
    "memoryview": memoryview(bytes(8 * MANY)).cast("q"),
}
text = b"7\\n" * MANY
array_of_json = b"[" + b"7," * MANY + b"7]"
calls = {
    "repeat": lambda: counter.add_many(itertools.repeat(7)),
    "count": lambda: counter.add_many(itertools.count()),
    "by window": lambda: counter.add_many_by_window(itertools.repeat(7)),
    **{name: lambda ids=ids: counter.add_many(ids) for name, ids in big.items()},
    "ids": counter.ids,
    "text": lambda: str(counter.http.accept_batch("text", text)),
    "json": lambda: str(counter.http.accept_batch("json", array_of_json)),
}
with open("/proc/self/statm") as figures:
    used = int(figures.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (10 << 20), resource.RLIM_INFINITY))
seen = {}
for name, call in calls.items():
    try:
        seen[name] = call()
    except MemoryError as error:
        seen[name] = f"MemoryError: {error}"
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert counter.add(-1)
current = counter.current()
seen["counted"] = current.unique, current.requests
print(json.dumps(seen))
"""


def test_no_memory_is_an_error_that_changes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen.pop("counted") == [2_000_001, 2_000_001]
    for kind in ("text", "json"):
        refusal = seen.pop(kind)
        assert refusal.startswith("(503, ")
        assert "'no space'), ('verve-recorded', '0')" in refusal
    assert len(seen) == 9
    assert all(str(what).startswith("MemoryError: ") for what in seen.values()), seen


def test_an_iterable_without_a_length_has_a_bound() -> None:
    with Counter(max_ids=100) as counter:
        with pytest.raises(MemoryError, match=r"`67108864`; hint: ") as caught:
            counter.add_many(itertools.repeat(7))
        assert "itertools.batched" in str(caught.value)
        assert counter.current().requests == 0


class Alarm(Exception):  # noqa: N818 - it is no error
    """What the handler of the signal raises."""


@pytest.fixture
def alarm() -> Iterator[None]:
    """A signal in a moment, whose handler raises."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_a_signal_ends_the_reading_of_an_iterable() -> None:
    with Counter(max_ids=100) as counter:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            counter.add_many(itertools.repeat(7))
        assert counter.current().requests == 0


@pytest.mark.usefixtures("alarm")
def test_a_signal_ends_the_counting_of_an_array() -> None:
    ids = np.zeros(16 << 20, np.int64)
    with Counter(max_ids=100) as counter:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        with pytest.raises(Alarm):
            counter.add_many(ids)
        assert counter.current().requests < len(ids)
        assert counter.add(-1), "it goes on"


def test_other_threads_run_while_an_iterable_is_read() -> None:
    with Counter(max_ids=100) as counter:
        ids = itertools.islice(itertools.repeat(7), 1 << 24)
        thread = threading.Thread(target=counter.add_many, args=(ids,))
        thread.start()
        turns = 0
        while thread.is_alive():
            time.sleep(0.001)
            turns += 1
        assert turns > 5
        assert counter.current().requests == 1 << 24

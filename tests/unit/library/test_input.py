"""What may be counted: every form in which ids come, and every one that is refused whole."""

from __future__ import annotations

import itertools
import random
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verve import Counter, IdError, ManualClock, VerveError

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST, MOST = -(1 << 63), (1 << 63) - 1
EDGES = [LEAST, LEAST + 1, -(1 << 32), -1, 0, 1, 1 << 31, 1 << 32, 1 << 53, MOST - 1, MOST]
IDS = st.integers(LEAST, MOST)


@pytest.fixture
def counter() -> Iterator[Counter]:
    """A counter in memory whose clock stands still, with three ids in it."""
    with Counter(max_ids=10_000, clock=ManualClock(1_800_000_000)) as counter:
        counter.add_many([-5, -6, -7])
        yield counter
        assert counter.add(-8), "it goes on"


def unchanged(counter: Counter) -> bool:
    """Whether nothing was counted beyond what the fixture counted."""
    current = counter.current()
    return (
        sorted(counter.ids()) == [-7, -6, -5]
        and (current.unique, current.requests) == (3, 3)
        and counter.stats()["requests_total"] == 3
    )


class Number:
    """An integer by `__index__`, whatever its text says."""

    def __init__(self, value: int, text: str = "a number") -> None:
        self.value = value
        self.text = text

    def __index__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return self.text


class Failing:
    """An integer that cannot be had."""

    def __index__(self) -> int:
        raise ZeroDivisionError("no integer")


class Boasting:
    """An iterable that says it is longer than any memory."""

    def __init__(self, length: int, items: list[int]) -> None:
        self.length = length
        self.items = items

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)


@pytest.mark.parametrize("id", EDGES)
def test_every_int64_is_an_id(id: int) -> None:
    with Counter(max_ids=100) as counter:
        assert counter.add(id)
        assert not counter.add(id)
        assert counter.add_in_window(id)[0] is False
        assert list(counter.ids()) == [id]
        assert counter.add_many([id, id]) == 0
        assert counter.count() == 1


@pytest.mark.parametrize(
    "id",
    [
        *(True, np.int64(1), np.int32(1), np.uint64(1), np.int8(1)),
        pytest.param(Number(1), id="Number(1)"),
    ],
    ids=repr,
)
def test_whatever_is_an_integer_is_one(id: Any) -> None:  # noqa: ANN401 - that is the point
    with Counter(max_ids=100) as counter:
        assert counter.add(id)
        assert not counter.add(1)
        assert list(counter.ids()) == [1]


OUT_OF_RANGE = [
    MOST + 1,
    LEAST - 1,
    1 << 64,
    10**400,
    -(10**400),
    10**5_000,  # more digits than Python likes to print
    np.uint64(1 << 63),
    Number(1 << 70),
    Number(1 << 70, "é" * 100),
    Number(1 << 70, "x" + "😀" * 100),
    Number(1 << 70, ""),
]


@pytest.mark.parametrize("id", OUT_OF_RANGE, ids=range(len(OUT_OF_RANGE)))
def test_an_integer_out_of_range_is_an_id_error(counter: Counter, id: Any) -> None:  # noqa: ANN401
    for call in (counter.add, counter.add_in_window):
        with pytest.raises(IdError, match="an integer of 64 bits") as caught:
            call(id)
        assert caught.value.position is None
        assert "hint: " in str(caught.value)
    for batch in ([id, 1], [1, id], [1, 2, 3, 4, id], [id]):
        for many in (counter.add_many, counter.add_many_by_window):
            with pytest.raises(IdError, match="position") as caught:
                many(batch)
            assert caught.value.position == batch.index(id)
    assert isinstance(caught.value, VerveError | ValueError)
    assert unchanged(counter)


@pytest.mark.parametrize(
    "id",
    ["7", b"7", 7.0, None, [7], {}, 7j, pytest.param(object(), id="object()"), np.float64(7)],
    ids=repr,
)
def test_what_is_no_integer_is_a_type_error(counter: Counter, id: Any) -> None:  # noqa: ANN401
    for call in (counter.add, counter.add_in_window):
        with pytest.raises(TypeError):
            call(id)
    for many in (counter.add_many, counter.add_many_by_window):
        with pytest.raises(TypeError):
            many([1, 2, id])
    assert unchanged(counter)


def test_an_integer_that_fails_fails_as_it_likes(counter: Counter) -> None:
    with pytest.raises(ZeroDivisionError):
        counter.add(Failing())  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        counter.add_many([1, Failing()])  # type: ignore[list-item]
    assert unchanged(counter)


@pytest.mark.parametrize(
    "ids", ["12", b"12345678", bytearray(8), 5, None, 5.0, np.zeros((2, 2), np.int32)], ids=repr
)
def test_what_is_no_batch_is_a_type_error(counter: Counter, ids: Any) -> None:  # noqa: ANN401
    for many in (counter.add_many, counter.add_many_by_window):
        with pytest.raises(TypeError):
            many(ids)
    assert unchanged(counter)


def raising(after: int) -> Iterator[int]:
    """Some ids, then an error."""
    yield from range(after)
    raise ConnectionError("the source went away")


@pytest.mark.parametrize("after", [0, 1, 5_000])
def test_an_iterable_that_fails_midway_changes_nothing(counter: Counter, after: int) -> None:
    with pytest.raises(ConnectionError, match="went away"):
        counter.add_many(raising(after))
    assert unchanged(counter)


@pytest.mark.parametrize("length", [0, 1, 10, 1 << 40, 1 << 62, (1 << 63) - 1])
def test_a_length_is_only_a_hint(length: int) -> None:
    with Counter(max_ids=100) as counter:
        assert counter.add_many(Boasting(length, [1, 2, 3, 3])) == 3
        assert sorted(counter.ids()) == [1, 2, 3]


def test_an_iterable_that_lies_about_its_length_by_failing(counter: Counter) -> None:
    with pytest.raises((ValueError, OverflowError, TypeError)):
        counter.add_many(Boasting(-1, ["x"]))  # type: ignore[list-item]
    assert unchanged(counter)


WHOLE = [3, -1, LEAST, MOST, 0, 3, 77]
FORMS: dict[str, Any] = {
    "list": WHOLE,
    "tuple": tuple(WHOLE),
    "set": set(WHOLE),
    "dict": dict.fromkeys(WHOLE),
    "generator": None,
    "iterator": None,
    "array q": array("q", WHOLE),
    "array l": array("l", WHOLE),
    "memoryview": memoryview(array("q", WHOLE)),
    "memoryview of bytes": memoryview(np.array(WHOLE, np.int64).tobytes()).cast("q"),
    "memoryview backwards": memoryview(array("q", WHOLE))[::-1],
    "numpy": np.array(WHOLE, np.int64),
    "numpy read-only": np.array(WHOLE, np.int64),
    "numpy strided": np.repeat(np.array(WHOLE, np.int64), 3)[::3],
    "numpy backwards": np.array(WHOLE, np.int64)[::-1],
    "numpy 2-D": np.array([*WHOLE, 3], np.int64).reshape(2, 4),
    "numpy column-major": np.asfortranarray(np.array([*WHOLE, 3], np.int64).reshape(4, 2)),
    "numpy 3-D slice": np.array([*WHOLE, 3] * 2, np.int64).reshape(2, 2, 4)[:, ::-1, ::2],
    "numpy big-endian": np.array(WHOLE, ">i8"),
    "numpy objects": np.array(WHOLE, object),
    "numpy unaligned": np.frombuffer(
        b"x" + np.array(WHOLE, np.int64).tobytes(), np.int64, offset=1
    ),
}
FORMS["numpy read-only"].flags.writeable = False


@pytest.mark.parametrize("form", FORMS)
def test_ids_come_in_many_forms(form: str) -> None:
    made = {"generator": (id for id in WHOLE), "iterator": iter(WHOLE)}
    ids = made.get(form, FORMS[form])
    wanted = set(WHOLE)
    if form == "numpy 3-D slice":
        wanted = set(FORMS[form].ravel().tolist())
    with Counter(max_ids=100) as counter:
        assert counter.add_many(ids) == len(wanted)
        assert set(counter.ids()) == wanted
        assert len(counter.ids()) == len(wanted)


@pytest.mark.parametrize(
    "kind", [np.int8, np.int16, np.int32, np.uint8, np.uint32, np.uint64, bool]
)
def test_other_integer_arrays_are_counted_by_value(kind: Any) -> None:  # noqa: ANN401
    ids = np.array([0, 1, 1, 0], kind)
    with Counter(max_ids=100) as counter:
        if kind is bool:
            with pytest.raises(TypeError):
                counter.add_many(ids)
        else:
            assert counter.add_many(ids) == 2
            assert sorted(counter.ids()) == [0, 1]


def test_a_large_value_in_an_unsigned_array_is_an_id_error(counter: Counter) -> None:
    with pytest.raises(IdError) as caught:
        counter.add_many(np.array([1, 2, 1 << 63, 3], np.uint64))
    assert caught.value.position == 2
    assert unchanged(counter)


@pytest.mark.parametrize(
    "ids", [np.zeros(3), np.zeros(3, np.float32), np.array(["1"]), np.zeros(3, "M8[s]")], ids=repr
)
def test_arrays_of_anything_else_are_refused(counter: Counter, ids: Any) -> None:  # noqa: ANN401
    with pytest.raises(TypeError):
        counter.add_many(ids)
    assert unchanged(counter)


@pytest.mark.parametrize(
    "ids",
    [[], (), array("q"), np.empty(0, np.int64), pytest.param(iter(()), id="iter(())")],
    ids=repr,
)
def test_no_ids_are_no_ids(counter: Counter, ids: Any) -> None:  # noqa: ANN401
    assert counter.add_many(ids) == 0
    assert counter.add_many_by_window([]) == []
    assert unchanged(counter)


def test_ids_are_read_before_the_first_is_counted(counter: Counter) -> None:
    """Whoever changes the source meanwhile, or counts in it, does no harm."""
    seen = []

    def reading() -> Iterator[int]:
        for id in range(100):
            seen.append(counter.count())
            yield id

    assert counter.add_many(reading()) == 100
    assert set(seen) == {3}


@given(st.lists(st.one_of(IDS, st.integers(-20, 20)), max_size=300))
def test_any_batch_agrees_with_a_set(ids: list[int]) -> None:
    with Counter(max_ids=1_000) as one, Counter(max_ids=1_000) as many:
        seen: set[int] = set()
        for id in ids:
            assert one.add(id) == (id not in seen)
            seen.add(id)
        assert many.add_many(array("q", ids)) == len(seen)
        assert many.add_many(ids) == 0
        assert one.count() == many.count() == len(seen)
        assert set(one.ids()) == set(many.ids()) == seen
        assert one.current().duplicates == len(ids) - len(seen)


@given(ids=st.lists(IDS, max_size=50), bad=st.integers(MOST + 1) | st.integers(max_value=LEAST - 1))
def test_one_bad_id_refuses_any_batch(ids: list[int], bad: int) -> None:
    at = random.Random(len(ids)).randint(0, len(ids))
    with Counter(max_ids=1_000) as counter:
        with pytest.raises(IdError) as caught:
            counter.add_many(itertools.chain(ids[:at], [bad], ids[at:]))
        assert caught.value.position == at
        assert counter.count() == counter.current().requests == 0

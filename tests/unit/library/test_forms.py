"""Input that could be read in several ways is refused, with its form in the message."""

from __future__ import annotations

import ctypes
import io
import mmap
import sys
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from verve import Counter, IdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RAW = bytes(range(1, 17))
# Its types know not all of its formats, nor all that has a buffer.
view: Any = memoryview


@pytest.fixture
def counter() -> Iterator[Counter]:
    """A counter that is empty at the end."""
    with Counter(max_ids=100) as counter:
        yield counter
        assert counter.current().requests == 0


class Text(bytes):
    """A kind of bytes."""


def _mapped() -> mmap.mmap:
    mapped = mmap.mmap(-1, len(RAW))
    mapped[:] = RAW
    return mapped


BYTES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: RAW,
    "subclass": lambda: Text(RAW),
    "bytearray": lambda: bytearray(RAW),
    "memoryview": lambda: view(RAW),
    "memoryview of nothing": lambda: view(b""),
    "memoryview of a slice": lambda: view(RAW)[::2],
    "memoryview b": lambda: view(RAW).cast("b"),
    "memoryview c": lambda: view(RAW).cast("c"),
    "memoryview ?": lambda: view(RAW).cast("?"),
    "memoryview of uint8": lambda: view(np.frombuffer(RAW, np.uint8)),
    "BytesIO": lambda: io.BytesIO(RAW).getbuffer(),
    "mmap": _mapped,
    "ctypes": lambda: (ctypes.c_ubyte * 2)(1, 2),
    "ctypes char": ctypes.c_char * 2,
    "str": lambda: "12",
}


@pytest.mark.parametrize("form", BYTES)
def test_bytes_are_no_ids_in_any_dress(counter: Counter, form: str) -> None:
    for many in (counter.add_many, counter.add_many_by_window):
        with pytest.raises(TypeError, match=r'hint: `memoryview\(data\).cast\("q"\)`'):
            many(BYTES[form]())


class Kind:
    """A type of items, as pandas describes it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return "another type"


class Yes:
    """A type of items, as polars describes it."""

    def __init__(self, yes: bool) -> None:
        self.yes = yes

    def is_integer(self) -> bool:
        """Whether they are integers."""
        return self.yes

    def __repr__(self) -> str:
        return "another type"


class Column:
    """A list that states the type of its items."""

    def __init__(self, dtype: object, items: list[Any]) -> None:
        self.dtype = dtype
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class Table:
    """A table, whose items are the names of its columns."""

    def __iter__(self) -> Iterator[int]:
        return iter([0, 1])

    def __dataframe__(self) -> None:
        """As its libraries agreed on."""


MISREAD: dict[str, tuple[Callable[[], Any], str]] = {
    "bool": (lambda: np.array([True]), "`bool`"),
    "float": (lambda: np.array([1.0]), "`float64`"),
    "half": (lambda: np.array([1], np.float16), "`float16`"),
    "complex": (lambda: np.array([1j]), "`complex128`"),
    "time": (lambda: np.array([5], "M8[s]"), r"`datetime64\[s\]`"),
    "duration": (lambda: np.array([5], "m8[s]"), r"`timedelta64\[s\]`"),
    "text": (lambda: np.array(["7"]), "`<U1`"),
    "bytes of 8": (lambda: np.array([b"12345678"]), r"`\|S8`"),
    "records": (lambda: np.zeros(1, "i8,i8"), r"f0"),
    "masked": (lambda: np.ma.array([1, 2], mask=[False, True]), r"masked.*compressed"),
    "masked, nothing hidden": (lambda: np.ma.array([1, 2]), "masked"),
    "masked in rows": (lambda: np.ma.array([[1, 2]], mask=[[False, True]]), "masked"),
    "one value": (lambda: np.array(5), "single value"),
    "a scalar": (lambda: np.int64(5), "single value"),
    "two dimensions of int32": (lambda: np.zeros((2, 1), np.int32), "one dimension: `i`"),
    "two dimensions of big-endian": (lambda: np.zeros((2, 1), ">i8"), "one dimension: `>[lq]`"),
    "memoryview f": (lambda: view(RAW).cast("f"), "`f`"),
    "memoryview d": (lambda: view(RAW).cast("d"), "`d`"),
    "memoryview P": (lambda: view(RAW).cast("P"), "`P`"),
    "memoryview big-endian": (lambda: view(np.array([1], ">i8")), "`>[lq]`"),
    "memoryview big-endian unsigned": (lambda: view(np.array([1], ">u4")), "`>[IL]`"),
    "memoryview of objects": (lambda: view(np.array([1], object)), "`O`"),
    "memoryview of ctypes": (lambda: view((ctypes.c_int64.__ctype_be__ * 1)(1)), "`>[lq]`"),
    "array f": (lambda: array("f", [1]), "`f`"),
    "array d": (lambda: array("d", [1]), "`d`"),
    "array u": (lambda: array("u", "a"), "`[uw]`"),
    "pandas bool": (lambda: Column(Kind("b"), [True]), "`another type`"),
    "pandas time": (lambda: Column(Kind("M"), [5]), "`another type`"),
    "polars bool": (lambda: Column(Yes(yes=False), [True]), "`another type`"),
    "null": (lambda: Column(Kind("i"), [1, None]), "NoneType"),
    "table": (Table, "`Table`; hint: pass one of its columns"),
}


@pytest.mark.parametrize("form", MISREAD)
def test_what_could_be_misread_is_a_type_error(counter: Counter, form: str) -> None:
    made, told = MISREAD[form]
    for many in (counter.add_many, counter.add_many_by_window):
        with pytest.raises(TypeError, match=told):
            many(made())


IDS = [3, 1, 2]
CODES: Any = "bBhHiIlLqQ"
READ: dict[str, Any] = {
    **{f"array {code}": array(code, IDS) for code in CODES},
    **{f"memoryview {code}": view(array(code, IDS)) for code in CODES if code not in "bB"},
    "memoryview n": view(array("q", IDS)).cast("B").cast("n"),
    "memoryview N": view(array("q", IDS)).cast("B").cast("N"),
    **{
        f"numpy {kind}": np.array(IDS, kind)
        for kind in ("i1", "u1", "<i2", ">i2", "<u4", ">u4", "<i8", ">i8", "<u8", ">u8", "O")
    },
    "numpy read-only": np.frombuffer(np.array(IDS).tobytes(), np.int64),
    "numpy strided >i8": np.repeat(np.array(IDS, ">i8"), 2)[::2],
    "ctypes": (ctypes.c_int64 * 3)(*IDS),
    "ctypes big-endian": (ctypes.c_int64.__ctype_be__ * 3)(*IDS),
    "ctypes of 32 bits": (ctypes.c_uint32 * 3)(*IDS),
    "pandas": Column(Kind("i"), IDS),
    "pandas objects": Column(Kind("O"), IDS),
    "polars": Column(Yes(yes=True), IDS),
    "another library": Column(object(), IDS),
}


@pytest.mark.parametrize("form", READ)
def test_integers_are_read_by_value(form: str) -> None:
    with Counter(max_ids=100) as counter:
        assert counter.add_many(READ[form]) == 3
        assert sorted(counter.ids()) == [1, 2, 3]


BIG = np.arange((1 << 21) + 7)
"""More than is copied at once."""


@pytest.mark.parametrize(
    "ids",
    [BIG, BIG[::-1], np.repeat(BIG, 2)[::2], BIG[:-7].reshape(2, -1), BIG[: 1 << 20], view(BIG)],
    ids=["plain", "backwards", "strided", "rows", "one piece", "view"],
)
def test_a_large_buffer_is_copied_whole(ids: Any) -> None:  # noqa: ANN401
    wanted = np.asarray(ids).ravel()
    with Counter(max_ids=len(BIG)) as counter:
        assert counter.add_many(ids) == len(wanted)
        assert np.array_equal(np.sort(counter.ids()), np.sort(wanted))


NOTHING = [
    *(np.zeros(0, kind) for kind in (np.int64, np.float64, np.int32, bool, "M8[s]", ">i8")),
    np.zeros((0, 2), np.int64),
    np.zeros((2, 0), np.int32),
    array("d"),
    array("q"),
    [],
]


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_nothing_is_no_ids_of_whatever_type(counter: Counter, nothing: Any) -> None:  # noqa: ANN401
    assert counter.add_many(nothing) == 0


def test_unsigned_ids_beyond_int64_are_refused(counter: Counter) -> None:
    for ids in (np.array([1, 1 << 63], np.uint64), array("Q", [1, 1 << 63])):
        for form in (ids, view(ids)):
            with pytest.raises(IdError, match=r"position 1: `9223372036854775808`"):
                counter.add_many(form)


class CallerError(BaseException):
    """What an object of the caller raises: not even an `Exception`."""


def _raising(name: str, error: type[BaseException]) -> object:
    def method(*_: object) -> object:
        raise error("the caller's")

    methods = {"__iter__": lambda _: iter([7]), "__len__": lambda _: 1, name: method}
    return type("Raising", (), methods)()


ERRORS = [CallerError, TypeError, OverflowError, MemoryError, ValueError, BufferError]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["__len__", "__iter__", "__getattr__"])
def test_what_a_batch_raises_is_passed_on(
    counter: Counter, name: str, error: type[BaseException]
) -> None:
    for many in (counter.add_many, counter.add_many_by_window):
        with pytest.raises(error, match="the caller's"):
            many(_raising(name, error))  # type: ignore[arg-type]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python's own objects have no buffers")
@pytest.mark.parametrize("error", ERRORS)
def test_what_a_buffer_raises_is_passed_on(counter: Counter, error: type[BaseException]) -> None:
    with pytest.raises(error, match="the caller's"):
        counter.add_many(_raising("__buffer__", error))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", ERRORS)
def test_what_an_id_raises_is_passed_on(counter: Counter, error: type[BaseException]) -> None:
    id: Any = _raising("__index__", error)
    ids: Any = [1, id]
    with pytest.raises(error, match="the caller's"):
        counter.add(id)
    with pytest.raises(error, match="the caller's"):
        counter.add_in_window(id)
    with pytest.raises(error, match="the caller's"):
        counter.add_many(ids)


class Once:
    """An integer that is another one the second time."""

    def __init__(self) -> None:
        self.asked = 0

    def __index__(self) -> int:
        self.asked += 1
        return (1 << 70) if self.asked == 1 else 7


def test_an_id_is_asked_once(counter: Counter) -> None:
    id: Any = Once()
    with pytest.raises(IdError, match="`1180591620717411303424`"):
        counter.add(id)


def test_closed_buffers_raise_what_python_raises(counter: Counter) -> None:
    released = memoryview(array("q", [7]))
    released.release()
    mapped = _mapped()
    mapped.close()
    for closed in (released, mapped):
        with pytest.raises(ValueError, match=r"released|closed"):
            counter.add_many(closed)

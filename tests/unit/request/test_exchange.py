"""Requests as the servers give them, taken apart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from verve._verve import names_single
from verve.http import asgi
from verve.request.body_budget import Bodies
from verve.request.exchange import BodyTooLargeError, declared_length, gather

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PATH = "/api/verve/accept"


class Chunks:
    """A body that comes in pieces, and how much of it was asked for."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes
        self.given = 0

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        """Give them one by one."""
        for size in self.sizes:
            self.given += size
            yield bytes(size)


class Head:
    """A request that has these Content-Lengths."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def header(self, name: str) -> list[str]:
        """The values of a field."""
        return [*self.values] if name == "content-length" else []


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0), ("13", 13), ("0013", 13), ("0" * 400 + "13", 13), ("9" * 18, 10**18 - 1)],
)
def test_a_length_that_a_body_may_have(value: str, expected: int) -> None:
    assert declared_length(Head(value)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [str(2**63), str(2**64 - 1), "1" + "0" * 400])
def test_a_length_of_more_digits_is_above_any_limit(value: str) -> None:
    assert declared_length(Head(value)) >= 10**17  # type: ignore[arg-type, operator]


@pytest.mark.parametrize("values", [(), ("",), ("-1",), ("1_3",), ("\u0661",), ("1", "1")])
def test_no_valid_length(values: tuple[str, ...]) -> None:
    assert declared_length(Head(*values)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [(), (0,), (10,), (3, 0, 7), (1,) * 10])
def test_a_body_within_the_limit_is_kept(sizes: tuple[int, ...]) -> None:
    with Bodies(10).held() as held:
        assert asyncio.run(gather(Chunks(*sizes)(), None, 10, held)) == bytes(sum(sizes))
        assert held.size == sum(sizes)


@pytest.mark.parametrize(
    ("sizes", "given"),
    [
        ((11,), 11),
        ((10, 1), 11),
        ((1,) * 20, 20),
        ((1,) * 100, 21),
        ((100, 100), 100),
        ((5, 100, 5), 105),
    ],
)
def test_a_longer_one_is_dropped_and_soon_no_more_read(sizes: tuple[int, ...], given: int) -> None:
    chunks = Chunks(*sizes)
    with Bodies(10).held() as held:
        with pytest.raises(BodyTooLargeError):
            asyncio.run(gather(chunks(), None, 10, held))
        assert held.size == 0
    assert chunks.given == given


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        (PATH, "", PATH),
        (f"/verve{PATH}", "/verve", PATH),
        (PATH, "/verve", PATH),
        (f"/verveer{PATH}", "/verve", f"/verveer{PATH}"),
        ("/verve", "/verve", "/verve"),
        (f"http://host{PATH}", "", PATH),
        (f"https://host:1{PATH}", "", PATH),
        (f"/verve/http://host{PATH}", "/verve/", PATH),
        ("http://host", "", "/"),
        ("*", "", "*"),
        ("", "", ""),
        (f"ftp://host{PATH}", "", f"ftp://host{PATH}"),
    ],
)
def test_the_path_below_the_root(path: str, root: str, expected: str) -> None:
    assert asgi._path(path, root) == expected


@pytest.mark.parametrize(
    "query",
    ["id", "id=", "id=7", "x&id", "%69d=7", "i%64", "&&id=&", "endpoint=x", "a=b&%65ndpoint=%20"],
)
def test_a_batch_may_not_name(query: str) -> None:
    assert names_single(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "&",
        "=id",
        "x=id",
        "ids=7",
        "ID=7",
        "id;=7",
        "%2569d=7",
        "i%d=7",
        "endpoint",
        "endpoint=",
        "verdict=1",
    ],
)
def test_a_batch_may_name(query: str) -> None:
    assert not names_single(query)

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verve.config import parsers

if TYPE_CHECKING:
    from collections.abc import Callable


class Fruit(StrEnum):
    """Some choices."""

    APPLE = "apple"
    PEAR = "pear"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), ("2s", 2), ("1m", 60), ("12h", 43_200), ("365d", 31_536_000), ("1_000 s", 1_000)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parsers.duration(1, 10**9)(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1.5", "1m30s", "1 month", "1ms", "१", "0x10", "1e3", "9" * 30, "1\n2"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(parsers.BadValue):
        parsers.duration(1, 10**9)(text)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("8MiB", 8 << 20), ("512 KiB", 512 << 10), ("2GB", 2 * 10**9), ("1024", 1024), ("1k", 1024)],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert parsers.size(1, 2**40)(text) == bytes_


@pytest.mark.parametrize(("text", "number"), [("5M", 5_000_000), ("10k", 10_000), ("7", 7)])
def test_counts(text: str, number: int) -> None:
    assert parsers.count(1, 2**31)(text) == number


@pytest.mark.parametrize(
    "parse", [parsers.integer(1, 9), parsers.count(1, 9), parsers.duration(1, 9)]
)
@pytest.mark.parametrize("text", ["0", "10"])
def test_bounds(parse: Callable[[str], int], text: str) -> None:
    with pytest.raises(parsers.BadValue, match="out of range") as caught:
        parse(text)
    assert caught.value.hint == "use 1 to 9"


@pytest.mark.parametrize("text", ["on", "ON", "yes", "true", "1"])
def test_switch_on(text: str) -> None:
    assert parsers.switch(text) is True


@pytest.mark.parametrize("text", ["off", "no", "False", "0"])
def test_switch_off(text: str) -> None:
    assert parsers.switch(text) is False


def test_what_is_no_switch() -> None:
    with pytest.raises(parsers.BadValue):
        parsers.switch("perhaps")


def test_a_choice_names_its_options() -> None:
    assert parsers.choice(Fruit)("Apple") is Fruit.APPLE
    with pytest.raises(parsers.BadValue) as caught:
        parsers.choice(Fruit)("plum")
    assert caught.value.hint == "use one of `apple`, `pear`"


def test_names_come_once_and_in_order() -> None:
    assert parsers.names(("log", "kafka"))("kafka, LOG,kafka,") == ("kafka", "log")
    for text in ("", ",", "log,mail"):
        with pytest.raises(parsers.BadValue):
            parsers.names(("log",))(text)


def test_texts_and_tokens() -> None:
    assert parsers.text("Köln 1") == "Köln 1"
    assert parsers.token("abc~!") == "abc~!"
    for bad in ("a\nb", "a\x1bb"):
        with pytest.raises(parsers.BadValue):
            parsers.text(bad)
    for bad in ("", "a b", "ä", "a\n"):
        with pytest.raises(parsers.BadValue):
            parsers.token(bad)


def test_paths_are_absolute() -> None:
    assert parsers.path("/a/b") == Path("/a/b")
    assert parsers.path("a") == Path.cwd() / "a"
    assert parsers.path("~/a") == Path.home() / "a"
    with pytest.raises(parsers.BadValue):
        parsers.path("a\0b")


@given(st.text())
def test_no_text_surprises_a_parser(text: str) -> None:
    for parse in (
        parsers.duration(1, 99),
        parsers.size(1, 99),
        parsers.count(1, 99),
        parsers.integer(1, 99),
        parsers.switch,
        parsers.token,
        parsers.text,
        parsers.names(("log",)),
        parsers.choice(Fruit),
    ):
        with contextlib.suppress(parsers.BadValue):
            parse(text)


@given(st.integers(1, 86_400), st.booleans(), st.sampled_from(Fruit))
def test_as_text_is_the_inverse(number: int, fact: bool, fruit: Fruit) -> None:
    assert parsers.duration(1, 86_400)(parsers.as_text(number)) == number
    assert parsers.size(1, 86_400)(parsers.as_text(number)) == number
    assert parsers.switch(parsers.as_text(fact)) is fact
    assert parsers.choice(Fruit)(parsers.as_text(fruit)) is fruit
    assert parsers.names(("log", "kafka"))(parsers.as_text(("kafka", "log"))) == ("kafka", "log")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        (" localhost:09000 ", "localhost:9000"),
        ("[::1]:9000", "[::1]:9000"),
        ("::1:9000", "[::1]:9000"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert parsers.address(text) == address


@pytest.mark.parametrize("text", ["", "9000", ":9000", "x:", "x:0", "x:65536", "x:9a", "a b:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(parsers.BadValue):
        parsers.address(text)


def test_ages_of_levels() -> None:
    found = parsers.level_ages("minutes:2d, hours:60d,days:400d")
    assert [(one.level, one.seconds) for one in found] == [
        ("minutes", 2 * 86_400),
        ("hours", 60 * 86_400),
        ("days", 400 * 86_400),
    ]
    assert parsers.level_ages(parsers.as_text(found)) == found
    assert [one.level for one in parsers.level_ages("days:1d")] == ["days"]


@pytest.mark.parametrize(
    "text", ["", "2d", "weeks:2d", "minutes:2d,minutes:3d", "hours:", "days:0"]
)
def test_what_is_no_list_of_ages(text: str) -> None:
    with pytest.raises(parsers.BadValue):
        parsers.level_ages(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/srv/verve/ids", "/srv/verve/ids"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket", "gs://bucket"),
        ("file:///srv/ids", "file:///srv/ids"),
        ("/srv/s3", "/srv/s3"),
        ("/srv/s3:/a", "/srv/s3:/a"),
    ],
)
def test_places_of_an_archive(text: str, place: str) -> None:
    assert parsers.archive(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://host/a",
        "s3://",
        "s3:/bucket",
        "s3:bucket",
        "s3://key:secret@bucket",
        "s3://bucket?a=b",
        "s3://a b",
    ],
)
def test_what_is_no_place_of_an_archive(text: str) -> None:
    with pytest.raises(parsers.BadValue):
        parsers.archive(text)

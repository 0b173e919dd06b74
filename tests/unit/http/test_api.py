"""The parameters of `/api/verve/windows`."""

from __future__ import annotations

import pytest

from verve.http import api

MOMENT = 1_795_384_680
"""2026-11-22T21:58:00Z"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-5", -5),
        ("1795384680", MOMENT),
        ("1795384679.000000001", MOMENT),
        ("1795384680.0", MOMENT),
        ("-0.5", 0),
        ("2026-11-22T21:58:00Z", MOMENT),
        ("2026-11-22t21:58:00z", MOMENT),
        ("2026-11-22 21:58:00Z", MOMENT),
        ("2026-11-22T22:58:00+01:00", MOMENT),
        ("2026-11-22T16:28:00-05:30", MOMENT),
        ("2026-11-22T21:57:59.001Z", MOMENT),
        ("2026-11-22T21:57:59.123456789Z", MOMENT),
        ("1969-12-31T23:59:59Z", -1),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert api.moment({"since": text}, "since") == expected
    assert api.moment({"since": text}, "until") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "now",
        "2026-11-22",
        "2026-11-22T21:58:00",
        "2026-11-22T21:58Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T21:58:60Z",
        "2026-13-22T21:58:00Z",
        "2026-02-29T21:58:00Z",
        "20261122T215800Z",
        "2026-W47-7T21:58:00Z",
        "2026-11-22T21:58:00+25:00",
        "2026-11-22T21:58:00Z ",
        "9999999999999",
        "1e9",
        "1.",
        ".5",
        "+5",
        "1_000",
        "\u0661",
        "nan",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(api.BadParameterError, match=r"`until`.*`$") as raised:
        api.moment({"until": text}, "until")
    assert "RFC 3339" in raised.value.hint


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 60), ({"limit": "1"}, 1), ({"limit": "10080"}, 10_080)]
)
def test_limits(given: dict[str, str], expected: int) -> None:
    assert api.count(given) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "10081", "1.5", "1e3", "+1", " 1", "\u0661", "9" * 5000]
)
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(api.BadParameterError, match="limit"):
        api.count({"limit": text})


def test_parameters_are_decoded_once() -> None:
    query = "&x=1&%6Cimit=%31&since=2026-11-22T21%3A58%3A00+00:00&until=%2530&=&limits=2"
    assert api.parameters(query) == {
        "limit": "1",
        "since": "2026-11-22T21:58:00+00:00",
        "until": "%30",
    }
    assert api.parameters("") == {}


@pytest.mark.parametrize("query", ["limit=1&limit=1", "since=0&limit=1&%73ince=1", "until&until"])
def test_a_parameter_is_given_once(query: str) -> None:
    with pytest.raises(api.BadParameterError, match="repeated"):
        api.parameters(query)

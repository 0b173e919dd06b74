"""What callers may send, against the hostile corpora and a model of the grammar."""

from __future__ import annotations

import json
import struct
from collections import Counter as Tally
from decimal import Decimal
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import verve
from tests.support.http.grammar import (
    RefusedError,
    is_refused,
    judge_endpoint,
    read_batch,
    read_query,
)
from tests.support.http.hostile_batches import BATCHES
from tests.support.http.hostile_queries import MAX, MIN, QUERIES, Batch, Query

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_START = 1_000_000_020.0
_BODIES = [batch for batch in BATCHES if batch.kind is not None]
_examples = settings(max_examples=400, deadline=None)


@pytest.fixture(scope="module")
def counter() -> Iterator[verve.Counter]:
    """Give a counter whose minute does not end; all tests count in it."""
    with verve.Counter(max_ids=1_000_000, clock=verve.ManualClock(wall=_START)) as counter:
        yield counter


class Answer:
    """An answer, and what it changed."""

    def __init__(self, counter: verve.Counter, kind: str | None, sent: str | bytes) -> None:
        """Ask for an id by a query, or for many by a body of this kind."""
        before, rejected = set(counter.ids()), _rejected(counter)
        if isinstance(sent, str):
            self.status, headers, self.body = counter.http.accept(sent)
        else:
            assert kind is not None
            self.status, headers, self.body = counter.http.accept_batch(kind, sent)
        self.headers = dict(headers)
        assert len(self.headers) == len(headers)
        assert self.headers["cache-control"] == "no-store"
        self.error = self.headers.get("verve-error")
        self.ids = set(counter.ids())
        self.new = self.ids - before
        assert before <= self.ids
        assert len(self.ids) == counter.count()
        assert _rejected(counter) - rejected == Tally([self.error] if self.error else [])

    def check_failed(self, status: int, error: str | None) -> None:
        """Check that nothing was counted, and that the answer says why."""
        assert (self.status, self.error, self.body) == (status, error, b"failed")
        assert not self.new

    def check_ok(self, id: int, *, verdict: bool) -> None:
        """Check that the id was counted, and nothing else."""
        assert (self.status, self.error, self.body) == (200, None, b"ok")
        assert id in self.ids
        assert self.new <= {id}
        if verdict:
            assert self.headers["verve-seen"] == ("new" if self.new else "duplicate")
            assert self.headers["verve-window"] == str(int(_START) // 60 * 60)
        else:
            assert not {"verve-seen", "verve-window"} & self.headers.keys()

    def check_batch(self, ids: list[int]) -> None:
        """Check that the ids were counted, and nothing else."""
        assert (self.status, self.error) == (200, None)
        assert self.new <= set(ids) <= self.ids
        body = json.loads(self.body)
        assert (body["accepted"], body["new"]) == (len(ids), len(self.new))
        assert sum(window["new"] for window in body["windows"]) == len(self.new)


def _rejected(counter: verve.Counter) -> Tally[str]:
    rejected = counter.stats()["rejected"]
    assert isinstance(rejected, dict)
    return Tally(rejected)


def _read(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | RefusedError:
    try:
        return read(*args, **kwargs)
    except RefusedError as refused:
        return refused


def _shown(case: Query | Batch) -> str:
    return ascii(case.text if isinstance(case, Query) else (case.kind, case.body))[:70]


def test_the_corpora_are_large_and_hold_each_case_once() -> None:
    assert len({query.text for query in QUERIES}) == len(QUERIES) >= 200
    assert len({(batch.kind, batch.body) for batch in _BODIES}) == len(_BODIES) >= 60


@pytest.mark.parametrize("query", QUERIES, ids=_shown)
def test_hostile_queries_are_answered_as_written(counter: verve.Counter, query: Query) -> None:
    answer = Answer(counter, None, query.text)
    if query.id is None:
        answer.check_failed(query.status, query.error)
    else:
        assert (query.status, query.error) == (200, None)
        answer.check_ok(query.id, verdict=query.verdict)


@pytest.mark.parametrize("batch", _BODIES, ids=_shown)
def test_hostile_batches_are_answered_as_written(counter: verve.Counter, batch: Batch) -> None:
    answer = Answer(counter, batch.kind, batch.body)
    if batch.ids is None:
        answer.check_failed(batch.status, batch.error)
        assert answer.headers["verve-position"] == str(batch.position)
    else:
        answer.check_batch(list(batch.ids))


@pytest.mark.parametrize("query", QUERIES, ids=_shown)
def test_the_model_reads_the_corpus_alike(query: Query) -> None:
    asked = _read(read_query, query.text)
    if isinstance(asked, RefusedError):
        assert (query.status, query.error) == (400, asked.reason)
    elif asked.endpoint is None:
        assert (query.id, query.verdict) == (asked.id, asked.verdict)
    else:
        assert query.id is None
        assert (query.error or "").startswith(("endpoint ", "callbacks "))


@pytest.mark.parametrize("batch", _BODIES, ids=_shown)
def test_the_model_reads_the_batches_alike(batch: Batch) -> None:
    assert batch.kind is not None
    ids = _read(read_batch, batch.kind, batch.body)
    if isinstance(ids, RefusedError):
        assert (batch.error, batch.position) == (ids.reason, ids.position)
    else:
        assert batch.ids == tuple(ids)


_int64 = st.integers(MIN, MAX)
_number = st.one_of(
    _int64, st.integers(MIN * 4, MAX * 4), st.sampled_from((MIN, MAX, MIN - 1, MAX + 1))
).map(str)
_piece = st.one_of(
    st.sampled_from(
        ("id=", "&id=", "&verdict=1", "verdict=", "endpoint=", "&", "=", ";", "+", "%")
    ),
    st.sampled_from(("-", "00", "%69d=", "%37", "%2D", "%zz", "%00", "%FF", "x=", "?", "#", " ")),
    _number,
    st.characters(codec="utf-8"),
)
_query = st.one_of(
    st.lists(_piece, max_size=8).map("".join),
    st.tuples(st.lists(_piece, max_size=3), _number, st.lists(_piece, max_size=3)).map(
        lambda parts: f"{''.join(parts[0])}&id={parts[1]}&{''.join(parts[2])}"
    ),
    st.text(max_size=30),
)


@_examples
@given(query=_query)
def test_queries_are_answered_as_the_model_says(counter: verve.Counter, query: str) -> None:
    answer = Answer(counter, None, query)
    asked = _read(read_query, query)
    if isinstance(asked, RefusedError):
        answer.check_failed(400, asked.reason)
    elif asked.endpoint is None:
        answer.check_ok(asked.id, verdict=asked.verdict)
    else:
        # Pieces make no endpoint that is taken; the next tests build some.
        assert answer.status == 400
        assert (answer.error or "").startswith("endpoint ")


_v4 = st.ip_addresses(v=4)
_host = st.one_of(
    st.ip_addresses().map(lambda address: f"[{address}]" if address.version == 6 else f"{address}"),
    st.from_regex(r"[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,9})?\.(com|example)", fullmatch=True),
)
_port = st.none() | st.integers(1024, 1700) | st.sampled_from((0, 22, 25, 80, 443, 6667, 10080))


@_examples
@given(
    scheme=st.sampled_from(
        ("http://", "https://", "HTTP://", "Https://", "ftp://", "//", "http:", "")
    ),
    userinfo=st.sampled_from(("", "", "", "u@", "u:p@", "@", ":@", "127.0.0.1@")),
    host=_host,
    port=_port,
    path=st.sampled_from(("", "/", "/a?b=c&d=1", "?a@b", "#f", "/\u00e9%20+")),
)
def test_endpoints_are_judged_as_the_model_says(  # noqa: PLR0913, PLR0917 - the parts of a URL
    counter: verve.Counter, scheme: str, userinfo: str, host: str, port: int | None, path: str
) -> None:
    endpoint = f"{scheme}{userinfo}{host}{'' if port is None else f':{port}'}{path}"
    answer = Answer(counter, None, f"id=7&endpoint={quote(endpoint, safe='')}")
    expected = judge_endpoint(scheme, userinfo, host, port)
    answer.check_failed(400 if expected else 503, expected or "callbacks unavailable")


@_examples
@given(address=_v4)
def test_an_address_has_one_spelling(
    counter: verve.Counter, address: ipaddress.IPv4Address
) -> None:
    a, b, c, d = address.packed
    number = int(address)
    for host in (
        *(f"{number}", f"{number:#x}", f"0{number:o}", f"{a}.{b}.{c * 256 + d}", f"{address}."),
        *(f"{a:#x}.{b}.{c}.{d}", f"{a}.{b}.{c}.0{d:o}", f"{a}\u3002{b}.{c}.{d}"),
    ):
        answer = Answer(counter, None, f"id=7&endpoint={quote(f'http://{host}/', safe='')}")
        answer.check_failed(400, "endpoint address")


@_examples
@given(address=st.ip_addresses())
def test_the_model_refuses_what_python_calls_not_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert address.is_global or is_refused(address)


_item = st.one_of(
    _number,
    _number,
    _number,
    st.sampled_from(("", "-", "07", "7.0", "7.5", "70e-1", "7E+2", "1e19", '"7"', "x", "[")),
)
_blank = st.sampled_from(("", "", "", " ", "\t", "\r\n", "\x0c"))
_json = st.tuples(
    st.lists(st.tuples(_blank, _item, _blank).map("".join), max_size=6).map(",".join),
    st.sampled_from(("[{}]", "[{}]", "[{}]", " [{}]\n", "[{}", "{}]", "[{}]]", "[{}] 7")),
).map(lambda parts: parts[1].format(parts[0]).encode())
_line = st.tuples(_item, st.sampled_from(("\n", "\n", "\n", "\r\n", "\r", " \n", "")))
_text = st.lists(_line.map("".join), max_size=6).map(lambda lines: "".join(lines).encode())
_batch = st.one_of(
    st.tuples(st.just("json"), _json),
    st.tuples(st.just("text"), _text),
    st.tuples(st.sampled_from(("binary", "json", "text")), st.binary(max_size=40)),
    st.lists(_int64, max_size=9).map(lambda ids: ("binary", struct.pack(f"<{len(ids)}q", *ids))),
    st.lists(_int64, max_size=9).map(lambda ids: ("json", json.dumps(ids).encode())),
)


@_examples
@given(batch=_batch)
def test_batches_are_answered_as_the_model_says(
    counter: verve.Counter, batch: tuple[str, bytes]
) -> None:
    kind, body = batch
    answer = Answer(counter, kind, body)
    ids = _read(read_batch, kind, body)
    if isinstance(ids, RefusedError):
        answer.check_failed(400, ids.reason)
        assert answer.headers["verve-position"] == str(ids.position)
    else:
        answer.check_batch(ids)


@_examples
@given(body=_json)
def test_the_model_takes_what_python_reads_as_an_array_of_int64(body: bytes) -> None:
    try:
        value = json.loads(body.decode("ascii"), parse_float=Decimal)
    except ValueError:
        value = None
    fine = isinstance(value, list) and all(_is_id(one) for one in value)
    ids = _read(read_batch, "json", body)
    assert ids == value if fine else isinstance(ids, RefusedError)


def _is_id(value: object) -> bool:
    is_whole = type(value) is int or (isinstance(value, Decimal) and value == int(value))
    return is_whole and MIN <= value <= MAX  # type: ignore[operator]

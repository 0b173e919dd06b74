"""The answers that callers get: the same under every server, with the fast path and without."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import MAX_BODY
from tests.support.http.hostile_batches import BATCHES
from tests.support.http.hostile_queries import QUERIES
from tests.support.http.raw import Answer, ask, chunked, connect, parse, request
from tests.support.service import ACCEPT, Server, Service
from verve.request.body_budget import AT_ONCE
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from tests.conftest import Serve

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain")
BINARY = ("content-type", "application/octet-stream")

_ids = itertools.count(10**12)


@dataclass(frozen=True)
class Case:
    """A request of the accept family, and its answer."""

    name: str
    target: str
    status: int
    error: str | None = None
    method: str = "GET"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    more: dict[str, str] = field(default_factory=dict)
    """Headers that the answer has besides."""


def _post(name: str, status: int, error: str, *headers: tuple[str, str], query: str = "") -> Case:
    return Case(name, ACCEPT + query, status, error, "POST", list(headers), b"7")


HOOK = "https%3A%2F%2Fx.example%2Fhook"
ALLOW = {"allow": "GET, POST"}
CASES = [
    Case("an id", f"{ACCEPT}?id=7", 200),
    Case("a duplicate", f"{ACCEPT}?id=7", 200),
    Case("leading zeros", f"{ACCEPT}?id=007", 200),
    Case("minus zero", f"{ACCEPT}?id=-0", 200),
    Case("encoded", f"{ACCEPT}?%69d=%37", 200),
    Case("encoded path", "/api/verve%2Faccept?id=7", 200),
    Case("unknown parameters", f"{ACCEPT}?x=1&id=7&y&=&z=%", 200),
    Case("empty endpoint", f"{ACCEPT}?id=7&endpoint=", 200),
    Case("absolute target", f"http://elsewhere.example{ACCEPT}?id=7", 200),
    Case("body of a GET", f"{ACCEPT}?id=7", 200, headers=[TEXT], body=b"8"),
    Case("no query", ACCEPT, 400, "id missing"),
    Case("empty query", f"{ACCEPT}?", 400, "id missing"),
    Case("empty id", f"{ACCEPT}?id=", 400, "id invalid"),
    Case("no number", f"{ACCEPT}?id=seven", 400, "id invalid"),
    Case("plus", f"{ACCEPT}?id=+7", 400, "id invalid"),
    Case("fraction", f"{ACCEPT}?id=7.0", 400, "id invalid"),
    Case("repeated", f"{ACCEPT}?id=7&id=7", 400, "id repeated"),
    Case("too large", f"{ACCEPT}?id=9223372036854775808", 400, "id out of range"),
    Case("400 digits", f"{ACCEPT}?id={'9' * 400}", 400, "id out of range"),
    Case("30,000 digits", f"{ACCEPT}?id={'9' * 30_000}", 400, "id out of range"),
    Case("endpoint", f"{ACCEPT}?id=7&endpoint={HOOK}", 503, "callbacks unavailable"),
    Case("relative endpoint", f"{ACCEPT}?id=7&endpoint=%2Fhook", 400, "endpoint invalid"),
    Case(
        "two endpoints", f"{ACCEPT}?id=7&endpoint={HOOK}&endpoint={HOOK}", 400, "endpoint repeated"
    ),
    *(
        Case(method, f"{ACCEPT}?id=7", 405, "method", method, more=ALLOW)
        for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
    ),
    _post("batch without type", 415, "body type"),
    _post("batch of another type", 415, "body type", ("content-type", "application/x-ndjson")),
    _post("batch of two types", 415, "body type", TEXT, JSON),
    _post(
        "batch of another charset", 415, "body type", ("content-type", "text/plain; charset=utf-16")
    ),
    _post("compressed batch", 415, "body encoding", TEXT, ("content-encoding", "gzip")),
    _post("id in the query of a batch", 400, "query in batch", TEXT, query="?id=7"),
    _post("encoded id in it", 400, "query in batch", TEXT, query="?x&%69%64"),
    _post("endpoint in it", 400, "query in batch", TEXT, query=f"?endpoint={HOOK}"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_request_gets_its_answer(service: Service, case: Case) -> None:
    answer = ask(service, case.method, case.target, case.headers, case.body)
    assert (answer.status, answer.error) == (case.status, case.error)
    expected = b"ok" if case.status == 200 else b"failed"
    assert answer.body == (b"" if case.method == "HEAD" else expected)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.items() >= case.more.items()


def test_a_query_that_is_no_text_is_refused(service: Service) -> None:
    # Granian refuses it before the application sees it.
    for query in ("id=\xff", "id=7&endpoint=http://x.example/\xff", "id=7&\xc3("):
        assert ask(service, "GET", f"{ACCEPT}?{query}").status == 400


@pytest.mark.parametrize(
    "path",
    ["/x", f"{ACCEPT}/", "/API/VERVE/ACCEPT", f"/{ACCEPT}", "/api/verve", "/x%ff", f"{ACCEPT}%00"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_do_not_exist(service: Service, method: str, path: str) -> None:
    answer = ask(service, method, f"{path}?id=7", [TEXT], b"7")
    assert answer.status == 404
    assert json.loads(answer.body)["error"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/api/verve/current"])
def test_pages_take_get_and_head(service: Service, path: str) -> None:
    shown = ask(service, "GET", path)
    head = ask(service, "HEAD", path)
    assert (shown.status, head.status) == (200, 200)
    assert shown.body
    assert not head.body
    refused = ask(service, "POST", path, body=b"")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def _seen(service: Service, id: int) -> tuple[str, int]:
    answer = ask(service, "GET", f"{ACCEPT}?id={id}&verdict=1")
    assert (answer.status, answer.body) == (200, b"ok")
    return answer.headers["verve-seen"], int(answer.headers["verve-window"])


def test_a_verdict_names_the_window(service: Service) -> None:
    id = next(_ids)
    before = time.time()
    first, second = _seen(service, id), _seen(service, id)
    assert first == ("new", first[1])
    if second[1] == first[1]:
        assert second[0] == "duplicate"
    assert first[1] % 3600 == 0
    assert before - 3600 <= first[1] <= time.time()
    plain = ask(service, "GET", f"{ACCEPT}?id={id}&verdict=0")
    assert "verve-seen" not in plain.headers


def test_a_refused_request_counts_nothing(service: Service) -> None:
    id = next(_ids)
    for query in (f"id={id}&id={id}", f"id={id}&endpoint={HOOK}", f"id={id}.0"):
        assert ask(service, "GET", f"{ACCEPT}?{query}").body == b"failed"
    assert ask(service, "HEAD", f"{ACCEPT}?id={id}").status == 405
    for body in (b"%d\nx" % id, b"%d %d" % (id, id)):
        assert ask(service, "POST", ACCEPT, [TEXT], body).body == b"failed"
    assert ask(service, "POST", f"{ACCEPT}?id={id}", [TEXT], b"%d" % id).body == b"failed"
    assert _seen(service, id)[0] == "new"


def _connection(service: Service) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)


def test_hostile_queries(service: Service) -> None:
    with contextlib.closing(_connection(service)) as connection:
        for query in QUERIES:
            if not query.sendable:
                continue
            connection.request("GET", f"{ACCEPT}?{query.text}")
            response = connection.getresponse()
            body = response.read()
            given = response.status, response.headers.get("verve-error")
            assert given == (query.status, query.error), query
            assert body == (b"ok" if query.status == 200 else b"failed")
            assert ("verve-seen" in response.headers) == query.verdict


def test_hostile_batches(service: Service) -> None:
    with contextlib.closing(_connection(service)) as connection:
        for batch in BATCHES:
            if len(batch.body) > MAX_BODY:
                continue
            connection.putrequest("POST", ACCEPT)
            if batch.content_type is not None:
                connection.putheader("content-type", batch.content_type)
            if batch.encoding is not None:
                connection.putheader("content-encoding", batch.encoding)
            connection.putheader("content-length", str(len(batch.body)))
            connection.endheaders(batch.body)
            response = connection.getresponse()
            body = response.read()
            given = response.status, response.headers.get("verve-error")
            assert given == (batch.status, batch.error), batch
            if batch.ids is None:
                assert body == b"failed"
                position = None if batch.position is None else str(batch.position)
                assert response.headers.get("verve-position") == position
            else:
                assert json.loads(body)["accepted"] == len(batch.ids)


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [
        ("?id=7", TEXT, 400),
        ("", ("content-type", "text/html"), 415),
        ("", ("content-encoding", "gzip"), 415),
    ],
    ids=["query", "type", "encoding"],
)
def test_a_connection_outlives_a_refused_batch(
    service: Service, query: str, header: tuple[str, str], status: int
) -> None:
    with contextlib.closing(_connection(service)) as connection:
        connection.putrequest("POST", ACCEPT + query)
        connection.putheader(*header)
        if header[0] != TEXT[0]:
            connection.putheader(*TEXT)
        connection.putheader("content-length", "1")
        connection.endheaders()
        # Most clients send the body in a packet of its own, and read nothing before that.
        time.sleep(0.1)
        connection.send(b"7")
        response = connection.getresponse()
        assert (response.status, response.read()) == (status, b"failed")
        used = connection.sock
        connection.request("GET", f"{ACCEPT}?id=7")
        assert connection.getresponse().read() == b"ok"
        assert connection.sock is used


@pytest.mark.parametrize("form", ["binary", "json", "text", "charset", "identity", "chunked"])
def test_a_batch_is_counted(service: Service, form: str) -> None:
    first, second = next(_ids), next(_ids)
    ids = [first, second, first]
    lines = "\n".join(map(str, ids)).encode()
    bodies = {
        "binary": ([BINARY], struct.pack("<3q", *ids)),
        "json": ([JSON], json.dumps(ids).encode()),
        "text": ([TEXT], lines),
        "charset": ([("content-type", 'Text/Plain; charset="UTF-8"')], lines),
        "identity": ([TEXT, ("content-encoding", "identity")], lines),
    }
    if form == "chunked":
        head = request("POST", ACCEPT, [TEXT, ("transfer-encoding", "chunked")])
        parts = lines[:5], lines[5:6], lines[6:]
        answer = parse(service.exchange(head + chunked(*parts)))
    else:
        headers, body = bodies[form]
        answer = ask(service, "POST", f"{ACCEPT}?verdict=1&endpoint=", headers, body)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    result = json.loads(answer.body)
    assert (result["accepted"], result["new"]) == (3, 2)
    assert sum(window["new"] for window in result["windows"]) == 2
    seen, window = _seen(service, first)
    if rfc3339(int(window)) == result["windows"][-1]["window_start"]:
        assert seen == "duplicate"


def _line(id: int, length: int) -> bytes:
    """One id, with zeros before it, in as many bytes."""
    return str(id).rjust(length, "0").encode()


def test_a_batch_of_the_largest_size_is_counted(service: Service) -> None:
    answer = ask(service, "POST", ACCEPT, [TEXT], _line(next(_ids), MAX_BODY))
    assert answer.status == 200


@pytest.mark.parametrize("length", [MAX_BODY + 1, 2 * MAX_BODY])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_larger_batch_is_refused(service: Service, framing: str, length: int) -> None:
    id = next(_ids)
    body = _line(id, length)
    if framing == "length":
        answer = ask(service, "POST", ACCEPT, [TEXT], body)
    else:
        head = request("POST", ACCEPT, [TEXT, ("transfer-encoding", "chunked")])
        answer = parse(service.exchange(head + chunked(body[:1000], body[1000:])))
    assert (answer.status, answer.error, answer.body) == (413, "body too large", b"failed")
    assert _seen(service, id)[0] == "new"


def test_a_client_that_waits_for_leave_is_refused_at_once(service: Service) -> None:
    headers = [TEXT, ("expect", "100-continue"), ("content-length", str(MAX_BODY + 1))]
    with connect(service) as connection:
        connection.sendall(request("POST", ACCEPT, headers))
        assert parse(connection.recv(65_536)).status == 413


def test_the_bodies_of_many_slow_clients_are_bounded(service: Service) -> None:
    head = request("POST", ACCEPT, [TEXT, ("transfer-encoding", "chunked")])
    # All of the largest body, but not its end.
    body = chunked(b"7\n" * (MAX_BODY // 2)).removesuffix(b"0\r\n\r\n")
    with contextlib.ExitStack() as stack:

        def refused() -> str | None:
            # Again and again: those that meet the small body may be refused themselves.
            for _ in range(AT_ONCE):
                stack.enter_context(connect(service)).sendall(head + body)
            return ask(service, "POST", ACCEPT, [TEXT], b"7").error

        assert service.wait_until(refused, 5, "refused") == "bodies full"
        assert ask(service, "GET", f"{ACCEPT}?id=7").status == 200
    service.wait_until(
        lambda: ask(service, "POST", ACCEPT, [TEXT], b"7").status == 200, 5, "room again"
    )


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.UVICORN, Server.NATIVE])
def test_a_client_that_sends_no_more_is_given_up(serve: Serve, server: Server) -> None:
    service = serve(server, environment={"VERVE_BODY_TIMEOUT": "2"})
    head = request("POST", ACCEPT, [TEXT, ("content-length", "100")])
    with connect(service) as connection:
        connection.settimeout(60)
        begin = time.monotonic()
        connection.sendall(head + b"7\n")
        answer = parse(connection.recv(65_536))
    assert (answer.status, answer.error) == (408, "body too slow")
    assert 2 <= time.monotonic() - begin < 20


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_endless_batch_is_cut_off(service: Service, framing: str) -> None:
    more = {"length": ("content-length", str(10**12)), "chunked": ("transfer-encoding", "chunked")}
    piece = (
        b"0" * 65_536 if framing == "length" else chunked(b"0" * 65_536).removesuffix(b"0\r\n\r\n")
    )
    sent = 0
    with connect(service) as connection:
        connection.sendall(request("POST", ACCEPT, [TEXT, more[framing]]))
        with contextlib.suppress(ConnectionError):
            while sent < 2**26:
                connection.sendall(piece)
                sent += len(piece)
    # What the buffers of two sockets hold goes on top of what the service reads.
    assert sent < 2**26


@pytest.mark.parametrize("framing", ["length", "chunked", "chunked, between"])
@pytest.mark.parametrize("end", ["closed", "half closed", "reset"])
def test_a_batch_that_breaks_off_counts_nothing(service: Service, framing: str, end: str) -> None:
    id = next(_ids)
    body = b"%d\n1" % id
    with connect(service) as connection:
        if framing == "length":
            head = request("POST", ACCEPT, [TEXT, ("content-length", str(len(body) + 1))])
        else:
            head = request("POST", ACCEPT, [TEXT, ("transfer-encoding", "chunked")])
            body = b"%x\r\n%b" % (len(body) + (framing == "chunked"), body)
            body += b"" if framing == "chunked" else b"\r\n"
        connection.sendall(head + body)
        time.sleep(0.05)
        if end == "half closed":
            connection.shutdown(1)
            with contextlib.suppress(ConnectionError):
                assert b" 200 " not in connection.recv(65_536)
        elif end == "reset":
            connection.setsockopt(1, 13, struct.pack("ii", 1, 0))
    time.sleep(0.05)
    assert _seen(service, id)[0] == "new"
    assert ask(service, "GET", "/livez").status == 200


def test_requests_on_one_connection(service: Service) -> None:
    """A refusal in between, also of a body that was not read, leaves the connection in order."""
    with contextlib.closing(_connection(service)) as connection:
        for body, status in ((b"7", 200), (b"x", 400), (b"0" * (MAX_BODY + 1), 413), (b"8", 200)):
            connection.request("POST", ACCEPT, body, dict([TEXT]))
            response = connection.getresponse()
            assert response.status == status
            response.read()
            connection.request("GET", f"{ACCEPT}?id=7")
            assert connection.getresponse().read() == b"ok"


def test_pipelined_requests(service: Service) -> None:
    ids = [next(_ids) for _ in range(50)]
    lines = [f"GET {ACCEPT}?id={id} HTTP/1.1\r\nhost: localhost\r\n\r\n" for id in ids]
    last = request("GET", f"{ACCEPT}?id=x")
    received = service.exchange("".join(lines).encode() + last)
    assert received.count(b"HTTP/1.1 200 ") == len(ids)
    assert received.count(b"HTTP/1.1 400 ") == 1
    assert {_seen(service, id)[0] for id in ids} == {"duplicate"}


def test_a_websocket_is_declined(service: Service) -> None:
    headers = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    id = next(_ids)
    asked = request("GET", f"{ACCEPT}?id={id}&verdict=1", headers)
    answer = _first(service, asked.replace(b"connection: close", b"connection: upgrade"))
    # A server without WebSocket takes it for a plain request.
    assert answer.status in {200, 403, 404}
    assert ask(service, "GET", "/livez").status == 200
    if answer.status != 200:
        assert _seen(service, id)[0] == "new"


def _first(service: Service, asked: bytes) -> Answer:
    with connect(service) as connection:
        connection.sendall(asked)
        return parse(connection.recv(65_536))


def test_refusals_are_counted_by_reason(service: Service) -> None:
    sample = 'verve_rejected_total{reason="%s"}'
    for reason, ask_for in {
        "id invalid": ("GET", f"{ACCEPT}?id=x"),
        "method": ("PUT", ACCEPT),
        "body type": ("POST", ACCEPT),
    }.items():
        name = sample % reason.replace(" ", "_")
        before = service.metrics()[name]
        ask(service, *ask_for, body=b"7")
        assert service.metrics()[name] == before + 1

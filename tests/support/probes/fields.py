"""Fields: names, values, folding, Host, connection options, expectations, and how many of them."""

from __future__ import annotations

from tests.support.probes.probe import HIDDEN, HOST, OWN, Demand, Probe, chunk, get, post

_SERVED, _EITHER, _REFUSED = Demand.SERVED, Demand.EITHER, Demand.REFUSED
_GRAMMAR = "9112 2.2: SHOULD answer 400 to what does not match the grammar"
_FOLD = "9112 5.2: MUST refuse a folded line or read it as a space"
_BLANK = "9112 2.2: MUST refuse a line that begins with a space, or skip it"
_CONTROL = "9110 5.5: MUST refuse CR, LF and NUL, or read them as a space"
_COLON = "9112 5.1: MUST answer 400 to whitespace before the colon"
_HOST = "9112 3.2: MUST answer 400 to an invalid Host"
_ONE_HOST = "9112 3.2: MUST answer 400 without one Host"
_OPTION = "9110 7.6.1: an option names fields of this hop; the framing is not one"
_EXPECT = "9110 10.1.1: MAY leave 100 out when the body is there"
_MANY = "9110 5.4: MAY answer 4xx to fields that are too large"
_BODY = f"{OWN}\n"
_LENGTH = f"Content-Length: {len(_BODY)}"


def _with(field: str) -> str:
    return get(f"{HOST}{field}\r\n")


FIELDS = (
    Probe("no colon", _REFUSED, _GRAMMAR, _with("x")),
    Probe("no name", _REFUSED, _GRAMMAR, _with(": x")),
    Probe("a space in a name", _REFUSED, _GRAMMAR, _with("bad name: x")),
    Probe("brackets in a name", _REFUSED, _GRAMMAR, _with("(x): y")),
    Probe("an at sign in a name", _REFUSED, _GRAMMAR, _with("x@y: z")),
    Probe("NUL in a name", _REFUSED, _GRAMMAR, _with("x\0: y")),
    Probe("a control character in a name", _REFUSED, _GRAMMAR, _with("x\x01: y")),
    Probe("a byte above 127 in a name", _REFUSED, _GRAMMAR, _with("\xe9: y")),
    Probe("a quote in a name", _REFUSED, _GRAMMAR, _with('"x": y')),
    Probe("an underscore in a name", _SERVED, "9110 5.1: a name is a token", _with("x_y: z")),
    Probe("a name that nobody knows", _SERVED, "9110 5.1: MUST be ignored", _with("x-what: z")),
    Probe("an empty value", _SERVED, "9110 5.5: a value may be empty", _with("x:")),
    Probe("tabs around a value", _SERVED, "9112 5: whitespace is no part of it",
          _with("x:\t\ty\t")),
    Probe("a space before the colon", _REFUSED, _COLON, _with("x : y")),
    Probe("a tab before the colon", _REFUSED, _COLON, _with("x\t: y")),
    Probe("CR before the colon", _REFUSED, _COLON, _with("x\r: y")),
    Probe("a space before the colon of Host", _REFUSED, _COLON, get("Host : localhost\r\n")),
    Probe("a space before the colon of Content-Length", _REFUSED, _COLON,
          post(f"Content-Length : {len(_BODY)}", _BODY)),
    Probe("a space before the colon of Transfer-Encoding", _REFUSED, _COLON,
          post("Transfer-Encoding : chunked", f"{chunk(_BODY)}0\r\n\r\n")),
    Probe("a folded value", _EITHER, _FOLD, _with("x: y\r\n z")),
    Probe("a folded value, by a tab", _EITHER, _FOLD, _with("x: y\r\n\tz")),
    Probe("a folded Host", _EITHER, _FOLD, get("Host:\r\n localhost\r\n")),
    Probe("a folded Content-Length", _EITHER, _FOLD,
          post(f"Content-Length:\r\n {len(_BODY)}", _BODY)),
    Probe("a folded Transfer-Encoding", _EITHER, _FOLD,
          post("Transfer-Encoding:\r\n chunked", f"{chunk(_BODY)}0\r\n\r\n")),
    Probe("a first field after a space", _EITHER, _BLANK, get(f" x: y\r\n{HOST}")),
    Probe("a first field after a tab", _EITHER, _BLANK, get(f"\tx: y\r\n{HOST}")),
    Probe("a line of a space", _EITHER, _FOLD, get(f"{HOST}x: y\r\n \r\n")),
    Probe("NUL in a value", _EITHER, _CONTROL, _with("x: \0")),
    Probe("a bare CR in a value", _EITHER, _CONTROL, _with("x: y\rz")),
    Probe("a bare CR at the end of a value", _EITHER, _CONTROL, _with("x: y\r\r\nz: x")),
    Probe("a bare LF in a value", _EITHER, "9112 2.2: MAY take LF as a line end", _with("x: y\nz")),
    Probe("a field after a bare LF", _EITHER, "9112 2.2: MAY take LF as a line end",
          _with("x: y\nz: x")),
    Probe("a field after a bare CR", _EITHER, _CONTROL, _with("x: y\rz: x")),
    Probe("a control character in a value", _EITHER, "9110 5.5: MAY be kept", _with("x: \x01")),
    Probe("DEL in a value", _EITHER, "9110 5.5: MAY be kept", _with("x: \x7f")),
    Probe("a byte above 127 in a value", _SERVED, "9110 5.5: SHOULD be opaque", _with("x: \xe9")),
    Probe("LF at the end of the head", _EITHER, "9112 2.2: MAY take LF as a line end",
          get()[:-2] + "\n"),
    # Host.
    Probe("no Host", _REFUSED, _ONE_HOST, get("")),
    Probe("no Host, the absolute form", _REFUSED, _ONE_HOST,
          get("", target=f"http://localhost/api/verve/accept?id={OWN}")),
    Probe("two Hosts, different", _REFUSED, _ONE_HOST, _with("Host: elsewhere.example")),
    Probe("two Hosts, equal", _REFUSED, _ONE_HOST, _with(HOST.strip())),
    Probe("an empty Host", _EITHER, "9112 3.2: empty where the target has no authority",
          get("Host:\r\n")),
    Probe("a space in Host", _REFUSED, _HOST, get("Host: local host\r\n")),
    Probe("a list in Host", _REFUSED, _HOST, get("Host: localhost, elsewhere.example\r\n")),
    Probe("a path in Host", _REFUSED, _HOST, get("Host: localhost/x\r\n")),
    Probe("userinfo in Host", _REFUSED, _HOST, get("Host: user@localhost\r\n")),
    Probe("a scheme in Host", _REFUSED, _HOST, get("Host: http://localhost\r\n")),
    Probe("a port of letters in Host", _REFUSED, _HOST, get("Host: localhost:x\r\n")),
    Probe("a port of 99999 in Host", _EITHER, "9110 4.2: a port is of digits",
          get("Host: localhost:99999\r\n")),
    Probe("an open bracket in Host", _REFUSED, _HOST, get("Host: [::1\r\n")),
    Probe("NUL in Host", _REFUSED, _HOST, get("Host: local\0host\r\n")),
    Probe("a byte above 127 in Host", _REFUSED, _HOST, get("Host: loc\xe4lhost\r\n")),
    Probe("Host at the end of 50 fields", _SERVED, "9110 5.3: the order does not matter",
          get("x: y\r\n" * 50 + HOST)),
    # Options of the connection.
    Probe("Connection: close", Demand.SERVED_LAST, "9112 9.6: MUST close after the answer",
          _with("Connection: close")),
    Probe("Connection: CLOSE", Demand.SERVED_LAST, "9110 7.6.1: options are case-insensitive",
          _with("Connection: CLOSE")),
    Probe("Connection: keep-alive, close", Demand.SERVED_LAST, "9112 9.3: close wins",
          _with("Connection: keep-alive, close")),
    Probe("close on a second line", Demand.SERVED_LAST, "9110 5.3: the lines are one list",
          _with("Connection: keep-alive\r\nConnection: close")),
    Probe("Connection names Host", _SERVED, _OPTION, _with("Connection: host")),
    Probe("Connection names Content-Length", _EITHER, _OPTION,
          post(f"{_LENGTH}\r\nConnection: content-length", _BODY)),
    Probe("Connection names Transfer-Encoding", _EITHER, _OPTION,
          post("Transfer-Encoding: chunked\r\nConnection: transfer-encoding",
               f"{chunk(_BODY)}0\r\n\r\n")),
    Probe("an upgrade to h2c", _SERVED, "9110 7.8: MAY be ignored",
          _with("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA")),
    Probe("an upgrade to websocket", _EITHER, "9110 7.8: MAY be ignored",
          _with("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")),
    Probe("an upgrade to something else", _SERVED, "9110 7.8: MAY be ignored",
          _with("Connection: upgrade\r\nUpgrade: something")),
    Probe("another method by a field", _SERVED, "9110 5.1: MUST be ignored",
          _with("X-HTTP-Method-Override: DELETE")),
    Probe("another target by a field", _SERVED, "9110 5.1: MUST be ignored",
          _with(f"X-Original-URL: /api/verve/accept?id={HIDDEN}")),
    # Expectations.
    Probe("Expect: 100-continue, with the body", _SERVED, _EXPECT,
          post(f"{_LENGTH}\r\nExpect: 100-continue", _BODY)),
    Probe("Expect: 100-Continue", _SERVED, "9110 10.1.1: case-insensitive",
          post(f"{_LENGTH}\r\nExpect: 100-Continue", _BODY)),
    Probe("Expect: 100-continue, in chunks", _SERVED, _EXPECT,
          post("Transfer-Encoding: chunked\r\nExpect: 100-continue", f"{chunk(_BODY)}0\r\n\r\n")),
    Probe("Expect: 100-continue by GET", _SERVED, "9110 10.1.1: SHOULD be ignored without a body",
          _with("Expect: 100-continue")),
    Probe("Expect: 100-continue by HTTP/1.0", Demand.SERVED_LAST, "9110 10.1.1: MUST be ignored",
          post(f"{_LENGTH}\r\nExpect: 100-continue", _BODY, version="1.0")),
    Probe("another expectation", _EITHER, "9110 10.1.1: MAY answer 417", _with("Expect: 200-ok")),
    # How many, and how large.
    Probe("99 fields", _SERVED, "9110 5.4: no bound is set", get(HOST + "x: y\r\n" * 98)),
    Probe("101 fields", _EITHER, _MANY, get(HOST + "x: y\r\n" * 100)),
    Probe("1,000 fields", _EITHER, _MANY, get(HOST + "x: y\r\n" * 999)),
    Probe("100,000 fields", _REFUSED, _MANY, get(HOST + "x: y\r\n" * 100_000)),
    Probe("a field of 7,000 bytes", _SERVED, "9110 5.4: no bound is set",
          _with(f"x: {'y' * 7_000}")),
    Probe("a field of 70,000 bytes", _EITHER, _MANY, _with(f"x: {'y' * 70_000}")),
    Probe("a field of 2,000,000 bytes", _REFUSED, _MANY, _with(f"x: {'y' * 2_000_000}")),
    Probe("a name of 70,000 bytes", _EITHER, _MANY, _with(f"{'x' * 70_000}: y")),
    Probe("2,000,000 bytes of head without an end", _REFUSED, _MANY,
          f"{get()[:-2]}{'x: yyyyyyyyyyyyyyyy' * 100_000}", is_last=True),
    Probe("28,000 bytes of folded lines", _EITHER, _FOLD,
          get(HOST + "x: y\r\n" + " y\r\n" * 7_000)),
)  # fmt: skip

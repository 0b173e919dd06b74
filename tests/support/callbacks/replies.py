"""Replies to a callback, byte for byte, with the verdicts of curl 7.88 and Go 1.26 on each.

Run as a program, the module prints the verdict of curl and of each named program on each reply:

    python -m tests.support.callbacks.replies [PROGRAM ...]

A program is called with one URL, posts to it, and prints its verdict on the reply.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl

OK = b"HTTP/1.1 200 OK\r\n"
END = b"content-length: 0\r\n\r\n"
_FIELDS = b"".join(b"x-%d: 1\r\n" % number for number in range(120))


REPLIES: dict[str, bytes] = {
    "plain": OK + END,
    "no fields": OK + b"\r\n",
    "bare LF": (OK + END).replace(b"\r\n", b"\n"),
    "no reason": b"HTTP/1.1 200\r\n" + END,
    "empty reason": b"HTTP/1.1 200 \r\n" + END,
    "long reason": b"HTTP/1.1 200 " + b"x" * 10_000 + b"\r\n" + END,
    "reason in UTF-8": "HTTP/1.1 200 Жопа\r\n".encode() + END,
    "reason in Latin-1": b"HTTP/1.1 200 \xc9t\xe9\r\n" + END,
    "reason with a control character": b"HTTP/1.1 200 O\x01K\r\n" + END,
    "reason with a tab": b"HTTP/1.1 200 O\tK\r\n" + END,
    "tab before the reason": b"HTTP/1.1 200\tOK\r\n" + END,
    "two spaces before the reason": b"HTTP/1.1 200  OK\r\n" + END,
    "299": b"HTTP/1.1 299 OK\r\n" + END,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "HTTP/1.0 that stays": b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n" + END,
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + END,
    "102 before": b"HTTP/1.1 102 Processing\r\n\r\n" + OK + END,
    "103 before": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK + END,
    "several 1xx before": b"HTTP/1.1 100 Continue\r\n\r\n" * 4 + OK + END,
    "PHP warning": OK + b"PHP Warning:  Undefined variable $x in /a.php on line 3\r\n" + END,
    "PHP warning in HTML": OK + b"<br />\r\n<b>Warning</b>:  oops in <b>/a.php</b>\r\n" + END,
    "line without a colon": OK + b"no colon at all\r\n" + END,
    "empty name": OK + b": value\r\n" + END,
    "name of a space": OK + b" : value\r\n" + END,
    "space before the colon": OK + b"server : x\r\n" + END,
    "name in UTF-8": OK + "Имя: x\r\n".encode() + END,
    "name with a control character": OK + b"na\x01me: x\r\n" + END,
    "value in Latin-1": OK + b"server: \xe9\r\n" + END,
    "value with a control character": OK + b"server: a\x01b\r\n" + END,
    "value with DEL": OK + b"server: a\x7fb\r\n" + END,
    "value with a bare CR": OK + b"server: a\rb\r\n" + END,
    "folded": OK + b"server: a\r\n  b\r\n" + END,
    "folded by a tab": OK + b"server: a\r\n\tb\r\n" + END,
    "first line folded": OK + b" server: a\r\n" + END,
    "120 fields": OK + _FIELDS + END,
    "1,000 fields": OK + b"x: 1\r\n" * 1_000 + END,
    "10,000 fields": OK + b"x: 1\r\n" * 10_000 + END,
    "long field": OK + b"x: " + b"y" * 90_000 + b"\r\n" + END,
    "long head": OK + (b"x: " + b"y" * 8_000 + b"\r\n") * 30 + END,
    "long name": OK + b"x" * 70_000 + b": 1\r\n" + END,
    "chunked": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked with trailers": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\na: 1\r\n\r\n",
    "chunked with extensions": OK + b"transfer-encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
    "chunked, not ended": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
    "chunked, not chunked": OK + b"transfer-encoding: chunked\r\n\r\nwhat is this?",
    "gzip, chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "identity": OK + b"transfer-encoding: identity\r\n\r\nok",
    "unknown coding": OK + b"transfer-encoding: cows\r\n\r\nok",
    "length and chunked": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "length beyond the body": OK + b"content-length: 1000\r\n\r\nok",
    "length below the body": OK + b"content-length: 1\r\n\r\nok and more",
    "length twice": OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "length as a list": OK + b"content-length: 2, 2\r\n\r\nok",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "length with a sign": OK + b"content-length: +2\r\n\r\nok",
    "negative length": OK + b"content-length: -2\r\n\r\nok",
    "length in words": OK + b"content-length: two\r\n\r\nok",
    "empty length": OK + b"content-length:\r\n\r\nok",
    "huge length": OK + b"content-length: 99999999999999999999999\r\n\r\nok",
    "body until the end": OK + b"\r\nok",
    "encoded body that is none": OK + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a body": b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
    "205 with a body": b"HTTP/1.1 205 Reset\r\ncontent-length: 2\r\n\r\nok",
    "304 in the body": OK + b"content-length: 30\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
    "another reply behind it": OK + END + b"HTTP/1.1 500 No\r\n" + END,
    "upgrade": OK + b"upgrade: h2c\r\nconnection: upgrade\r\n" + END,
    "proxy fields": OK + b"proxy-connection: close\r\nkeep-alive: timeout=x\r\n" + END,
    "cut in a field": OK + b"server: a",
    "cut after the status": OK,
    "cut in the status line": b"HTTP/1.1 200 OK",
    "empty line before": b"\r\n" + OK + END,
    "lower case": b"http/1.1 200 OK\r\n" + END,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + END,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + END,
    "HTTP/2": b"HTTP/2 200 OK\r\n" + END,
    "ICY": b"ICY 200 OK\r\n" + END,
    "CR only": (OK + END).replace(b"\r\n", b"\r"),
    "NUL in a value": OK + b"server: a\0b\r\n" + END,
    "NUL in a name": OK + b"ser\0ver: ab\r\n" + END,
    "status of two digits": b"HTTP/1.1 20 OK\r\n" + END,
    "status of four digits": b"HTTP/1.1 2000 OK\r\n" + END,
    "status that runs on": b"HTTP/1.1 200OK\r\n" + END,
    "HTTP/0.9": b"ok",
    "nothing": b"",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\n" + END,
    "1,000 long fields": OK + (b"x: " + b"y" * 1_000 + b"\r\n") * 1_000 + END,
    "101": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}

NOT_BY_CURL = {
    "PHP warning in HTML",
    "line without a colon",
    "name of a space",
    "first line folded",
    "chunked, not ended",
    "chunked, not chunked",
    "gzip, chunked",
    "unknown coding",
    "length beyond the body",
    "two lengths",
    "negative length",
    "length in words",
    "empty length",
    "304 in the body",
    "cut in the status line",
    "empty line before",
    "HTTP/1.2",
    "ICY",
    "CR only",
    "NUL in a value",
    "NUL in a name",
    "status of two digits",
    "status of four digits",
    "HTTP/0.9",
    "nothing",
    "1,000 long fields",
    "101",
}
"""The replies that curl reports as a failure."""
NOT_BY_GO = {
    "tab before the reason",
    "PHP warning in HTML",
    "line without a colon",
    "empty name",
    "name of a space",
    "name in UTF-8",
    "name with a control character",
    "value with a control character",
    "value with DEL",
    "value with a bare CR",
    "first line folded",
    "gzip, chunked",
    "identity",
    "unknown coding",
    "length as a list",
    "two lengths",
    "length with a sign",
    "negative length",
    "length in words",
    "huge length",
    "cut in a field",
    "cut after the status",
    "cut in the status line",
    "empty line before",
    "lower case",
    "HTTP/2",
    "ICY",
    "CR only",
    "NUL in a value",
    "NUL in a name",
    "status of two digits",
    "status of four digits",
    "status that runs on",
    "HTTP/0.9",
    "nothing",
}
"""The replies that Go's client reports as an error."""


class Replier:
    """A server that answers each connection with the same bytes, and closes it.

    It answers once the request ends with `until`; an empty `until` means after the first bytes.
    """

    def __init__(
        self, reply: bytes, *, until: bytes = b"}", tls: ssl.SSLContext | None = None
    ) -> None:
        self._reply = reply
        self._tls = tls
        self._until = until
        self._socket = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Unlike `close`, this wakes the thread that waits in `accept`.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    if self._tls is None:
                        self._answer(connection)
                        continue
                    # Unlike the TLS of asyncio, this sends an alert when a handshake fails.
                    with self._tls.wrap_socket(connection, server_side=True) as secured:
                        self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        request = b""
        while not request or not request.endswith(self._until):
            received = connection.recv(65_536)
            if not received:
                return
            request += received
        connection.sendall(self._reply)
        connection.shutdown(socket.SHUT_WR)
        # Closing earlier would discard bytes that the client has not read.
        while connection.recv(65_536):
            pass


def main() -> None:
    """Print one line per reply."""
    curl = ["curl", "-s", "-S", "-o", "/dev/null", "-w", "%{http_code}", "-m", "5", "-d", "{}"]
    for name, reply in REPLIES.items():
        with Replier(reply) as replier:
            shown = []
            for command in (curl, *([program] for program in sys.argv[1:])):
                done = subprocess.run(
                    [*command, replier.url], capture_output=True, text=True, check=False
                )
                told = (done.stdout + " " + done.stderr).split("\n")[0].strip()
                shown.append(f"{told.replace(replier.url, '')[:90]} ({done.returncode})")
            sys.stdout.write(" | ".join([f"{name:35}", *shown]) + "\n")


if __name__ == "__main__":
    main()

"""Requests written out byte by byte, and answers taken apart, so that no client smooths them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.service import Service


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (by name in lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str | None:
        """The reason of a refusal."""
        return self.headers.get("verve-error")


def ask(  # noqa: PLR0913 - the parts of a request
    service: Service,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    host: str | None = "localhost",
) -> Answer:
    """One request over a connection of its own; a body gets a Content-Length."""
    return parse(service.exchange(request(method, target, headers, body, host=host)))


def request(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    host: str | None = "localhost",
) -> bytes:
    """The bytes of a request after which the server is to close the connection."""
    lines = [f"{method} {target} HTTP/1.1", "connection: close"]
    if host is not None:
        lines.append(f"host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks, with its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def parse(received: bytes) -> Answer:
    """The one answer that the server sent before it closed the connection."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1.1 "), received
    fields = [line.split(": ", 1) for line in lines]
    return Answer(int(first.split()[1]), {name.lower(): value for name, value in fields}, body)


def connect(service: Service, timeout: float = 10) -> socket.socket:
    """An open connection."""
    return socket.create_connection(("127.0.0.1", service.port), timeout)

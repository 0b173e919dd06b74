"""`verve check --ready`: one request to `/readyz`, for health checks that run every few seconds.

A health check starts a process each time. So this file imports little, and `entry` calls it before
it imports the rest of the command line. The address comes from flags and from the environment;
where a settings file or an unusual value has to be read, the full command does it.
"""

from __future__ import annotations

import os
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` takes longer to import than the request takes
    from collections.abc import Mapping, Sequence

DEFAULT_TIMEOUT = 2.0
"""Seconds to wait for an answer."""
LONGEST_TIMEOUT = 86_400.0
"""A day. A socket refuses a time that is much longer."""
UDS_VARIABLE = "GRANIAN_UDS"
"""The variable by which `verve serve` may get its Unix socket."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - never bound
_PATH = "/readyz"
_LONGEST_ANSWER = 1 << 16
_LONGEST_TEXT = 200
_LARGEST_PORT = 65_535
_OK = b"200"
_ADMIN = "--at-admin"
# The flags that settings and a variable of Granian may replace.
_VARIABLES = {
    "--uds": UDS_VARIABLE,
    "--host": "VERVE_HOST",
    "--port": "VERVE_PORT",
    "--admin-listen": "VERVE_ADMIN_LISTEN",
}
_VALUES = {*_VARIABLES, "--url", "--timeout"}


class _NoAnswerError(Exception):
    """The service did not answer; the message says why."""


def without_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """Check as the arguments of `verve check` say, and return the exit status.

    None, and nothing is asked, if `--ready` is not among them, or if they or the environment hold
    something that only the full command reads.
    """
    if "--ready" not in arguments or environ.get("VERVE_CONFIG"):
        return None
    given = _flags(arguments)
    if given is None or sum(flag in given for flag in ("--url", "--uds", _ADMIN)) > 1:
        return None
    variables = {flag: environ.get(name, "") for flag, name in _VARIABLES.items()}
    try:
        place = _place(given, {**variables, **given})
        timeout = float(given.get("--timeout", DEFAULT_TIMEOUT))
    except ValueError:
        return None
    if not 0 < timeout <= LONGEST_TIMEOUT:
        return None
    status, text = check(*place, timeout)
    sys.stdout.write(text + "\n")
    return status


def _flags(arguments: Sequence[str]) -> dict[str, str] | None:
    """The values by flag; None if one is missing, or if there is another flag."""
    given: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if argument in {"--ready", _ADMIN}:
            given[flag] = argument
        elif flag in _VALUES:
            given[flag] = value if equals else next(rest, "")
        else:
            return None
    return given if all(given.values()) else None


def _place(given: Mapping[str, str], values: Mapping[str, str]) -> tuple[str | None, str]:
    """The URL to ask, or None and a Unix socket. Raises `ValueError` for an unusual value."""
    if "--url" in given:
        return given["--url"], ""
    if _ADMIN in given:
        host, _, port = values["--admin-listen"].rpartition(":")
    elif values["--uds"]:
        return None, values["--uds"]
    else:
        host, port = values["--host"] or "127.0.0.1", values["--port"] or "8000"
    is_plain = host and port.isascii() and port.isdigit() and 0 < int(port) <= _LARGEST_PORT
    if not is_plain:
        raise ValueError
    return address_of(host, port), ""


def address_of(host: str, port: int | str) -> str:
    """The URL of a service on this host that listens at `host` and `port`."""
    host = host.strip().removeprefix("[").removesuffix("]")
    host = _ANYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check(url: str | None, uds: str, timeout: float) -> tuple[int, str]:
    """Ask the service at `url`, or behind the Unix socket `uds` if it is None, once.

    Returns the exit status and a line of text: 0 if the service is ready. It is ready while Kafka
    or Redis is away, since a restart of this host would not bring them back.
    """
    shown = f"unix:{uds}" if url is None else url.rstrip("/") + _PATH
    try:
        status, body = _ask(url, uds, timeout)
    except (_NoAnswerError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return 1, f"FAIL service  no answer: {_printable(reason)}: `{_printable(shown)}`"
    text = " ".join(body.decode("utf-8", "replace").split())[:_LONGEST_TEXT]
    mark = "ok  " if status == _OK else "FAIL"
    detail = _printable(text or status.decode("latin-1"))
    return int(status != _OK), f"{mark} service  {detail}: `{_printable(shown)}`"


def _ask(url: str | None, uds: str, timeout: float) -> tuple[bytes, bytes]:
    """The status and the body of the answer."""
    deadline = time.monotonic() + timeout
    if url is None:
        name, path = "localhost", _PATH
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(uds)
        except BaseException:
            connection.close()
            raise
    else:
        connection, name, path = _connected(url, timeout)
    request = f"GET {path} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n"
    received = b""
    with connection:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.sendall(request.encode("latin-1"))
        while not _is_whole(received):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            more = connection.recv(_LONGEST_ANSWER)
            if not more:
                break
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise _NoAnswerError("this is no HTTP/1" if received else "the connection was closed")
    return rest[:3], body


def _connected(url: str, timeout: float) -> tuple[socket.socket, str, str]:
    """A connection to the host of a URL, the value of its header `host`, and the path to ask."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    name = authority.rpartition("@")[2]
    host, _, tail = name.removeprefix("[").partition("]" if name.startswith("[") else ":")
    digits = tail.removeprefix(":")
    is_url = host and (not digits or (digits.isascii() and digits.isdigit()))
    if scheme not in {"http", "https"} or not is_url or not all("!" <= one <= "~" for one in rest):
        raise _NoAnswerError("this is no URL of a service")
    secure = scheme == "https"
    port = int(digits or (443 if secure else 80))
    if port > _LARGEST_PORT:
        raise _NoAnswerError("this is no URL of a service")
    connection = _connection(host, port, timeout)
    if secure:
        import ssl  # noqa: PLC0415 - takes time to import

        try:
            context = ssl.create_default_context()
            connection = context.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise
    return connection, name, f"/{path}".rstrip("/") + _PATH


def _connection(host: str, port: int, timeout: float) -> socket.socket:
    """A connection to the first address of a host that takes one."""
    # The name as bytes: for text, Python would import the rules of international names.
    found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
    error = None
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(timeout)
        try:
            connection.connect(address)
        except OSError as caught:
            connection.close()
            error = caught
        else:
            return connection
    raise error or _NoAnswerError("the host has no address")


def _is_whole(received: bytes) -> bool:
    """Whether the answer has ended. Without a length, it ends with the connection."""
    head, end, body = received.partition(b"\r\n\r\n")
    if len(received) > _LONGEST_ANSWER:
        return True
    if not end:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value)
    return False


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def main() -> int | None:
    """Check as the arguments of the process say; None: the full command has to."""
    if sys.argv[1:2] != ["check"] or sys.stdout is None:
        return None
    return without_settings(sys.argv[2:], os.environ)

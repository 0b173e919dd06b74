"""The address that the service listens at: resolved, and checked to be free, before it starts.

Granian takes numeric addresses only. Its workers share their port, so a second service would start
without an error and take half of the requests of the first; and the file of a Unix socket that a
killed service left behind would keep the next one from starting.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve._verve import VerveError

if TYPE_CHECKING:
    from pathlib import Path

FREE_SECONDS = 3.0
"""Time that the workers of a killed service get to end."""
_RETRY_SECONDS = 0.1
_HINTS = {
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose one by `VERVE_PORT`",
    errno.EADDRNOTAVAIL: "no interface of this host has it: use `0.0.0.0` or `::` for all of them, "
    "`::1` for the loopback of a host without IPv4",
}


class ListenError(VerveError):
    """The service cannot listen where it should."""


@dataclass(frozen=True, slots=True)
class Place:
    """A numeric address with its port or, if `uds` is given, the file of a Unix socket."""

    host: str
    port: int
    uds: Path | None = None

    def __str__(self) -> str:
        """The address as the start line shows it."""
        if self.uds is not None:
            return f"unix:{self.uds}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(host: str, port: int, uds: Path | None) -> Place:
    """The place that the settings name; of a host name the first IPv4 address, else the first IPv6.

    An address of a name that no interface has is passed over: a host without IPv4 knows `localhost`
    as 127.0.0.1 too. Raises `ListenError`.
    """
    if uds is not None:
        try:
            return Place("", 0, uds.resolve())
        except (OSError, RuntimeError) as error:
            raise _cannot(f"{_words(error)}: `{uds}`", "`--uds` names a file") from error
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _cannot(
            f"the host is no address and no name that is known: {_words(error)}: `{host}`",
            "`VERVE_HOST` or `--host` takes an address of this machine, or `0.0.0.0` for all",
        ) from error
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    addresses = [str(address[0]) for _, _, _, _, address in found]
    usable = [address for address in addresses if "%" not in address]
    if not usable:
        raise _cannot(f"an address with a zone cannot be served: `{host}`", "use `::` for all")
    own = (one for one in usable if _is_own(one))
    return Place(usable[0] if len(usable) == 1 else next(own, usable[0]), port)


def _is_own(host: str) -> bool:
    """Whether an interface of this host has the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        return error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
    return True


def wait_until_free(place: Place) -> None:
    """Wait until the service can listen there and no other does. Raises `ListenError`."""
    is_free = _is_port_free if place.uds is None else _is_socket_free
    deadline = time.monotonic() + FREE_SECONDS
    while not is_free(place):
        if time.monotonic() > deadline:
            hint = "choose another by " + ("`--uds`" if place.uds else "`--host` and `--port`")
            raise _cannot(f"another process listens there: `{place.uds or place}`", hint)
        time.sleep(_RETRY_SECONDS)


def _is_port_free(place: Place) -> bool:
    """Whether no process listens on the port."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((place.host, place.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        hint = _HINTS.get(error.errno or 0, "choose another by `VERVE_HOST` and `VERVE_PORT`")
        raise _cannot(f"{_words(error)}: `{place}`", hint) from error
    return True


def _is_socket_free(place: Place) -> bool:
    """Whether no process listens at the file; one that was left behind is removed."""
    path = place.uds
    assert path is not None  # noqa: S101 - `wait_until_free` chooses
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise _cannot(f"there is a file that is no socket: `{path}`", "`--uds` names another")
        if _is_used(path):
            return False
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _cannot(f"{_words(error)}: `{path}`", "`--uds` names another") from error
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.bind(str(path))
        path.unlink()
    except OSError as error:
        raise _cannot(
            f"{_words(error)}: `{path}`",
            "`--uds` names a file in a directory that this user may write, in 107 bytes at most",
        ) from error
    return True


def _is_used(path: Path) -> bool:
    """Whether a process listens on the socket: only one that refuses connections is left behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(0)
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True  # its queue is full
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                return True  # of datagrams: its process cannot be asked
            raise
    return True


def _cannot(problem: str, hint: str) -> ListenError:
    return ListenError(f"cannot listen: {problem}; hint: {hint}")


def _words(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    with contextlib.suppress(IndexError):
        return text.splitlines()[0]
    return type(error).__name__

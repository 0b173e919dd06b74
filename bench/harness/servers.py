"""The servers that are measured, and the command of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.harness import build

if TYPE_CHECKING:
    from pathlib import Path

PEERS = build.BENCH / "peers"
# The same options for Verve and for the static app: only the application differs.
GRANIAN = ["--interface", "rsgi", "--http", "1", "--no-ws", "--loop", "uvloop"]
NATIVE = "listener=native"
FAST_PATH = "Accepts are answered without the event loop"

Command = Callable[[int, int, int], list[str]]
"""Takes the port, the length of a window in seconds, and the number of workers."""

RedisOptions = tuple[list[str], dict[str, str]]
"""Arguments and environment that name the Redis of a server."""


@dataclass(frozen=True)
class Server:
    """A kind of server."""

    name: str
    title: str
    command: Command
    folder: Path = build.ROOT
    counts: bool = True
    """Whether the server counts; one that does not shows what answering costs."""
    answers_count: bool = False
    """Whether the server gives its count over HTTP; one that does not logs it when it stops."""
    environment: Mapping[str, str] = field(default_factory=dict)
    expected_log: str = ""
    """Text that must be in the log: it proves that the server runs as its title says."""
    redis: Callable[[int], RedisOptions] | None = None
    """Options for a Redis at a port, if the server needs one."""

    def prepare(self) -> None:
        """Build the programs that it needs, or raise `MissingError`."""
        self.command(0, 60, 1)
        if self.redis is not None:
            build.redis(0)


def _granian(target: str, *flags: str) -> Command:
    def command(port: int, _window: int, workers: int) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        return [build.python_module("granian"), "-m", "granian", *flags, *address, target]

    return command


def _verve(port: int, window: int, workers: int) -> list[str]:
    build.python_module("verve")
    return _granian("verve.app:app", *GRANIAN)(port, window, workers)


def _verve_plain(port: int, window: int, workers: int) -> list[str]:
    build.python_module("verve")
    return _granian("verve.app:app")(port, window, workers)


def _verve_asgi(port: int, window: int, workers: int) -> list[str]:
    build.python_module("verve")
    return _granian("verve.app:app", "--interface", "asgi", *GRANIAN[2:])(port, window, workers)


def _verve_serve(port: int, _window: int, workers: int) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    return [build.python_module("verve"), "-m", "verve", "serve", *address]


def _verve_native(port: int, window: int, workers: int) -> list[str]:
    return [*_verve_serve(port, window, workers), "--listener", "native"]


def _gin_redis(port: int) -> RedisOptions:
    return ["-redis", f"127.0.0.1:{port}"], {}


def _gin_set(port: int) -> RedisOptions:
    return [*_gin_redis(port)[0], "-set"], {}


def _verve_redis(port: int) -> RedisOptions:
    return [], {"VERVE_REDIS_URL": f"redis://127.0.0.1:{port}", "VERVE_CLUSTER": "bench"}


def _hyper(port: int, _window: int, _workers: int) -> list[str]:
    return [str(build.program(build.HYPER)), f"127.0.0.1:{port}"]


def _hyper_dashset(port: int, window: int, workers: int) -> list[str]:
    return [*_hyper(port, window, workers), str(window)]


def _epoll(port: int, _window: int, _workers: int) -> list[str]:
    return [str(build.program(build.EPOLL)), f"127.0.0.1:{port}"]


def _gin(port: int, window: int, _workers: int) -> list[str]:
    # Go starts as many threads as it may use cores.
    return _go("gin", port, window)


def _fasthttp(port: int, window: int, _workers: int) -> list[str]:
    return _go("fasthttp", port, window)


def _go(peer: str, port: int, window: int) -> list[str]:
    program = build.go_program(PEERS / peer)
    return [str(program), "-listen", f"127.0.0.1:{port}", "-window", f"{window}s"]


def _socketify(port: int, _window: int, _workers: int) -> list[str]:
    return [build.python_module("socketify"), "app.py", "127.0.0.1", str(port)]


def _fastapi(port: int, _window: int, _workers: int) -> list[str]:
    build.python_module("fastapi")
    build.python_module("httptools")
    flags = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [build.python_module("uvicorn"), "-m", "uvicorn", *address, *flags, "app:app"]


CALLBACKS = {"VERVE_CALLBACK_ALLOW": "127.0.0.1", "VERVE_CALLBACK_LOG": "summary"}


def _native(
    name: str,
    title: str,
    environment: Mapping[str, str] | None = None,
    redis: Callable[[int], RedisOptions] | None = None,
) -> Server:
    return Server(
        name,
        title,
        _verve_native,
        answers_count=True,
        environment=environment or {},
        expected_log=NATIVE,
        redis=redis,
    )


SERVERS = {
    server.name: server
    for server in (
        _native("verve-native", "Verve, native listener"),
        _native("verve-native-redis", "Verve, native, Redis mode", redis=_verve_redis),
        _native("verve-native-callbacks", "Verve, native, callbacks", environment=CALLBACKS),
        Server(
            "verve",
            "Verve, Granian",
            _verve,
            answers_count=True,
            environment={"VERVE_FAST_PATH": "on"},
            expected_log=FAST_PATH,
        ),
        Server(
            "verve-serve", "verve serve", _verve_serve, answers_count=True, expected_log=FAST_PATH
        ),
        Server(
            "verve-plain",
            "granian verve.app:app",
            _verve_plain,
            answers_count=True,
            expected_log=FAST_PATH,
        ),
        Server(
            "verve-rsgi",
            "Verve, fast path off",
            _verve,
            answers_count=True,
            environment={"VERVE_FAST_PATH": "off"},
        ),
        Server("verve-asgi", "Verve, ASGI, Granian", _verve_asgi, answers_count=True),
        Server(
            "static",
            "Granian, static RSGI app",
            _granian("app:app", *GRANIAN),
            folder=PEERS / "granian_static",
            counts=False,
        ),
        Server("gin", "Gin, sync.Map", _gin),
        Server(
            "verve-redis",
            "Verve, Redis mode",
            _verve,
            answers_count=True,
            environment={"VERVE_FAST_PATH": "on"},
            expected_log=FAST_PATH,
            redis=_verve_redis,
        ),
        Server(
            "verve-callbacks",
            "Verve, each with a callback",
            _verve,
            answers_count=True,
            environment={"VERVE_FAST_PATH": "on", **CALLBACKS},
            expected_log=FAST_PATH,
        ),
        Server("gin-redis", "Gin, Redis SET NX EX", _gin, redis=_gin_redis),
        Server("gin-set", "Gin, Redis SADD", _gin, redis=_gin_set),
        Server("hyper", "bare hyper", _hyper, counts=False),
        Server("hyper-dashset", "hyper, DashSet", _hyper_dashset),
        Server("epoll", "epoll loop, fixed answer", _epoll, counts=False),
        # Go users who care for speed let the heap grow further between collections.
        Server("fasthttp", "fasthttp, xsync.Map", _fasthttp, environment={"GOGC": "400"}),
        Server("socketify", "socketify, set", _socketify, folder=PEERS / "socketify"),
        Server("fastapi", "FastAPI, dict", _fastapi, folder=PEERS / "fastapi"),
    )
}

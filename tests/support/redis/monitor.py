"""Records all commands that Redis servers run, by MONITOR."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from tests.support.redis.connection import FORBIDDEN, NAME, Connection, RedisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.redis.server import RedisServer

_LINE = re.compile(rb'\+([0-9.]+) \[[0-9]+ ([^\]]+)\] "([^"]*)"(.*)', re.DOTALL)
_SET_NAME = re.compile(rb' "setname" "([^"]*)"', re.IGNORECASE)
_SHOWN = 200


class Watched(Protocol):
    """A single server, a cluster, or the servers of sentinels."""

    @property
    def servers(self) -> Sequence[RedisServer]:
        """All of them."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """One command that a server ran. `name` is in capitals, `arguments` are cut off."""

    at: float
    port: int
    client: str
    """The name of the connection; `lua` for a script, `?` for a connection without a name."""
    name: str
    arguments: str


class Monitor:
    """Collects the commands of the servers from now on, also after a server was restarted."""

    def __init__(self, redis: Watched) -> None:
        self._listeners = [
            _Listener(server, {one.port for one in redis.servers}) for server in redis.servers
        ]

    def __enter__(self) -> Self:
        for listener in self._listeners:
            listener.start()
        for listener in self._listeners:
            assert listener.listens.wait(10), "the monitor does not listen"
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.stop()

    @property
    def seen(self) -> list[Command]:
        """All commands until now, except those of the test itself."""
        for listener in self._listeners:
            listener.catch_up()
        found = [command for listener in self._listeners for command in listener.commands.copy()]
        return sorted(found, key=lambda command: command.at)

    @property
    def commands(self) -> Counter[str]:
        """The number of runs per command until now, without those of the test itself."""
        return Counter(command.name for command in self.seen)

    def assert_no_forbidden(self) -> None:
        """Assert that only the test itself ran any of `FORBIDDEN`, and that Verve ran some command.

        A client without a name counts as Verve, so that no client can hide.
        """
        seen = self.seen
        assert any(command.client == "verve" for command in seen), f"it saw too little: {seen[:9]}"
        found = [command for command in seen if command.name in FORBIDDEN]
        assert not found, f"commands that Verve must not use: {found[:9]}"


class _Listener:
    """Listens to one server, in a thread."""

    def __init__(self, server: RedisServer, ports: set[int]) -> None:
        self.commands: list[Command] = []
        self.listens = threading.Event()
        self._server = server
        # A master forwards its commands to its replica; they were already recorded at the master.
        self._masters = {f"127.0.0.1:{port}" for port in ports}
        self._names: dict[str, str] = {}
        self._echoes: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def catch_up(self, timeout: float = 10) -> None:
        """Wait until every command that the server has run so far is recorded, if it answers."""
        end = time.monotonic() + timeout
        while self._thread.is_alive() and self._server.runs and time.monotonic() < end:
            word = uuid.uuid4().hex
            with contextlib.suppress(OSError, RedisError):
                self._server.command("ECHO", word)
            until = time.monotonic() + 1
            while time.monotonic() < until:
                if word in self._echoes:
                    return
                time.sleep(0.005)

    def _run(self) -> None:
        while not self._over.is_set():
            # Connects again whenever the server was away.
            with contextlib.suppress(OSError, RedisError):
                self._listen()
            self._over.wait(0.05)

    def _listen(self) -> None:
        with socket.create_connection(("127.0.0.1", self._server.port), 2) as connection:
            connection.settimeout(0.2)
            connection.sendall(b"MONITOR\r\n")
            rest = b""
            while not self._over.is_set():
                try:
                    chunk = connection.recv(1 << 18)
                except TimeoutError:
                    continue
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\r\n")
                for line in lines:
                    if line == b"+OK":
                        self._names = self._named()
                        self.listens.set()
                    else:
                        self._take(line)

    def _named(self) -> dict[str, str]:
        """The names of the existing connections, by address."""
        with Connection(self._server.port) as connection:
            lines = bytes(connection.command("CLIENT", "LIST")).decode().splitlines()
        found = [dict(part.partition("=")[::2] for part in line.split()) for line in lines]
        return {one["addr"]: one["name"] or "?" for one in found}

    def _take(self, line: bytes) -> None:
        found = _LINE.fullmatch(line)
        if found is None:
            raise RedisError(f"not a line of MONITOR: {line[:_SHOWN]!r}")
        at, address, name = float(found[1]), found[2].decode(), found[3].decode().upper()
        if name == "CLIENT" and (named := _SET_NAME.match(found[4])):
            self._names[address] = named[1].decode()
        client = address if address == "lua" else self._names.get(address, "?")
        if client == NAME:
            if name == "ECHO":
                self._echoes.add(found[4].decode().strip(' "'))
            return
        if address not in self._masters:
            shown = found[4][:_SHOWN].decode().strip()
            self.commands.append(Command(at, self._server.port, client, name, shown))

"""Real Redis for tests: a server, a cluster of three masters, what sentinels watch, and faults.

    with RedisServer(tmp_path / "redis") as redis:
        service = serve(environment={"VERVE_REDIS_URL": redis.url, "VERVE_CLUSTER": "test"})
        redis.kill()
        redis.start()

All of it listens on free ports of the loopback, keeps nothing on a disk, and ends with the test.
"""

from __future__ import annotations

import atexit
import contextlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tests.service import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FORBIDDEN = {"KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "FLUSHALL", "FLUSHDB"}
MISSING = "redis-server is missing; hint: on Debian and Ubuntu: sudo apt-get install redis-server"
_SLOTS = 16_384
_PATIENCE = 20.0
T = TypeVar("T")


class RedisError(AssertionError):
    """A Redis did not do what it was told."""


class RedisServer:
    """One server. Killed, it comes back empty, on the same port."""

    def __init__(
        self, directory: Path, *config: str, port: int | None = None, sentinel: bool = False
    ) -> None:
        """`config`: further arguments, or the file of a sentinel."""
        self.port = free_port() if port is None else port
        self.directory = directory
        self._config = config
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where Verve finds it."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def servers(self) -> Sequence[RedisServer]:
        """All servers that keep data: this one."""
        return [self]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        if shutil.which("redis-server") is None:
            raise RedisError(MISSING)
        ours = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [*self._config, "--sentinel"] if self._sentinel else [*ours, *self._config]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", *command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        atexit.register(self.kill)
        wait_until(lambda: self._answers() or None, f"a Redis on port {self.port}")
        return self

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = (self.directory / "log").read_text(errors="replace")
            raise RedisError(f"redis-server ended; its log ends with:\n{log[-2_000:]}")
        with contextlib.suppress(OSError):
            return bytes(self.command("PING")) == b"PONG"
        return False

    def stop(self) -> None:
        """End it as an operator would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def kill(self) -> None:
        """End it with SIGKILL."""
        atexit.unregister(self.kill)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it in its tracks: connections are made, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RedisError("the server does not run")
        self._process.send_signal(number)

    def command(self, *words: str | int | bytes) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a command over a connection of the test's own; an error is raised."""
        with Connection(self.port) as connection:
            return connection.command(*words)

    def info(self, name: str) -> str:
        """One line of INFO."""
        lines = bytes(self.command("INFO")).decode().splitlines()
        return next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))


class Connection:
    """A plain connection that speaks RESP2: enough for tests, and never one of Verve's."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; who reads from it in another thread ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._socket.close()

    def command(self, *words: str | int | bytes) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a command."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), packed))
        return self.read()

    def read(self) -> Any:  # noqa: ANN401 - what Redis answers
        """Read one answer."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b"-":
                raise RedisError(rest.decode())
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
            case b"*":
                return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
            case _:
                raise RedisError(f"not RESP2: {line!r}")


class RedisCluster:
    """Three masters that share the slots; with `replicas`, each has one."""

    def __init__(self, directory: Path, *config: str, replicas: bool = False) -> None:
        arguments = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "1500"),
            *("--cluster-config-file", "nodes.conf", *config),
        )
        count = 6 if replicas else 3
        self.nodes = [RedisServer(directory / f"node-{n}", *arguments) for n in range(count)]
        for node in self.nodes:
            # The port of its bus is this one and 10,000.
            while node.port > 50_000:
                node.port = free_port()

    @property
    def servers(self) -> Sequence[RedisServer]:
        """All of its nodes."""
        return self.nodes

    @property
    def url(self) -> str:
        """Where Verve finds it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self._form()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()

    def command(self, *words: str | int | bytes) -> None:
        """Run a command on every master."""
        for node in self.nodes[:3]:
            node.command(*words)

    def _form(self) -> None:
        masters, replicas = self.nodes[:3], self.nodes[3:]
        bounds = [_SLOTS * n // 3 for n in range(4)]
        for number, master in enumerate(masters):
            master.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first, last = bounds[number], bounds[number + 1] - 1
            master.command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        self._await_formed()
        for replica, master in zip(replicas, masters, strict=False):
            replica.command("CLUSTER", "REPLICATE", master.command("CLUSTER", "MYID"))
        if replicas:
            wait_until(lambda: self._replicated() or None, "replicas")

    def _await_formed(self) -> None:
        def formed() -> bool:
            known = [bytes(node.command("CLUSTER", "INFO")).decode() for node in self.nodes]
            return all(
                "cluster_state:ok" in text and f"cluster_known_nodes:{len(self.nodes)}" in text
                for text in known
            )

        wait_until(lambda: formed() or None, "a Redis Cluster")

    def _replicated(self) -> bool:
        return all(node.info("master_link_status") == "up" for node in self.nodes[3:])


class Sentinels:
    """A master and a replica, watched by three sentinels."""

    SERVICE = "verve"

    def __init__(self, directory: Path) -> None:
        quick = ("--repl-diskless-sync-delay", "0")
        self.master = RedisServer(directory / "master", *quick)
        self.replica = RedisServer(
            directory / "replica", *quick, "--replicaof", f"127.0.0.1 {self.master.port}"
        )
        self.sentinels = []
        for number in range(3):
            folder, port = directory / f"sentinel-{number}", free_port()
            folder.mkdir(parents=True)
            file = folder / "sentinel.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\n"
                f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.SERVICE} 1000\n"
                f"sentinel failover-timeout {self.SERVICE} 5000\n"
            )
            self.sentinels.append(RedisServer(folder, str(file), port=port, sentinel=True))

    @property
    def servers(self) -> Sequence[RedisServer]:
        """Those that keep data."""
        return [self.master, self.replica]

    @property
    def url(self) -> str:
        """Where Verve finds it."""
        places = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{places}/{self.SERVICE}"

    def __enter__(self) -> Self:
        try:
            self.master.start()
            self.replica.start()
            wait_until(lambda: self.replica.info("master_link_status") == "up" or None, "a replica")
            for one in self.sentinels:
                one.start()
            wait_until(lambda: self._watched() or None, "sentinels that know each other")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in [*self.sentinels, self.replica, self.master]:
            one.kill()

    def hold_replica(self) -> None:
        """From here on the replica hears of nothing that the master acknowledges."""
        self.replica.pause()
        # What is on its way to it already it would still read.
        self.master.command("CLIENT", "KILL", "TYPE", "replica")

    def release_replica(self) -> None:
        """Let it go on with what it knows."""
        self.replica.resume()

    def kill_master(self) -> None:
        """The sentinels notice after a second."""
        self.master.kill()

    def wait_failover(self) -> None:
        """Wait until the replica is the master."""
        wait_until(lambda: self.replica.info("role") == "master" or None, "a failover", 40)

    def _watched(self) -> bool:
        for one in self.sentinels:
            found = one.command("SENTINEL", "MASTER", self.SERVICE)
            fields = dict(zip(found[::2], found[1::2], strict=True))
            if fields[b"num-other-sentinels"] != b"2" or fields[b"num-slaves"] != b"1":
                return False
        return True


class FaultProxy:
    """Stands between Verve and a server. Faults are set while it runs.

    `delay` is added to each reply, in seconds; with the probability `lose` a reply is dropped and
    its connection closed.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._over = False
        self._held = threading.Event()
        self.port = int(self._listener.getsockname()[1])
        self.delay = 0.0
        self.lose = 0.0
        self.lost = 0

    @property
    def url(self) -> str:
        """Where Verve finds it."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._close_all()

    def cut_replies(self, seconds: float = 0.05) -> None:
        """For a moment requests go through, and their replies are dropped with the connections."""
        self._held.set()
        time.sleep(seconds)
        self._close_all()
        self._held.clear()

    def _close_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                _shut(one)

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._reply, args=(server, client), daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        _shut(target)

    def _reply(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._held.is_set():
                    continue
                if self.lose and random.random() < self.lose:
                    self.lost += 1
                    break
                if self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        _shut(source)
        _shut(target)


class Monitor:
    """Collects the commands that clients of Verve run, scripts' commands included."""

    def __init__(self, redis: RedisServer | RedisCluster | Sentinels) -> None:
        self._servers = redis.servers
        self._connections: list[Connection] = []
        self._threads: list[threading.Thread] = []
        self.commands: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for server in self._servers:
            connection = Connection(server.port)
            connection.command("MONITOR")
            self._connections.append(connection)
            thread = threading.Thread(target=self._read, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def _read(self, connection: Connection) -> None:
        with contextlib.suppress(OSError, ValueError, RedisError):
            while True:
                line = bytes(connection.read()).decode(errors="replace")
                # 1795.12 [0 127.0.0.1:5000] "SADD" "key" ...
                words = line.partition('] "')[2]
                self.commands[words.partition('"')[0].upper()] += 1

    def assert_no_forbidden(self) -> None:
        """Neither walks through the keys nor empties anything; and it did see commands."""
        assert self.commands["SADD"] > 0, f"the monitor saw too little: {self.commands}"
        found = {name: n for name, n in self.commands.items() if name in FORBIDDEN}
        assert not found, f"commands that Verve must not use: {found}"


def wait_until(met: Callable[[], T | None], what: str, timeout: float = _PATIENCE) -> T:
    """Ask until the answer is true, and give it."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := met():
                return found
        time.sleep(0.02)
    raise RedisError(f"not {what} within {timeout} s")


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

"""Real Redis servers for tests: one alone, a Redis Cluster, and what sentinels watch.

    with RedisServer(tmp_path / "redis") as redis, Monitor(redis) as monitor:
        ...
        redis.kill()
        redis.start()
        redis.command("FLUSHALL")
        monitor.assert_no_forbidden()

Nothing is kept on a disk: a server that was ended comes back empty, on the same port. What stands
between it and its clients is in `redis_proxy`, what listens to it in `redis_monitor`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Self

import redis

from tests.redis_monitor import Monitor
from tests.redis_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FaultProxy", "Monitor", "RedisCluster", "RedisServer", "Sentinels"]

SERVICE = "verve"
"""The name that the sentinels have for what they watch."""
_SLOTS = 16_384
_given: set[int] = set()


class RedisServerError(AssertionError):
    """A server did not do what it was told; shows the end of its log."""


class RedisServer:
    """One server, started and ended any number of times. `config`: arguments of `redis-server`."""

    def __init__(self, directory: Path, *config: str, port: int | None = None) -> None:
        self.port = _port() if port is None else port
        self.directory = directory
        self._config = config
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For clients."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def servers(self) -> list[RedisServer]:
        """Itself."""
        return [self]

    @property
    def runs(self) -> bool:
        """Whether its process is there, stopped or not."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start it, empty, and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = (self.directory / "redis.log").open("ab")
        self._process = subprocess.Popen(
            ["redis-server", *self._arguments()],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        atexit.register(self.kill)
        self.wait_until(lambda: self.command("PING"), 30, "answers")
        return self

    def stop(self) -> None:
        """End it as an operator does."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self.kill()

    def kill(self) -> None:
        """End it at once, with SIGKILL; all that it holds is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        atexit.unregister(self.kill)

    def pause(self) -> None:
        """Stop its process: connections stay, and new ones are made, but nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def ask(self) -> redis.Redis:
        """A connection of the test itself, which a `Monitor` tells apart by its name."""
        return redis.Redis(port=self.port, socket_timeout=5, protocol=2, client_name="test")

    def command(self, *words: str | bytes | int) -> Any:  # noqa: ANN401 - what Redis answers
        """Run one command. redis-py knows the answer of `CLIENT LIST` as one word, not as two."""
        with self.ask() as connection:
            return connection.execute_command(*words)

    def log(self) -> str:
        """What it printed."""
        return (self.directory / "redis.log").read_text(errors="replace")

    def wait_until(self, met: Callable[[], Any], timeout: float, what: str) -> None:
        """Wait until `met` holds; an error of Redis is as if it did not."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with contextlib.suppress(redis.RedisError):
                if met():
                    return
            if not self.runs:
                break
            time.sleep(0.02)
        raise RedisServerError(f"not `{what}`: {self.url}; its log ends:\n{self.log()[-3_000:]}")

    def _arguments(self) -> list[str]:
        bound = ["--port", str(self.port), "--bind", "127.0.0.1"]
        kept = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
        return [*bound, *kept, "--enable-debug-command", "yes", *self._config]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


class RedisCluster:
    """Three masters, each with a replica if `replicas`, which share the slots."""

    def __init__(self, directory: Path, *config: str, replicas: bool = False) -> None:
        common = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *config)
        self.servers = [
            RedisServer(directory / f"node-{n}", "--cluster-port", str(_port()), *common)
            for n in range(6 if replicas else 3)
        ]
        self.masters = self.servers[:3]
        self.replicas = self.servers[3:]

    @property
    def url(self) -> str:
        """For clients."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{one.port}' for one in self.servers)}"

    def __enter__(self) -> Self:
        try:
            for server in self.servers:
                server.start()
            self._form()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()

    def command(self, *words: str | bytes | int) -> list[Any]:
        """Run one command on every master that runs."""
        return [one.command(*words) for one in self.masters if one.runs]

    def wait_ready(self, timeout: float = 30) -> None:
        """Wait until all nodes that run say that all slots are served."""
        for server in self.servers:
            if server.runs:
                server.wait_until(partial(self._is_formed, server), timeout, "formed")

    def _form(self) -> None:
        bounds = [_SLOTS * n // len(self.masters) for n in range(len(self.masters) + 1)]
        for number, server in enumerate(self.servers):
            server.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.servers[:number]:
                bus = other.command("CONFIG GET", "cluster-port")["cluster-port"]
                server.command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        for server, first, end in zip(self.masters, bounds, bounds[1:], strict=False):
            server.command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        self.wait_ready()
        for replica, master in zip(self.replicas, self.masters, strict=False):
            id = master.command("CLUSTER", "MYID")
            replica.command("CLUSTER", "REPLICATE", id)
            replica.wait_until(partial(_is_synced, replica), 30, "synced")

    def _is_formed(self, server: RedisServer) -> bool:
        info = server.command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == len(
            self.servers
        )


class Sentinels:
    """A master and a replica, watched by three sentinels that fail over after a second."""

    def __init__(self, directory: Path, *config: str) -> None:
        self.master = RedisServer(directory / "server-0", *config)
        at_master = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replica = RedisServer(directory / "server-1", *at_master, *config)
        self.servers = [self.master, self.replica]
        self.sentinels = [_Sentinel(directory / f"sentinel-{n}", self.master) for n in range(3)]

    @property
    def url(self) -> str:
        """For clients."""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def __enter__(self) -> Self:
        try:
            self.master.start()
            self.replica.start().wait_until(partial(_is_synced, self.replica), 30, "synced")
            for sentinel in self.sentinels:
                sentinel.start()
            for sentinel in self.sentinels:
                sentinel.wait_until(sentinel.knows_all, 30, "all known")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self.sentinels, *self.servers):
            one.kill()

    def command(self, *words: str | bytes | int) -> Any:  # noqa: ANN401 - what Redis answers
        """Run one command on the master."""
        return self.master.command(*words)

    def hold_replica(self) -> None:
        """Let the replica miss all that is written from now on.

        Stopping it is not enough: what the master sends meanwhile waits in the kernel, and is read
        when the replica goes on, though the master be dead by then. So it loses the master first.
        """
        self.replica.command("REPLICAOF", "127.0.0.1", 1)
        self.replica.pause()

    def release_replica(self) -> None:
        """Let the replica go on; it follows the master again, if that still runs."""
        self.replica.resume()
        if self.master.runs:
            self.replica.command("REPLICAOF", "127.0.0.1", self.master.port)

    def kill_master(self) -> None:
        """End the master with SIGKILL; `wait_failover` comes after it."""
        self.master.kill()

    def fail_over(self) -> None:
        """Make the replica the master while both are well, and wait until it is."""
        one = self.sentinels[0]
        # It refuses while it has not heard lately that the replica is well.
        one.wait_until(partial(one.command, "SENTINEL", "FAILOVER", SERVICE), 30, "begun")
        self.wait_failover()

    def wait_failover(self, timeout: float = 60) -> None:
        """Wait until the replica is the master, for itself and for all sentinels."""
        port = self.replica.port
        self.replica.wait_until(lambda: _role(self.replica) == "master", timeout, "master")
        for one in self.sentinels:
            one.wait_until(partial(one.takes_for_master, port), timeout, "told")
        self.master, self.replica = self.replica, self.master


class _Sentinel(RedisServer):
    """One sentinel. It writes what it learns to its configuration."""

    def __init__(self, directory: Path, master: RedisServer) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )

    def _arguments(self) -> list[str]:
        return ["sentinel.conf", "--sentinel"]

    def takes_for_master(self, port: int) -> bool:
        """Whether it names the server at `port` to clients."""
        with self.ask() as connection:
            return int(connection.sentinel_get_master_addr_by_name(SERVICE)[1]) == port

    def knows_all(self) -> bool:
        """Whether it knows the replica and the other sentinels."""
        with self.ask() as connection:
            state = connection.sentinel_master(SERVICE)
            return (state["num-slaves"], state["num-other-sentinels"]) == (1, 2)


def _role(server: RedisServer) -> str:
    return str(server.command("INFO", "replication")["role"])


def _is_synced(replica: RedisServer) -> bool:
    found = replica.command("INFO", "replication")
    return bool(found["role"] == "slave" and found["master_link_status"] == "up")


def _port() -> int:
    """A port that nobody listens on, and that no outgoing connection is given.

    A server is away for a while here. Its port must not be taken meanwhile, and a client that
    connects to it must not be connected to itself.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError):
            if port not in _given:
                socket.create_server(("127.0.0.1", port)).close()
                _given.add(port)
                return port

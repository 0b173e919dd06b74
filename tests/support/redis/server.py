"""Real Redis for tests: a server, a cluster of three masters, sentinels, and faults.

    with RedisServer(tmp_path / "redis") as redis:
        service = serve(environment={"VERVE_REDIS_URL": redis.url, "VERVE_CLUSTER": "test"})
        redis.kill()
        redis.start()

All servers listen on free ports of the loopback, store nothing on a disk, and end with the test.
Only tests may run the commands in `FORBIDDEN`; attempts of other clients are reported at the end.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.network.ports import BUS, free_port
from tests.support.redis.connection import FORBIDDEN, NAME, Connection, RedisError, wait_until
from tests.support.redis.monitor import Monitor
from tests.support.redis.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "Connection",
    "FaultProxy",
    "Monitor",
    "RedisCluster",
    "RedisError",
    "RedisServer",
    "Sentinels",
    "wait_until",
]

MISSING = "redis-server is missing; hint: on Debian and Ubuntu: sudo apt-get install redis-server"
PATIENT_MS = 60_000
"""For servers that tests share: they must not fail over because the machine was stalled."""
_SLOTS = 16_384
_EPHEMERAL = ("--save", "", "--appendonly", "no", "--enable-debug-command", "local")
_ALL = ("on", "nopass", "~*", "&*", "+@all")
_USERS = (
    *("--user", "default", *_ALL, *(f"-{one}" for one in sorted(FORBIDDEN))),
    *("--user", NAME, *_ALL),
)


class RedisServer:
    """One server. After a kill it starts again without data, on the same port."""

    def __init__(
        self, directory: Path, *config: str, port: int | None = None, sentinel: bool = False
    ) -> None:
        """`config` are further arguments, or the configuration file of a sentinel."""
        self.port = free_port(BUS) if port is None else port
        self.directory = directory
        self._config = config
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """The URL for Verve."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def servers(self) -> Sequence[RedisServer]:
        """All servers with data: this one."""
        return [self]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the server, and wait until it answers."""
        if shutil.which("redis-server") is None:
            raise RedisError(MISSING)
        port = ("--port", str(self.port), "--bind", "127.0.0.1")
        served = [*port, *_EPHEMERAL, *_USERS, *self._config]
        command = [*self._config, "--sentinel"] if self._sentinel else served
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
            return bool(self.command("PING") == b"PONG")
        return False

    @property
    def runs(self) -> bool:
        """Whether its process exists, stopped by a signal or not."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the server by SIGTERM, and raise an error if Verve tried a forbidden command."""
        tried = self._denied() if self.runs else set()
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self.kill()
        if tried:
            raise RedisError(f"Verve must not use {', '.join(sorted(tried))}")

    def _denied(self) -> set[str]:
        self.resume()
        entries = [] if self._sentinel else self.command("ACL", "LOG", 100)
        found = (dict(zip(entry[::2], entry[1::2], strict=True)) for entry in entries)
        return {bytes(one[b"object"]).decode().upper() for one in found} & FORBIDDEN

    def kill(self) -> None:
        """End the server by SIGKILL."""
        atexit.unregister(self.kill)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the process by SIGSTOP: it accepts connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process continue."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RedisError("the server does not run")
        self._process.send_signal(number)

    def command(self, *words: str | int | bytes) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a command over a connection of the test; raise an error reply."""
        with Connection(self.port) as connection:
            return connection.command(*words)

    def ask(self) -> redis.Redis:
        """A client for the test."""
        never = Retry(NoBackoff(), 0)
        return redis.Redis(
            port=self.port, username=NAME, password="", socket_timeout=5, protocol=2, retry=never
        )

    def info(self, name: str) -> str:
        """The value of one line of INFO."""
        lines = bytes(self.command("INFO")).decode().splitlines()
        return next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))


class _Replicated:
    """A master, and the replica that replaces it."""

    master: RedisServer
    replica: RedisServer

    def hold_replica(self) -> None:
        """From now on, keep from the replica what the master acknowledges."""
        self.replica.pause()
        # The replica would still read what the master has already sent.
        self.master.command("CLIENT", "KILL", "TYPE", "replica")

    def release_replica(self) -> None:
        """Let the replica continue with the data that it has."""
        self.replica.resume()

    def kill_master(self) -> None:
        """Kill the master; the other servers notice after their timeout."""
        self.master.kill()


class RedisCluster(_Replicated):
    """Three masters that share the slots; with `replicas`, each has a replica.

    `master` and `replica` are the first of each.
    """

    def __init__(
        self, directory: Path, *config: str, replicas: bool = False, patience_ms: int = 1_500
    ) -> None:
        """A node that is silent for `patience_ms` milliseconds counts as failed."""
        arguments = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(patience_ms)),
            *("--repl-diskless-sync-delay", "0", "--cluster-config-file", "nodes.conf", *config),
        )
        count = 6 if replicas else 3
        self.nodes = [RedisServer(directory / f"node-{n}", *arguments) for n in range(count)]
        self.master = self.nodes[0]
        if replicas:
            self.replica = self.nodes[3]

    @property
    def servers(self) -> Sequence[RedisServer]:
        """All nodes."""
        return self.nodes

    @property
    def url(self) -> str:
        """The URL for Verve."""
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
        with contextlib.ExitStack() as all_:
            for node in self.nodes:
                all_.callback(node.stop)

    def command(self, *words: str | int | bytes) -> None:
        """Run a command on each master."""
        for node in self.nodes[:3]:
            node.command(*words)

    def wait_failover(self) -> None:
        """Wait until the replica has replaced the first master, and all nodes know it."""

        def done() -> bool:
            known = [bytes(node.command("CLUSTER", "INFO")) for node in self.nodes if node.runs]
            is_master = self.replica.info("role") == "master"
            return is_master and all(b"cluster_state:ok" in text for text in known)

        wait_until(lambda: done() or None, "a failover", 40)

    def _form(self) -> None:
        masters, replicas = self.nodes[:3], self.nodes[3:]
        bounds = [_SLOTS * n // 3 for n in range(4)]
        for number, master in enumerate(masters):
            master.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first, last = bounds[number], bounds[number + 1] - 1
            master.command("CLUSTER", "ADDSLOTSRANGE", first, last)
        # Every pair: to learn of one another through others would take seconds.
        for node, other in itertools.combinations(self.nodes, 2):
            node.command("CLUSTER", "MEET", "127.0.0.1", other.port)
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


class Sentinels(_Replicated):
    """A master and a replica, watched by three sentinels."""

    SERVICE = "verve"

    def __init__(self, directory: Path, *, patience_ms: int = 1_000) -> None:
        """A master that is silent for `patience_ms` milliseconds counts as failed."""
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
                f"sentinel down-after-milliseconds {self.SERVICE} {patience_ms}\n"
                f"sentinel failover-timeout {self.SERVICE} 5000\n"
            )
            self.sentinels.append(RedisServer(folder, str(file), port=port, sentinel=True))

    @property
    def servers(self) -> Sequence[RedisServer]:
        """The servers with data."""
        return [self.master, self.replica]

    @property
    def url(self) -> str:
        """The URL for Verve."""
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
        with contextlib.ExitStack() as all_:
            for one in [self.master, self.replica, *self.sentinels]:
                all_.callback(one.stop)

    def fail_over(self) -> None:
        """Promote the replica while both servers run; the sentinels demote the master."""
        one = self.sentinels[0]

        def begun() -> bool:
            # A sentinel refuses while it has no recent sign of the replica.
            with contextlib.suppress(RedisError):
                return bool(one.command("SENTINEL", "FAILOVER", self.SERVICE) == b"OK")
            return False

        wait_until(lambda: begun() or None, "a failover begun", 30)
        self.wait_failover()

    def wait_failover(self) -> None:
        """Wait until the replica is the master, and all sentinels report it."""
        port = b"%d" % self.replica.port

        def told() -> bool:
            words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.SERVICE)
            return all(one.command(*words)[1] == port for one in self.sentinels if one.runs)

        wait_until(lambda: self.replica.info("role") == "master" or None, "a failover", 40)
        wait_until(lambda: told() or None, "sentinels that agree", 40)

    def _watched(self) -> bool:
        for one in self.sentinels:
            found = one.command("SENTINEL", "MASTER", self.SERVICE)
            fields = dict(zip(found[::2], found[1::2], strict=True))
            if fields[b"num-other-sentinels"] != b"2" or fields[b"num-slaves"] != b"1":
                return False
        return True

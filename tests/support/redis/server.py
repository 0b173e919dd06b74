"""Real Redis for tests: a server, a cluster of three masters, what sentinels watch, and faults.

    with RedisServer(tmp_path / "redis") as redis:
        service = serve(environment={"VERVE_REDIS_URL": redis.url, "VERVE_CLUSTER": "test"})
        redis.kill()
        redis.start()

All of it listens on free ports of the loopback, keeps nothing on a disk, and ends with the test.
Whoever is no test may not run what is `FORBIDDEN`, and who tried is found at the end.
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

from tests.support.ports import BUS, free_port
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
"""For servers that tests share: a machine that stands still must not make them fail over."""
_SLOTS = 16_384
_EPHEMERAL = ("--save", "", "--appendonly", "no", "--enable-debug-command", "local")
_ALL = ("on", "nopass", "~*", "&*", "+@all")
_USERS = (
    *("--user", "default", *_ALL, *(f"-{one}" for one in sorted(FORBIDDEN))),
    *("--user", NAME, *_ALL),
)


class RedisServer:
    """One server. Killed, it comes back empty, on the same port."""

    def __init__(
        self, directory: Path, *config: str, port: int | None = None, sentinel: bool = False
    ) -> None:
        """`config`: further arguments, or the file of a sentinel."""
        self.port = free_port(BUS) if port is None else port
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
        self.stop()

    def start(self) -> Self:
        """Start it, and wait until it answers."""
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
        """Whether its process is there, stopped or not."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it as an operator would, and see that nobody tried what is forbidden."""
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

    def ask(self) -> redis.Redis:
        """A client of the test's own."""
        never = Retry(NoBackoff(), 0)
        return redis.Redis(
            port=self.port, username=NAME, password="", socket_timeout=5, protocol=2, retry=never
        )

    def info(self, name: str) -> str:
        """One line of INFO."""
        lines = bytes(self.command("INFO")).decode().splitlines()
        return next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))


class _Replicated:
    """A master and its replica, that takes its place."""

    master: RedisServer
    replica: RedisServer

    def hold_replica(self) -> None:
        """From here on the replica hears of nothing that the master acknowledges."""
        self.replica.pause()
        # What is on its way to it already it would still read.
        self.master.command("CLIENT", "KILL", "TYPE", "replica")

    def release_replica(self) -> None:
        """Let it go on with what it knows."""
        self.replica.resume()

    def kill_master(self) -> None:
        """Kill it; the others notice after their patience."""
        self.master.kill()


class RedisCluster(_Replicated):
    """Three masters that share the slots; with `replicas`, each has one.

    `master` and `replica` are the first of each.
    """

    def __init__(
        self, directory: Path, *config: str, replicas: bool = False, patience_ms: int = 1_500
    ) -> None:
        """`patience_ms`: so long a node may be silent before it is given up."""
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
        with contextlib.ExitStack() as all_:
            for node in self.nodes:
                all_.callback(node.stop)

    def command(self, *words: str | int | bytes) -> None:
        """Run a command on every master."""
        for node in self.nodes[:3]:
            node.command(*words)

    def wait_failover(self) -> None:
        """Wait until the replica has taken the place of the first master, and all know."""

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
        # Each with each: to hear of one another takes them seconds.
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
        """`patience_ms`: so long a master may be silent before it is given up."""
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
        with contextlib.ExitStack() as all_:
            for one in [self.master, self.replica, *self.sentinels]:
                all_.callback(one.stop)

    def fail_over(self) -> None:
        """Make the replica the master while both are well; the sentinels demote the other."""
        one = self.sentinels[0]

        def begun() -> bool:
            # Refused while it has not heard lately that the replica is well.
            with contextlib.suppress(RedisError):
                return bool(one.command("SENTINEL", "FAILOVER", self.SERVICE) == b"OK")
            return False

        wait_until(lambda: begun() or None, "a failover begun", 30)
        self.wait_failover()

    def wait_failover(self) -> None:
        """Wait until the replica is the master, and all sentinels say so."""
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

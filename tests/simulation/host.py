"""A host of a simulation: processes with real counters, senders, leaders and coordinators."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.rig import no_wait, settings
from verve import CapacityError, Counter, ManualClock
from verve._verve import ClosedError
from verve.clock import Clock
from verve.cluster.coordinator.coordinator import Coordinator
from verve.cluster.replication.sender import IdSender
from verve.cluster.runtime.machine import Machine
from verve.ledger import ledger
from verve.log import events
from verve.log.background import Notices
from verve.publishing.leader import Leader
from verve.publishing.ports import Ports
from verve.sinks import FailureKind, Scope, SinkError

from .network import SimulatedClient, Weather, store_of
from .world import EPOCH, WorldLoop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from verve.cluster.interfaces import Feed
    from verve.config import Settings
    from verve.publishing.lease import Lease
    from verve.publishing.task import Task
    from verve.stores import Store
    from verve.windows.window import Window

    from .history import History
    from .network import Redis
    from .world import World

SECONDS = 2
"""The length of a window."""
GRACE_SECONDS = 2
_PAST_BOUNDARY = 0.001


class Kafka:
    """The broker, for all hosts."""

    def __init__(self, world: World, history: History) -> None:
        self.world = world
        self.history = history
        self.is_away = False
        self.loses_replies = False

    def take(self, window: Window) -> None:
        """Take a message. Raises `SinkError` if the host cannot know that it arrived."""
        if self.is_away:
            raise SinkError("no broker", FailureKind.UNREACHABLE)
        self.history.add(self.world.now, "sent", host="kafka", **facts_of(window))
        if self.loses_replies:
            raise SinkError("no reply", FailureKind.TIMEOUT)


class _Events(Notices):
    """Puts the names of events into the trace."""

    def __init__(self, world: World, name: str, history: History) -> None:
        self._world = world
        self._name = name
        self._history = history

    def put(self, event: Any, **values: Any) -> None:  # noqa: ANN401 - see Notices
        """See `Notices`."""
        self._world.note(f"{self._name} {event.name} {sorted(map(str, values.values()))}")
        if event is events.WINDOW_LOWER:
            self._history.add(self._world.now, "lower", window=values["window_start"])


class _Sink:
    """A sink of a process: the log of its host, or Kafka."""

    def __init__(self, name: str, take: Callable[[Window], None]) -> None:
        self.name = name
        self.scope = Scope.HOST if name == "log" else Scope.CLUSTER
        self.take = take

    def interrupt(self) -> None:
        """Do nothing: it never waits."""

    def close(self) -> None:
        """Do nothing."""


def facts_of(window: Window) -> dict[str, Any]:
    """What the checker has to know of a published window."""
    return {
        "window": window.window_start,
        "revision": window.revision,
        "count": window.unique,
        "degraded": window.degraded,
    }


class Process:
    """One worker process: a counter, a sender of ids, and a leader that may be elected."""

    def __init__(self, host: Host, name: str, seed: str) -> None:
        """`seed` makes the chance of this process."""
        self.host = host
        self.name = name
        self.is_dead = False
        self.is_ending = False
        self.world = host.world
        self._held_tasks: list[Callable[[], object]] = []
        chance = random.Random(seed)
        host.tell_time()
        made = host.settings
        self.counter = Counter(
            made.segment,
            window=made.window,
            max_ids=made.max_ids_per_window,
            cluster=made.cluster,
            state_directory=str(made.state_dir),
            clock=host.clock,
            # As a service does that joins: it asks Redis for the time before it makes a segment.
            clock_offset=host.redis.wall_us() * 1_000 - host.clock.boot(),
            seed=chance.getrandbits(64),
        )
        self.counter.reference_clock.follow()
        self._chance = chance
        self._times: dict[str, Any] = {
            "monotonic": lambda: self.world.now,
            "wall_ns": host.wall_ns,
            "random": chance,
            "wait_for": no_wait,
        }
        self.loops: list[WorldLoop] = []
        self.machine = Machine(**self._times, in_thread=_inline, host_name=host.name)
        self.events = _Events(host.world, name, host.history)
        loop = self._new_loop()
        self.sender = IdSender(
            self.counter, host.settings, self._connect_on(loop), self.events, self.machine
        )
        self.sender.queue()
        self._running = [loop.create_task(self.sender.serve())]
        self.leader = Leader(
            self.counter,
            host.settings,
            clock=Clock(**self._times),
            ports=Ports(start=self._start, coordinate=self._coordinate, open_sink=self._open_sink),
        )
        self.leader.start()

    def add(self, id: int) -> None:
        """A request arrives: the caller gets an answer, unless the process is gone."""
        host = self.host
        if self.is_dead or self.is_ending or self.is_held:
            return
        host.tell_time()
        try:
            _, window = self.counter.add_in_window(id)
        except (CapacityError, ClosedError):
            return
        host.history.add(
            self.world.now,
            "accepted",
            host=host.name,
            window=window,
            id=id,
            joined=host.has_joined(),
        )

    @property
    def leads(self) -> bool:
        """Whether it is the leader of its host."""
        return not self.is_dead and self.leader._term is not None

    @property
    def joined_as(self) -> str | None:
        """The id of its host, if it leads and has registered it: until then that is not ready."""
        term = self.leader._term
        work = None if term is None or term.coordinator is None else term.coordinator.work
        return work.cluster.own_id if work is not None and work.registrar.has_joined else None

    @property
    def is_held(self) -> bool:
        """Whether the process is stopped."""
        return any(loop.held for loop in self.loops)

    def hold(self) -> None:
        """Stop the process, as `SIGSTOP` does."""
        for loop in self.loops:
            loop.held = True

    def let_go(self) -> None:
        """Continue the process."""
        for loop in self.loops:
            loop.let_go()
        held, self._held_tasks = self._held_tasks, []
        for step in held:
            self.world.after(0.0, step)

    def kill(self) -> None:
        """End the process at once. What is under way to Redis may still be served."""
        if not self.is_dead:
            self.is_dead = True
            self.hold()
            self.counter.close()

    def stop(self) -> None:
        """End the process as a service does that is stopped: it takes no more requests."""
        if self.is_dead:
            return
        self.is_ending = True
        self.sender.stop()
        term = self.leader._term
        if term is not None and term.coordinator is not None:
            term.coordinator.stop(leaves=True)
        self.world.after(2.5, self.kill)

    def end(self) -> None:
        """Have everything that runs end, so that nothing is left behind."""
        self.kill()
        for loop in self.loops:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.let_go()

    def close(self) -> None:
        """Free what the process holds, some time after `end`."""
        for loop in self.loops:
            loop.close()

    def _new_loop(self) -> WorldLoop:
        loop = WorldLoop(self.world, self.host.enter)
        loop.set_exception_handler(lambda _loop, context: self.world.note(f"{self.name} {context}"))
        self.loops.append(loop)
        return loop

    def _connect_on(self, loop: WorldLoop) -> Callable[[Settings], tuple[Any, Store]]:
        def connect(made: Settings) -> tuple[Any, Store]:
            client = SimulatedClient(
                self.host.redis, loop, self.host.weather, self._chance, self.name
            )
            return client, store_of(client, made)

        return connect

    def _start(self, task: Task) -> None:
        """Take the steps of a task; those of a coordinator are on a loop."""
        if task.name == "verve-cluster":
            return
        planned = [0]

        def step(number: int) -> None:
            if self.is_dead or number != planned[0] or task._stopped.is_set():
                return
            if self.is_held:
                self._held_tasks.append(partial(step, number))
                return
            self.host.enter()
            try:
                pause = task.step()
            except ClosedError:
                return
            plan(max(pause, _PAST_BOUNDARY))

        def plan(seconds: float) -> None:
            planned[0] += 1
            number = planned[0]
            self.world.after(seconds, step, number)

        task.wake = lambda: plan(0.0)  # type: ignore[method-assign]
        plan(0.0)

    def _coordinate(self, counter: Any, made: Settings, lease: Lease, feed: Feed) -> Coordinator:  # noqa: ANN401
        loop = self._new_loop()
        coordinator = Coordinator(
            counter, made, lease, feed, self.events, self._connect_on(loop), self.machine
        )

        async def run() -> None:
            """As `Coordinator.run`, on a loop of the world."""
            while coordinator._holds():
                try:
                    await coordinator.serve()
                except ClosedError:
                    return
                except Exception as error:  # noqa: BLE001 - as there
                    self.world.note(f"{self.name} stumbled {error!r}")
                    await asyncio.sleep(0.5)

        self._running.append(loop.create_task(run()))
        return coordinator

    def _open_sink(self, _settings: Settings, name: str) -> _Sink:
        return _Sink(name, self.host.log if name == "log" else self.host.kafka.take)


async def _inline(call: Callable[..., Any], /, *args: object) -> Any:  # noqa: ANN401
    """Threads of the simulation: a call is over at once."""
    return call(*args)


class Host:
    """A host, whose segment and ledger outlive its processes."""

    entered: Host | None = None
    """The host whose code runs."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the hosts share
        self,
        directory: Path,
        number: int,
        world: World,
        redis: Redis,
        kafka: Kafka,
        history: History,
        *,
        seed: str,
        workers: int,
        skew: float,
    ) -> None:
        """`skew`: seconds that its wall clock is ahead."""
        self.name = f"host-{number}"
        self.world = world
        self.redis = redis
        self.kafka = kafka
        self.history = history
        self.weather = Weather()
        self.has_full_disk = False
        self.settings = settings(
            directory / self.name,
            cluster="simulated",
            window=f"{SECONDS}s",
            redis_url="redis://simulated",
            cluster_grace=f"{GRACE_SECONDS}s",
            sinks="log,kafka",
            kafka_brokers="127.0.0.1:1",
            max_ids_per_window="1000",
        )
        self.settings.state_dir.mkdir(parents=True)
        self._skew = skew
        self._told = world.now
        self.clock = ManualClock(wall=EPOCH + world.now + skew)
        self._seed = seed
        self._workers = workers
        self._begun = 0
        self._joined_as: str | None = None
        self._is_forgotten = False
        self.has_left = False
        """Whether it has stopped, and taken its line away."""
        self.processes: list[Process] = []
        self.all_processes: list[Process] = []
        """With those that are dead."""
        self.begin()

    def begin(self) -> None:
        """Start the processes that are missing."""
        self.processes = [process for process in self.processes if not process.is_dead]
        if not self.processes:
            self._joined_as = None
        while len(self.processes) < self._workers:
            # Not before: those that are stopped take a while to end.
            self.has_left = False
            self._begun += 1
            name = f"{self.name}.{self._begun}"
            process = Process(self, name, f"{self._seed} {name}")
            self.processes.append(process)
            self.all_processes.append(process)

    def has_joined(self) -> bool:
        """Whether it has joined the cluster since its processes began, and not been forgotten."""
        for process in self.processes:
            self._joined_as = self._joined_as or process.joined_as
        if self._is_forgotten and self.is_listed():
            self._is_forgotten = False
            self.history.add(self.world.now, "known", host=self.name)
        return self._joined_as is not None and not self._is_forgotten

    def forget(self) -> None:
        """Nothing tells other hosts of this one any more, until it is back."""
        self._is_forgotten = True
        self.history.add(self.world.now, "forgotten", host=self.name)

    def is_listed(self) -> bool:
        """Whether its line is in Redis, and in an old master too that others still talk to."""
        key = b"verve:{simulated:%d}:hosts" % SECONDS
        return self._joined_as is not None and all(
            self._joined_as.encode() in server.values.get(key, {}) for server in self.redis.seen()
        )

    def wall_ns(self) -> int:
        """Its wall clock."""
        return int((EPOCH + self.world.now + self._skew) * 1e9)

    def step_clock(self, seconds: float) -> None:
        """Set its wall clock forward, or back."""
        self.tell_time()
        self._skew += seconds
        self.clock.step(seconds)

    def tell_time(self) -> None:
        """Bring the clock of its counters to the time of the world."""
        if self.world.now > self._told:
            self.clock.advance(self.world.now - self._told)
            self._told = self.world.now

    def enter(self) -> None:
        """Code of this host is about to run."""
        Host.entered = self
        self.tell_time()

    def log(self, window: Window) -> None:
        """A line of its log."""
        self.history.add(self.world.now, "logged", host=self.name, **facts_of(window))

    def stored(self) -> list[Window]:
        """What its ledger has."""
        return ledger.rows(ledger.path_of(self.settings))

"""The scenarios with servers, and their goals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.callback_sender import CallbackSender
from bench.contenders.loaded_server import LoadedServer
from bench.contenders.redis_store import RedisStore
from bench.contenders.server_at_rest import IDS, IdleCpu, Memory, StartUpTime
from bench.harness.servers import SERVERS
from bench.scenarios.latencies import latencies
from bench.scenarios.loads import CONNECTIONS, DUPLICATES, RATE_COLUMNS, ZIPF
from bench.scenarios.scenario import Goal, Plan, Scenario
from bench.scenarios.streams import streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.sample import Contender

STEADY_WARM_UP = 7.0
"""Three windows of 2 s and a part of a fourth: windows begin in their full size after them."""


def servers(plan: Plan) -> list[Scenario]:
    """Return all scenarios with servers."""
    return [
        *accepts(plan.seconds),
        *connections(plan.seconds),
        *latencies(plan),
        *clusters(plan.seconds),
        redis_cost(plan),
        *batches(plan.seconds),
        callbacks(plan),
        *streams(plan.seconds),
        *at_rest(plan),
    ]


def accepts(seconds: float) -> list[Scenario]:
    """Return the scenarios of accepts in a closed loop."""

    def contenders(
        names: Sequence[str], ids: str, *, within: bool = False, all_cores: bool = False
    ) -> list[Contender]:
        arguments = (*CONNECTIONS, "--ids", ids)
        return [
            LoadedServer(name, arguments, seconds, within_window=within, all_cores=all_cores)
            for name in names
        ]

    all_servers = (
        *("verve-native", "epoll", "hyper", "hyper-dashset", "fasthttp", "verve", "verve-rsgi"),
        *("static", "gin", "gin-redis", "socketify", "fastapi"),
    )
    counting = ("verve-native", "verve", "hyper-dashset", "fasthttp", "gin")
    return [
        Scenario(
            "accept-distinct",
            "Accept, distinct ids, one worker on one core",
            contenders(all_servers, "distinct"),
            RATE_COLUMNS,
            [
                Goal(1.05, "hyper"),
                Goal(1.1, "hyper-dashset"),
                Goal(3.0, "gin"),
                Goal(1.4, "verve"),
                Goal(1.35, "epoll", "cpu_us", at_most=True),
            ],
            note="The epoll loop, bare hyper and static Granian count nothing: they show what"
            " answering costs. Redis has the core of its server, and its CPU time is included.",
        ),
        Scenario(
            "accept-duplicates",
            f"Accept, the same {DUPLICATES:,} ids over and over",
            contenders(counting, f"duplicates:{DUPLICATES}", within=True),
            RATE_COLUMNS,
        ),
        Scenario(
            "accept-mixed",
            f"Accept, 90 % of {DUPLICATES:,} ids, 10 % new ones",
            contenders(counting, f"mixed:90/10:{DUPLICATES}", within=True),
            RATE_COLUMNS,
        ),
        Scenario(
            "accept-zipf",
            "Accept, a million ids by Zipf's law, exponent 1.1",
            contenders(counting, ZIPF, within=True),
            RATE_COLUMNS,
        ),
        Scenario(
            "accept-all-cores",
            "Accept, distinct ids, two workers and the generator on two cores",
            contenders(
                ("verve-native", "verve", "hyper-dashset", "fasthttp", "static", "gin"),
                "distinct",
                all_cores=True,
            ),
            RATE_COLUMNS,
            note="The generator takes a large part of both cores, so the CPU time per request says"
            " more than the rate. hyper has one thread: its users would start one per core.",
        ),
        Scenario(
            "hosts",
            "Accept, as people start it: `verve serve`, `granian verve.app:app`, and tuned by hand",
            [
                *contenders(("verve-serve", "verve-native", "verve-plain"), "distinct"),
                LoadedServer("verve", CONNECTIONS, seconds, heading="granian, tuned by hand"),
            ],
            RATE_COLUMNS,
            note="By hand: `--http 1 --no-ws --loop uvloop`, as in the other scenarios.",
        ),
    ]


def connections(seconds: float) -> list[Scenario]:
    """Return the scenarios with 10,000 connections: all of them busy, and 100 of them."""
    many, few = 10_000, 100

    def busy(name: str, idle: int, called: str = "") -> LoadedServer:
        arguments = ("--connections", str(few), "--idle", str(idle))
        title = f"{SERVERS[name].title}, {few + idle:,} open"
        return LoadedServer(name, arguments, seconds, called=called, heading=title)

    return [
        Scenario(
            "connections-busy",
            f"Accept, distinct ids, {many:,} connections, all of them busy",
            [
                # Granian by itself takes 2,048 connections; `verve serve` raises its limits.
                LoadedServer(name, ("--connections", str(many), "--wait", "20"), seconds)
                for name in ("verve-native", "verve-serve", "hyper-dashset", "fasthttp", "gin")
            ],
            RATE_COLUMNS,
            note="CPU time includes that of taking the connections; the rate begins after it.",
        ),
        Scenario(
            "connections-idle",
            f"Accept, distinct ids, {many:,} open connections of which {few} are busy",
            [
                busy("verve-native", many - few),
                busy("verve-native", 0, "verve-native-alone"),
                busy("hyper", many - few),
                busy("hyper", 0, "hyper-alone"),
            ],
            RATE_COLUMNS,
            [Goal(0.95, "verve-native-alone")],
            note="The others are open and send nothing. Each must still be open at the end. CPU"
            " time includes that of taking the connections; the rate begins after it.",
        ),
    ]


def clusters(seconds: float) -> list[Scenario]:
    """Return the scenarios of accepts in Redis mode."""

    def contenders(names: Sequence[str], ids: str, *, within: bool = False) -> list[Contender]:
        arguments = (*CONNECTIONS, "--ids", ids)
        return [
            LoadedServer(name, arguments, seconds, within_window=within, redis_apart=True)
            for name in names
        ]

    note = "Redis has the core of the generator, as if on another host. Its CPU time is included."
    redis = ("verve-native-redis", "verve-native", "verve-redis", "verve", "gin-redis")
    together = (*CONNECTIONS, "--ids", "distinct")
    return [
        Scenario(
            "redis-one-core",
            "Accept in Redis mode, distinct ids, server and Redis together on one core",
            [
                LoadedServer(name, together, seconds)
                for name in ("verve-native-redis", "verve-redis", "gin-redis")
            ],
            RATE_COLUMNS,
            [Goal(3.0, "gin-redis")],
            note="The whole cost of a request on one core: the host and its part of Redis.",
        ),
        Scenario(
            "redis-distinct",
            "Accept in Redis mode, distinct ids, one worker on one core",
            contenders(redis, "distinct"),
            RATE_COLUMNS,
            [Goal(0.7, "verve-native")],
            note=note,
        ),
        Scenario(
            "redis-duplicates",
            f"Accept in Redis mode, the same {DUPLICATES:,} ids over and over",
            contenders(redis, f"duplicates:{DUPLICATES}", within=True),
            RATE_COLUMNS,
            [Goal(0.9, "verve-native")],
            note=note,
        ),
    ]


def redis_cost(plan: Plan) -> Scenario:
    """Return the scenario of the cost of an id in Redis."""
    ids = 600_000 if plan.full else 150_000
    return Scenario(
        "redis-cost",
        "Cost of a new id in Redis, by strategy, in batches of 600",
        [RedisStore("sets", "sets", ids), RedisStore("keys", "keys, as the Go service", ids)],
        {
            "client_cpu_us": "CPU us of the client",
            "redis_cpu_us": "CPU us of Redis",
            "bytes_per_id": "bytes kept",
            "sent_per_id": "bytes sent",
            "per_second": "ids/s",
        },
        more_is_better=False,
        note="One connection, one batch after the other. The count is compared with the ids sent;"
        " bytes are those that Redis reports as used.",
    )


def batches(seconds: float) -> list[Scenario]:
    """Return the scenarios of batches over HTTP."""
    columns = {"ids_rate": "ids/s", "cpu_us": "CPU us per id", "p99_ms": "p99 ms per batch"}

    def batch(kind: str) -> list[Contender]:
        arguments = ("--connections", "4", "--batch", kind, "--batch-size", "50000")
        return [
            *(
                LoadedServer(
                    name,
                    arguments,
                    seconds,
                    window=2,
                    warm_up=STEADY_WARM_UP,
                    heading=f"{SERVERS[name].title}, after three windows",
                )
                for name in ("verve-native", "verve")
            ),
            # Windows of a minute, so that no second window begins meanwhile.
            LoadedServer(
                "verve-native",
                arguments,
                2.0,
                within_window=True,
                warm_up=0.0,
                called="verve-first",
                heading=f"{SERVERS['verve-native'].title}, first window",
            ),
        ]

    title = "Batches of 50,000 distinct ids over HTTP"
    goals = {"binary": [Goal(1e7)], "json": [], "text": []}
    return [
        Scenario(
            f"batch-{kind}",
            f"{title}, {kind}, windows of 2 s",
            batch(kind),
            columns,
            goal,
            note="A window has room for twice the recent ids; the first window has to grow.",
        )
        for kind, goal in goals.items()
    ]


def callbacks(plan: Plan) -> Scenario:
    """Return the scenario of callbacks, sent as fast as one core can."""
    posts = 40_000 if plan.full else 10_000
    return Scenario(
        "callbacks",
        "Callbacks, sent by one core to a receiver on the other",
        [
            CallbackSender("verve", "Verve", 2 * posts),
            CallbackSender("aiohttp", "aiohttp", posts // 4),
            CallbackSender("httpx", "httpx", posts // 20),
        ],
        {"rate": "posts/s", "cpu_us": "CPU us per post"},
        note="Verve's figures include the accept, the cell in the segment and the egress policy."
        " Every post is counted where it arrives.",
    )


def at_rest(plan: Plan) -> list[Scenario]:
    """Return the scenarios of servers without load."""
    names = ("verve-serve", "verve-native", "verve", "gin", "gin-redis", "fastapi")
    idle = 12.0 if plan.full else 6.0
    return [
        Scenario(
            "start-up",
            "Start-up, from the command to the first answer",
            [StartUpTime(name) for name in names],
            {"start_ms": "ms"},
            more_is_better=False,
        ),
        Scenario(
            "idle",
            "CPU time of an idle server",
            [IdleCpu(name, idle) for name in names],
            {"cpu_s_per_minute": "CPU s per minute"},
            more_is_better=False,
            rounds=2,
            note=f"Measured for {idle:.0f} s.",
        ),
        Scenario(
            "memory",
            f"Memory of a server, all of its processes, after {IDS:,} distinct ids in a minute",
            [Memory(name) for name in ("verve-serve", "verve-native", "verve", "gin", "gin-redis")],
            {"full_mib": "MiB", "rest_mib": "MiB at rest"},
            more_is_better=False,
            rounds=2,
            note="Pages that several processes share count once.",
        ),
    ]

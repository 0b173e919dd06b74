"""The scenarios at a constant rate, timed from the moment at which a request was due."""

from __future__ import annotations

from bench.contenders.archiving_server import WINDOW, ArchivingServer, Work
from bench.contenders.loaded_server import LoadedServer
from bench.scenarios.loads import CONNECTIONS, LATENCY_COLUMNS, OPEN_LOOP
from bench.scenarios.scenario import Goal, Plan, Scenario

UPLOAD_IDS = 8 * 2**20 // 8
"""Ids in an upload of 8 MiB, binary."""
SHARE = 0.6


def latencies(plan: Plan) -> list[Scenario]:
    """Return all scenarios at a constant rate."""
    seconds = 4 * plan.seconds
    return [
        _across_boundaries(seconds),
        _below_the_limit(seconds),
        _beside_uploads(seconds),
        _with_callbacks(seconds),
        *(_beside_archive(seconds, work) for work in (Work.WINDOWS, Work.ROLL_UP, Work.QUERIES)),
        *([_steady()] if plan.full else []),
    ]


def _across_boundaries(seconds: float) -> Scenario:
    window = 2
    names = ("verve-native", "hyper", "hyper-dashset", "fasthttp", "verve", "gin", "static")
    return Scenario(
        "latency",
        f"Accept at a constant 10,000/s, windows of {window} s, p99 from the intended start",
        [LoadedServer(name, OPEN_LOOP, seconds, window=window) for name in names],
        LATENCY_COLUMNS,
        [Goal(1.1, "hyper"), Goal(0.5, "gin"), Goal(1.3, figure="near_to_away")],
        more_is_better=False,
        note=f"Near: within 250 ms of a boundary, of which each run has {seconds / window:.0f}. "
        "hyper and static Granian have no windows, so near and away show the noise.",
    )


def _below_the_limit(seconds: float) -> Scenario:
    names = ("verve-native", "verve", "hyper", "hyper-dashset", "fasthttp", "gin")
    columns = {
        "p99.9_ms": "p99.9 ms",
        "p99_ms": "p99 ms",
        "p50_ms": "p50 ms",
        "rate": "requests/s",
        "cpu_us": "CPU us per request",
    }
    return Scenario(
        "latency-below-limit",
        f"Accept at {SHARE:.0%} of each server's limit, p99.9 from the intended start",
        [
            LoadedServer(name, CONNECTIONS, seconds, warm_up=2.0, share_of_limit=SHARE)
            for name in names
        ],
        columns,
        more_is_better=False,
        note="The limit is the rate of two seconds in a closed loop right before. Each server has"
        " another rate, so a faster one has more to do in the same time.",
    )


def _beside_uploads(seconds: float) -> Scenario:
    uploads = (
        *("--connections", "1", "--rate", "2", "--batch", "binary"),
        *("--batch-size", str(UPLOAD_IDS), "--ids", f"duplicates:{UPLOAD_IDS}"),
    )

    def pair(name: str, title: str) -> list[LoadedServer]:
        beside = LoadedServer(name, OPEN_LOOP, seconds, within_window=True, beside=uploads)
        alone = LoadedServer(name, OPEN_LOOP, seconds, called=f"{name}-alone", heading=title)
        return [beside, alone]

    return Scenario(
        "latency-uploads",
        "Accept at a constant 10,000/s beside two uploads of 8 MiB per second, p99",
        [
            *pair("verve-native", "Verve, native listener, no uploads"),
            *pair("verve", "Verve, Granian, no uploads"),
        ],
        LATENCY_COLUMNS,
        [Goal(1.5, "verve-native-alone")],
        more_is_better=False,
        note="An upload is a binary batch of a million ids, the same ones each time. A second"
        " generator sends them from the first one's core.",
    )


def _with_callbacks(seconds: float) -> Scenario:
    return Scenario(
        "accept-callbacks",
        "Accept at a constant 10,000/s, each naming an endpoint, p99 from the intended start",
        [
            LoadedServer("verve-native-callbacks", OPEN_LOOP, seconds, endpoint=True),
            LoadedServer("verve-native", OPEN_LOOP, seconds, heading="Verve, native, no endpoints"),
            LoadedServer("verve-callbacks", OPEN_LOOP, seconds, endpoint=True),
            LoadedServer("verve", OPEN_LOOP, seconds, heading="Verve, Granian, no endpoints"),
        ],
        LATENCY_COLUMNS,
        [Goal(2.0, "verve-native")],
        more_is_better=False,
        note="The receiver shares the generator's core. Every callback is counted there.",
    )


def _beside_archive(seconds: float, work: Work) -> Scenario:
    return Scenario(
        f"latency-archive-{work.name.lower().replace('_', '-')}",
        f"Accept at a constant 10,000/s, windows of {WINDOW} s, with an archive: {work}, p99",
        [
            ArchivingServer(name, done, seconds, OPEN_LOOP)
            for name in ("verve-native", "verve")
            for done in (work, Work.NONE)
        ],
        LATENCY_COLUMNS,
        [Goal(1.2, "verve-native")],
        more_is_better=False,
        note="The archive's processes have the core of the server, at idle priority.",
    )


def _steady() -> Scenario:
    """Return the scenario of a constant rate for three minutes."""
    seconds = 180.0
    return Scenario(
        "steady",
        "10,000/s for three minutes, minutes as windows: native listener, plain"
        " `granian verve.app:app`, in Redis mode, with callbacks",
        [
            LoadedServer("verve-native", OPEN_LOOP, seconds),
            LoadedServer("verve-plain", OPEN_LOOP, seconds),
            LoadedServer("verve-redis", OPEN_LOOP, seconds, redis_apart=True),
            LoadedServer("verve-callbacks", OPEN_LOOP, seconds, endpoint=True),
        ],
        LATENCY_COLUMNS,
        more_is_better=False,
        rounds=1,
        note="A request that fails, or a wrong count, is a failure.",
    )

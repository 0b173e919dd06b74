"""The scenarios with open event streams."""

from __future__ import annotations

from bench.contenders.streaming_server import STREAM_SECONDS, StreamingServer, UnreadStreams
from bench.scenarios.loads import CONNECTIONS
from bench.scenarios.scenario import Goal, Scenario

STREAMS = 1_000
UNREAD = 100
_SERVERS = ("verve-native", "verve", "verve-rsgi", "verve-asgi")


def streams(seconds: float) -> list[Scenario]:
    """Return the scenarios with open event streams."""
    load = (*CONNECTIONS, "--ids", "distinct")
    return [
        Scenario(
            "streams",
            f"Accept, distinct ids, beside {STREAMS:,} open event streams of one worker",
            [
                StreamingServer(name, count, seconds, load)
                for name in _SERVERS
                for count in (STREAMS, 0)
            ],
            {
                "rate": "requests/s",
                "cpu_us": "CPU us per request",
                "p99_ms": "p99 ms",
                "stream_kib": "KiB per stream",
            },
            [Goal(0.9, "verve-native"), Goal(64, figure="stream_kib", at_most=True)],
            note="The readers share the generator's core. Memory is that of the process, without"
            " what the kernel keeps for the sockets.",
        ),
        Scenario(
            "streams-unread",
            f"Memory for {UNREAD} readers that take nothing, streams of {STREAM_SECONDS} s",
            [UnreadStreams(name, UNREAD) for name in _SERVERS],
            {"peak_kib": "KiB per reader, at most", "left_kib": "KiB per reader, after the end"},
            [Goal(1024, at_most=True)],
            more_is_better=False,
            note="The readers have the smallest receive buffers. Granian keeps what it could not"
            " send until the stream ends, so that grows with `VERVE_STREAM_SECONDS`.",
        ),
    ]

"""A server with open event streams: under load, and with readers that take nothing."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bench.contenders.one_server import OneServer, watched_load
from bench.harness import machine
from bench.harness.load_generator import answers_wrong, count_wrong, figures_of
from bench.harness.sample import Sample
from bench.harness.server_process import ServerProcess
from bench.harness.servers import SERVERS
from bench.harness.stream_readers import StreamReaders

WINDOW = 60
WARM_UP = 1.0
SETTLE = 3.0
"""Seconds until the memory of new streams no longer grows."""
STREAM_SECONDS = 30
"""How long a stream lasts where nobody reads it: what a server keeps for it grows until then."""


@dataclass(frozen=True)
class StreamingServer(OneServer):
    """Accepts beside `streams` open streams, all of which are read."""

    streams: int
    seconds: float
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """That of the server, with the number of streams."""
        return f"{self.server}-streams" if self.streams else self.server

    @property
    def title(self) -> str:
        """That of the server, with the number of streams."""
        return f"{SERVERS[self.server].title}, {self.streams:,} streams"

    def measure(self) -> Sample:
        """Open the streams, take their memory, and load the server."""
        lasting = {"VERVE_STREAM_SECONDS": "3600"}
        server = SERVERS[self.server]
        server = replace(server, environment={**server.environment, **lasting})
        with (
            ServerProcess(server, machine.cores()[:1], WINDOW) as running,
            ExitStack() as open_streams,
        ):
            runs = [watched_load(running, WINDOW, WARM_UP, self.arguments)[0]]
            before = running.resident_bytes()
            figures: dict[str, float] = {}
            if self.streams:
                readers = open_streams.enter_context(StreamReaders(running.port, self.streams))
                time.sleep(SETTLE)
                figures["stream_kib"] = (running.resident_bytes() - before) / self.streams / 1024
            result, disturbed = watched_load(running, WINDOW, self.seconds, self.arguments)
            runs.append(result)
            problems = [problem for run in runs for problem in answers_wrong(run)]
            problems += count_wrong(running, sum(run["distinct"] for run in runs))
            if self.streams and readers.ended:
                problems.append(f"{readers.ended} streams have ended")
        return Sample({**figures_of(result), **figures}, problems, disturbed, result)


@dataclass(frozen=True)
class UnreadStreams(OneServer):
    """Memory for `streams` readers that take nothing, with the smallest buffers."""

    streams: int

    @property
    def rounds(self) -> int:
        """One: the figure hardly varies, and takes a while."""
        return 1

    def measure(self) -> Sample:
        """Take the memory each second until the streams have ended, and thereafter."""
        server = SERVERS[self.server]
        lasting = {"VERVE_STREAM_SECONDS": str(STREAM_SECONDS)}
        server = replace(server, environment={**server.environment, **lasting})
        with ServerProcess(server, machine.cores()[:1], WINDOW) as running:
            running.accept(1)
            time.sleep(SETTLE)
            before = running.resident_bytes()
            grown = []
            with StreamReaders(running.port, self.streams, read=False):
                for _ in range(STREAM_SECONDS + 10):
                    time.sleep(1)
                    grown.append((running.resident_bytes() - before) / self.streams / 1024)
            problems = count_wrong(running, 1)
        figures = {"peak_kib": max(grown), "left_kib": grown[-1]}
        return Sample(figures, problems, raw={"grown_kib": grown})

"""A server with an archive, under load: what accepts notice of the archive's work."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from bench.contenders.one_server import OneServer, watched_load
from bench.harness import build, machine
from bench.harness.load_generator import answers_wrong, count_wrong, figures_of
from bench.harness.sample import Sample
from bench.harness.server_process import ServerProcess
from bench.harness.servers import SERVERS

WINDOW = 5
"""Seconds: so all of a run lies in the 5 s after a boundary."""
WARM_UP = 1.0
PATIENCE = 5.0
"""Seconds after which a closed window has to be in the archive."""
HOUR, MINUTE = 3_600, 60
HOURS = 24
IDS = 1_200_000
"""Ids per hour of the archive that is there before, twenty times less than at 10,000 per second."""


class Work(StrEnum):
    """What the archive does meanwhile."""

    NONE = "no archive"
    WINDOWS = "windows are written"
    ROLL_UP = "hours are rolled up"
    QUERIES = "queries one after the other"


@dataclass(frozen=True)
class ArchivingServer(OneServer):
    """A server at a constant rate, and its archive at work on the same core."""

    work: Work
    seconds: float
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """That of the server, with the work."""
        return self.server if self.work is Work.NONE else f"{self.server}-{self.work.name.lower()}"

    @property
    def title(self) -> str:
        """That of the server, with the work."""
        return f"{SERVERS[self.server].title}, {self.work}"

    def prepare(self) -> None:
        """Build the server and the generator, and an archive of a day if one is needed."""
        super().prepare()
        if self.work is not Work.NONE:
            build.python_module("pyarrow")
        if self.work in {Work.ROLL_UP, Work.QUERIES}:
            _prepared(self.work)

    def measure(self) -> Sample:
        """Load a server whose archive works, and see that it did."""
        server = SERVERS[self.server]
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="verve-bench-archive-"))
            archive = Path(folder, "ids")
            if self.work is not Work.NONE:
                environment = {**server.environment, "VERVE_ARCHIVE": str(archive)}
                server = replace(server, environment=environment)
            if self.work in {Work.ROLL_UP, Work.QUERIES}:
                shutil.copytree(_prepared(self.work), archive, copy_function=os.link)
            running = stack.enter_context(ServerProcess(server, machine.cores()[:1], WINDOW))
            runs = [watched_load(running, WINDOW, WARM_UP, self.arguments)[0]]
            queries = None
            if self.work is Work.QUERIES:
                queries = stack.enter_context(Queries(running.port))
            result, disturbed = watched_load(running, WINDOW, self.seconds, self.arguments)
            runs.append(result)
            problems = [problem for run in runs for problem in answers_wrong(run)]
            problems += self._idle(archive, queries)
            problems += count_wrong(running, sum(run["distinct"] for run in runs))
        return Sample(figures_of(result), problems, disturbed, result)

    def _idle(self, archive: Path, queries: Queries | None) -> list[str]:
        """What shows that the archive did not work."""
        if queries is not None:
            return queries.problems()
        level = {Work.WINDOWS: "minute", Work.ROLL_UP: "hour"}.get(self.work)
        if level is None:
            return []
        end = time.monotonic() + PATIENCE
        while not any(archive.glob(f"cluster=host/level={level}/**/*.parquet")):
            if time.monotonic() > end:
                return [f"the archive has no file of the level `{level}`"]
            time.sleep(0.1)
        return []


class Queries:
    """Counts an hour of the archive again and again, for as long as the block lasts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queries", daemon=True)
        self._counts: list[object] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def problems(self) -> list[str]:
        """Answers that are wrong, or that none came."""
        if not self._counts:
            return ["no query was answered"]
        wrong = [count for count in self._counts if count != IDS]
        return [f"a query counted {wrong[0]}, of {IDS}"] if wrong else []

    def _run(self) -> None:
        from bench.archive import START  # noqa: PLC0415 - needs the archive's libraries

        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            connection.request("GET", f"/api/verve/distinct?since={START}&until={START + HOUR}")
            self._counts.append(json.loads(connection.getresponse().read()).get("distinct"))
            connection.close()


def _prepared(work: Work) -> Path:
    """A day in minutes: of this host, so that it rolls them up, or of another one."""
    from bench.archive import generate  # noqa: PLC0415 - needs the archive's libraries

    host = socket.gethostname() if work is Work.ROLL_UP else "bench"
    hours = HOURS if work is Work.ROLL_UP else 1
    folder = build.ROOT / "target" / "bench" / f"archive-{work.name.lower()}"
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        generate(unfinished, IDS * hours, hours * HOUR // MINUTE, host)
        unfinished.rename(folder)
    return folder

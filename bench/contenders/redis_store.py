"""The cost of an id in Redis, by strategy: one core for the client, the other for Redis."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass

from bench.harness import build, machine
from bench.harness.machine import children_cpu
from bench.harness.sample import Sample
from bench.harness.server_process import free_port, wait_for_port


@dataclass(frozen=True)
class RedisStore:
    """One strategy, in batches of the size that a busy worker sends."""

    strategy: str
    title: str
    ids: int
    batch: int = 600
    rounds: int | None = None

    @property
    def name(self) -> str:
        """`verve-` and the strategy."""
        return f"verve-{self.strategy}"

    def prepare(self) -> None:
        """Find Redis and its client."""
        build.redis(0)
        build.python_module("redis")

    def measure(self) -> Sample:
        """Add all ids to an empty Redis."""
        one, other = machine.cores()
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="verve-bench-") as folder:
            redis = subprocess.Popen(
                machine.pinned([other], build.redis(port)), cwd=folder, stdout=subprocess.DEVNULL
            )
            try:
                wait_for_port(port)
                watch, own = machine.Watch.of([one]), children_cpu()
                command = [
                    build.python_module("verve"),
                    str(build.BENCH / "contenders/programs/redis_ids.py"),
                    *(self.strategy, str(port), str(self.ids), str(self.batch)),
                ]
                done = subprocess.run(
                    machine.pinned([one], command), stdout=subprocess.PIPE, check=False
                )
                disturbed = watch.foreign_share(children_cpu() - own)
            finally:
                redis.kill()
                redis.wait()
        if done.returncode:
            raise build.BuildError(f"ids could not be stored: `{' '.join(command)}`")
        result = json.loads(done.stdout)
        counted = int(result.pop("counted"))
        problems = [] if counted == self.ids else [f"counted {counted:,} of {self.ids:,} ids"]
        return Sample(result, problems, disturbed, result)

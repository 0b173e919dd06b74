"""A sender of callbacks on one core, with a receiver on the other that counts every post."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from bench.contenders.programs import callback_senders
from bench.harness import build, machine
from bench.harness.machine import children_cpu
from bench.harness.receiver import Receiver
from bench.harness.sample import Sample


@dataclass(frozen=True)
class CallbackSender:
    """One of the senders in `programs/callback_senders.py`, and a receiver."""

    name: str
    title: str
    posts: int
    concurrency: int = 64
    rounds: int | None = None

    def prepare(self) -> None:
        """Build the receiver and find the package of the sender."""
        build.program(build.STORM)
        build.python_module(self.name)

    def measure(self) -> Sample:
        """Send all posts and compare their number with the posts received."""
        one, other = machine.cores()
        with Receiver([other]) as receiver:
            watch, own = machine.Watch.of([one]), children_cpu()
            sender = [
                build.python_module(self.name),
                str(build.BENCH / "contenders/programs/callback_senders.py"),
                *(self.name, str(receiver.port), str(self.posts), str(self.concurrency)),
            ]
            done = subprocess.run(
                machine.pinned([one], sender), stdout=subprocess.PIPE, check=False
            )
            disturbed = watch.foreign_share(children_cpu() - own)
        if done.returncode:
            raise build.BuildError(f"the sender failed: `{' '.join(sender)}`")
        result = json.loads(done.stdout)
        sent = self.posts + callback_senders.warm_up(self.posts)
        received = receiver.received
        problems = [] if received == sent else [f"{received:,} of {sent:,} posts were received"]
        figures = {
            "rate": self.posts / result["seconds"],
            "cpu_us": result["cpu_seconds"] / self.posts * 1e6,
        }
        return Sample(figures, problems, disturbed, result)

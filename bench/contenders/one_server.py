"""What contenders that are one server have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.harness import build, machine
from bench.harness.load_generator import load
from bench.harness.servers import SERVERS

if TYPE_CHECKING:
    from bench.harness.server_process import ServerProcess


@dataclass(frozen=True)
class OneServer:
    """A server by its name. It is built, and so is the generator."""

    server: str

    @property
    def name(self) -> str:
        """That of the server."""
        return self.server

    @property
    def title(self) -> str:
        """That of the server."""
        return SERVERS[self.server].title

    @property
    def rounds(self) -> int | None:
        """All rounds."""
        return None

    def prepare(self) -> None:
        """Build the server, and the generator."""
        build.program(build.LOAD)
        SERVERS[self.server].prepare()


def watched_load(
    running: ServerProcess, window: int, seconds: float, arguments: tuple[str, ...]
) -> tuple[dict[str, Any], float]:
    """Load a server from the other core; the result, and the share that others had of a core."""
    one, other = machine.cores()
    watches = machine.Watch.of([one]), machine.Watch.of([other])
    cpu = running.cpu_seconds()
    result = load(running.port, window, [other], (*arguments, "--duration", str(seconds)))
    cpu = running.cpu_seconds() - cpu
    shares = zip(watches, (cpu, result["cpu_seconds"]), strict=True)
    result["server_cpu_seconds"] = cpu
    return result, max(watch.foreign_share(own) for watch, own in shares)

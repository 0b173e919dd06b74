"""What the cluster code takes from the machine: time, randomness, threads, the host's name."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from verve.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class InThread(Protocol):
    """Runs a call that may block outside of the event loop, as `asyncio.to_thread` does."""

    def __call__(self, call: Callable[..., T], /, *args: object) -> Awaitable[T]:
        """Await what `call(*args)` returns."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Clock):
    """The real one by default. A simulation puts another one in its place, as a whole."""

    in_thread: InThread = asyncio.to_thread
    host_name: str = field(default_factory=socket.gethostname)

    def token(self) -> str:
        """Twelve characters that no other leader has."""
        return self.random.randbytes(6).hex()

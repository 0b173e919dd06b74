"""The history of a simulation: what callers were told, and what hosts published, as plain facts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class History:
    """Facts in the order of their times; each has a `kind` and the `time` in seconds.

    | kind | fields |
    |---|---|
    | `accepted` | `host`, `window`, `id`: the caller was told that the id is counted; \
        `joined`: whether the host had joined the cluster by then |
    | `logged` | `host`, `window`, `revision`, `count`, `degraded`: a line of the log |
    | `sent` | the same: a message that Kafka has |
    | `forgotten` | `host`: Redis lost all that tells other hosts of this one |
    | `known` | `host`: they know of it again |
    | `lower` | `window`: a host said that fewer ids are left in Redis than its record has |
    | `lost` | `what`: Redis lost data; `window`: the time, in seconds since the epoch |
    | `stored` | `host`, `window`, `revision`, `count`, `degraded`: the ledger at the end |
    | `kept` | `host`, `what`: something that should be gone at the end |
    """

    facts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, time: float, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Add a fact."""
        self.facts.append({"time": round(time, 6), "kind": kind, **fields})

    def lines(self) -> Iterator[str]:
        """The facts, a line of JSON each."""
        return (json.dumps(fact) for fact in self.facts)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, from `at` on for `seconds`, both in seconds of the simulation."""

    at: float
    kind: str
    seconds: float = 0.0
    host: int = 0
    amount: float = 0.0

    def __str__(self) -> str:
        """As one line."""
        return " ".join(f"{name}={value}" for name, value in asdict(self).items())

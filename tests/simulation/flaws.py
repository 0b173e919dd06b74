"""A flaw for each rule of `docs/internals/cluster.md`: a simulation must find it to be of use."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from verve.cluster.cluster_window import ClusterWindow
from verve.cluster.coordinator.publication import Publication, Published
from verve.cluster.coordinator.registrar import Registrar
from verve.cluster.coordinator.window_task import WindowTask
from verve.cluster.protocol import record_committer
from verve.cluster.protocol.clock import open_window
from verve.cluster.protocol.host_completion import HostCompletion
from verve.cluster.protocol.loss_detector import LossDetector
from verve.cluster.protocol.markers import place_marker
from verve.cluster.redis_state import scripts
from verve.publishing.window_source import ClusterSource
from verve.stores.base import StoreCount, StoreError
from verve.stores.redis_sets import RedisSets

from .history import Fault
from .scenario import planned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class Flaw:
    """A rule that is broken while `plant` is entered, and the faults that show it."""

    rule: int
    what: str
    kinds: tuple[str, ...]
    plant: Callable[[], AbstractContextManager[object]]
    seeds: tuple[int, ...] = (0,)
    """Seeds that show it."""
    meets: bool = False
    """Whether their faults may meet; see `faults.plan`."""
    faults: tuple[Fault, ...] = ()
    """In the place of those of the seeds."""

    def planned(self, seed: int) -> list[Fault]:
        """The faults of a seed that shows it."""
        return list(self.faults) or planned(seed, self.kinds, meets=self.meets)


def _patched(owner: object, name: str, value: object) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: mock.patch.object(owner, name, value)


def _script(name: str, *changes: tuple[str, str]) -> Callable[[], AbstractContextManager[Any]]:
    text = getattr(scripts, name)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return _patched(scripts, name, text)


_add = RedisSets.add
_step = Registrar.step
_count = RedisSets.count


async def _add_and_hope(self: RedisSets, window_start: int, groups: Any) -> None:  # noqa: ANN401
    with contextlib.suppress(StoreError):
        await _add(self, window_start, groups)


async def _trust_at_once(self: Registrar) -> None:
    await _step(self)
    current = open_window(self._counter)
    if self._markers.trusted(current) is None:
        placed = await place_marker(self._cluster, self._markers, current, is_open=True)
        self._markers.trust(current, placed)


async def _no_reason(*_arguments: object) -> None:
    return None


async def _all_markers(self: RedisSets, window_start: int, markers: Any) -> StoreCount:  # noqa: ANN401
    found = await _count(self, window_start, markers)
    return StoreCount(found.ids, frozenset(markers))


def _delivered(*_arguments: object) -> bool:
    return True


def _provisional_for_all(self: Publication, figures: Any) -> Published:  # noqa: ANN401
    self.feed.add(
        ClusterWindow.of(figures, unique=figures.unique, revision=0, degraded=True, delivers=True)
    )
    return Published(0)


@contextlib.contextmanager
def _no_losses() -> Iterator[None]:
    heartbeat = LossDetector.heartbeat

    def deaf(self: LossDetector, lines: Any, epochs: str) -> None:  # noqa: ANN401
        self._epochs = epochs
        heartbeat(self, type(lines)(lines.now, lines.hosts, renewed=True), epochs)

    with (
        mock.patch.object(LossDetector, "heartbeat", deaf),
        mock.patch.object(LossDetector, "lost"),
        mock.patch.object(WindowTask, "begin_again"),
    ):
        yield


@contextlib.contextmanager
def _trusting() -> Iterator[None]:
    begin_again = Registrar.begin_again

    def forget(self: Registrar) -> None:
        begin_again(self)
        self._markers._trusted.clear()

    with (
        mock.patch.object(Registrar, "step", _trust_at_once),
        mock.patch.object(Registrar, "begin_again", forget),
    ):
        yield


_LOSSES = ("redis flush", "redis eviction", "redis restart")

FLAWS = (
    Flaw(
        1,
        "a failed batch counts as acknowledged",
        ("lossy network", "redis away"),
        _patched(RedisSets, "add", _add_and_hope),
    ),
    Flaw(2, "a marker is trusted that came after the window began", _LOSSES, _trusting),
    Flaw(
        3,
        "a host is complete without a look at its ids",
        ("process killed", "redis away"),
        _patched(HostCompletion, "_reason_to_send", _no_reason),
        seeds=(2,),
    ),
    Flaw(
        4,
        "a record waits for nobody",
        ("host paused", "partition"),
        _patched(record_committer, "awaited_hosts", lambda *_arguments: set()),
    ),
    Flaw(
        5,
        "a committer does not look for markers",
        _LOSSES,
        _patched(RedisSets, "count", _all_markers),
        seeds=(2, 0, 1, 3, 4, 5),
    ),
    Flaw(
        6,
        "a commit takes a lower count",
        ("redis flush", "host paused"),
        _script("COMMIT", ("if tonumber(ARGV[5]) < count then return answer('lower') end", "")),
        seeds=(2, 0, 1, 3, 4, 5),
        meets=True,
    ),
    Flaw(
        7,
        "a record claims the changes that came after the count",
        ("slow network", "partition"),
        _script(
            "COMMIT",
            ("set('published_changes', ARGV[4])", "set('published_changes', number('changes'))"),
        ),
        # Few seeds show it: the host that is late must complete between two calls of the other.
        faults=(
            Fault(at=0.5, kind="slow network", seconds=29.0, host=0, amount=0.45),
            *(
                Fault(at=1.0 + 3.3 * number, kind="partition", seconds=2.2, host=1)
                for number in range(8)
            ),
        ),
        seeds=(15, 17, 18, 25, 28, 37, 44),
    ),
    Flaw(
        8,
        "ids are given up once they are sent",
        _LOSSES,
        _patched(WindowTask, "is_releasable", property(lambda self: self.is_sent)),
        seeds=(2,),
    ),
    Flaw(9, "a loss is not noticed", _LOSSES, _no_losses, seeds=(2,)),
    Flaw(
        10,
        "a delivery is called done before it is",
        ("disk full", "host killed"),
        _patched(ClusterSource, "is_delivered", _delivered),
        seeds=(3, 2, 0, 1, 4, 5),
        meets=True,
    ),
    Flaw(
        11,
        "a count of one host is sent to Kafka",
        ("redis away", "partition"),
        _patched(Publication, "publish_provisional", _provisional_for_all),
    ),
)

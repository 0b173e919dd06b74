"""What readiness, metrics, the running count and `verve check` say of Redis and the cluster."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.support import rig
from tests.support.running import running_service
from verve.commands import check
from verve.http import api, exposition, health
from verve.http.health import State
from verve.service import host_facts
from verve.service.running import ClusterJoin
from verve.status import cluster_status
from verve.status.cluster_status import Membership, Report
from verve.stores.base import FailureKind
from verve.windows.window import LATE_WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve import Counter, ManualClock
    from verve.config import Settings
    from verve.service.host_facts import Facts

UP = Membership(term=1, joined=True, live_hosts=2, skew_seconds=0.25)
AWAY = replace(UP, error="no answer: `redis://host`", trouble="timeout", attempts=4)
REFUSED = Membership(term=1, refusal="hosts speak another protocol: `beef (2)`")


class Rig:
    """A worker that leads in its first term, and what its leader says of the cluster."""

    def __init__(self, directory: Path, clock: ManualClock, **flags: str) -> None:
        redis = {"redis_url": "redis://127.0.0.1:1", "cluster": "test"}
        self.settings = rig.settings(directory, **(flags or redis))
        self.settings.state_dir.mkdir()
        self.counter: Counter = rig.counter_of(self.settings, clock)
        assert self.counter.lease.acquire() == 1
        self.service = running_service(self.settings, self.counter)

    def facts(self) -> Facts:
        """What the files say."""
        return host_facts.read(self.settings, self.counter)

    def say(self, member: Membership) -> None:
        """What the leader says."""
        Report(self.settings)(member, lambda: (1, 512))

    def part(self) -> health.Part:
        """Readiness."""
        parts = health.examine(self.service, self.facts())
        (found,) = [part for part in parts if part.name == "redis"]
        return found

    def metrics(self) -> dict[str, str]:
        """The samples, by name and label; whole numbers without their `.0`."""
        _, page = exposition.render(self.service, self.facts())
        lines = [line for line in page.decode().splitlines() if not line.startswith("#")]
        return dict(line.removesuffix(".0").rsplit(" ", 1) for line in lines)

    def current(self) -> dict[str, Any]:
        """The running count."""
        answer = asyncio.run(api.current(self.service, cast("Any", None)))
        return cast("dict[str, Any]", json.loads(answer.body))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, rig.clock_in_minute())
    yield made
    made.counter.close()


@pytest.fixture
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("single"), rig.clock_in_minute(), source="one")
    yield made
    made.counter.close()


def test_a_host_that_joined(host: Rig) -> None:
    host.say(UP)
    part = host.part()
    assert (part.state, part.detail, part.error) == (State.OK, "", None)
    assert part.figures["live_hosts"] == 2
    assert part.figures["skew_seconds"] == 0.25


def test_a_host_that_starts_is_not_ready_before_it_has_joined(host: Rig) -> None:
    assert host.part().state is State.FAILED
    host.say(Membership(term=1))
    assert (host.part().state, host.part().detail) == (
        State.FAILED,
        "not registered in the cluster yet",
    )
    host.say(UP)
    assert host.part().state is State.OK
    # A new leader registers again; the host was ready before.
    host.say(Membership(term=1))
    assert host.part().state is State.DEGRADED


def test_it_does_not_wait_for_ever(host: Rig) -> None:
    host.service = replace(host.service, cluster_join=ClusterJoin(seconds=0))
    assert host.part().state is State.DEGRADED


def test_what_an_earlier_leader_said_does_not_count(host: Rig) -> None:
    for member in (UP, AWAY, REFUSED):
        host.say(replace(member, term=7))
        part = host.part()
        assert (part.state, part.error) == (State.FAILED, None)
        assert part.detail == "not registered in the cluster yet"


def test_redis_away_degrades(host: Rig) -> None:
    host.say(replace(AWAY, joined=False))
    part = host.part()
    assert (part.state, part.detail) == (State.DEGRADED, "redis away")
    assert part.error == AWAY.error
    assert AWAY.error not in part.figures.values()
    assert (part.figures["trouble"], part.figures["failed_attempts"]) == ("timeout", 4)
    # It is back, and the window about to be registered: nobody is sent away for that.
    host.say(Membership(term=1))
    assert host.part().state is State.DEGRADED


def test_a_host_that_is_refused_is_not_ready(host: Rig) -> None:
    host.say(UP)
    assert host.part().state is State.OK
    host.say(REFUSED)
    part = host.part()
    assert part.state is State.FAILED
    assert "another protocol" in part.detail
    assert "beef" not in part.detail
    assert part.error == REFUSED.refusal


def test_windows_that_wait_degrade(host: Rig) -> None:
    host.say(replace(UP, unsent_windows=LATE_WINDOWS + 1))
    part = host.part()
    assert (part.state, part.detail) == (State.DEGRADED, "redis behind")
    assert part.figures["lag_seconds"] == 240


def test_a_leader_that_hangs_is_noticed(host: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    host.say(UP)
    assert host.part().state is State.OK
    monkeypatch.setattr(cluster_status, "STALE_SECONDS", -1.0)
    assert host.part().state is State.DEGRADED
    assert host.metrics()["verve_redis_up"] == "0"


def test_a_host_by_itself_says_nothing_of_redis(single: Rig) -> None:
    assert "redis" not in {part.name for part in health.examine(single.service, single.facts())}
    names = {name.partition("{")[0] for name in single.metrics()}
    assert not {name for name in names if "redis" in name or "cluster" in name}
    assert single.current().keys().isdisjoint({"host_unique", "cluster_age_seconds"})


def test_metrics(host: Rig) -> None:
    host.say(replace(UP, revisions=2, degraded_windows=1, resent_ids=9, unsent_windows=3))
    found = host.metrics()
    assert found["verve_redis_up"] == "1"
    assert found["verve_cluster_skew_seconds"] == "0.25"
    assert found["verve_cluster_unsent_windows"] == "3"
    assert (found["verve_cluster_spill_files"], found["verve_cluster_spill_bytes"]) == ("1", "512")
    assert found["verve_cluster_revisions_total"] == "2"
    assert found["verve_cluster_degraded_windows_total"] == "1"
    assert found["verve_cluster_resent_ids_total"] == "9"
    troubles = {name: value for name, value in found.items() if "redis_failing" in name}
    assert len(troubles) == len(FailureKind)
    assert set(troubles.values()) == {"0"}
    host.say(AWAY)
    found = host.metrics()
    assert found["verve_redis_up"] == "0"
    assert found['verve_redis_failing{trouble="timeout"}'] == "1"
    assert sum(value == "1" for name, value in found.items() if "redis_failing" in name) == 1
    # Of a leader that knows more kinds.
    host.say(replace(AWAY, trouble="newer-kind"))
    found = host.metrics()
    assert found.keys() >= troubles.keys()
    assert found['verve_redis_failing{trouble="other"}'] == "1"
    assert not any("kind" in name for name in found)
    host.say(replace(AWAY, trouble='no "kind"'))
    assert host.metrics().keys() == found.keys()
    assert found["verve_redis_failed_attempts"] == "4"


def test_no_skew_is_reported_before_it_was_seen(host: Rig) -> None:
    host.say(Membership(term=1))
    assert host.metrics()["verve_cluster_skew_seconds"] == "NaN"


def test_the_running_count_is_that_of_the_cluster(
    host: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.counter.add_many([1, 2, 3])
    found = host.current()
    assert (found["unique"], found["host_unique"], found["cluster_age_seconds"]) == (3, 3, None)
    host.counter.replication.note_cluster_count(rig.MINUTE, 5)
    host.say(replace(UP, counted=10**9))
    monkeypatch.setattr("verve.status.cluster_status.boot_nanoseconds", lambda: 3 * 10**9 + 10**8)
    found = host.current()
    assert (found["unique"], found["host_unique"], found["cluster_age_seconds"]) == (5, 3, 2.1)
    # Ids that Redis does not have yet are counted all the same.
    host.counter.add_many(range(10))
    assert host.current()["unique"] == 10


def findings(settings: Settings) -> dict[str, check.Finding]:
    found = check.examine(settings, "http://127.0.0.1:1", 0.1)
    return {finding.part: finding for finding in found}


@pytest.mark.parametrize(
    ("member", "ok", "said"),
    [
        (UP, True, "up, 2 hosts: cluster `test`"),
        (
            AWAY,
            False,
            "away, 4 failed attempts, 0 windows wait for Redis: no answer: `redis://host`",
        ),
        (REFUSED, False, "hosts speak another protocol: `beef (2)`"),
        (Membership(term=1), False, "not registered"),
        (replace(UP, unsent_windows=9), False, "9 windows wait for Redis"),
    ],
)
def test_verve_check(host: Rig, member: Membership, ok: bool, said: str) -> None:
    host.say(member)
    found = findings(host.settings)["redis"]
    assert found.ok is ok
    assert said in found.detail


def test_verve_check_without_a_leader(host: Rig, single: Rig) -> None:
    found = findings(host.settings)["redis"]
    assert (found.ok, "no leader reports" in found.detail) == (False, True)
    assert "redis" not in findings(single.settings)

"""`redis.json`: the leader's status of the cluster, for every process of the host."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.clock import CLOCK, Clock
from verve.fields import misfits
from verve.status import cluster_hosts, cluster_status
from verve.status.cluster_hosts import Condition, HostCondition
from verve.status.cluster_status import Membership, Report
from verve.windows.window import LATE_WINDOWS

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings

AWAY = Membership(
    term=3, joined=True, error="no answer: `host:6379`", trouble="timeout", attempts=2
)


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    settings = rig.settings(tmp_path, redis_url="redis://127.0.0.1:1", cluster="test")
    settings.state_dir.mkdir()
    return settings


def no_spills() -> tuple[int, int]:
    return 0, 0


def write(made: Settings, member: Membership, clock: Clock = CLOCK) -> Report:
    report = Report(made, clock)
    report(member, no_spills)
    return report


def test_nothing_is_known_at_first(made: Settings) -> None:
    found = cluster_status.of(made)
    assert found == Membership()
    assert found.is_stale
    assert not found.is_up


def test_what_was_written_is_read(made: Settings) -> None:
    report = Report(made)
    report(replace(AWAY, unsent_windows=2, skew_seconds=-0.5, counted=7), lambda: (2, 4_096))
    found = cluster_status.of(made)
    assert (found.term, found.error, found.trouble, found.attempts) == (
        *(3, AWAY.error),
        *("timeout", 2),
    )
    assert (found.spill_files, found.spill_bytes, found.counted) == (2, 4_096, 7)
    assert (found.skew_seconds, found.unsent_windows) == (-0.5, 2)
    assert found.since is not None
    assert not found.is_stale
    assert not found.is_up
    (file,) = made.state_dir.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    report(replace(AWAY, attempts=3), no_spills)
    assert cluster_status.of(made).since == found.since
    report(Membership(term=3, joined=True), no_spills)
    assert cluster_status.of(made).since is None
    assert cluster_status.of(made).is_up


def test_it_is_written_when_it_changes_and_every_second(made: Settings) -> None:
    now = [100.0]
    report = write(made, Membership(term=1), Clock(monotonic=lambda: now[0]))
    first = cluster_status.of(made).written
    report(Membership(term=1, counted=5), no_spills)
    assert cluster_status.of(made).written == first
    report(Membership(term=1, joined=True, counted=6), no_spills)
    second = cluster_status.of(made)
    assert second.written != first
    assert second.counted == 6
    now[0] += cluster_status.EVERY_SECONDS
    report(Membership(term=1, joined=True, counted=7), no_spills)
    assert cluster_status.of(made).counted == 7


def test_totals_go_on_from_leader_to_leader(made: Settings) -> None:
    report = write(made, Membership(term=1, revisions=2, resent_ids=100))
    report(Membership(term=1, revisions=3, resent_ids=100, degraded_windows=1), no_spills)
    write(made, Membership(term=2, revisions=1, disturbances=1))
    found = cluster_status.of(made)
    assert (found.revisions, found.resent_ids) == (4, 100)
    assert (found.degraded_windows, found.disturbances) == (1, 1)


def test_it_gets_stale(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(made, Membership(term=1, joined=True))
    found = cluster_status.of(made)
    assert found.written is not None
    later = found.written + int(cluster_status.STALE_SECONDS * 1e9)
    # The last one: the machine was started again, and its clock since the boot is young.
    for now, is_up in ((later, True), (later + 1_000_000, False), (1, False)):
        monkeypatch.setattr("verve.status.cluster_status.boot_nanoseconds", lambda now=now: now)
        assert (found.is_up, found.is_stale) == (is_up, not is_up)
    assert cluster_status.seconds_since(found.written) is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"term": "x", "joined": 7, "error": 1, "since": "now", "more": 1}'],
)
def test_an_odd_file_says_nothing(made: Settings, text: str) -> None:
    (made.state_dir / "redis.json").write_text(text)
    assert cluster_status.of(made) == Membership()


def test_a_directory_that_cannot_be_written_harms_nothing(made: Settings) -> None:
    made.state_dir.rmdir()
    write(made, AWAY)


def test_spills_that_cannot_be_read_harm_nothing(made: Settings) -> None:
    def spills() -> tuple[int, int]:
        raise PermissionError

    Report(made)(AWAY, spills)


def test_what_everyone_may_see_has_no_error_in_full(made: Settings) -> None:
    figures = replace(AWAY, unsent_windows=2).figures(60)
    assert figures["lag_seconds"] == 120
    assert figures["trouble"] == "timeout"
    assert AWAY.error not in figures.values()
    assert "host:6379" not in json.dumps(figures)
    assert not made.state_dir.joinpath("redis.json").exists()


def test_the_hosts_are_read_as_they_were_written(made: Settings) -> None:
    late = HostCondition("b" * 16, "web\N{DEGREE SIGN}2", Condition.LATE, 1_795_384_680, -0.25, 2)
    live = HostCondition("a" * 16, "", Condition.LIVE, None, 0, 0)
    write(made, replace(AWAY, hosts=(live, late)))
    assert cluster_status.of(made).hosts == (live, late)
    for host in (live, late):
        assert misfits(host.as_json()) == []
    assert late.as_json()["last_heartbeat"] == "2026-11-22T21:58:00Z"


def test_the_hosts_that_were_alive_are_known_to_the_next_leader(made: Settings) -> None:
    hosts = [
        HostCondition(condition.value, "", condition, None, 0, 0)
        for condition in (Condition.LIVE, Condition.LATE, Condition.SILENT)
    ]
    write(made, replace(AWAY, hosts=tuple(hosts)))
    assert cluster_status.live(made, "live") == {"live", "late"}
    # It was written for another host: the segment is a new one.
    assert cluster_status.live(made, "other") == frozenset()


def test_the_file_stays_small_with_the_hosts_that_matter(made: Settings) -> None:
    many = [
        HostCondition(f"{n:016x}", "\N{SNOWMAN}" * 300, Condition.LIVE, None, 1.5, n)
        for n in range(1_000)
    ]
    late = replace(many[-1], condition=Condition.LATE, since=1)
    write(made, replace(AWAY, hosts=cluster_hosts.shown([*many[:-1], late])))
    found = cluster_status.of(made).hosts
    assert len(found) == cluster_hosts.MOST
    assert late.host_id in {host.host_id for host in found}
    assert cluster_status.of(made).error == AWAY.error


@pytest.mark.parametrize(
    "hosts",
    [
        7,
        {"a": 1},
        [7],
        [["a", "n", "odd", None, 0, 0]],
        [["a", "n", "late", -1, 0, 0]],
        [["a", "n", "late", 10**12, 0, 0]],
        [["a", "n", "live", None, "0", 0]],
        [["a", "n", "live", None, 1e300, 0]],
        [["a", "n", "live", None, 0, -1]],
        [["a", "n", "live"]],
    ],
)
def test_hosts_that_are_none_are_left_out(made: Settings, hosts: object) -> None:
    made.state_dir.joinpath("redis.json").write_text(json.dumps({"term": 2, "hosts": hosts}))
    assert cluster_status.of(made) == Membership(term=2)


def test_many_windows_that_wait_are_late() -> None:
    assert not Membership(unsent_windows=LATE_WINDOWS).is_late
    assert Membership(unsent_windows=LATE_WINDOWS + 1).is_late

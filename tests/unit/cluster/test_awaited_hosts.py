"""Which hosts are waited for, the content of lines and markers, and what counts as a loss."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.cluster.in_process import EventRecorder
from verve.cluster.protocol.loss_detector import QUIET_SECONDS, LossDetector, RecentRecords
from verve.cluster.protocol.markers import Markers, PlacedMarker, marker_of
from verve.cluster.redis_state.hosts import PROTOCOL, HostLine, HostLines, awaited_hosts, is_alive
from verve.cluster.redis_state.window_state import HostState, Record, WindowState
from verve.stores.base import MARKER_BYTES

W = 1_800_000_000
NOW = 1_800_000_300_000
SILENT = 60_000


def host(id: str, age: int, *, since: int = W, touch: int = NOW - 3_600_000) -> HostLine:
    """A host whose last heartbeat was `age` milliseconds ago."""
    return HostLine(id, NOW - age, str(PROTOCOL), since, 0, 0, touch, "1", id)


def lines(*hosts: HostLine, renewed: bool = True) -> HostLines:
    return HostLines(NOW, {host.id: host for host in hosts}, renewed)


def state(*registered: str) -> WindowState:
    return WindowState(
        NOW, dict.fromkeys(registered, HostState("registered")), {}, 0, 0, None, 0, None
    )


@pytest.mark.parametrize(
    ("registered", "hosts", "waited"),
    [
        ([], [host("a", 100)], {"a"}),
        (["a"], [host("a", 100), host("b", 59_000)], {"a", "b"}),
        # Silent for too long, whether it registered or not.
        (["a", "b"], [host("a", 100), host("b", 61_000)], {"a"}),
        # It came after the window.
        (["a"], [host("a", 100), host("b", 100, since=W + 60)], {"a"}),
        # It stopped, and may have left ids behind.
        (["a", "b"], [host("a", 100)], {"a", "b"}),
    ],
)
def test_those_who_may_have_ids_are_waited_for(
    registered: list[str], hosts: list[HostLine], waited: set[str]
) -> None:
    found = awaited_hosts(W, state(*registered), lines(*hosts), SILENT, NOW - 3_600_000)
    assert found == waited


def test_after_an_outage_nobody_is_taken_for_dead() -> None:
    away = [host("b", 600_000), host("c", 600_000)]
    back = host("a", 0, touch=NOW)
    assert awaited_hosts(W, state("a"), lines(back, *away), SILENT, NOW) == {"a", "b", "c"}
    # One that is back a moment later has no reason to know better, nor has the first.
    second = host("b", 0, touch=NOW - 100)
    assert awaited_hosts(W, state("a"), lines(back, second, away[1]), SILENT, NOW) == {
        "a",
        "b",
        "c",
    }


def test_a_new_leader_believes_those_who_were_there() -> None:
    there = host("b", 300)
    assert awaited_hosts(
        W, state(), lines(host("a", 0, touch=0), there, host("c", 90_000)), SILENT, NOW
    ) == {
        "a",
        "b",
    }


def test_a_host_lives_while_its_line_is_renewed() -> None:
    seen = lines(host("a", 100), host("b", 61_000))
    assert [is_alive(id, seen, SILENT) for id in "abc"] == [True, False, False]


def test_a_line_of_another_protocol_is_understood_as_far_as_it_goes() -> None:
    ours = HostLine.read("a", f"17 {PROTOCOL} 60 2 -3 16 1.2.3 a host with spaces")
    assert ours == HostLine("a", 17, str(PROTOCOL), 60, 2, -3, 16, "1.2.3", "a host with spaces")
    assert HostLine.read("a", "17 9 of another kind").protocol == "9"


def test_markers_differ_by_host_term_number_and_speaker() -> None:
    names = {
        marker_of(host, term, number)
        for host in ("a", "b", "a by b")
        for term in range(5)
        for number in range(5)
    }
    assert len(names) == 75
    assert {len(name) for name in names} == {MARKER_BYTES}
    markers = Markers("a", 3)
    first, second = markers.fresh(W), markers.fresh(W)
    assert markers.known(W) == {first: "a", second: "a"}
    assert markers.known(W + 60) == {}
    before = {marker_of("a", term, 0) for term in range(3)}
    assert before <= markers.possible(W).keys()
    markers.learn(W, {b"v" + bytes(8): "b"})
    assert markers.known(W)[b"v" + bytes(8)] == "b"
    markers.trust(W, PlacedMarker(first, "e"))
    assert markers.trusted(W) == PlacedMarker(first, "e")
    markers.forget(W)
    assert (markers.trusted(W), markers.known(W)) == (None, {})


class Moved:
    """A clock that the test moves."""

    now = 1_000.0

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.now


def test_a_loss_is_noticed_and_quiet_for_a_while() -> None:
    told, clock = EventRecorder(), Moved()
    watch = LossDetector(told, clock.monotonic)
    # Joining is no loss.
    watch.heartbeat(lines(renewed=False), "e1")
    assert (watch.losses, watch.is_quiet, watch.in_touch_since) == (0, True, NOW)
    clock.now += QUIET_SECONDS + 0.1
    watch.heartbeat(lines(), "e1")
    assert not watch.is_quiet
    clock.now += 0.5
    watch.heartbeat(lines(renewed=False), "e1")
    assert (watch.losses, watch.is_quiet) == (1, True)
    clock.now += QUIET_SECONDS + 0.1
    assert not watch.is_quiet
    watch.heartbeat(lines(), "e2")
    assert (watch.losses, watch.is_quiet) == (2, True)
    assert told.names() == ["cluster.disturbed"] * 2


def test_hosts_that_were_there_before_a_loss_are_waited_for() -> None:
    watch = LossDetector(EventRecorder(), Moved().monotonic)
    a, b, c = (host(id, 100) for id in "abc")
    watch.heartbeat(lines(a, b, c), "e1")
    # One that takes its line away has left.
    watch.heartbeat(lines(a, b), "e1")
    assert watch.with_missing(lines(a)).hosts.keys() == {"a"}
    watch.heartbeat(lines(a, renewed=False), "e1")
    assert watch.with_missing(lines(a)).hosts.keys() == {"a", "b"}
    assert awaited_hosts(W, state("a"), watch.with_missing(lines(a)), SILENT, NOW) == {"a", "b"}
    watch.heartbeat(lines(a, b), "e1")
    watch.heartbeat(lines(a), "e1")
    assert watch.with_missing(lines(a)).hosts.keys() == {"a"}


def test_a_successor_waits_for_hosts_that_are_noted_as_missing() -> None:
    b = host("b", 100)
    noted = HostLines(NOW, {"a": host("a", 100)}, missing={"b": b})
    watch = LossDetector(EventRecorder(), Moved().monotonic)
    watch.heartbeat(noted, "e1")
    assert watch.missing() == (b,)
    # Also if the note is lost, together with all else.
    assert watch.with_missing(lines(host("a", 100))).hosts.keys() == {"a", "b"}
    watch.heartbeat(lines(host("a", 100), b), "e1")
    assert watch.missing() == ()


def test_a_new_leader_misses_the_hosts_of_the_one_before_if_redis_forgot_this_one() -> None:
    told = EventRecorder()
    watch = LossDetector(told, Moved().monotonic, {"a", "b", "c"})
    watch.heartbeat(lines(host("a", 0), host("c", 0), renewed=False), "e1")
    assert [line.id for line in watch.missing()] == ["b"]
    assert HostLine.read("b", watch.missing()[0].written) == watch.missing()[0]
    known = watch.with_missing(lines(host("a", 0)))
    assert awaited_hosts(W, state("a"), known, SILENT, NOW) == {"a", "b"}
    assert (watch.losses, told.names()) == (1, [])
    # Redis forgot nothing: others may have left since.
    watch = LossDetector(told, Moved().monotonic, {"a", "b"})
    watch.heartbeat(lines(host("a", 0)), "e1")
    assert (watch.missing(), watch.losses) == ((), 0)


def test_a_line_is_written_as_it_is_read() -> None:
    line = HostLine("b", NOW, "1", W, 2, -3, NOW - 4, "0.1.0", "a name")
    assert HostLine.read("b", line.written) == line
    fields = [b"missing:b", b"missing " + line.written.encode(), b"missing:c", b"1"]
    assert HostLines.read((1, NOW, fields)) == HostLines(NOW, {}, missing={"b": line})


def test_a_break_is_no_loss_but_makes_quiet() -> None:
    told, clock = EventRecorder(), Moved()
    watch = LossDetector(told, clock.monotonic)
    watch.heartbeat(lines(), "e1")
    clock.now += 30
    later = HostLines(NOW + 30_000, {})
    watch.heartbeat(later, "e1")
    assert (watch.losses, watch.is_quiet) == (0, True)
    assert watch.in_touch_since == later.now
    assert told.names() == []


def test_the_highest_records_are_remembered() -> None:
    def record(revision: int, count: int) -> Record:
        return Record(revision, count, complete=True, publisher="a", delivery="done")

    records = RecentRecords()
    records.see(W, record(2, 5))
    records.see(W, record(1, 9))
    records.see(W, record(2, 4))
    records.see(W, replace(record(2, 5), complete=False))
    assert records.all() == [(W, record(2, 5))]
    for number in range(300):
        records.see(W + 60 * number, record(3, number))
    kept = dict(records.all())
    assert len(kept) == 256
    assert W not in kept
    assert W + 60 * 299 in kept

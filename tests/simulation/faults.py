"""What can go wrong in a simulation: made by chance from a seed, begun and ended at its time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from .history import Fault
from .network import Weather

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from .scenario import Scenario


_TOGETHER = 0.5
"""The share of runs, and in them of faults, in which faults meet."""
_EVERYWHERE = _AGAIN = 0.25
_LONGEST_AGAIN = 3.0
_MOST = 16


def plan(
    chance: random.Random,
    hosts: int,
    seconds: float,
    kinds: Sequence[str] = (),
    *,
    meets: bool = True,
) -> list[Fault]:
    """Some faults within `seconds`, the earliest first, of `kinds`. Several may go on at once.

    `meets`: in half of the runs some of them are brought together.
    """
    # A few kinds per run, each more than once: faults of all kinds at once hide each other.
    chosen = kinds or chance.sample(_BY_CHANCE, chance.randint(1, 5))
    faults = [
        Fault(
            at=round(chance.uniform(1.0, seconds - 2), 3),
            kind=chance.choice(chosen),
            seconds=round(chance.choice([0.2, 1.0, 4.0, 10.0]) * chance.uniform(0.5, 1.5), 3),
            host=chance.randrange(hosts),
            amount=min(0.999, round(chance.random(), 3)),
        )
        for _ in range(chance.randint(1, 8))
    ]
    faults.sort(key=lambda fault: fault.at)
    if meets and chance.random() < _TOGETHER:
        return _together(chance, hosts, seconds, faults)
    return faults


def _together(
    chance: random.Random, hosts: int, seconds: float, faults: list[Fault]
) -> list[Fault]:
    """The faults, but some soon after the one before, on all hosts at once, or again and again.

    Single faults rarely meet within the moment that it takes to count and commit.
    """
    made: list[Fault] = []
    before: float | None = None
    for one in faults:
        fault = one
        if before is not None and chance.random() < _TOGETHER:
            after = chance.choice([0.05, 0.5, 4.0]) * chance.random()
            fault = replace(fault, at=round(before + after, 3))
        before = fault.at
        how = chance.random()
        if how < _EVERYWHERE:
            made += [replace(fault, host=host) for host in range(hosts)]
        elif how < _EVERYWHERE + _AGAIN:
            lasts = min(fault.seconds, _LONGEST_AGAIN)
            pause = lasts + chance.uniform(0.5, 2.0)
            made += [
                replace(fault, at=round(fault.at + number * pause, 3), seconds=lasts)
                for number in range(int((seconds - fault.at) / pause) + 1)
            ]
        else:
            made.append(fault)
    return sorted(made[:_MOST], key=lambda fault: fault.at)


def schedule(scenario: Scenario, faults: list[Fault]) -> None:
    """Have the faults begin and end."""
    for fault in faults:
        begin, end = _BEGIN[fault.kind], _END.get(fault.kind)
        scenario.world.at(fault.at, partial(begin, scenario, fault))
        if end is not None:
            over = fault.at + fault.seconds
            scenario.world.at(over, partial(end, scenario, fault))


def heal(scenario: Scenario) -> None:
    """End everything that goes wrong."""
    scenario.redis.is_away = False
    scenario.kafka.is_away = scenario.kafka.loses_replies = False
    for host in scenario.hosts:
        vars(host.weather).update(vars(Weather()))
        host.has_full_disk = False
        for process in host.processes:
            process.let_go()
        host.begin()


def _slow(scenario: Scenario, fault: Fault) -> None:
    weather = scenario.hosts[fault.host].weather
    weather.straggles, weather.straggle_seconds = 0.3 * fault.amount, 6 * fault.amount


def _lossy(scenario: Scenario, fault: Fault) -> None:
    weather = scenario.hosts[fault.host].weather
    weather.lost_requests, weather.lost_replies = 0.2 * fault.amount, 0.3 * (1 - fault.amount)


def _repeating(scenario: Scenario, fault: Fault) -> None:
    scenario.hosts[fault.host].weather.repeats = fault.amount / 2


def _cut(scenario: Scenario, fault: Fault) -> None:
    scenario.hosts[fault.host].weather.is_cut = True


def _fair(scenario: Scenario, fault: Fault) -> None:
    weather = scenario.hosts[fault.host].weather
    vars(weather).update(vars(replace(Weather(), sees_old=weather.sees_old)))


def _redis_away(scenario: Scenario, fault: Fault) -> None:
    scenario.redis.is_away = True
    scenario.redis.refuses = fault.amount < 0.5


def _redis_back(scenario: Scenario, _fault: Fault) -> None:
    scenario.redis.is_away = False


def _redis_restarts(scenario: Scenario, fault: Fault) -> None:
    scenario.redis.is_away = True
    keeps = fault.amount < 0.5
    if not keeps:
        scenario.lost("a restart without its keys")
    scenario.redis.restart(keeps=keeps)


def _flush(scenario: Scenario, _fault: Fault) -> None:
    scenario.lost("a flush")
    scenario.redis.master.flush()


def _evict(scenario: Scenario, fault: Fault) -> None:
    keys = sorted(scenario.redis.master.values)
    gone = scenario.chance.sample(keys, int(len(keys) * fault.amount / 2))
    if gone:
        scenario.lost(f"{len(gone)} evicted keys")
    scenario.redis.master.evict(gone)


def _replicate(scenario: Scenario, fault: Fault) -> None:
    """The replica lags from here on; it takes over at the end."""
    del fault
    scenario.redis.replicate()


def _fail_over(scenario: Scenario, fault: Fault) -> None:
    if not scenario.redis.fail_over():
        return
    scenario.lost("a failover")
    for host in scenario.hosts:
        # It joined when the replica lagged behind.
        if not host.is_listed():
            host.forget()
    _sees_old(scenario, fault)
    # Often for a moment, at times for several windows.
    scenario.world.after(8 * fault.amount**3, partial(_sees_new, scenario, fault))


def _sees_old(scenario: Scenario, fault: Fault) -> None:
    """One host is still sent to the old master, or again."""
    scenario.hosts[fault.host].weather.sees_old = True


def _sees_new(scenario: Scenario, fault: Fault) -> None:
    """What the host wrote to the old master is lost."""
    weather = scenario.hosts[fault.host].weather
    if weather.sees_old:
        scenario.lost("what an old master had")
    weather.sees_old = False


def _kill_process(scenario: Scenario, fault: Fault) -> None:
    processes = scenario.hosts[fault.host].processes
    if processes:
        processes[int(fault.amount * len(processes))].kill()


def _kill_host(scenario: Scenario, fault: Fault) -> None:
    for process in scenario.hosts[fault.host].processes:
        process.kill()


def _destroy_host(scenario: Scenario, fault: Fault) -> None:
    """Kill it, and with it what is in its memory."""
    _kill_host(scenario, fault)
    scenario.hosts[fault.host].settings.segment.unlink(missing_ok=True)


def _begin_again(scenario: Scenario, fault: Fault) -> None:
    scenario.hosts[fault.host].begin()


def _stop_host(scenario: Scenario, fault: Fault) -> None:
    host = scenario.hosts[fault.host]
    host.has_left = True
    for process in host.processes:
        process.stop()


def _stop_leader(scenario: Scenario, fault: Fault) -> None:
    """The other processes of the host go on."""
    for process in scenario.hosts[fault.host].processes:
        if process.leads:
            process.stop()


def _begin_again_after_stop(scenario: Scenario, fault: Fault) -> None:
    scenario.world.after(3.0, scenario.hosts[fault.host].begin)


def _pause_process(scenario: Scenario, fault: Fault) -> None:
    processes = scenario.hosts[fault.host].processes
    if processes:
        processes[int(fault.amount * len(processes))].hold()


def _pause_host(scenario: Scenario, fault: Fault) -> None:
    for process in scenario.hosts[fault.host].processes:
        process.hold()


def _continue(scenario: Scenario, fault: Fault) -> None:
    for process in scenario.hosts[fault.host].processes:
        if not process.is_dead:
            process.let_go()


def _step_clock(scenario: Scenario, fault: Fault) -> None:
    scenario.hosts[fault.host].step_clock(7_200 * (fault.amount - 0.5))


def _kafka_away(scenario: Scenario, fault: Fault) -> None:
    scenario.kafka.is_away = fault.amount < 0.5
    scenario.kafka.loses_replies = fault.amount >= 0.5


def _kafka_back(scenario: Scenario, _fault: Fault) -> None:
    scenario.kafka.is_away = scenario.kafka.loses_replies = False


def _fill_disk(scenario: Scenario, fault: Fault) -> None:
    scenario.hosts[fault.host].has_full_disk = True


def _free_disk(scenario: Scenario, fault: Fault) -> None:
    scenario.hosts[fault.host].has_full_disk = False


_BEGIN: dict[str, Callable[[Scenario, Fault], None]] = {
    "slow network": _slow,
    "lossy network": _lossy,
    "repeated requests": _repeating,
    "partition": _cut,
    "redis away": _redis_away,
    "redis restart": _redis_restarts,
    "redis flush": _flush,
    "redis eviction": _evict,
    "redis failover": _replicate,
    "process killed": _kill_process,
    "host killed": _kill_host,
    "host destroyed": _destroy_host,
    "host stopped": _stop_host,
    "leader stopped": _stop_leader,
    "process paused": _pause_process,
    "host paused": _pause_host,
    "clock step": _step_clock,
    "kafka away": _kafka_away,
    "disk full": _fill_disk,
    "old master": _sees_old,
}
_END: dict[str, Callable[[Scenario, Fault], None]] = {
    "slow network": _fair,
    "lossy network": _fair,
    "repeated requests": _fair,
    "partition": _fair,
    "redis away": _redis_back,
    "redis restart": _redis_back,
    "redis failover": _fail_over,
    "process killed": _begin_again,
    "host killed": _begin_again,
    "host destroyed": _begin_again,
    "host stopped": _begin_again_after_stop,
    "leader stopped": _begin_again_after_stop,
    "process paused": _continue,
    "host paused": _continue,
    "kafka away": _kafka_back,
    "disk full": _free_disk,
    "old master": _sees_new,
}

# The others show what `docs/internals/cluster.md` lists: a host that goes back to an old master
# between two heartbeats does not notice it, a host whose leader left is not waited for, and what is
# in the memory of one host only is gone with it.
_NOT_BY_CHANCE = {"old master", "leader stopped", "host destroyed"}
_BY_CHANCE = [kind for kind in _BEGIN if kind not in _NOT_BY_CHANCE]

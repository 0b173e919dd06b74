"""`verve check --cluster`: the hosts, the last windows, and warnings about them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from verve._verve import SettingError, VerveError
from verve.cluster.redis_state.hosts import PROTOCOL, HostInfo, HostTable, is_alive
from verve.cluster.redis_state.keys import Keys
from verve.cluster.redis_state.window_state import WindowStates
from verve.stores import check, connect
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.cluster.redis_state.hosts import HostLine, HostLines
    from verve.cluster.redis_state.window_state import WindowState
    from verve.config import Settings

SHOWN_WINDOWS = 10
SKEW_MILLISECONDS = 1_000
LATE_MILLISECONDS = 10_000
"""Age of a heartbeat above which the host gets a warning; a host sends two per second."""
RECORD_SECONDS = 2
"""Seconds after the grace at which a window without a record gets a warning."""


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host; age and skew in seconds. A host of another protocol lacks some of the values."""

    host_id: str
    name: str
    version: str
    protocol: str
    heartbeat_age: float
    skew: float
    unsent_windows: int
    alive: bool


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A window: its record, if it has one, and the hosts that are not complete."""

    window_start: str
    revision: int
    unique: int | None
    complete: bool
    late_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The hosts, the windows and the warnings of a cluster."""

    cluster: str
    hosts: tuple[HostRow, ...]
    windows: tuple[WindowRow, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The view as one JSON object."""
        return asdict(self)


def look(settings: Settings) -> ClusterView:
    """Read the view from Redis. Raises `SettingError` and `StoreError`."""
    _check(settings)
    return asyncio.run(_look(settings))


def forget(settings: Settings, host: str) -> str:
    """Remove the line of a dead host, named by its id or its name. Returns its id."""
    _check(settings)
    return asyncio.run(_forget(settings, host))


def lines(view: ClusterView) -> Iterator[str]:
    """The view as lines of text."""
    names = {host.host_id: host.name for host in view.hosts}
    yield f"cluster {view.cluster}: {len(view.hosts)} hosts"
    yield f"  {'host':<16}  {'name':<20}  {'version':<8}  {'heartbeat':>10}  {'skew':>8}  unsent"
    for host in view.hosts:
        yield (
            f"  {host.host_id:<16}  {host.name or '-':<20}  {host.version or '-':<8}  "
            f"{host.heartbeat_age:>8.1f} s  {host.skew:>6.1f} s  {host.unsent_windows}"
        )
    yield f"  {'window':<20}  {'revision':>8}  {'unique':>12}  state"
    for window in view.windows:
        unique = "-" if window.unique is None else f"{window.unique:,}"
        state = "complete" if window.complete else "degraded" if window.revision else "open"
        if window.late_hosts:
            late = (f"{names.get(id) or 'gone'} ({id})" for id in window.late_hosts)
            state += f", late: {', '.join(late)}"
        yield f"  {window.window_start:<20}  {window.revision:>8}  {unique:>12}  {state}"


def _check(settings: Settings) -> None:
    if settings.redis_url is None:
        raise SettingError("this host is not in a cluster; hint: set `VERVE_REDIS_URL`")
    check(settings)


async def _look(settings: Settings) -> ClusterView:
    client, _ = connect(settings)
    keys = Keys(settings.cluster, settings.window)
    host_table = HostTable(client, keys, HostInfo("", "", ""))
    states = WindowStates(client, keys)
    try:
        found = await host_table.read()
        current = found.now // 1_000 // settings.window * settings.window
        starts = [current - n * settings.window for n in range(1, SHOWN_WINDOWS + 1)]
        known = [(start, await states.read(start)) for start in starts]
        policy = await client.eviction_policy()
    finally:
        await client.close()
    hosts = tuple(
        _host_row(host, found, host_table.silent_ms)
        for host in sorted(found.hosts.values(), key=lambda host: (host.name, host.id))
    )
    # A window without hosts is older than the cluster.
    windows = tuple(_window_row(start, state) for start, state in known if state.hosts)
    patience = settings.window + settings.cluster_grace + RECORD_SECONDS
    due = [
        rfc3339(start)
        for start, state in known
        if state.hosts and state.now / 1_000 > start + patience
    ]
    warnings = (*_of_hosts(hosts), *_of_windows(windows, due), *_of_redis(policy))
    return ClusterView(settings.cluster, hosts, windows, warnings)


def _host_row(host: HostLine, found: HostLines, silent_ms: int) -> HostRow:
    return HostRow(
        host_id=host.id,
        name=host.name,
        version=host.version,
        protocol=host.protocol,
        heartbeat_age=max(0, found.now - host.heartbeat) / 1_000,
        skew=host.skew_ms / 1_000,
        unsent_windows=host.unsent_windows,
        alive=is_alive(host.id, found, silent_ms),
    )


def _window_row(start: int, state: WindowState) -> WindowRow:
    late = tuple(sorted(id for id, host_state in state.hosts.items() if not host_state.complete))
    record = state.record
    if record is None:
        return WindowRow(rfc3339(start), 0, None, complete=False, late_hosts=late)
    return WindowRow(
        rfc3339(start), record.revision, record.count, complete=record.complete, late_hosts=late
    )


def _of_hosts(hosts: tuple[HostRow, ...]) -> Iterator[str]:
    if not hosts:
        yield "the cluster has no hosts"
    versions = sorted({host.version for host in hosts if host.alive and host.version})
    if len(versions) > 1:
        yield f"versions are mixed: {', '.join(versions)}"
    protocols = sorted({host.protocol for host in hosts if host.alive} | {str(PROTOCOL)})
    if len(protocols) > 1:
        yield f"protocols are mixed, this command speaks {PROTOCOL}: {', '.join(protocols)}"
    for host in hosts:
        who = f"{host.name or 'a host'} ({host.host_id})"
        if abs(host.skew) * 1_000 > SKEW_MILLISECONDS:
            yield f"the wall clock of {who} is off by {host.skew:+.1f} s"
        if host.heartbeat_age * 1_000 > LATE_MILLISECONDS:
            gone = "" if host.alive else ", and windows no longer wait for it"
            yield f"{who} has been silent for {host.heartbeat_age:.0f} s{gone}"


def _of_windows(windows: tuple[WindowRow, ...], due: list[str]) -> Iterator[str]:
    for window in windows:
        if window.window_start in due and not window.complete:
            state = "is degraded" if window.revision else "has no record"
            yield f"the window {window.window_start} {state}"


def _of_redis(policy: str | None) -> Iterator[str]:
    if policy not in {None, "noeviction"}:
        yield f"Redis drops keys when it is full: `maxmemory-policy {policy}`"


async def _forget(settings: Settings, name: str) -> str:
    client, _ = connect(settings)
    host_table = HostTable(client, Keys(settings.cluster, settings.window), HostInfo("", "", ""))
    try:
        found = await host_table.read()
        meant = [host for host in found.hosts.values() if name in {host.id, host.name}]
        if not meant:
            raise VerveError(
                f"no such host: `{name}`; hint: `verve check --cluster` lists the hosts"
            )
        if len(meant) > 1:
            raise VerveError(f"several hosts have this name: `{name}`; hint: use the id of one")
        (host,) = meant
        if found.now - host.heartbeat <= LATE_MILLISECONDS:
            raise VerveError(
                f"the host is alive: `{host.id}`; hint: stop it to remove it from the cluster"
            )
        await host_table.forget(host.id)
    finally:
        await client.close()
    return host.id

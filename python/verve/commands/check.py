"""What `verve check` looks at: the service over HTTP, then its files."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verve._verve import VerveError, segment_identity
from verve.ledger import ledger
from verve.publishing import sink_status
from verve.sinks import KAFKA, LOG
from verve.status import cluster_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from verve.config import Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound to
_OK = 200
_UNAUTHORIZED = 401
LATE_WINDOWS = 3
"""So many windows may be missing at the end of the ledger before it counts as behind."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    part: str
    ok: bool
    detail: str
    warns: bool = False


def examine(settings: Settings, url: str | None, timeout: float) -> Iterator[Finding]:
    """Look at everything, most telling first.

    A running service says which files it uses and how long its windows are: the settings of this
    command may be others.
    """
    service = (url or _local(settings)).rstrip("/")
    yield _service(service, timeout)
    yield from _access(service, settings.admin_token, timeout)
    told = _told(service, settings.admin_token, timeout)
    settings = _as_told(settings, told)
    yield _state(settings)
    yield _segment(settings)
    yield _ledger(settings)
    if LOG in settings.sinks:
        yield _log(settings)
    if KAFKA in settings.sinks:
        yield _kafka(settings)
    if settings.redis_url is not None or told.get("joins_cluster") is True:
        yield _redis(settings)


def _told(url: str, token: str | None, timeout: float) -> dict[str, Any]:
    """What the service says of itself; nothing if it does not run here or does not tell."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        told = _get(f"{url}/readyz?verbose", timeout, **headers).json()["service"]
        return dict(told) if told["hostname"] == socket.gethostname() else {}
    except (_UnreachableError, ValueError, KeyError, TypeError):
        return {}


def _as_told(settings: Settings, told: dict[str, Any]) -> Settings:
    """The settings with what the service says in their place.

    Without a service the segment says how long its windows are.
    """
    if not told:
        with contextlib.suppress(VerveError):
            found = segment_identity(settings.segment)
            return replace(settings, window=found["window"] or settings.window)
        return settings
    return replace(
        settings,
        window=int(told["window_seconds"]),
        state_dir=Path(told["state_dir"]),
        segment=Path(told["segment"]),
        sinks=tuple(told["sinks"]),
        cluster=str(told["cluster"]),
    )


class _UnreachableError(Exception):
    """The service gave no answer, and why."""


def _get(address: str, timeout: float, **headers: str) -> httpx.Response:
    """The answer of the service. Raises `_UnreachableError`."""
    import httpx  # noqa: PLC0415 - heavy, and only needed here

    try:
        # A proxy of the environment has no business between us and our own service.
        return httpx.get(address, headers=headers, timeout=timeout, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _UnreachableError(str(error) or type(error).__name__) from error


def _local(settings: Settings) -> str:
    host = _ANYWHERE.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _service(url: str, timeout: float) -> Finding:
    address = f"{url}/readyz"
    try:
        answer = _get(address, timeout)
    except _UnreachableError as error:
        return Finding("service", ok=False, detail=f"no answer: {error}: `{address}`")
    text = " ".join(answer.text.split())[:200]
    ready = answer.status_code == _OK
    return Finding("service", ok=ready, detail=f"{text or answer.status_code}: `{address}`")


def _access(url: str, token: str | None, timeout: float) -> Iterator[Finding]:
    """Who may look at metrics and history, by what the service answers."""
    address = f"{url}/api/verve/current"

    def refuses(**headers: str) -> bool:
        return _get(address, timeout, **headers).status_code == _UNAUTHORIZED

    try:
        if not refuses(via="1.1 verve-check"):
            detail = "metrics and history are open to everyone; hint: set `VERVE_ADMIN_TOKEN`"
            yield Finding("access", ok=True, detail=detail, warns=True)
        elif not refuses():
            detail = (
                "metrics and history are open on loopback, so to the callers of a proxy on this "
                "host; hint: behind one set `VERVE_ADMIN_TOKEN`"
            )
            yield Finding("access", ok=True, detail=detail, warns=True)
        elif token is None:
            yield Finding("access", ok=True, detail="metrics and history are not open from here")
        elif refuses(authorization=f"Bearer {token}"):
            detail = "the service does not take this token: `admin_token`; hint: set the service's"
            yield Finding("access", ok=False, detail=detail)
        else:
            yield Finding("access", ok=True, detail="metrics and history require the token")
    except _UnreachableError:
        return  # the finding about the service says so


def _state(settings: Settings) -> Finding:
    path = settings.state_dir
    usable = path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    problem = "" if usable else "not a directory that this user may write: "
    return Finding("state", ok=usable, detail=f"{problem}`{path}`")


def _segment(settings: Settings) -> Finding:
    path = settings.segment
    try:
        found = segment_identity(path)
    except VerveError as error:
        return Finding("segment", ok=False, detail=str(error))
    if not found["ours"]:
        detail = f"of another format ({found['format']}): `{path}`"
        return Finding("segment", ok=False, detail=detail)
    if not found["alive"]:
        return Finding("segment", ok=False, detail=f"no process counts in it: `{path}`")
    if not path.exists():
        detail = f"its file was removed, processes count on without it: `{path}`"
        return Finding("segment", ok=False, detail=detail)
    return Finding("segment", ok=True, detail=f"windows of {found['window']} s: `{path}`")


def _ledger(settings: Settings) -> Finding:
    path = ledger.path_of(settings)
    try:
        newest = ledger.rows(path, limit=1)
    except VerveError as error:
        return Finding("ledger", ok=False, detail=str(error))
    if not newest:
        # A service that has just begun has not closed a window yet.
        return Finding("ledger", ok=True, detail=f"empty: `{path}`")
    behind = time.time() - newest[0].window_start - newest[0].window_seconds
    late = behind > LATE_WINDOWS * settings.window
    said = f"behind by {behind:.0f} s" if late else "up to date"
    return Finding("ledger", ok=not late, detail=f"{said}: `{path}`")


def _log(settings: Settings) -> Finding:
    return _sink(LOG, settings, "")


def _kafka(settings: Settings) -> Finding:
    brokers = ",".join(settings.kafka_brokers or ())
    return _sink(KAFKA, settings, f": `{settings.kafka_topic}` at `{brokers}`")


def _sink(name: str, settings: Settings, where: str) -> Finding:
    found = sink_status.of(settings, name)
    if found.lag_seconds is None:
        return Finding(name, ok=False, detail="the ledger does not tell what waits for it")
    if not found.is_behind(settings.window):
        return Finding(name, ok=True, detail=f"up to date{where}")
    said = f"behind by {found.lag_seconds} s, {found.attempts} failed attempts"
    why = f": {found.error}" if found.error else ""
    return Finding(name, ok=False, detail=f"{said}{why}{where}")


def _redis(settings: Settings) -> Finding:
    found = cluster_status.of(settings)
    where = f"cluster `{settings.cluster}`"
    if found.is_stale:
        return Finding("redis", ok=False, detail=f"no leader tells how Redis is: {where}")
    if found.refusal is not None:
        return Finding("redis", ok=False, detail=f"{' '.join(found.refusal.split())}: {where}")
    waits = f"{found.unsent_windows} windows wait for it"
    if found.error is not None:
        said = f"away, {found.attempts} failed attempts, {waits}: {found.error}: {where}"
        return Finding("redis", ok=False, detail=said)
    if not found.joined:
        return Finding("redis", ok=False, detail=f"this host is not registered yet: {where}")
    if found.is_late:
        return Finding("redis", ok=False, detail=f"{waits}: {where}")
    return Finding("redis", ok=True, detail=f"up, {found.live_hosts} hosts: {where}")

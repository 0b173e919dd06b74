"""`verve check`: checks of the service over HTTP, then of its files."""

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
from verve.service.sockets import split
from verve.sinks import KAFKA, LOG
from verve.status import archive_status, cluster_status
from verve.windows.window import LATE_WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import httpx

    from verve.config import Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - never bound
_OK = 200
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `warns`: the part works, but the detail is a warning."""

    part: str
    ok: bool
    detail: str
    warns: bool = False


def examine(settings: Settings, url: str | None, timeout: float) -> Iterator[Finding]:
    """Check every part, the service first.

    A running service names its files and the length of its windows: the settings of this command
    may differ from the service's.
    """
    service = (url or _local(settings)).rstrip("/")
    yield _service(service, timeout)
    tokens = settings.admin_token or ()
    yield from _access(_guarded(service, settings), tokens, timeout)
    identity = _identity(service, tokens, timeout)
    settings = _with_identity(settings, identity)
    yield _state(settings)
    yield _segment(settings)
    yield _ledger(settings)
    if LOG in settings.sinks:
        yield _log(settings)
    if KAFKA in settings.sinks:
        yield _kafka(settings)
    if settings.archive is not None:
        yield _archive(settings)
    if settings.redis_url is not None or identity.get("joins_cluster") is True:
        yield _redis(settings)


def _identity(url: str, tokens: Sequence[str], timeout: float) -> dict[str, Any]:
    """The service's identity; empty if it does not run on this host or does not answer."""
    for headers in [_bearer(token) for token in tokens] or [{}]:
        try:
            identity = _get(f"{url}/readyz?verbose", timeout, **headers).json()["service"]
            return dict(identity) if identity["hostname"] == socket.gethostname() else {}
        except _UnreachableError:
            return {}
        except (ValueError, KeyError, TypeError):
            continue  # the service does not have this token, so it names nothing
    return {}


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _with_identity(settings: Settings, identity: dict[str, Any]) -> Settings:
    """The settings, replaced by those that the service reports.

    Without a service, the length of a window comes from the segment.
    """
    if not identity:
        with contextlib.suppress(VerveError):
            found = segment_identity(settings.segment)
            return replace(settings, window=found["window"] or settings.window)
        return settings
    return replace(
        settings,
        window=int(identity["window_seconds"]),
        state_dir=Path(identity["state_dir"]),
        segment=Path(identity["segment"]),
        sinks=tuple(identity["sinks"]),
        cluster=str(identity["cluster"]),
    )


class _UnreachableError(Exception):
    """The service did not answer; the message says why."""


def _get(address: str, timeout: float, **headers: str) -> httpx.Response:
    """The answer of the service. Raises `_UnreachableError`."""
    import httpx  # noqa: PLC0415 - heavy, and only needed here

    try:
        # A proxy in the environment must not stand between this command and the service.
        return httpx.get(address, headers=headers, timeout=timeout, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _UnreachableError(str(error) or type(error).__name__) from error


def _local(settings: Settings) -> str:
    host = _ANYWHERE.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _guarded(url: str, settings: Settings) -> str:
    """The address of metrics and history of the service at `url`."""
    if settings.admin_listen is None or url != _local(settings):
        return url
    host, port = split(settings.admin_listen)
    host = _ANYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _service(url: str, timeout: float) -> Finding:
    address = f"{url}/readyz"
    try:
        answer = _get(address, timeout)
    except _UnreachableError as error:
        return Finding("service", ok=False, detail=f"no answer: {error}: `{address}`")
    text = " ".join(answer.text.split())[:200]
    ready = answer.status_code == _OK
    return Finding("service", ok=ready, detail=f"{text or answer.status_code}: `{address}`")


def _access(url: str, tokens: Sequence[str], timeout: float) -> Iterator[Finding]:
    """The access rule of metrics and history, as the service's answers show it."""
    address = f"{url}/api/verve/current"

    def refuses(**headers: str) -> bool:
        return _get(address, timeout, **headers).status_code == _UNAUTHORIZED

    try:
        if not refuses(via="1.1 verve-check"):
            detail = "metrics and history are open to everyone; hint: set `VERVE_ADMIN_TOKEN`"
            yield Finding("access", ok=True, detail=detail, warns=True)
        elif not refuses():
            detail = (
                "metrics and history are open on loopback, and so to the callers of a proxy on "
                "this host; hint: behind a proxy, set `VERVE_ADMIN_TOKEN`"
            )
            yield Finding("access", ok=True, detail=detail, warns=True)
        elif not tokens:
            yield Finding("access", ok=True, detail="metrics and history are not open from here")
        elif all(refuses(**_bearer(token)) for token in tokens):
            detail = (
                "the service rejects this token: `admin_token`; hint: use the token of the service"
            )
            yield Finding("access", ok=False, detail=detail)
        else:
            yield Finding("access", ok=True, detail="metrics and history require the token")
    except _UnreachableError:
        return  # the check of the service reports it


def _state(settings: Settings) -> Finding:
    path = settings.state_dir
    usable = path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    problem = "" if usable else "not a directory that this user may write to: "
    return Finding("state", ok=usable, detail=f"{problem}`{path}`")


def _segment(settings: Settings) -> Finding:
    path = settings.segment
    try:
        found = segment_identity(path)
    except VerveError as error:
        return Finding("segment", ok=False, detail=str(error))
    if not found["ours"]:
        detail = f"the segment has another format ({found['format']}): `{path}`"
        return Finding("segment", ok=False, detail=detail)
    if not found["alive"]:
        return Finding("segment", ok=False, detail=f"no process uses the segment: `{path}`")
    if not path.exists():
        detail = f"the file was removed; processes still count in the segment: `{path}`"
        return Finding("segment", ok=False, detail=detail)
    return Finding("segment", ok=True, detail=f"windows of {found['window']} s: `{path}`")


def _ledger(settings: Settings) -> Finding:
    path = ledger.path_of(settings)
    try:
        newest = ledger.rows(path, limit=1)
    except VerveError as error:
        return Finding("ledger", ok=False, detail=str(error))
    if not newest:
        # A new service has not published a window yet.
        return Finding("ledger", ok=True, detail=f"empty: `{path}`")
    behind = time.time() - newest[0].window_start - newest[0].window_seconds
    late = behind > LATE_WINDOWS * settings.window
    state = f"behind by {behind:.0f} s" if late else "up to date"
    return Finding("ledger", ok=not late, detail=f"{state}: `{path}`")


def _log(settings: Settings) -> Finding:
    return _sink(LOG, settings, "")


def _kafka(settings: Settings) -> Finding:
    brokers = ",".join(settings.kafka_brokers or ())
    return _sink(KAFKA, settings, f": `{settings.kafka_topic}` at `{brokers}`")


def _sink(name: str, settings: Settings, where: str) -> Finding:
    found = sink_status.of(settings, name)
    if found.lag_seconds is None:
        return Finding(name, ok=False, detail="the ledger does not tell the backlog of the sink")
    if not found.is_behind(settings.window):
        return Finding(name, ok=True, detail=f"up to date{where}")
    state = f"behind by {found.lag_seconds} s, {found.attempts} failed attempts"
    error = f": {found.error}" if found.error else ""
    return Finding(name, ok=False, detail=f"{state}{error}{where}")


def _archive(settings: Settings) -> Finding:
    found = archive_status.of(settings)
    where = f"`{settings.archive}`"
    backlog = f"{found.waiting} windows wait for it"
    if found.written is None:
        return Finding("archive", ok=False, detail=f"no leader has reported it: {where}")
    if found.spool_error is not None:
        return Finding("archive", ok=False, detail=f"{found.spool_error}; {backlog}: {where}")
    if found.error is not None:
        detail = f"away, {found.attempts} failed attempts, {backlog}: {found.error}: {where}"
        return Finding("archive", ok=False, detail=detail)
    lacks = found.lost + found.dropped
    detail = f"up, {backlog}" + (f", it lacks {lacks} windows" if lacks else "")
    return Finding("archive", ok=True, detail=f"{detail}: {where}", warns=lacks > 0)


def _redis(settings: Settings) -> Finding:
    found = cluster_status.of(settings)
    where = f"cluster `{settings.cluster}`"
    if found.is_stale:
        return Finding("redis", ok=False, detail=f"no leader reports the state of Redis: {where}")
    if found.refusal is not None:
        return Finding("redis", ok=False, detail=f"{' '.join(found.refusal.split())}: {where}")
    backlog = f"{found.unsent_windows} windows wait for Redis"
    if found.error is not None:
        detail = f"away, {found.attempts} failed attempts, {backlog}: {found.error}: {where}"
        return Finding("redis", ok=False, detail=detail)
    if not found.joined:
        return Finding("redis", ok=False, detail=f"this host is not registered yet: {where}")
    if found.is_late:
        return Finding("redis", ok=False, detail=f"{backlog}: {where}")
    return Finding("redis", ok=True, detail=f"up, {found.live_hosts} hosts: {where}")

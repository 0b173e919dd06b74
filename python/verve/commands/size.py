"""`verve size`: what a service needs for a number of ids per minute."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from verve._verve import segment_size
from verve.cluster.spill.spill_file import bytes_of
from verve.config.limits import BYTES_PER_ID

from .options import settings_from, with_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.config import Settings

REDIS_BYTES_PER_ID = 69
"""Bytes of Redis per id of a window; `docs/guides/scale.md` has the measurement."""
LEDGER_BYTES_PER_WINDOW = 200
"""Bytes of the ledger per window, with its deliveries and changes."""
WORKER_BYTES = 64 << 20
"""Memory of a worker, or of the process that starts them, without the segment."""

# A cluster keeps up to eight windows that Redis lacks in memory, and then spills them. Two more are
# the open one and the one that is being frozen.
_WINDOWS_IN_MEMORY = 10
_MEBIBYTE = 1 << 20
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


@dataclass(frozen=True, slots=True)
class Sizes:
    """What each host needs, and Redis; in bytes."""

    window_seconds: int
    ids_per_window: int
    max_ids_per_window: int
    segment_bytes: int
    memory_bytes: int
    memory_limit_bytes: int
    shm_bytes: int
    ledger_bytes: int
    redis_bytes: int | None
    """In all; None without a cluster, as those below."""
    spill_window_bytes: int | None
    spill_windows: int | None
    settings: list[str]


def sizes(settings: Settings, ids_per_minute: int, hosts: int) -> Sizes:
    """Compute the sizes. Raises `SettingError` if there can be no such segment."""
    ids = max(1, -(-ids_per_minute * settings.window // 60))
    # Twice the ids: a table costs memory only for the ids that come.
    most = max(4096, 2 * ids)
    segment = segment_size(most, ids)
    # A table, and as much room ahead of it, so that it can grow.
    arena = min(2 * segment["table"], segment["arena"])
    # The open window, and the one before.
    in_use = segment["front"] + 2 * arena
    shm = segment["fixed"] + BYTES_PER_ID * most
    if hosts > 1:
        shm = max(shm, segment["fixed"] + _WINDOWS_IN_MEMORY * arena)
    shm = min(-(-shm // _MEBIBYTE) * _MEBIBYTE, segment["file"])
    processes = (settings.workers + 1) * WORKER_BYTES
    spilled = bytes_of(ids)
    clustered = hosts > 1
    # The open window counts too.
    kept = settings.redis_keep // settings.window + 1
    return Sizes(
        window_seconds=settings.window,
        ids_per_window=ids,
        max_ids_per_window=most,
        segment_bytes=segment["file"],
        memory_bytes=in_use + processes,
        memory_limit_bytes=shm + processes,
        shm_bytes=shm,
        ledger_bytes=settings.keep // settings.window * LEDGER_BYTES_PER_WINDOW,
        redis_bytes=ids * kept * REDIS_BYTES_PER_ID if clustered else None,
        spill_window_bytes=spilled if clustered else None,
        spill_windows=settings.spill_max // spilled if clustered else None,
        settings=list(_settings(settings, most, clustered=clustered)),
    )


def _settings(settings: Settings, most: int, *, clustered: bool) -> Iterator[str]:
    """Lines for the environment, to copy."""
    yield f"VERVE_MAX_IDS_PER_WINDOW={most}"
    yield f"VERVE_WORKERS={settings.workers}"
    if clustered:
        yield f"VERVE_REDIS_KEEP={settings.redis_keep}"
        yield f"VERVE_SPILL_MAX={settings.spill_max}"


def lines(found: Sizes) -> Iterator[str]:
    """The sizes as text."""
    yield f"for {found.ids_per_window:,} distinct ids per window of {found.window_seconds} s"
    yield ""
    yield "each host:"
    rows = [
        ("memory, usually", found.memory_bytes, "segment and processes"),
        ("memory limit to set", found.memory_limit_bytes, "with room for twice the ids"),
        ("shared memory to set", found.shm_bytes, "of it, for the segment: --shm-size"),
        ("length of the segment", found.segment_bytes, "address space; little of it is stored"),
        ("ledger, at most", found.ledger_bytes, "on disk, after the time of --keep"),
    ]
    if found.spill_window_bytes is not None:
        text = f"on disk, while Redis is away; --spill-max holds {found.spill_windows:,} windows"
        rows.append(("spill per window", found.spill_window_bytes, text))
    yield from (f"  {name:<22} {_shown(value):>10}  {text}" for name, value, text in rows)
    if found.redis_bytes is not None:
        yield ""
        yield "Redis, all masters together:"
        text = "if no id repeats in another window; for the time of --redis-keep"
        yield f"  {'memory':<22} {_shown(found.redis_bytes):>10}  {text}"
    yield ""
    yield "settings:"
    yield from (f"  {line}" for line in found.settings)


def _shown(value: int) -> str:
    number: float = value
    for unit in _UNITS[:-1]:
        if number < _STEP:
            return f"{number:.0f} {unit}"
        number /= _STEP
        if number < 10:  # noqa: PLR2004 - one digit is too coarse
            return f"{number:.1f} {_UNITS[_UNITS.index(unit) + 1]}"
    return f"{number:,.0f} {_UNITS[-1]}"


@click.command(
    help="Print how much memory, disk and Redis a service needs, and settings to copy. Each host "
    "is sized for all ids, since every host may see all of them."
)
@with_settings(("config", "window", "workers", "keep", "redis_keep", "spill_max"))
@click.option(
    "--ids-per-minute",
    required=True,
    metavar="N",
    type=click.IntRange(1, 2**31),
    help="Distinct ids per minute, over all hosts.",
)
@click.option(
    "--hosts",
    metavar="M",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Hosts that count as one; more than one need Redis.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def size(ids_per_minute: int, hosts: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - see with_settings
    """Print how much memory, disk and Redis a service needs, and settings to copy."""
    found = sizes(settings_from(options), ids_per_minute, hosts)
    if as_json:
        names = found.__dataclass_fields__
        click.echo(json.dumps({name: getattr(found, name) for name in names}))
        return
    for line in lines(found):
        click.echo(line)

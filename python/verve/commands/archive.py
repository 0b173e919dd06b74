"""The command `verve archive`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .distinct import archive_of
from .options import settings_from, with_settings
from .progress import Progress

if TYPE_CHECKING:
    from verve.archive.store import ArchiveStore
    from verve.config import Settings

_ELSEWHERE = (
    "the spool of a host, until its windows are archived: `archive/` of `VERVE_STATE_DIR`",
    "the segment of a host, until its window is released, at most 16 windows: `VERVE_SEGMENT`",
    "spilled windows of a host that waits for Redis: `VERVE_STATE_DIR`",
    "Redis, until the sets of its window expire",
    "earlier versions of files, if the bucket keeps versions, and backups",
    "unfinished files of the archive's directory, for a day: `.*.part`",
    "damaged files that a host set aside, for a week: `archive/*.damaged` of `VERVE_STATE_DIR`",
)


@click.group(help="Work on the archive of ids.")
def archive() -> None:
    """Work on the archive of ids."""


@archive.command(
    help="Forget an id: hide it from all counts at once, then remove it from the files. The "
    "archive does not count it again."
)
@with_settings(("config", "archive", "cluster"))
@click.option("--id", "id", type=click.IntRange(-(2**63), 2**63 - 1), required=True, help="The id.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forget(*, id: int, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - see with_settings
    """Forget an id."""
    settings = settings_from(options)
    place = archive_of(settings)
    from verve.archive.store import open_store  # noqa: PLC0415 - needs the extra

    store = open_store(place)
    from verve.archive.upkeep.forgetting import forget as forget_id  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory(prefix="verve-") as scratch, Progress() as line:
        done = forget_id(
            store,
            settings.cluster,
            id,
            Path(scratch),
            lambda files, total: line.tell(files, files, total, "files"),
        )
    elsewhere = [*_ELSEWHERE, *(f"`{path}`" for path in _left_behind(store, settings))]
    if as_json:
        found = {
            "tombstone": done.tombstone,
            "files": done.files,
            "rewritten": list(done.rewritten),
            "may_still_be_in": elsewhere,
        }
        click.echo(json.dumps(found))
        return
    click.echo(f"hidden by `{done.tombstone}`")
    click.echo(f"removed from {len(done.rewritten)} of {done.files} files")
    click.echo("the id may still be in:")
    for one in elsewhere:
        click.echo(f"  {one}")


def _left_behind(store: ArchiveStore, settings: Settings) -> list[Path]:
    """The unfinished and damaged files that this host has now: forget does not read them."""
    from verve.archive.spool.spool import Spool  # noqa: PLC0415 - needs the extra
    from verve.archive.store.folder import FolderStore  # noqa: PLC0415 - the same

    unfinished = store.unfinished() if isinstance(store, FolderStore) else ()
    return sorted([*unfinished, *Spool(settings.state_dir, 0, 0).damaged()])

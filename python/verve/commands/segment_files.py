"""`verve segment ls` and `verve segment rm`: the files of Verve outside its state directories.

A segment outlives its service, so that a restart continues the count. If its state directory no
longer exists, no service uses the segment again, and it occupies memory until a user removes it.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from verve._verve import Counter, SegmentError, VerveError, remove_segment, segment_identity
from verve.printable import printable
from verve.publishing.lease import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve._verve import SegmentIdentity

_BESIDE = re.compile(r"(verve-[0-9]+-[0-9a-f]{16})\.(lock|new)")
"""Files next to a segment: its lock, and the unfinished segment of a killed process."""
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Found:
    """A file that Verve created."""

    path: Path
    size: int
    age: float
    use: str
    """`alive`, `idle`, `format <n>` of another version, `lock`, or `unfinished`."""
    unpublished: int | None = None
    """Number of windows that no ledger has; None if unknown."""
    state_directory: str = ""


def default_directory() -> Path:
    """The directory of segments if no setting names another one."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - only read
    return shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())


def found_in(directory: Path) -> Iterator[Found]:
    """The user's segments in a directory, and leftover files. Raises `VerveError`."""
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise VerveError(f"cannot read the directory: {error.strerror}: `{directory}`") from error
    for path in paths:
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if status.st_uid != os.geteuid() or not path.is_file() or path.is_symlink():
            continue
        size, age = status.st_blocks * 512, max(0.0, time.time() - status.st_mtime)
        if beside := _BESIDE.fullmatch(path.name):
            if not path.with_name(beside[1]).exists():
                use = "lock" if beside[2] == "lock" else "unfinished"
                yield Found(path, size, age, use)
            continue
        try:
            identity = segment_identity(path)
        except SegmentError:
            continue  # not a segment, or one that other users may read
        use = "alive" if identity["alive"] else "idle"
        if not identity["ours"]:
            use = "alive" if identity["alive"] else f"format {identity['format']}"
        unpublished = None if identity["alive"] else _unpublished(path, identity)
        yield Found(path, size, age, use, unpublished, identity["state_directory"])


def _unpublished(path: Path, identity: SegmentIdentity) -> int | None:
    """The number of windows with ids that the ledger lacks, the current one included."""
    if not identity["ours"]:
        return None
    try:
        with Counter(
            path,
            window=None,
            cluster=identity["cluster"],
            state_directory=identity["state_directory"],
        ) as counter:
            taken = counter.ring.cursor(Cursor.LEDGER)
            windows = {
                record.window_start
                for record in counter.closed()
                if record.unique and record.window_start > taken
            }
            current = counter.current()
            if current.unique:
                windows.add(current.window_start)
            return len(
                windows.union(counter.retention.kept() if counter.retention.settled() else ())
            )
    except VerveError:
        return None


def lines(found: list[Found]) -> Iterator[str]:
    """The files as the lines of a table."""
    yield f"{'size':>12} {'age':>5} {'use':<10} {'unpublished':>11}  segment"
    for one in found:
        unpublished = "-" if one.unpublished is None else str(one.unpublished)
        path = printable(str(one.path))
        line = f"{one.size:>12,} {_age(one.age):>5} {one.use:<10} {unpublished:>11}  {path}"
        if one.state_directory:
            gone = "" if Path(one.state_directory).is_dir() else " (gone)"
            line += f"  state directory {printable(one.state_directory)}{gone}"
        yield line


def _age(seconds: float) -> str:
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return "0s"


def remove(path: Path, *, force: bool) -> None:
    """Remove a segment, or a leftover file. Raises `VerveError`."""
    if beside := _BESIDE.fullmatch(path.name):
        path = path.with_name(beside[1])
        if path.exists():
            raise VerveError(f"the file belongs to a segment: `{path}`; hint: remove the segment")
        remove_segment(path)
        return
    identity = segment_identity(path)
    if not identity["alive"] and not force:
        unpublished = _unpublished(path, identity)
        if unpublished != 0:
            problem = (
                "it is unknown whether the segment holds unpublished windows"
                if unpublished is None
                else "the segment holds unpublished windows"
            )
            raise VerveError(
                f"{problem}: `{unpublished or path}`; hint: start its service again to publish "
                "them, or use `--force`"
            )
    remove_segment(path)


@click.command(
    help="List your segments in DIRECTORY, or in the default directory. The size is the memory "
    "that a segment uses, the age is the time since it last grew."
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), required=False)
def ls(directory: Path | None) -> None:
    """List your segments and leftover files."""
    directory = directory or default_directory()
    found = list(found_in(directory))
    if not found:
        click.echo(f"no segments in `{printable(str(directory))}`", err=True)
        return
    for line in lines(found):
        click.echo(line)


@click.command(help="Remove the segment PATH and its lock, unless a process uses it.")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Remove it even if no ledger has some of its windows.")
def rm(path: Path, *, force: bool) -> None:
    """Remove the segment PATH and its lock, unless a process uses it."""
    remove(path, force=force)
    click.echo(f"removed `{printable(str(path))}`", err=True)

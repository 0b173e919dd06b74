"""Roll-ups: a host merges the windows of an hour into one file, and its hours into a day.

A roll-up lists its inputs and the windows that they are of. It is made again, with the earlier one
as an input, when a window comes late. A host rolls up its own files only: no two write one file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verve.archive.format.head import Head, Input
from verve.archive.format.id_file_writer import IdFileWriter
from verve.archive.format.layout import FileName
from verve.archive.format.levels import DAY, HOUR, Level, rolls_up
from verve.archive.query.catalogue import Catalogue
from verve.archive.query.pieces import Piece
from verve.archive.query.plan import Planner
from verve.archive.query.span import Span

from .forgetting import rewrite, tombstones
from .merging import merge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from verve.archive.format.id_file import IdFile
    from verve.archive.format.manifest import WindowEntry
    from verve.archive.query.catalogue import Record, RollUp
    from verve.archive.store import ArchiveStore

MEMORY = 128 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Whose files are rolled up, the segment that names the new ones, and where they are built.

    `in_cluster`: other hosts count, too.
    """

    cluster: str
    host: str
    segment: str
    scratch: Path
    memory: int = MEMORY
    in_cluster: bool = False


def roll_up_hour(store: ArchiveStore, host: Host, hour: int) -> FileName | None:
    """Merge the windows of an hour. None: nothing is new, or such windows are not rolled up.

    The caller knows that the hour is over and that none of its windows is still on its way.
    """
    catalogue = Catalogue.read(store, host.cluster, Span(hour, hour + HOUR))
    records = [one for one in catalogue.records if one.host == host.host]
    lengths = {one.entry.length for one in records}
    if len(lengths) != 1 or not rolls_up(length := lengths.pop()):
        return None
    earlier = _own(catalogue, host, Level.HOUR)
    covered = {name for one in earlier for name in one.covers}
    fresh = {
        one.file: one
        for one in records
        if one.file in catalogue.windows and one.file not in covered
    }
    # A window whose file is gone stays in its manifest only: a roll-up answers for all it names.
    held = {None, *fresh, *covered}
    entries = _entries(one for one in records if one.file in held)
    if not fresh and any(_same(one, entries) for one in earlier):
        return None
    planner = Planner(store, host.cluster)
    windows = planner.opened(catalogue, {name: one for name, one in fresh.items() if name})
    pieces = [
        Piece(one.file, one.read, bits=1 << (one.file.head.file.start - hour) // length)
        for one in windows.values()
    ]
    pieces += [planner.piece(one, None) for one in earlier]
    name = FileName(hour, HOUR, host.segment, Level.HOUR, host.cluster)
    return _write(store, host, name, pieces, _Told(entries, catalogue.forgotten))


def roll_up_day(store: ArchiveStore, host: Host, day: int) -> FileName | None:
    """Merge the hours of a day. None: nothing is new, or an hour cannot be rolled up."""
    catalogue = Catalogue.read(store, host.cluster, Span(day, day + DAY))
    records = [one for one in catalogue.records if one.host == host.host]
    hours = _own(catalogue, host, Level.HOUR)
    earlier = _own(catalogue, host, Level.DAY)
    in_hours = {name for one in hours for name in one.covers}
    covered = {name for one in earlier for name in one.covers}
    held = {None, *in_hours, *covered}
    if any(one.file in catalogue.windows and one.file not in held for one in records):
        return None
    entries = _entries(one for one in records if one.file in held)
    if in_hours <= covered and any(_same(one, entries) for one in earlier):
        return None
    planner = Planner(store, host.cluster)
    pieces = [
        Piece(piece.file, piece.read, bits=1 << (one.start - day) // HOUR)
        for one in hours
        if not one.covers <= covered
        for piece in [planner.piece(one, None)]
    ]
    pieces += [planner.piece(one, None) for one in earlier]
    name = FileName(day, DAY, host.segment, Level.DAY, host.cluster)
    # Queries do not open the hours that are named here, so these are all that the day has.
    taken = tuple(_input(one.file) for one in hours if one.covers <= covered)
    return _write(store, host, name, pieces, _Told(entries, catalogue.forgotten, taken))


@dataclass(frozen=True, slots=True)
class _Told:
    """What a roll-up says beside its ids: its windows, and files whose ids an earlier one had.

    The `forgotten` ids are left out of it.
    """

    windows: tuple[WindowEntry, ...]
    forgotten: list[int]
    inputs: tuple[Input, ...] = ()


def _write(
    store: ArchiveStore, host: Host, name: FileName, pieces: list[Piece], told: _Told
) -> FileName:
    forgotten = told.forgotten
    head = Head(
        file=name,
        host=host.host,
        inputs=(*(_input(piece.file) for piece in pieces), *told.inputs),
        windows=told.windows,
        forgotten=sum(piece.file.head.forgotten for piece in pieces) + _hidden(pieces, forgotten),
    )
    path = host.scratch / f"{name.level}-{name.start}-{name.segment}.building"
    try:
        with IdFileWriter(path, head) as writer:
            for ids, parts in merge(pieces, forgotten, host.memory):
                writer.append(ids, parts)
        store.put(name.name, path)
    finally:
        path.unlink(missing_ok=True)
    late = set(tombstones(store, host.cluster)) - set(forgotten)
    if late:
        # They were to be forgotten while this was written.
        rewrite(store, name, late, host.scratch)
    return name


def _input(file: IdFile) -> Input:
    return Input(file.name, file.contents.rows, file.contents.digest, file.size)


def _hidden(pieces: list[Piece], forgotten: list[int]) -> int:
    """How many of the forgotten ids a roll-up of these files leaves out."""

    def has(piece: Piece, id: int) -> bool:
        found = piece.file.ids(piece.file.between(id, id), piece.read)
        return bool(np.any(found == id))

    return sum(any(has(piece, id) for piece in pieces) for id in forgotten)


def _own(catalogue: Catalogue, host: Host, level: Level) -> list[RollUp]:
    return [
        one
        for one in catalogue.roll_ups
        if one.file.head.host == host.host and one.file.head.file.level is level
    ]


def _entries(records: Iterable[Record]) -> tuple[WindowEntry, ...]:
    found = sorted(records, key=lambda one: (one.entry.start, one.entry.length, one.file or ""))
    return tuple(one.entry for one in found)


def _same(roll_up: RollUp, entries: tuple[WindowEntry, ...]) -> bool:
    return set(roll_up.file.head.windows) == set(entries)

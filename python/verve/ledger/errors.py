"""What can be wrong with the ledger, and where SQLite's errors become ours."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from enum import StrEnum
from typing import TYPE_CHECKING

from verve._verve import VerveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LedgerTrouble(StrEnum):
    """What kept the ledger from its work."""

    LOCKED = "locked"
    FULL = "full"
    DAMAGED = "damaged"
    NEWER = "newer"
    DEPOSED = "deposed"
    BROKEN = "broken"


_HINTS = {
    LedgerTrouble.LOCKED: "another process is inside a transaction, it will be tried again",
    LedgerTrouble.FULL: "make room on the disk, the windows wait in the segment for a day",
    LedgerTrouble.DAMAGED: "the next leader sets the file aside and starts a new one",
    LedgerTrouble.NEWER: "a newer Verve made it, use that one or another state directory",
    LedgerTrouble.DEPOSED: "another worker leads now and does this work",
    LedgerTrouble.BROKEN: "see that the directory exists and belongs to the user of the service",
}


class LedgerError(VerveError):
    """The ledger could not be read or written; `trouble` says why."""

    def __init__(self, trouble: LedgerTrouble, detail: str, path: Path) -> None:
        super().__init__(f"the ledger is {trouble}: {detail}: `{path}`; hint: {_HINTS[trouble]}")
        self.trouble = trouble


_BY_CODE = {
    sqlite3.SQLITE_BUSY: LedgerTrouble.LOCKED,
    sqlite3.SQLITE_LOCKED: LedgerTrouble.LOCKED,
    sqlite3.SQLITE_FULL: LedgerTrouble.FULL,
    # What a full disk looks like when the index of the write-ahead log has to grow.
    sqlite3.SQLITE_IOERR_SHMSIZE: LedgerTrouble.FULL,
    sqlite3.SQLITE_CORRUPT: LedgerTrouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: LedgerTrouble.DAMAGED,
}


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Map what SQLite and the file system raise to `LedgerError`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        trouble = _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF, LedgerTrouble.BROKEN)
        raise LedgerError(trouble, str(error), path) from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        trouble = LedgerTrouble.FULL if full else LedgerTrouble.BROKEN
        raise LedgerError(trouble, error.strerror or str(error), path) from error

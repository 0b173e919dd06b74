"""The failures of the ledger, and the mapping of SQLite's errors to them."""

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


class LedgerFailure(StrEnum):
    """Why the ledger could not be read or written."""

    LOCKED = "locked"
    FULL = "full"
    DAMAGED = "damaged"
    NEWER = "newer"
    DEPOSED = "deposed"
    BROKEN = "broken"


_HINTS = {
    LedgerFailure.LOCKED: "another process is inside a transaction; Verve tries again",
    LedgerFailure.FULL: "make room on the disk, the segment keeps the windows of a day",
    LedgerFailure.DAMAGED: "the next leader sets the file aside and starts a new one",
    LedgerFailure.NEWER: (
        "a newer Verve made it; install that release, `pip install --upgrade verve-counter`, or "
        "start a new ledger with `verve serve --state-dir DIRECTORY`"
    ),
    LedgerFailure.DEPOSED: "another worker leads now and does this work",
    LedgerFailure.BROKEN: "see that the directory exists and belongs to the user of the service",
}


class LedgerError(VerveError):
    """The ledger could not be read or written; `kind` says why."""

    def __init__(self, kind: LedgerFailure, detail: str, path: Path) -> None:
        super().__init__(f"the ledger is {kind}: {detail}: `{path}`; hint: {_HINTS[kind]}")
        self.kind = kind
        self._arguments = kind, detail, path

    def __reduce__(self) -> tuple[type[LedgerError], tuple[LedgerFailure, str, Path]]:
        """Pickle the arguments in place of the message, so that another process can read it."""
        return type(self), self._arguments


_BY_CODE = {
    sqlite3.SQLITE_BUSY: LedgerFailure.LOCKED,
    sqlite3.SQLITE_LOCKED: LedgerFailure.LOCKED,
    sqlite3.SQLITE_FULL: LedgerFailure.FULL,
    # On a full disk, when the index of the write-ahead log has to grow.
    sqlite3.SQLITE_IOERR_SHMSIZE: LedgerFailure.FULL,
    sqlite3.SQLITE_CORRUPT: LedgerFailure.DAMAGED,
    sqlite3.SQLITE_NOTADB: LedgerFailure.DAMAGED,
    # No statement of Verve meets these in a sound ledger.
    sqlite3.SQLITE_CONSTRAINT: LedgerFailure.DAMAGED,
    sqlite3.SQLITE_MISMATCH: LedgerFailure.DAMAGED,
    sqlite3.SQLITE_TOOBIG: LedgerFailure.DAMAGED,
}

# The module's own error for a damaged value has no code.
_NO_TEXT = "Could not decode to UTF-8"


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Map what SQLite and the file system raise to `LedgerError`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        kind = _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF, LedgerFailure.BROKEN)
        if str(error).startswith(_NO_TEXT):
            kind = LedgerFailure.DAMAGED
        raise LedgerError(kind, str(error), path) from error
    except UnicodeDecodeError as error:
        # The module decodes SQLite's message, which quotes the file.
        raise LedgerError(LedgerFailure.DAMAGED, "a name in it is no text", path) from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        kind = LedgerFailure.FULL if full else LedgerFailure.BROKEN
        raise LedgerError(kind, error.strerror or str(error), path) from error

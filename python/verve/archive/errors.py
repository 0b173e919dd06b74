"""The failures of the archive."""

from __future__ import annotations

from verve._verve import SettingError, VerveError

EXTRA = "verve-counter[archive]"


class ArchiveError(VerveError):
    """The archive cannot be read or written."""


class DamagedFileError(ArchiveError):
    """A file of the archive is not as it was written, or is none of the archive's files."""

    def __init__(self, problem: str, name: str) -> None:
        super().__init__(f"{problem}: `{name}`")
        self.problem = problem
        self.name = name

    def __reduce__(self) -> tuple[type[DamagedFileError], tuple[str, str]]:
        """Pickle the arguments in place of the message, so that another process can read it."""
        return type(self), (self.problem, self.name)


class GoneError(ArchiveError):
    """A file is not there, or no longer: a roll-up replaced it, or it has expired."""


class StoreError(ArchiveError):
    """The folder or the object store failed; later it may work."""


def missing_extra(error: ImportError) -> SettingError:
    """The error for an archive without the packages that it needs."""
    return SettingError(
        f"the archive needs a package that is not installed: `{error.name}`; "
        f"hint: pip install '{EXTRA}'"
    )

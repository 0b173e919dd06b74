"""What a file of ids says of itself: key-value metadata of Parquet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from verve.archive.errors import ArchiveError, DamagedFileError

from .layout import FileName
from .levels import Level
from .manifest import FORMAT, WindowEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "verve."


@dataclass(frozen=True, slots=True)
class Contents:
    """The number of ids of a file, and the digest of their bytes in ascending order."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Input:
    """A file whose ids a roll-up has, by its name below the archive's root.

    `size` tells whether it was written anew since; 0 is not known.
    """

    name: str
    rows: int
    digest: str
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The metadata of a file of ids. A roll-up lists its `inputs` and their `windows`.

    `original` is what the file had before ids were forgotten; manifests and roll-ups go on naming
    that. `forgotten` is how many of its ids were removed since, of a roll-up also from its inputs.
    """

    file: FileName
    host: str
    inputs: tuple[Input, ...] = ()
    windows: tuple[WindowEntry, ...] = ()
    original: Contents | None = None
    forgotten: int = 0

    def metadata(self, contents: Contents) -> dict[str, str]:
        """The key-value metadata of a file with these contents."""
        file = self.file
        original = self.original
        values: dict[str, object] = {
            "format": FORMAT,
            "cluster": file.cluster,
            "host": self.host,
            "segment": file.segment,
            "start": file.start,
            "length": file.length,
            "level": str(file.level),
            "count": contents.rows,
            "digest": contents.digest,
            "inputs": [[one.name, one.rows, one.digest, one.size] for one in self.inputs],
            "windows": [one.plain() for one in self.windows],
            "original": None if original is None else [original.rows, original.digest],
            "forgotten": self.forgotten,
        }
        return {
            _PREFIX + name: value if isinstance(value, str) else _text(value)
            for name, value in values.items()
        }

    @classmethod
    def read(cls, metadata: Mapping[str, str], name: str) -> tuple[Self, Contents]:
        """The head and the contents of the file called `name`. Raises `DamagedFileError`."""
        values = {
            key.removeprefix(_PREFIX): value
            for key, value in metadata.items()
            if key.startswith(_PREFIX)
        }
        if "format" not in values:
            raise DamagedFileError("the archive has a file that Verve did not write", name)
        if values["format"] != str(FORMAT):
            raise ArchiveError(
                f"a newer Verve wrote a file of the archive, in format {values['format']}: "
                f"`{name}`; hint: pip install --upgrade verve-counter"
            )
        try:
            file = FileName(
                int(values["start"]),
                int(values["length"]),
                values["segment"],
                Level(values["level"]),
                values["cluster"],
            )
            inputs: list[list[Any]] = json.loads(values["inputs"])
            original = json.loads(values["original"])
            head = cls(
                file=file,
                host=values["host"],
                inputs=tuple(Input(*one) for one in inputs),
                windows=tuple(WindowEntry.of(one) for one in json.loads(values["windows"])),
                original=None if original is None else Contents(*original),
                forgotten=int(values["forgotten"]),
            )
            contents = Contents(int(values["count"]), values["digest"])
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFileError("a file of ids makes no sense", name) from error
        if file.name != name:
            raise DamagedFileError("a file of ids is not where it belongs", name)
        return head, contents

    def promised(self, contents: Contents) -> Contents:
        """What manifests and roll-ups say of the file: its contents before ids were forgotten."""
        return self.original or contents


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))

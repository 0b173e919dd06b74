"""One row of the table of settings: a field of a dataclass that says how its text is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "VERVE_"


@dataclass(frozen=True, slots=True)
class Derived:
    """A default that depends on the host or on other settings: its text in the docs, and how."""

    text: str
    value: Callable[[Mapping[str, Any], Mapping[str, str]], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `default` goes through `parse`; None means that it may be absent."""

    name: str
    section: str
    parse: Callable[[str], Any]
    default: str | Derived | None
    help: str
    secret: bool
    in_file: bool

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Its name on the command line. That of a secret takes a file."""
        return "--" + self.name.replace("_", "-") + ("-file" if self.secret else "")

    @property
    def default_text(self) -> str:
        """The default as the docs name it."""
        if isinstance(self.default, Derived):
            return self.default.text
        return "" if self.default is None else f"`{self.default}`"


def setting(  # noqa: PLR0913 - the columns of the table
    section: str,
    parse: Callable[[str], Any],
    default: str | Derived | None,
    help: str,  # noqa: A002 - the word of the field
    *,
    secret: bool = False,
    in_file: bool = True,
) -> Any:  # noqa: ANN401 - the type is that of the field it is assigned to
    """A field of the class that is the table, for `Setting` to be made from."""
    row = (section, parse, default, help, secret, in_file)
    return field(repr=not secret, metadata={"row": row})

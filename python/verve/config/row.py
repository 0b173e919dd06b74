"""One row of the table of settings: a field of a dataclass, with a parser and a default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "VERVE_"


@dataclass(frozen=True, slots=True)
class Derived:
    """A default that depends on the host or on other settings, with its text for the docs."""

    text: str
    value: Callable[[Mapping[str, Any], Mapping[str, str]], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `parse` reads `default`; None makes the setting optional."""

    name: str
    section: str
    parse: Callable[[str], Any]
    default: str | Derived | None
    help: str
    secret: bool
    in_file: bool

    @property
    def variable(self) -> str:
        """The name of the setting in the environment."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The name of the setting on the command line. The flag of a secret takes a file."""
        return "--" + self.name.replace("_", "-") + ("-file" if self.secret else "")

    @property
    def default_text(self) -> str:
        """The default as text for the docs."""
        if isinstance(self.default, Derived):
            return self.default.text
        return "" if self.default is None else f"`{self.default}`"


def setting(  # noqa: PLR0913 - the columns of the table
    section: str,
    parse: Callable[[str], Any],
    default: str | Derived | None,
    help: str,  # noqa: A002 - the name of the field
    *,
    secret: bool = False,
    in_file: bool = True,
) -> Any:  # noqa: ANN401 - the field that it is assigned to has the type
    """A field of the settings class; its metadata are the arguments of a `Setting`."""
    row = (section, parse, default, help, secret, in_file)
    return field(repr=not secret, metadata={"row": row})

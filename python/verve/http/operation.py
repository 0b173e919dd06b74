"""The description of one method of a route, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verve.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    Schema = Mapping[str, Any]

TEXT = "text/plain"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Named:
    """A parameter of a query, or a header of a request or of an answer."""

    meaning: str
    schema: Schema
    required: bool = False
    may_be_empty: bool = False
    """Whether the name alone, without a value, is a parameter."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one status."""

    meaning: str
    content: Mapping[str, Schema]
    """The schema of the body by content type."""
    headers: Mapping[str, Named] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a route. `name` is unique among all routes."""

    name: str
    summary: str
    answers: Mapping[int, Answer]
    parameters: Mapping[str, Named] = field(default_factory=dict)
    headers: Mapping[str, Named] = field(default_factory=dict)
    """Headers of the request."""
    body: Mapping[str, Schema] = field(default_factory=dict)
    """The schema of the request's body by content type; empty if it has none."""


def json_schema(*required: str, optional: tuple[str, ...] = (), **inner: Schema) -> Schema:
    """Return the schema of an object whose names are fields of `verve.fields`.

    `inner` has the schemas of objects inside it, by the name of their field.
    """
    properties = {
        name: {**FIELDS[name].json_schema(), **inner.get(name, {})}
        for name in (*required, *optional)
    }
    return {"type": "object", "required": list(required), "properties": properties}


ERROR = json_schema("error", "hint")
"""The schema of an error, as every route but the accept route sends it."""


def error(meaning: str, **headers: Named) -> Answer:
    """Return the answer of an error in JSON; `_` in the name of a header stands for `-`."""
    named = {name.replace("_", "-"): header for name, header in headers.items()}
    return Answer(meaning, {JSON: ERROR}, named)

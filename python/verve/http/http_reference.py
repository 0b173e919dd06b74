"""The reference of HTTP in `docs/reference/http.md`, made from the table of routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verve import config

from . import openapi
from .openapi import Described
from .routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .routes import Route


def markdown() -> str:
    """Return the routes with their parameters and answers, in Markdown."""
    lines: list[str] = []
    for path, route in ROUTES.items():
        lines += _route(path, route)
    return "\n".join(lines)


def _route(path: str, route: Route) -> Iterator[str]:
    described = Described(
        route.operations(config.load({}, {})), guarded=route.guarded, token=False, head=False
    )
    for method, operation in described.item().items():
        yield from ("", f"## `{method.upper()} {path}`", "", operation["summary"])
        access = "requires access" if route.guarded else "is open to everyone"
        head = " `HEAD` gives the same without a body." if "HEAD" in route.methods else ""
        yield f"This route {access}.{head}"
        yield from _parameters(operation.get("parameters", []))
        if body := operation.get("requestBody"):
            kinds = ", ".join(f"`{kind}`" for kind in body["content"])
            yield from ("", f"The body is one of: {kinds}.")
        yield from ("", "| status | meaning | body | headers |", "|---|---|---|---|")
        for status, answer in operation["responses"].items():
            yield _answer(status, answer)


def _parameters(parameters: list[dict[str, Any]]) -> Iterator[str]:
    if parameters:
        yield from ("", "| parameter | meaning |", "|---|---|")
    for one in parameters:
        required = " Required." if one["required"] else ""
        yield f"| `{one['name']}` | {one['description']}{required} |"


def _answer(status: str, answer: Mapping[str, Any]) -> str:
    content = answer.get("content", {})
    bodies = "; ".join(_body(kind, one["schema"]) for kind, one in content.items())
    headers = "; ".join(
        _header(name, one)
        for name, one in answer["headers"].items()
        if openapi.SHARED_HEADERS.get(name) != one["schema"]
    )
    return f"| {status} | {answer['description']} | {bodies} | {headers} |"


def _body(kind: str, schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    names = ", ".join(f"`{name}`" for name in schema.get("properties", ()))
    return f"{kind}: {names}" if names else kind


def _header(name: str, header: Mapping[str, Any]) -> str:
    schema = header["schema"]
    found = schema.get("enum", [schema["const"]] if "const" in schema else ())
    values = ", ".join(f"`{value}`" for value in found)
    meaning = header["description"].rstrip(".")
    return f"`{name}`: {meaning} ({values})" if values else f"`{name}`: {meaning}"

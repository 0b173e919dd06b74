"""`/openapi.json`: the OpenAPI 3.1 document of the routes, made of their table.

The document contains no data, so it is open to everyone. It describes the address that it is asked
from: the public address does not have the guarded routes if there is an admin address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .operation import JSON, Answer, Named, Operation, error

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "1"
"""The version of the interface. Not Verve's own, which is shown to nobody without access."""
TOKEN = "token"  # noqa: S105 - the name of a security scheme
PATH = "/openapi.json"

DOCUMENT = {
    "GET": Operation(
        "document",
        "This document.",
        {
            200: Answer(
                "The OpenAPI document.",
                {JSON: {"type": "object", "required": ["openapi", "info", "paths"]}},
            ),
        },
    )
}
_SHARED = {
    "cache-control": Named("Caches store no answer.", {"const": "no-store"}, required=True),
    "x-content-type-options": Named(
        "Browsers guess no content type.", {"const": "nosniff"}, required=True
    ),
}
SHARED_HEADERS = {name: header.schema for name, header in _SHARED.items()}
"""The headers that nearly every answer has."""
_UNUSABLE = {
    500: error("An internal error of the service."),
    503: error("The figures cannot be read."),
}
_NO_ACCESS = error(
    "The caller has no access.",
    www_authenticate=Named("The scheme of the token.", {"type": "string"}, required=True),
)


class Described:
    """The operations of one route by method, and the access that the route requires."""

    def __init__(
        self, operations: Mapping[str, Operation], *, guarded: bool, token: bool, head: bool
    ) -> None:
        """`guarded`: it may answer 401. `token`: it requires one. `head`: it also takes HEAD."""
        self._operations = operations
        self._guarded = guarded
        self._token = token
        self._head = head

    def item(self) -> dict[str, Any]:
        """Return the path item."""
        found = {
            method.lower(): self._operation(operation)
            for method, operation in self._operations.items()
        }
        if self._head and "get" in found:
            found["head"] = _head(found["get"])
        return found

    def _operation(self, operation: Operation) -> dict[str, Any]:
        answers = {**_UNUSABLE, **operation.answers}
        if self._guarded:
            answers[401] = _NO_ACCESS
        described: dict[str, Any] = {
            "operationId": operation.name,
            "summary": operation.summary,
            "responses": {str(status): _response(answers[status]) for status in sorted(answers)},
        }
        parameters = [
            _parameter(name, one, place)
            for place, named in (("query", operation.parameters), ("header", operation.headers))
            for name, one in named.items()
        ]
        if parameters:
            described["parameters"] = parameters
        if operation.body:
            described["requestBody"] = {"required": True, "content": _content(operation.body)}
        if self._token:
            described["security"] = [{TOKEN: []}]
        return described


def document(routes: Mapping[str, Described], *, token: bool) -> dict[str, Any]:
    """Return the document of these routes by their paths; `token`: the service has a token."""
    scheme = {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of `VERVE_ADMIN_TOKEN`.",
    }
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Verve",
            "version": VERSION,
            "summary": "Counts the distinct ids of each minute, exactly.",
            "description": "Unknown parameters are ignored.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {path: described.item() for path, described in routes.items()},
        **({"components": {"securitySchemes": {TOKEN: scheme}}} if token else {}),
    }


def _response(answer: Answer) -> dict[str, Any]:
    headers = {
        name: {"description": one.meaning, "required": one.required, "schema": one.schema}
        for name, one in {**_SHARED, **answer.headers}.items()
    }
    content = {"content": _content(answer.content)} if answer.content else {}
    return {"description": answer.meaning, "headers": headers, **content}


def _content(schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in schemas.items()}


def _parameter(name: str, one: Named, place: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "description": one.meaning,
        "required": one.required,
        "schema": one.schema,
        **({"allowEmptyValue": True} if one.may_be_empty else {}),
    }


def _head(get: dict[str, Any]) -> dict[str, Any]:
    """Return the operation of HEAD: that of GET, without bodies."""
    bare = {
        status: {name: value for name, value in response.items() if name != "content"}
        for status, response in get["responses"].items()
    }
    return {**get, "operationId": f"{get['operationId']}_head", "responses": bare}

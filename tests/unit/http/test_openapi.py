"""The OpenAPI document against the tables that it is made of."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from tests.support import rig
from tests.support.running import running_service
from tests.unit.http.test_routes import Asked
from verve._verve import REJECTIONS
from verve.fields import FIELDS, Kind
from verve.http import openapi, routes
from verve.http.accept import KINDS
from verve.http.accept_operations import LONGEST_ENDPOINT
from verve.request.exchange import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def _document(
    directory: Path, flags: Mapping[str, str], entry: Entry = Entry.PUBLIC
) -> dict[str, Any]:
    service = running_service(rig.settings(directory, **flags), object())  # type: ignore[arg-type]
    asked = replace(Asked(openapi.PATH), entry=entry)
    answer = asyncio.run(routes.answer(service, asked))
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body)
    return found


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"admin": "open"},
        {"callbacks": "off"},
        {"admin_listen": "127.0.0.1:9000"},
        {"redis_url": "redis://127.0.0.1/0", "cluster": "one"},
    ],
)
def test_the_document_is_valid(tmp_path: Path, flags: dict[str, str]) -> None:
    document = _document(tmp_path, flags)
    validate(document, cls=OpenAPIV31SpecValidator)
    for schema in _schemas(document):
        Draft202012Validator.check_schema(schema)


def _schemas(node: object) -> Iterator[dict[str, Any]]:
    """Every schema of a document."""
    if isinstance(node, dict):
        if isinstance(node.get("schema"), dict):
            yield node["schema"]
        for value in node.values():
            yield from _schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from _schemas(value)


def test_every_route_is_in_the_document(tmp_path: Path) -> None:
    paths = _document(tmp_path, {"archive": str(tmp_path)})["paths"]
    assert routes.ROUTES.keys() == paths.keys()
    assert _document(tmp_path, {})["paths"].keys() == paths.keys() - {"/api/verve/distinct"}
    for path, item in paths.items():
        assert {method.upper() for method in item} == set(routes.ROUTES[path].methods)


def test_every_rejection_is_in_the_document(tmp_path: Path) -> None:
    item = _document(tmp_path, {})["paths"][routes.ACCEPT]
    found = {
        (reason, int(status))
        for operation in item.values()
        for status, answer in operation["responses"].items()
        if status != "200"
        for reason in answer["headers"]["verve-error"]["schema"]["enum"]
    }
    assert found == {(name, status) for name, status in REJECTIONS.items() if name != "method"}
    batch = item["post"]["responses"]
    assert "id missing" not in batch["400"]["headers"]["verve-error"]["schema"]["enum"]
    assert set(item["post"]["requestBody"]["content"]) == set(KINDS)


def test_access_is_in_the_document(tmp_path: Path) -> None:
    closed = _document(tmp_path, {})
    assert "401" in closed["paths"]["/metrics"]["get"]["responses"]
    assert "401" not in closed["paths"]["/livez"]["get"]["responses"]
    assert "components" not in closed
    opened = _document(tmp_path, {"admin": "open"})
    assert "401" not in opened["paths"]["/metrics"]["get"]["responses"]


def test_the_public_address_has_no_guarded_routes(tmp_path: Path) -> None:
    settings = {"admin_listen": "127.0.0.1:9000", "archive": str(tmp_path)}
    guarded = {path for path, route in routes.ROUTES.items() if route.guarded}
    public = _document(tmp_path, settings)["paths"].keys()
    admin = _document(tmp_path, settings, Entry.ADMIN)["paths"].keys()
    assert not guarded & public
    assert admin - public == guarded | {"/"}
    assert "/metrics" in admin


def test_a_service_without_callbacks_says_so(tmp_path: Path) -> None:
    def endpoint(callbacks: str) -> dict[str, Any]:
        get = _document(tmp_path, {"callbacks": callbacks})["paths"][routes.ACCEPT]["get"]
        schema: dict[str, Any]
        [schema] = [one["schema"] for one in get["parameters"] if one["name"] == "endpoint"]
        return schema

    assert endpoint("off")["maxLength"] == 0
    assert endpoint("public")["maxLength"] == LONGEST_ENDPOINT


@pytest.mark.parametrize(
    ("length", "reason"), [(LONGEST_ENDPOINT, 503), (LONGEST_ENDPOINT + 1, 400)]
)
def test_the_longest_endpoint(tmp_path: Path, length: int, reason: int) -> None:
    counter = rig.counter_of(rig.settings(tmp_path))
    url = "http://x.example/".ljust(length, "a")
    # Without a sender the service would have to send it, and cannot.
    assert counter.http.accept(f"id=7&endpoint={url}")[0] == reason
    counter.close()


@pytest.mark.parametrize("kind", Kind)
def test_a_schema_says_what_its_field_says(kind: Kind) -> None:
    values = ["2026-11-22T21:58:00Z", "x", 7, -7, 0.5, True, ["x"], [{}], [7], {}, None]
    for field in (one for one in FIELDS.values() if one.kind is kind):
        judge = Draft202012Validator(field.json_schema())
        for value in values:
            assert judge.is_valid(value) == field.fits(value), (field, value)

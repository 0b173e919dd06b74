"""The OpenAPI document of a running service, and what Schemathesis makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from tests.contract.conftest import KINDS
from tests.support.callbacks.receivers import Receiver
from tests.support.http import schemathesis_run
from tests.support.http.schemathesis_run import EXCLUDED, TOKEN
from tests.support.network.ports import free_port
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Serve

AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
ONE = "verve serve"


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=[] if kind == ONE else [pytest.mark.full]) for kind in KINDS],
)
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with a token and without callbacks, under one server, in full runs under all."""
    server, options = KINDS[request.param]
    environment = {"VERVE_ADMIN_TOKEN": TOKEN}
    directory = tmp_path_factory.mktemp("service")
    with Service(directory, server, window=3600, environment=environment, **options) as service:
        yield service


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(guarded: Service, tmp_path: Path) -> None:
    found = schemathesis_run.run(guarded, tmp_path)
    assert found.status == 0, found.output
    # Every operation of the document was asked, with bodies and parameters.
    paths = guarded.get("/openapi.json").json()["paths"]
    operations = sum(len(item) for path, item in paths.items() if path not in EXCLUDED)
    assert f"Tested: {operations}" in found.output, found.output
    assert guarded.metrics()["verve_ids_total"] > 0


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing_with_callbacks(serve: Serve, tmp_path: Path) -> None:
    with Receiver() as receiver:
        service = serve(
            Server.VERVE,
            environment={
                "VERVE_ADMIN_TOKEN": TOKEN,
                "VERVE_CALLBACKS": "listed",
                "VERVE_CALLBACK_ALLOW": "127.0.0.1",
                "VERVE_CALLBACK_RATE": "100000",
            },
        )
        # A callback that the service may send goes to the receiver only.
        fixed = {"query.endpoint": receiver.url("/hook")}
        options = ("--include-path", ACCEPT)
        found = schemathesis_run.run(service, tmp_path, *options, parameters=fixed)
        assert found.status == 0, found.output
        receiver.wait_until(bool)


def test_the_answers_have_the_documented_names(serve: Serve) -> None:
    service = serve(Server.VERVE, window=1, environment={"VERVE_ADMIN_TOKEN": TOKEN})
    document = service.get("/openapi.json").json()
    validate(document, cls=OpenAPIV31SpecValidator)
    assert service.post(json=[7, 8]).status_code == 200
    service.wait_until(service.windows, 10, "keeping a ledger")
    for path, query in (
        ("/api/verve/current", ""),
        ("/api/verve/windows", "?limit=2"),
        ("/api/verve/windows", "?limit=none"),
        ("/readyz", "?verbose"),
    ):
        answer = service.look(path + query)
        _judge(document["paths"][path]["get"], answer)
    _judge(document["paths"][ACCEPT]["post"], service.post(json=[7, 8]))
    _judge(document["paths"]["/metrics"]["get"], service.get("/metrics"))


def _judge(operation: dict[str, Any], answer: httpx.Response) -> None:
    """Judge an answer by its schema, without the leave to have more names than documented."""
    content = operation["responses"][str(answer.status_code)]["content"]["application/json"]
    strict = _closed(content["schema"])
    Draft202012Validator(strict, format_checker=FormatChecker()).validate(answer.json())


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with objects that have no other names than its own."""
    closed = {
        key: _closed(value) if isinstance(value, dict) else value for key, value in schema.items()
    }
    named = schema.get("properties")
    # Parts of readiness and the identity of a service have names of their own.
    open_ended = "additionalProperties" in schema or "state" in (named or {})
    return closed if not isinstance(named, dict) or open_ended else {**closed, **_SHUT}


_SHUT = {"additionalProperties": False}


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.UVICORN, Server.NATIVE])
def test_each_address_has_the_document_of_its_routes(serve: Serve, server: Server) -> None:
    admin = f"127.0.0.1:{free_port()}"
    service = serve(server, environment={"VERVE_ADMIN_LISTEN": admin, "VERVE_ADMIN_TOKEN": TOKEN})
    public = service.get("/openapi.json")
    own = httpx.get(f"http://{admin}/openapi.json", trust_env=False)
    assert (public.status_code, own.status_code) == (200, 200)
    assert public.headers["content-type"] == "application/json"
    paths = set(public.json()["paths"])
    assert {ACCEPT, "/livez", "/readyz", "/openapi.json"} <= paths
    hidden = set(own.json()["paths"]) - paths
    figures = {"/metrics", "/api/verve/current", "/api/verve/windows", "/api/verve/stream"}
    assert hidden == figures | {"/"}
    assert {service.get(path, headers=AUTHORIZED).status_code for path in hidden} == {404}
    assert service.post("/openapi.json").headers["allow"] == "GET, HEAD"

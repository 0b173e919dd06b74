"""The answers of a running service, against the table of fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.service import ACCEPT, Server, Service
from verve.fields import misfits

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("fields"), Server.VERVE, window=1) as started:
        yield started


@pytest.mark.parametrize(
    "path",
    [
        "/api/verve/current",
        "/api/verve/windows?limit=2",
        "/api/verve/windows?limit=none",
        "/readyz?verbose",
        "/nowhere",
        ACCEPT,
    ],
)
def test_the_answers(service: Service, path: str) -> None:
    if path == ACCEPT:
        answer = service.post(json=[7, 8, 7])
        assert answer.json()["windows"]
    else:
        service.wait_until(service.windows, 10, "keeping a ledger")
        answer = service.get(path)
    told = answer.json()
    assert misfits(told) == []
    inner = [told.get("service", {}), *told.get("parts", {}).values()]
    assert [wrong for one in inner for wrong in misfits(one)] == []


def test_the_lines_and_what_commands_print(service: Service) -> None:
    service.wait_until(service.windows, 10, "keeping a ledger")
    # `lines` looks at each.
    assert {"service.starting", "window.published"} <= {line["event"] for line in service.lines()}
    printed = service.command("windows", "--json").stdout
    assert printed
    for line in printed.splitlines():
        assert misfits(json.loads(line)) == []

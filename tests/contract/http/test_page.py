"""The live page as every server sends it: one file, its headers, and where it is not."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

import pytest

import verve
from tests.support.http.raw import ask
from tests.support.service import Server
from verve.http import page

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.service import Service

LARGEST = 150_000


def test_the_page_and_its_headers(service: Service) -> None:
    # Open to everyone: a name that the guard does not know gets it too.
    answer = ask(service, "GET", "/", host="elsewhere.example")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert answer.headers["cache-control"] == "no-cache"
    assert not any(name.startswith("access-control") for name in answer.headers)
    text = service.get("/").text
    assert len(text.encode()) < LARGEST
    assert verve.__version__ not in text
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    for kind in ("script", "style"):
        (inline,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert "Permission is hereby granted" in text


def test_a_browser_that_has_the_page(service: Service) -> None:
    first = service.get("/")
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = service.get("/", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert service.get("/", headers={"if-none-match": '"other"'}).content == first.content
    head = ask(service, "HEAD", "/")
    assert (head.status, head.headers["etag"]) == (200, tag)
    assert ask(service, "POST", "/", [], b"").status == 405


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.VERVE, Server.NATIVE])
def test_without_the_page(server: Server, serve: Serve) -> None:
    service = serve(server, environment={"VERVE_PAGE": "off"})
    assert service.get("/").text == service.get("/nothing").text
    assert service.get("/").status_code == 404
    assert service.events("service.page") == []


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_the_start_names_the_page(server: Server, serve: Serve) -> None:
    service = serve(server)
    (line,) = service.events("service.page")
    assert line["page"] == service.url("/")


def test_the_sources_name_nothing_elsewhere() -> None:
    """Nothing is loaded from another place; the only address is that of the library's licence."""
    document = page.joined()[0].decode()
    assert set(re.findall(r"https?://[\w.-]+", document)) == {"https://github.com"}
    assert not re.findall(
        r"\s(?:src|style|on\w+)=", re.sub(r"<script>.*</script>", "", document, flags=re.DOTALL)
    )

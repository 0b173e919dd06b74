"""`/`: the live page, one file without data, which reads the guarded routes of its own service.

The sources are in `verve/page`. They are joined when a worker starts, because the file must be one,
and the hashes of its inline script and style go into the Content-Security-Policy.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from verve.request.exchange import Response

from .operation import Answer, Named, Operation

if TYPE_CHECKING:
    from verve.request.exchange import Headers, Request
    from verve.service.running import RunningService

SOURCES = Path(__file__).parents[1] / "page"
SCRIPTS = ("format", "dom", "stream", "windows", "charts", "cards", "archive", "app")
"""The scripts of the page, in the order in which they use one another."""

_NOT_MODIFIED = 304
_HEADERS = {
    "cache-control": Named(
        "Caches ask whether it has changed.", {"const": "no-cache"}, required=True
    ),
    "etag": Named("Stands for this page.", {"type": "string"}, required=True),
    "content-security-policy": Named(
        "Allows the two inline parts, and requests to this service.",
        {"type": "string"},
        required=True,
    ),
}

PAGE = {
    "GET": Operation(
        "page",
        "The live page, which contains no data.",
        {
            200: Answer("The page.", {"text/html": {"type": "string"}}, _HEADERS),
            _NOT_MODIFIED: Answer("The caller has it.", {}, _HEADERS),
        },
        headers={
            "if-none-match": Named("The header `etag` of a page.", {"type": "string"}),
        },
    )
}


async def page(_service: RunningService, request: Request) -> Response:
    """Answer `/`: the page, or 304 to a browser that has it."""
    document, headers = joined()
    tag = dict(headers)["etag"]
    known = [one.strip() for value in request.header("if-none-match") for one in value.split(",")]
    if tag in [one.removeprefix("W/") for one in known] or known == ["*"]:
        return Response(_NOT_MODIFIED, headers)
    return Response(200, headers, document)


@cache
def joined() -> tuple[bytes, Headers]:
    """Return the document and its headers."""
    style = "\n".join([_read("vendor/uplot.css"), _read("style.css")])
    parts = "\n".join(_read(f"script/{name}.js") for name in SCRIPTS)
    # The licence goes with each copy of the library.
    licence = f"/*\n{_read('vendor/uplot.LICENSE')}*/\n"
    script = f'{licence}{_read("vendor/uplot.js")}\n(() => {{\n"use strict";\n{parts}}})();\n'
    document = _read("index.html").replace("{{style}}", style).replace("{{script}}", script)
    body = document.encode()
    return body, [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("etag", f'"{hashlib.sha256(body).hexdigest()[:32]}"'),
        ("content-security-policy", _policy(script, style)),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
        ("referrer-policy", "no-referrer"),
    ]


def _policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy: the two inline parts, and requests to this service."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _read(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")

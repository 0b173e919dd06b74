"""The description of the accept route, for the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve._verve import REJECTIONS
from verve.config.choices import Callbacks

from .accept import KINDS
from .operation import JSON, TEXT, Answer, Named, Operation, json_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verve.config import Settings

    from .operation import Schema

LONGEST_ENDPOINT = 2048
"""Maximum length of an endpoint in bytes: the limit of `rust/core/src/request/endpoint.rs`."""

_ID: Schema = {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1}
# Reasons that only a single id, or only a batch, can be rejected for; others are of both.
_OF_ONE = ("id missing", "id repeated", "endpoint ", "callbacks ", "destination ")
_OF_BATCH = ("body ", "bodies ", "query in batch")
# No operation of the document is rejected for its method.
_OF_NONE = ("method",)


def operations(settings: Settings) -> Mapping[str, Operation]:
    """Describe the accept route."""
    return {"GET": _one(settings), "POST": _batch(settings)}


def _one(settings: Settings) -> Operation:
    headers = {
        "verve-seen": Named(
            "With `verdict=1`: whether the window had counted the id before.",
            {"enum": ["new", "duplicate"]},
        ),
        "verve-window": Named(
            "With `verdict=1`: start of the id's window, in seconds since the epoch.",
            {"type": "integer"},
        ),
    }
    parameters = {
        "id": Named("The id to count.", _ID, required=True),
        "verdict": Named("`1`: the answer says whether the id was new.", {"type": "string"}),
        "endpoint": _endpoint(settings),
    }
    hint = {"verve-hint": Named("What opens the endpoint's destination.", {"type": "string"})}
    return Operation(
        "accept",
        "Count one id in the current window.",
        {
            200: Answer("The id is counted.", {TEXT: {"const": "ok"}}, headers),
            **_rejections(_OF_BATCH, {400: hint, 503: _RETRY}),
        },
        parameters,
    )


def _endpoint(settings: Settings) -> Named:
    if settings.callbacks is Callbacks.OFF:
        return Named(
            "This service sends no callbacks: only an empty endpoint is accepted, and ignored.",
            {"type": "string", "maxLength": 0},
            may_be_empty=True,
        )
    return Named(
        "Absolute http or https URL that gets the count of the id's window; empty: none. The "
        "service refuses destinations that it may not reach.",
        {
            "type": "string",
            "maxLength": LONGEST_ENDPOINT,
            "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://.+)?$",
        },
        may_be_empty=True,
    )


def _batch(settings: Settings) -> Operation:
    result = json_schema(
        "accepted", "new", "windows", windows={"items": json_schema("window_start", "new")}
    )
    number: Schema = {"type": "integer", "minimum": 0}
    headers = {
        400: {"verve-position": Named("Index of the bad id, from 0.", number)},
        415: {
            "accept-post": Named("Content types of a batch.", {"type": "string"}),
            "accept-encoding": Named("Encodings of a batch.", {"type": "string"}),
        },
        503: {"verve-recorded": Named("Number of recorded ids.", number), **_RETRY},
    }
    bodies: Mapping[str, Schema] = {
        "application/octet-stream": {
            "description": "Little-endian int64s, 8 bytes each.",
        },
        "application/json": {"type": "array", "items": _ID},
        "text/plain": {
            "type": "string",
            "description": "One id per line, an int64 each.",
            "pattern": r"^(-?[0-9]+\r?\n)*(-?[0-9]+)?$",
        },
    }
    return Operation(
        "accept_batch",
        f"Count a batch of at most {settings.max_body:,} bytes; one bad id rejects all.",
        {
            200: Answer("All ids are counted.", {JSON: result}),
            **_rejections(_OF_ONE, headers),
        },
        body={kind: bodies[kind] for kind in KINDS},
    )


_RETRY = {"retry-after": Named("When to try again, in seconds.", {"type": "integer"})}


def _rejections(
    others: tuple[str, ...], headers: Mapping[int, Mapping[str, Named]]
) -> dict[int, Answer]:
    """Return the answer of each status of a rejection, but for the reasons of `others`.

    `headers` are further headers of some statuses.
    """
    reasons: dict[int, list[str]] = {}
    for reason, status in REJECTIONS.items():
        if not reason.startswith((*others, *_OF_NONE)):
            reasons.setdefault(status, []).append(reason)
    return {
        status: Answer(
            "Rejected; nothing is counted unless `verve-recorded` says so.",
            {TEXT: {"const": "failed"}},
            {
                "verve-error": Named("The reason.", {"enum": names}, required=True),
                **headers.get(status, {}),
            },
        )
        for status, names in reasons.items()
    }

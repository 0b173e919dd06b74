"""One service of each kind, for tests that leave it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.service import Server, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every way to serve the application, with the options of `Service`.
KINDS: dict[str, tuple[Server, dict[str, Any]]] = {
    "fast path": (Server.GRANIAN, {}),
    "fast path, rust tasks": (Server.GRANIAN, {"arguments": ["--task-impl", "rust"]}),
    "fast path, asyncio loop": (Server.GRANIAN, {"arguments": ["--loop", "asyncio"]}),
    "plain RSGI": (Server.GRANIAN, {"fast_path": False}),
    "plain RSGI, access log": (Server.GRANIAN, {"arguments": ["--access-log"]}),
    "ASGI, Granian": (Server.GRANIAN_ASGI, {}),
    "ASGI, uvicorn": (Server.UVICORN, {}),
    "verve serve": (Server.VERVE, {}),
}
MAX_BODY = 65_536


@pytest.fixture(scope="session", params=KINDS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Serve with windows of an hour and batches of at most `MAX_BODY` bytes."""
    server, options = KINDS[request.param]
    directory = tmp_path_factory.mktemp("service")
    environment = {"VERVE_MAX_BODY": str(MAX_BODY)}
    with Service(directory, server, window=3600, environment=environment, **options) as service:
        yield service

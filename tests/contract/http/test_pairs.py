"""The probes through real proxies: what is forwarded as one request is answered as one.

A relay between proxy and service keeps the bytes, and a strict reader counts the requests in them.
The proxies keep their connections to the service, so that one request read as two would shift all
answers after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import MAX_BODY
from tests.support.haproxy import HAProxy
from tests.support.http import strict
from tests.support.http.relay import Relay
from tests.support.nginx import Nginx
from tests.support.probes.runner import PROBES, read_all
from tests.support.service import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.front_proxy import FrontProxy
    from tests.support.http.relay import Connection


class KeepingNginx(Nginx):
    """nginx that keeps its connections to the service; `upstream` is a port."""

    configuration = Nginx.configuration.replace(
        "    server {{",
        "    upstream verve {{ server 127.0.0.1:{upstream}; keepalive 8; }}\n    server {{",
    ).replace(
        "proxy_pass {upstream};",
        'proxy_pass http://verve; proxy_http_version 1.1; proxy_set_header Connection "";'
        " proxy_request_buffering off;",
    )


class KeepingHAProxy(HAProxy):
    """HAProxy that uses any connection to the service for any caller."""

    configuration = HAProxy.configuration.replace("  mode http", "  mode http\n  http-reuse always")


def _check(connection: Connection) -> tuple[int, int]:
    """The numbers of requests and answers of a connection: equal, but for a last one cut off."""
    sent = strict.requests(bytes(connection.sent))
    methods = [one.line.split(b" ")[0] for one in sent]
    received = strict.answers(bytes(connection.received), methods)
    whole = sum(one.is_whole for one in sent)
    # A caller that goes away ends its request; one that is refused early is answered before.
    assert len(received) in {whole, len(sent), len(sent) - 1}, (sent[-3:], received[-3:])
    assert len(received) >= whole - 1, (sent[-3:], received[-3:])
    return len(sent), len(received)


@pytest.mark.parametrize("server", [Server.NATIVE, Server.VERVE, Server.UVICORN])
@pytest.mark.parametrize("proxy", [KeepingNginx, KeepingHAProxy])
def test_one_forwarded_is_one_answered(
    serve: Serve, tmp_path: Path, server: Server, proxy: type[FrontProxy]
) -> None:
    service = serve(server, window=3600, environment={"VERVE_MAX_BODY": str(MAX_BODY)})
    with Relay(service.port) as relay, proxy(tmp_path / "proxy", relay.port) as front:
        # Behind each, three requests ask over one connection which ids were counted, and get the
        # answers to what they asked.
        read = read_all(front.port, lambda *_: True)
        assert service.get("/livez").text == "live"
    hidden = [name for name, reading in read.items() if "B" in reading.counted]
    assert not hidden, hidden
    counts = [_check(connection) for connection in relay.connections]
    sent, received = (sum(numbers) for numbers in zip(*counts, strict=True))
    # What the proxies refuse themselves is a part of the probes only, and connections were kept.
    assert received > 3 * len(PROBES)
    assert len(counts) < sent / 3, (len(counts), sent)

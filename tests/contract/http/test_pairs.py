"""The probes through real proxies: what is forwarded as one request is answered as one.

A relay between proxy and service keeps the bytes, and a strict reader counts the requests in them.
The proxies keep their connections to the service, so that one request read as two would shift all
answers after it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import MAX_BODY
from tests.support.http import strict
from tests.support.http.relay import Relay
from tests.support.probes import page
from tests.support.probes.fronts import FRONTS
from tests.support.probes.probe import ids
from tests.support.probes.runner import PROBES, read_all
from tests.support.service import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.http.relay import Connection
    from tests.support.proxies.front_proxy import FrontProxy


def _check(connection: Connection) -> tuple[int, int, bytes]:
    """The numbers of requests and answers of a connection: equal, but for a last one cut off.

    And what is in the requests that were served: their lines and bodies.
    """
    sent = strict.requests(bytes(connection.sent))
    methods = [one.line.split(b" ")[0] for one in sent]
    received = strict.answers(bytes(connection.received), methods)
    whole = sum(one.is_whole for one in sent)
    # A caller that goes away ends its request; one that is refused early is answered before.
    assert len(received) in {whole, len(sent), len(sent) - 1}, (sent[-3:], received[-3:])
    assert len(received) >= whole - 1, (sent[-3:], received[-3:])
    served = b" ".join(
        one.line + b" " + (one.body if one.line.startswith(b"POST ") else b"")
        for one, answer in zip(sent, received, strict=False)
        if b" 200" in answer.line and b"&verdict=1" not in one.line
    )
    return len(sent), len(received), served


@pytest.mark.parametrize("server", [Server.NATIVE, Server.VERVE, Server.UVICORN])
@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.program)
def test_one_forwarded_is_one_answered(
    serve: Serve, tmp_path: Path, server: Server, front: type[FrontProxy]
) -> None:
    service = serve(server, window=3600, environment={"VERVE_MAX_BODY": str(MAX_BODY)})
    with Relay(service.port) as relay, front(tmp_path / "front", relay.port) as proxy:
        # Behind each, three requests ask over one connection which ids were counted, and get the
        # answers to what they asked.
        recorded = page.cells().get(page.front_column(front), {}) if server is Server.NATIVE else {}
        read = read_all(proxy.port, page.is_recorded(recorded) if recorded else lambda *_: True)
        assert service.get("/livez").text == "live"
    hidden = [name for name, reading in read.items() if "B" in reading.counted]
    assert not hidden, hidden
    checked = [_check(connection) for connection in relay.connections]
    sent, received = (sum(numbers) for numbers in list(zip(*checked, strict=True))[:2])
    # What the proxies refuse themselves is a part of the probes only, and connections were kept.
    assert received > 3 * len(PROBES)
    assert len(checked) < sent / 3, (len(checked), sent)
    # The ids that were counted are those of the requests as the proxy forwarded them.
    served = set(re.findall(rb"(?<![0-9])[0-9]{12}(?![0-9])", b" ".join(one[2] for one in checked)))
    forwarded = {
        name: "".join(
            letter
            for letter, id in zip("ABC", ids(reading.base), strict=True)
            if id.encode() in served
        )
        for name, reading in read.items()
    }
    assert forwarded == {name: reading.counted for name, reading in read.items()}
    if recorded:
        # The page was made with a proxy of this version.
        assert {name: reading.cell for name, reading in read.items()} == recorded

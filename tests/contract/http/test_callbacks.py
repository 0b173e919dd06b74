from __future__ import annotations

import itertools
import json
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.contract.conftest import KINDS
from tests.support.callbacks.receivers import Receiver, answer
from tests.support.network.certificates import certificate
from tests.support.service import ACCEPT, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.conftest import Serve

NEW = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
OLD = "whsec_" + "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo="
_ids = itertools.count(1)


@pytest.fixture(scope="module", params=KINDS)
def sending(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Serve with callbacks to the loopback's IPv4 address and to `localhost`."""
    server, options = KINDS[request.param]
    environment = {
        "VERVE_CALLBACKS": "public",
        "VERVE_CALLBACK_ALLOW": "127.0.0.1, localhost",
        "VERVE_CALLBACK_SECRET": f"{NEW},{OLD}",
    }
    directory = tmp_path_factory.mktemp("service")
    with Service(directory, server, window=3600, environment=environment, **options) as service:
        yield service


def accept(service: Service, endpoint: str, id: int | None = None) -> httpx.Response:
    """Ask for a callback."""
    number = next(_ids) if id is None else id
    return service.get(f"{ACCEPT}?id={number}&verdict=1&endpoint={quote(endpoint, safe='')}")


def failed(response: httpx.Response) -> tuple[int, str, str]:
    """Status, reason and body."""
    return response.status_code, response.headers["verve-error"], response.text


def test_each_accept_causes_a_post_with_the_count(sending: Service) -> None:
    with Receiver() as receiver:
        before = int(sending.get("/api/verve/current").json()["unique"])
        id = next(_ids)
        for number, seen in ((1, "new"), (2, "duplicate")):
            response = accept(sending, receiver.url("/hook?a=b"), id)
            assert (response.status_code, response.text) == (200, "ok")
            assert response.headers["verve-seen"] == seen
            receiver.wait_for(number)
        posts = receiver.posts
    assert [post.count for post in posts] == [before + 1, before + 1]
    assert {(post.method, post.target) for post in posts} == {("POST", "/hook?a=b")}
    assert {post.headers["content-type"] for post in posts} == {"application/json"}
    assert len({post.headers["webhook-id"] for post in posts}) == 2


def test_a_post_is_signed_with_both_secrets(sending: Service) -> None:
    with Receiver() as receiver:
        assert accept(sending, receiver.url()).text == "ok"
        post = receiver.wait_until(bool)[0]
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(post.body, post.headers) == json.loads(post.body)
    for headers in (
        {**post.headers, "webhook-id": "msg_other"},
        {**post.headers, "webhook-timestamp": str(int(time.time()) + 1)},
        {
            **post.headers,
            "webhook-signature": post.headers["webhook-signature"].replace("v1,", "v1,A"),
        },
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(NEW).verify(post.body, headers)


def test_a_name_that_is_listed_opens_the_loopback(sending: Service) -> None:
    with Receiver() as receiver:
        assert accept(sending, f"http://localhost:{receiver.port}/x").text == "ok"
        receiver.wait_until(bool)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.2:8080/",
        "http://[::1]:8080/",
        "http://ip6-localhost:8080/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0x7f.0.0.1:8080/",
    ],
)
def test_other_inner_addresses_are_refused_with_a_hint(sending: Service, endpoint: str) -> None:
    response = accept(sending, endpoint)
    assert failed(response) == (400, "endpoint address", "failed")
    assert "VERVE_CALLBACK_ALLOW" in response.headers["verve-hint"]
    current = sending.get("/api/verve/current").json()
    accept(sending, endpoint)
    assert sending.get("/api/verve/current").json()["unique"] == current["unique"]


def test_what_came_of_it_is_logged_and_counted(sending: Service) -> None:
    name = 'verve_callbacks_total{outcome="rejected"}'
    before = sending.metrics()[name]
    with Receiver(answer(404)) as receiver:
        path = f"/secret%0Apath/{next(_ids)}"
        assert accept(sending, receiver.url(f"{path}?token=hidden")).text == "ok"
        receiver.wait_until(bool)

        def logged() -> list[dict[str, object]]:
            lines = sending.events("callback.failed")
            return [line for line in lines if line["endpoint"] == receiver.url(path)]

        line = sending.wait_until(logged, 5, "logged")[0]
        assert (line["status"], line["outcome"], line["attempt"]) == (404, "rejected", 1)
        assert sending.metrics()[name] == before + 1
        # Servers may log what they are asked; Verve tells no query.
        assert "hidden" not in json.dumps(sending.lines())
        shown = sending.command("callback", "failed", "--json").stdout.splitlines()
        assert receiver.url(path) in {json.loads(line)["endpoint"] for line in shown}


def test_callbacks_may_be_off(serve: Serve) -> None:
    service = serve(environment={"VERVE_CALLBACKS": "off"})
    with Receiver() as receiver:
        assert failed(accept(service, "http://x.example/")) == (
            503,
            "callbacks unavailable",
            "failed",
        )
        assert failed(accept(service, receiver.url()))[:2] == (400, "endpoint address")


def test_only_what_is_listed(serve: Serve) -> None:
    environment = {"VERVE_CALLBACKS": "listed", "VERVE_CALLBACK_ALLOW": "*.example,localhost"}
    service = serve(environment=environment)
    for endpoint in ("http://x.test/", "http://8.8.8.8/", "http://example/"):
        response = accept(service, endpoint)
        assert failed(response) == (400, "endpoint not listed", "failed")
        assert "VERVE_CALLBACK_ALLOW" in response.headers["verve-hint"]
    with Receiver() as receiver:
        assert accept(service, f"http://localhost:{receiver.port}/").text == "ok"
        receiver.wait_until(bool)


def test_tls_with_a_private_authority_and_certificate(serve: Serve, tmp_path: Path) -> None:
    theirs, ours = certificate(tmp_path, "receiver"), certificate(tmp_path, "verve")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(theirs)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(ours)
    common = {"VERVE_CALLBACKS": "public", "VERVE_CALLBACK_ALLOW": "127.0.0.1"}
    files = {"VERVE_CALLBACK_CA": str(theirs), "VERVE_CALLBACK_CERTIFICATE": str(ours)}
    with Receiver(tls=tls) as receiver:
        knows = serve(environment={**common, **files})
        assert accept(knows, receiver.url("/known")).text == "ok"
        assert receiver.wait_until(bool)[0].target == "/known"
        tested = knows.command("callback", "test", receiver.url("/by-hand"), "--count", "5")
        assert "answer     200" in tested.stdout
        assert receiver.posts[-1].count == 5
        stranger = serve(environment=common)
        assert accept(stranger, receiver.url("/stranger")).text == "ok"
        stranger.wait_until(lambda: stranger.events("callback.retried"), 5, "retried")
        assert {post.target for post in receiver.posts} == {"/known", "/by-hand"}


def test_a_proxy_connects_in_the_place_of_the_receiver(serve: Serve) -> None:
    with Receiver() as proxy:
        environment = {
            "VERVE_CALLBACKS": "public",
            "VERVE_CALLBACK_PROXY": f"http://user:hidden@127.0.0.1:{proxy.port}",
        }
        service = serve(environment=environment)
        assert accept(service, "http://no-such-host.invalid/x").text == "ok"
        post = proxy.wait_until(bool)[0]
        assert post.target == "http://no-such-host.invalid/x"
        assert post.headers["proxy-authorization"].startswith("Basic ")
        assert failed(accept(service, "http://10.0.0.1/"))[:2] == (400, "endpoint address")
        assert "hidden" not in service.command("config").stdout


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("VERVE_CALLBACK_ALLOW", "10.0.0.1/8"),
        ("VERVE_CALLBACK_SECRET", "secret"),
        ("VERVE_CALLBACK_CA", "/nowhere.pem"),
        ("VERVE_CALLBACK_PROXY", "ftp://proxy.example"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_start(
    serve: Serve, setting: str, value: str
) -> None:
    service = serve(start=False, environment={"VERVE_CALLBACKS": "public", setting: value})
    service.start(ready=False)
    assert service.wait_end() != 0
    assert service.events("worker.refused")


def test_one_by_hand(sending: Service) -> None:
    with Receiver(answer(500)) as receiver:
        done = sending.command("callback", "test", receiver.url("/hook"))
        assert done.returncode == 1
        assert "127.0.0.1 permitted" in done.stdout
        assert "answer     500" in done.stdout
    done = sending.command("callback", "test", "http://localhost:1/")
    assert (done.returncode, "endpoint port" in done.stdout) == (1, True)
    done = sending.command("callback", "test", "http://10.0.0.1/")
    assert (done.returncode, "VERVE_CALLBACK_ALLOW" in done.stdout) == (1, True)

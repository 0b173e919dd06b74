"""Receivers that misbehave: each harms its own callbacks, as designed, and nobody else's."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.callbacks.receivers import Receiver, answer, drip, flood, garbage, reset, silence
from tests.support.network.ports import free_port
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    import httpx

    from tests.conftest import Serve
    from tests.support.callbacks.receivers import Behaviour, Post
    from tests.support.service import Service

_ids = itertools.count(1)
ENVIRONMENT = {"VERVE_CALLBACKS": "public", "VERVE_CALLBACK_ALLOW": "127.0.0.0/8"}


@pytest.fixture
def service(serve: Serve) -> Service:
    """Serve with callbacks to the loopback."""
    return serve(Server.VERVE, window=3600, environment=ENVIRONMENT)


def accept(service: Service, endpoint: str) -> httpx.Response:
    """Ask for a callback."""
    return service.get(f"{ACCEPT}?id={next(_ids)}&endpoint={quote(endpoint, safe='')}")


def outcome(service: Service, name: str) -> float:
    """How many callbacks ended so."""
    return service.metrics()[f'verve_callbacks_total{{outcome="{name}"}}']


def ended(service: Service, name: str, times: int = 1, timeout: float = 20) -> None:
    """Wait until callbacks have ended so."""
    service.wait_until(lambda: outcome(service, name) >= times, timeout, f"{times} {name}")


def gaps(posts: list[Post]) -> list[float]:
    """Seconds between posts."""
    return [after.at - before.at for before, after in itertools.pairwise(posts)]


@pytest.mark.parametrize("behaviour", [answer(500), answer(503), answer(408), reset, garbage])
def test_a_passing_failure_is_tried_again(service: Service, behaviour: Behaviour) -> None:
    with Receiver(behaviour, behaviour, answer(200)) as receiver:
        assert accept(service, receiver.url()).text == "ok"
        posts = receiver.wait_until(lambda posts: len(posts) == 3)
    assert len({post.headers["webhook-id"] for post in posts}) == 1
    assert len({post.body for post in posts}) == 1
    first, second = gaps(posts)
    assert 0.3 < first < 8
    assert 1.4 < second < 8
    ended(service, "delivered")
    assert service.metrics()["verve_callback_retries_total"] == 2
    assert len(service.events("callback.retried")) == 2


def test_nobody_listens(service: Service) -> None:
    port = free_port()
    assert accept(service, f"http://127.0.0.1:{port}/").text == "ok"
    service.wait_until(lambda: service.events("callback.retried"), 5, "retried")
    with Receiver(port=port) as receiver:
        receiver.wait_until(bool)
    ended(service, "delivered")


@pytest.mark.parametrize(
    ("status", "end"), [(301, "rejected"), (404, "rejected"), (422, "rejected"), (410, "gone")]
)
def test_a_final_answer_is_final(service: Service, status: int, end: str) -> None:
    with Receiver(answer(status)) as receiver:
        assert accept(service, receiver.url()).text == "ok"
        ended(service, end)
        time.sleep(1.5)
        assert len(receiver.posts) == 1


def test_a_redirect_is_not_followed(service: Service) -> None:
    with Receiver() as inner:
        targets = ["http://169.254.169.254/latest/meta-data/", inner.url("/inner")]
        for number, target in enumerate(targets, 1):
            with Receiver(answer(307, f"location: {target}")) as receiver:
                assert accept(service, receiver.url()).text == "ok"
                ended(service, "rejected", number)
        assert inner.connections == 0


def test_a_pause_that_is_asked_for_is_kept(service: Service) -> None:
    with Receiver(answer(429, "retry-after: 3"), answer(200)) as receiver:
        assert accept(service, receiver.url()).text == "ok"
        service.wait_until(lambda: service.events("callback.retried"), 5, "retried")
        # It asks for all of its callbacks.
        assert accept(service, receiver.url("/other")).text == "ok"
        posts = receiver.wait_until(lambda posts: len(posts) == 3)
        assert min(posts[1].at, posts[2].at) - posts[0].at >= 2.9
    ended(service, "delivered", 2)


def test_a_pause_beyond_a_minute_is_the_end(service: Service) -> None:
    with Receiver(answer(429, "retry-after: 600")) as receiver:
        assert accept(service, receiver.url()).text == "ok"
        ended(service, "exhausted")
        assert len(receiver.posts) == 1


@pytest.mark.parametrize("behaviour", [silence, drip])
def test_a_call_that_takes_too_long_is_given_up(service: Service, behaviour: Behaviour) -> None:
    with Receiver(behaviour, answer(200)) as receiver:
        assert accept(service, receiver.url()).text == "ok"
        posts = receiver.wait_until(lambda posts: len(posts) == 2, 40)
    assert 8 < gaps(posts)[0] < 25
    assert service.events("callback.retried")[0]["reason"] == "deadline passed"


def test_a_long_answer_is_cut_off(service: Service) -> None:
    with Receiver(flood) as receiver:
        before = _resident(service)
        for _ in range(5):
            assert accept(service, receiver.url()).text == "ok"
        ended(service, "delivered", 5)
        assert _resident(service) - before < 30 << 20
        # Each had to be closed: a connection is kept only when its answer was read to the end.
        assert receiver.connections == 5


def _resident(service: Service) -> int:
    """Bytes of memory of all workers."""
    total = 0
    for pid in service.workers():
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the system
            total += int(file.read().split()[1]) * 4096
    return total


def _ends_with(target: str) -> Callable[[list[Post]], bool]:
    """Whether the last post came for `target`."""
    return lambda posts: bool(posts) and posts[-1].target == target


@pytest.fixture
def hostile() -> Iterator[list[Receiver]]:
    """Six receivers that misbehave, each in its way, for ever."""
    behaviours = [silence, drip, flood, reset, answer(500), answer(429, "retry-after: 5")]
    with ExitStack() as stack:
        yield [stack.enter_context(Receiver(behaviour)) for behaviour in behaviours]


def test_the_hostile_harm_nobody_else(service: Service, hostile: list[Receiver]) -> None:
    endpoints = [receiver.url("/hostile") for receiver in hostile]
    endpoints.append(f"http://127.0.0.1:{free_port()}/dead")
    refused = 0
    with Receiver() as kind:
        took, answers = [], []
        for number in range(1_200):
            refused += accept(service, endpoints[number % len(endpoints)]).status_code == 503
            if number % 6 == 0:
                begin = time.monotonic()
                assert accept(service, kind.url(f"/{number}")).text == "ok"
                answers.append(time.monotonic() - begin)
                kind.wait_until(_ends_with(f"/{number}"), 5)
                took.append(time.monotonic() - begin)
    took.sort()
    answers.sort()
    assert took[len(took) * 9 // 10] < 1.5
    assert answers[len(answers) * 9 // 10] < 1.0
    # Those that never work are refused when they have failed often enough, and only they.
    assert 0 < refused < 1_200
    assert service.events("callback.summary") or service.events("callback.retried")


def test_a_destination_that_fails_is_refused_until_it_works(service: Service) -> None:
    works = threading.Event()

    async def behave(post: Post, writer: asyncio.StreamWriter) -> None:
        await answer(200 if works.is_set() else 500)(post, writer)

    with Receiver(behave) as receiver:
        for _ in range(10):
            assert accept(service, receiver.url()).text == "ok"
        receiver.wait_until(lambda posts: len(posts) >= 10)

        def refused() -> bool:
            response = accept(service, receiver.url())
            return bool(response.headers.get("verve-error") == "destination failing")

        service.wait_until(refused, 5, "refused")
        # Not before: a post that is on its way meanwhile would make it work.
        works.set()
        service.wait_until(lambda: not refused(), 10, "tried again")
        ended(service, "delivered", 11)
    with Receiver() as other:
        assert accept(service, other.url()).text == "ok"


def test_a_destination_has_an_eighth_of_the_cells(service: Service) -> None:
    with Receiver(silence) as receiver, Receiver() as other:
        path = f"{ACCEPT}?id=7&endpoint={quote(receiver.url(), safe='')}"
        request = f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        last = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
        answers = service.exchange(request * 2_099 + last)
        assert answers.count(b"HTTP/1.1 200") == 2_048
        assert answers.count(b"verve-error: callbacks full") == 52
        assert accept(service, other.url()).text == "ok"
        other.wait_until(bool)
        assert service.metrics()["verve_callbacks_pending"] >= 2_048


def test_public_destinations_have_a_rate(serve: Serve) -> None:
    # A proxy stands in for the public network: who is behind it is not listed.
    with Receiver() as proxy:
        service = serve(
            Server.VERVE,
            workers=2,
            environment={
                "VERVE_CALLBACKS": "public",
                "VERVE_CALLBACK_PROXY": proxy.url().rstrip("/"),
                "VERVE_CALLBACK_RATE": "100",
            },
        )
        begin = time.time()
        for _ in range(400):
            assert accept(service, "http://one.invalid/").text == "ok"
        assert accept(service, "http://two.invalid/").text == "ok"
        posts = proxy.wait_until(lambda posts: len(posts) == 401)
        of_one = [post.at for post in posts if "one" in post.target]
        assert of_one[-1] - begin > 3.5
        # Times are those of the receiver, who may be kept from looking for a moment.
        spans = [after - before for before, after in zip(of_one, of_one[105:], strict=False)]
        assert statistics.median(spans) > 0.9

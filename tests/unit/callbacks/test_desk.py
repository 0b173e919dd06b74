from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from tests.support import rig
from tests.support.callbacks.receivers import Receiver, answer
from verve import SettingError, _verve
from verve.commands.cli import main
from verve.service import callbacks
from verve.service.callbacks import CallbackDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from verve import Counter
    from verve.config import Settings


def _settings(directory: Path, **flags: str) -> Settings:
    made = rig.settings(directory, callback_allow="127.0.0.1", **flags)
    made.state_dir.mkdir(exist_ok=True)
    return made


def _accept(desk: CallbackDesk, url: str, id: int = 7) -> tuple[int, str]:
    status, headers, body = desk.sender.accept(f"id={id}&endpoint={quote(url, safe='')}")
    return status, dict(headers).get("verve-error", body.decode())


def _wait(met: Callable[[], object], timeout: float = 5) -> None:
    end = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


def _ended(counter: Counter, outcome: str) -> int:
    return _verve.callback_figures(counter)["ended"][outcome]


def test_a_desk_sends_and_notes_what_failed(tmp_path: Path) -> None:
    made = _settings(tmp_path)
    with rig.counter_of(made) as counter:
        desk = CallbackDesk(counter, made, callbacks.options(made))
        with Receiver(answer(200), answer(404)) as receiver:
            for path in ("/good", "/bad"):
                assert _accept(desk, receiver.url(path)) == (200, "ok")
                receiver.wait_for(1 if path == "/good" else 2)
            _wait(lambda: _ended(counter, "rejected") == 1)
        desk.stop()
        assert _verve.callback_figures(counter)["pending"] == 0
    found = callbacks.failures(made)
    assert [(one["endpoint"], one["status"]) for one in found] == [(receiver.url("/bad"), 404)]
    shown = CliRunner().invoke(main, ["callback", "failed", "--state-dir", str(made.state_dir)])
    assert "rejected   404  1 attempts  refused by the receiver" in shown.stdout
    assert shown.stdout.rstrip().endswith(receiver.url("/bad"))


def test_after_a_stop_nothing_is_taken(tmp_path: Path) -> None:
    made = _settings(tmp_path)
    with rig.counter_of(made) as counter, Receiver() as receiver:
        desk = CallbackDesk(counter, made, callbacks.options(made))
        desk.sender.stop(0)
        assert _accept(desk, receiver.url()) == (503, "callbacks unavailable")
        assert counter.count() == 0
        assert desk.sender.accept("id=7")[0] == 200
        assert counter.count() == 1
        desk.stop()
        assert receiver.connections == 0


def test_what_is_too_old_is_not_sent(tmp_path: Path) -> None:
    made = _settings(tmp_path, callback_max_age="1m", callback_drain="0")
    clock = rig.clock_in_minute()
    with rig.counter_of(made, clock) as counter, Receiver(answer(500)) as receiver:
        desk = CallbackDesk(counter, made, callbacks.options(made))
        assert _accept(desk, receiver.url()) == (200, "ok")
        receiver.wait_for(1)
        _wait(lambda: _verve.callback_figures(counter)["retried"] == 1)
        desk.stop()
        assert _verve.callback_figures(counter)["pending"] == 1
    clock.advance(61)
    with rig.counter_of(made, clock) as counter, Receiver() as receiver:
        desk = CallbackDesk(counter, made, callbacks.options(made))
        _wait(lambda: _ended(counter, "expired") == 1)
        desk.stop()
        assert _verve.callback_figures(counter)["taken_over"] == 1
        assert receiver.connections == 0


def test_the_count_is_that_of_the_first_attempt_or_of_the_closed_window(tmp_path: Path) -> None:
    made = _settings(tmp_path, callback_drain="0")
    clock = rig.clock_in_minute()
    with rig.counter_of(made, clock) as counter:
        with Receiver(answer(500), answer(200)) as receiver:
            desk = CallbackDesk(counter, made, callbacks.options(made))
            assert _accept(desk, receiver.url(), 1) == (200, "ok")
            receiver.wait_for(1)
            counter.add_many(range(10))
            assert [post.count for post in receiver.wait_for(2)] == [1, 1]
        with Receiver(answer(429, "retry-after: 2"), answer(200)) as receiver:
            # The second waits with its destination, until its window is closed.
            assert _accept(desk, receiver.url("/first"), 1) == (200, "ok")
            receiver.wait_for(1)
            _wait(lambda: _verve.callback_figures(counter)["retried"] == 2)
            assert _accept(desk, receiver.url("/second"), 1) == (200, "ok")
            counter.add_many(range(20))
            clock.advance(60)
            counter.add_many(range(100, 103))
            posts = receiver.wait_for(3)
            assert {post.target: post.count for post in posts} == {"/first": 10, "/second": 20}
        desk.stop()


def _failure(endpoint: str) -> dict[str, object]:
    fields = {"outcome": "failed", "status": 500, "reason": "status", "attempt": 4}
    return {"time": 1.0, "endpoint": endpoint, **fields}


def test_a_long_file_of_failures_becomes_the_one_before(tmp_path: Path) -> None:
    made = _settings(tmp_path)
    path = callbacks.failures_path(made)
    line = json.dumps(_failure("http://x.example/" + "a" * 1_000))
    path.write_text(f"{line}\n" * 1_100)
    with rig.counter_of(made) as counter, Receiver(answer(404)) as receiver:
        desk = CallbackDesk(counter, made, callbacks.options(made))
        assert _accept(desk, receiver.url()) == (200, "ok")
        _wait(lambda: not path.exists())
        desk.stop()
    found = callbacks.failures(made)
    assert len(found) == 1_101
    assert found[-1]["endpoint"] == receiver.url()


@pytest.mark.parametrize(
    ("flag", "value", "problem"),
    [
        ("callback_allow", "10.0.0.1/8", "has bits after its prefix"),
        ("callback_allow", "x.example:80", "is not a host"),
        ("callback_ca", "/nowhere.pem", "cannot be used"),
        ("callback_certificate", "/nowhere.pem", "cannot be used"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, flag: str, value: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        callbacks.checked(rig.settings(tmp_path, **{flag: value}))
    assert callbacks.checked(rig.settings(tmp_path, callbacks="off", **{flag: value})) is None


def test_nothing_has_failed(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["callback", "failed", "--state-dir", str(tmp_path)])
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "no callback has failed" in shown.stderr


@pytest.fixture
def one_processor() -> Iterator[None]:
    """All threads of this process on one processor: a new one begins late."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    yield
    os.sched_setaffinity(0, all_of_them)


@pytest.mark.usefixtures("one_processor")
def test_what_comes_at_the_very_start_is_sent_once(tmp_path: Path) -> None:
    made = _settings(tmp_path, callback_log="summary")
    for turn in range(5):
        with rig.counter_of(made) as counter, Receiver() as receiver:
            desk = CallbackDesk(counter, made, callbacks.options(made))
            for number in range(500):
                assert _accept(desk, receiver.url(f"/{turn}/{number}"), number) == (200, "ok")
            desk.stop()
            assert _verve.callback_figures(counter)["taken_over"] == 0
            assert len({post.target for post in receiver.posts}) == 500
            assert len(receiver.posts) == 500

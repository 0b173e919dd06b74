"""Timers of Granian, and deadlines of the parts that close at a stop: each holds what it bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from granian.http import HTTP1Settings

from tests.support.network.ports import free_port
from verve import SettingError, config
from verve.cluster.coordinator import coordinator
from verve.cluster.replication import sender
from verve.publishing import leader
from verve.service import callbacks
from verve.serving import listening, serve, timers
from verve.sinks import kafka

if TYPE_CHECKING:
    from pathlib import Path


def _settings(**variables: str) -> config.Settings:
    return config.load(environ={f"VERVE_{name.upper()}": text for name, text in variables.items()})


@pytest.mark.parametrize(
    ("variables", "closing"),
    [
        ({"callbacks": "off"}, 2),
        ({"callbacks": "off", "callback_drain": "300"}, 2),
        ({}, 9),
        ({"callback_drain": "30"}, 34),
        ({"callback_drain": "5m"}, 304),
        ({"callback_drain": "0", "redis_url": "redis://127.0.0.1"}, 6),
    ],
)
def test_a_worker_is_killed_after_all_that_a_stop_may_take(
    variables: dict[str, str], closing: int
) -> None:
    settings = _settings(**variables)
    defaults = serve.granian_defaults(settings, 1_024)
    assert timers.closing_seconds(settings) == closing
    assert defaults["workers_kill_timeout"] == timers.REQUESTS_SECONDS + closing


def test_each_part_of_a_stop_has_room_in_the_whole() -> None:
    assert leader.STOP_SECONDS > leader._FLUSH_SECONDS + coordinator._LEAVE_SECONDS
    assert leader.STOP_SECONDS > leader._FLUSH_SECONDS + 2 * kafka.CLOSE_SECONDS
    assert callbacks.STOP_SECONDS > callbacks._FLUSH_SECONDS
    assert sender.STOP_SECONDS > 0
    # The workers of a service that was killed leave the port before its successor gives up.
    assert listening.FREE_SECONDS > leader.DRAIN_SECONDS


def _agree(settings: config.Settings, *arguments: str, **options: Any) -> HTTP1Settings:  # noqa: ANN401
    """Give Granian's command these arguments, and tell the settings of HTTP/1 that come of it."""
    found = HTTP1Settings()

    @click.command(context_settings={"auto_envvar_prefix": "GRANIAN"})
    @click.option("--http1-header-read-timeout", type=int, default=30_000)
    def command(http1_header_read_timeout: int) -> None:
        found.header_read_timeout = http1_header_read_timeout
        timers.agree({"http1_settings": found, **options}, settings)

    command.main(list(arguments), standalone_mode=False)
    return found


def test_idle_connections_outlive_those_of_a_load_balancer() -> None:
    assert _agree(_settings()).header_read_timeout == 75_000
    assert _agree(_settings(keep_alive="11m")).header_read_timeout == 660_000


@pytest.mark.parametrize(
    "arguments",
    [["--http1-header-read-timeout", "9000"], ["--http1-header-read-timeout=9000"], []],
)
def test_granians_own_timer_is_left_alone(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not arguments:
        monkeypatch.setenv("GRANIAN_HTTP1_HEADER_READ_TIMEOUT", "9000")
    assert _agree(_settings(), *arguments).header_read_timeout == 9_000
    with pytest.raises(SettingError, match="two settings for one timer"):
        _agree(_settings(keep_alive="75"), *arguments)


def test_a_kill_timeout_that_leaves_room_is_left_alone() -> None:
    _agree(_settings(), workers_kill_timeout=None)
    _agree(_settings(), workers_kill_timeout=10)
    with pytest.raises(SettingError, match="workers would be killed while they close"):
        _agree(_settings(), workers_kill_timeout=9)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--workers-kill-timeout", "10"], {}),
        (["--workers-kill-timeout=10s"], {}),
        ([], {"GRANIAN_WORKERS_KILL_TIMEOUT": "10"}),
    ],
    ids=["two words", "one word", "variable"],
)
def test_a_kill_timeout_within_the_drain_is_refused(
    arguments: list[str], variables: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "verve", "serve", "--callback-drain", "30", *arguments],
        env={
            **os.environ,
            "VERVE_STATE_DIR": str(tmp_path / "state"),
            "VERVE_SEGMENT": str(tmp_path / "segment"),
            "VERVE_MAX_IDS_PER_WINDOW": "1000",
            "VERVE_PORT": str(free_port()),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "`workers_kill_timeout=10`" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Spawning worker" not in done.stdout + done.stderr

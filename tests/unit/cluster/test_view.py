"""`verve check --cluster`: the hosts, the last windows, and warnings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from verve import config
from verve.cluster.redis_state.hosts import PROTOCOL
from verve.commands import cluster_view
from verve.commands.cli import main
from verve.stores import StoreError
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Run = Callable[..., Result]

NOW = 1_800_000_030
A, B, C = "a" * 16, "b" * 16, "c" * 16
MARK = f"complete 76{'aa' * 8} e1"


class Redis:
    """Answers the reading scripts from the content that a test sets."""

    def __init__(self) -> None:
        self.hosts: dict[str, str] = {}
        self.states: dict[int, dict[str, str]] = {}
        self.policy: str | None = "noeviction"
        self.away = False
        self.closed = False

    def host(  # noqa: PLR0913 - every one has a default
        self,
        id: str,
        name: str,
        *,
        age: float = 0.2,
        protocol: int = PROTOCOL,
        unsent: int = 0,
        skew: int = 0,
        version: str = "1.0.0",
    ) -> None:
        """A line that was renewed `age` seconds ago."""
        beat = int((NOW - age) * 1_000)
        self.hosts[id] = f"{beat} {protocol} {NOW - 90} {unsent} {skew} 0 {version} {name}"

    def window(self, back: int, hosts: dict[str, str], **record: str) -> None:
        """A window that ended before `back` others."""
        start = (NOW // 60 - 1 - back) * 60
        hosts_as_written = {f"host:{id}": host_state for id, host_state in hosts.items()}
        self.states[start] = {**hosts_as_written, **record}

    # The client.

    async def run(self, _script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:  # noqa: ANN401
        """The answers of the scripts of hosts and states, by their keys."""
        if self.away:
            raise StoreError("no answer: `redis://here`")
        (key,) = keys
        if args:
            return sum(self.hosts.pop(id, None) is not None for id in args)
        if key == "verve:{shop:60}:hosts":
            return [1, NOW * 1_000, flat(self.hosts)]
        start = key.removeprefix("verve:{shop:60:").removesuffix("}:state")
        return [b"read", NOW * 1_000, flat(self.states.get(int(start), {}))]

    async def eviction_policy(self) -> str | None:
        """As of the client."""
        return self.policy

    async def close(self) -> None:
        """As of the client."""
        self.closed = True


def flat(fields: dict[str, str]) -> list[bytes]:
    return [word.encode() for pair in fields.items() for word in pair]


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Redis:
    for row in config.TABLE.values():
        monkeypatch.delenv(row.variable, raising=False)
    made = Redis()
    made.host(A, "first")
    made.host(B, "second")
    for back in range(12):
        record = {"revision": "1", "count": str(1_000 + back), "complete": "1"}
        made.window(back, {A: MARK, B: MARK}, **record)
    monkeypatch.setattr(cluster_view, "connect", lambda _settings: (made, None))
    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("VERVE_REDIS_URL", "redis://here")

    def check(*arguments: str) -> Result:
        flags = ["--state-dir", str(tmp_path)]
        return CliRunner().invoke(main, ["check", "--cluster", "shop", *flags, *arguments])

    return check


def test_a_cluster_that_does_well(redis: Redis, run: Run) -> None:
    done = run()
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["cluster", "shop:", "2", "hosts"]
    assert lines[2] == [A, "first", "1.0.0", "0.2", "s", "0.0", "s", "0"]
    assert lines[3][:2] == [B, "second"]
    assert lines[5] == [rfc3339(NOW // 60 * 60 - 60), "1", "1,000", "complete"]
    assert len(lines) == 5 + cluster_view.SHOWN_WINDOWS
    assert redis.closed


def test_as_json(redis: Redis, run: Run) -> None:
    redis.host(B, "second", skew=-1_500, unsent=2)
    done = run("--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["cluster"] == "shop"
    assert found["hosts"][1] == {
        "host_id": B,
        "name": "second",
        "version": "1.0.0",
        "protocol": str(PROTOCOL),
        "heartbeat_age": 0.2,
        "skew": -1.5,
        "unsent_windows": 2,
        "alive": True,
    }
    assert found["windows"][0]["unique"] == 1_000
    assert found["windows"][0]["late_hosts"] == []
    assert found["warnings"] == ["the wall clock of second (" + B + ") is off by -1.5 s"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"version": "2.0.0"}, "versions are mixed: 1.0.0, 2.0.0"),
        ({"protocol": 9}, f"protocols are mixed, this command speaks {PROTOCOL}: {PROTOCOL}, 9"),
        ({"skew": 1_001}, f"the wall clock of other ({C}) is off by +1.0 s"),
        ({"age": 11}, f"other ({C}) has been silent for 11 s"),
        ({"age": 181}, f"other ({C}) has been silent for 181 s, and windows no longer wait for it"),
    ],
)
def test_hosts_that_need_a_look(redis: Redis, run: Run, line: dict[str, Any], said: str) -> None:
    redis.host(C, "other", **line)
    done = run()
    assert done.exit_code == 1
    assert done.stderr == f"warning: {said}\n"
    assert C in done.stdout


def test_a_host_that_is_gone_mixes_nothing(redis: Redis, run: Run) -> None:
    redis.host(C, "other", age=3_600, protocol=9, version="0.1.0")
    assert "mixed" not in run().stderr


def test_windows_that_need_a_look(redis: Redis, run: Run) -> None:
    late = {A: MARK, B: "registered"}
    # The newest ended half a minute ago.
    redis.window(0, late)
    redis.window(1, late, revision="2", count="7", complete="0")
    redis.window(2, {})
    done = run()
    assert done.exit_code == 1
    starts = [rfc3339(NOW // 60 * 60 - 60 * back) for back in (1, 2)]
    assert done.stderr.splitlines() == [
        f"warning: the window {starts[0]} has no record",
        f"warning: the window {starts[1]} is degraded",
    ]
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[5].endswith(f"0             -  open, late: second ({B})")
    assert lines[6].endswith(f"2             7  degraded, late: second ({B})")
    assert len(lines) == 4 + cluster_view.SHOWN_WINDOWS


def test_a_window_that_has_just_ended_may_be_open(
    redis: Redis,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis.window(0, {A: "registered"})
    monkeypatch.setattr(cluster_view, "RECORD_SECONDS", 60)
    assert run().exit_code == 0


@pytest.mark.parametrize(
    ("policy", "code"), [("allkeys-lru", 1), ("noeviction", 0), (None, 0)], ids=str
)
def test_the_eviction_policy(redis: Redis, run: Run, policy: str | None, code: int) -> None:
    redis.policy = policy
    done = run()
    assert done.exit_code == code
    assert (f"maxmemory-policy {policy}" in done.stderr) == bool(code)


def test_an_empty_cluster(redis: Redis, run: Run) -> None:
    redis.hosts.clear()
    redis.states.clear()
    done = run()
    assert (done.exit_code, done.stderr) == (1, "warning: the cluster has no hosts\n")


def test_redis_away(redis: Redis, run: Run) -> None:
    redis.away = True
    done = run()
    assert (done.exit_code, done.stderr) == (1, "error: no answer: `redis://here`\n")
    assert redis.closed


def test_forget(redis: Redis, run: Run) -> None:
    redis.host(C, "dead", age=11)
    assert run("--forget", "dead").stdout == f"forgot {C}\n"
    assert set(redis.hosts) == {A, B}
    redis.host(C, "dead", age=11)
    assert run("--forget", C).exit_code == 0


def test_a_host_that_lives_is_not_forgotten(redis: Redis, run: Run) -> None:
    done = run("--forget", "first")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: the host is alive: `{A}`\n  hint: ")
    assert set(redis.hosts) == {A, B}


def test_a_host_has_to_be_named_well(redis: Redis, run: Run) -> None:
    assert "no such host: `x`" in run("--forget", "x").stderr
    redis.host(C, "first", age=20)
    assert "several hosts have this name: `first`" in run("--forget", "first").stderr
    assert run("--forget", C).exit_code == 0


def test_a_host_of_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERVE_REDIS_URL", raising=False)
    done = CliRunner().invoke(main, ["check", "--cluster", "--state-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "hint: set `VERVE_REDIS_URL`" in done.stderr


def test_the_name_may_come_from_the_settings(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERVE_CLUSTER", "shop")
    monkeypatch.setenv("VERVE_REDIS_URL", "redis://here")
    done = CliRunner().invoke(main, ["check", "--cluster", "--json", "--state-dir", str(tmp_path)])
    assert (done.exit_code, json.loads(done.stdout)["cluster"]) == (0, "shop")
    assert redis.closed


@pytest.mark.parametrize("flag", [["--json"], ["--forget", "x"]])
def test_flags_that_go_with_the_cluster(flag: list[str]) -> None:
    done = CliRunner().invoke(main, ["check", *flag])
    assert done.exit_code == 2
    assert "require --cluster" in done.stderr

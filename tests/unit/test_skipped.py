"""What lies in the state directory, the ledger or the ring may be damaged: the rest is read."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.support import logged, rig
from tests.support.cluster.in_process import EventRecorder
from verve.cluster.spill.spills import Spills
from verve.ledger import ledger
from verve.ledger.ledger import Ledger
from verve.log import skipped
from verve.publishing import sink_status
from verve.service import callbacks
from verve.service.callbacks import _append
from verve.status import cluster_status
from verve.status.status_file import read_status, remove_leftovers, write_status
from verve.windows import ring

if TYPE_CHECKING:
    from pathlib import Path

    from verve import Counter

YEAR = 365 * 86_400


def _events(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    told = logged.records(caplog, "entry.skipped")
    return [record.__dict__["verve_fields"] for record in told]


def test_each_entry_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    place = f"a place {os.urandom(4).hex()}"
    with caplog.at_level("INFO", logger="verve"):
        for _ in range(3):
            skipped.tell(place, b"\xff\x1b[2J", "x" * 1_000)
            skipped.tell(place, "another")
    first, second = _events(caplog)
    assert first["entry"] == r"b'\xff\x1b[2J'"
    assert len(first["content"]) < 110
    assert second["entry"] == "'another'"


def test_of_a_place_some_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    place = f"a place {os.urandom(4).hex()}"
    with caplog.at_level("INFO", logger="verve"):
        for number in range(1_000):
            skipped.tell(place, number)
            skipped.tell(f"{place} {number}", number)
    assert len([one for one in _events(caplog) if one["place"] == place]) == skipped.OF_A_PLACE


ODD = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"attempts": ' + b"9" * 5_000 + b"}",
    b'{"attempts": 1' + b" " * 70_000 + b"}",
    b'{"attempts": 1e400, "since": NaN, "hosts": 1' + b"0" * 30 + b', "skew_seconds": -Infinity}',
]


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_a_damaged_file_tells_nothing(tmp_path: Path, content: bytes) -> None:
    made = rig.settings(
        tmp_path,
        sinks="kafka",
        kafka_brokers="host:9092",
        redis_url="redis://127.0.0.1:1",
        cluster="test",
    )
    made.state_dir.mkdir()
    for name in ("kafka.json", cluster_status.FILE_NAME):
        (made.state_dir / name).write_bytes(content)
    assert sink_status.of(made, "kafka") == sink_status.SinkStatus(waiting=0, lag_seconds=0)
    assert cluster_status.of(made) == cluster_status.Membership()
    json.dumps(cluster_status.of(made).figures(60), allow_nan=False)


def test_a_word_for_a_metric_is_one_that_is_known(tmp_path: Path) -> None:
    made = rig.settings(
        tmp_path,
        sinks="kafka",
        kafka_brokers="host:9092",
        redis_url="redis://127.0.0.1:1",
        cluster="test",
    )
    made.state_dir.mkdir()
    for word, is_known in (("timeout", True), ('x"} 1\n', False), ("", False), (7, False)):
        for name in ("kafka.json", cluster_status.FILE_NAME):
            (made.state_dir / name).write_text(json.dumps({"trouble": word}))
        expected = word if is_known else None
        assert sink_status.of(made, "kafka").failure == expected
        assert cluster_status.of(made).trouble == expected


def test_what_is_no_file_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe, directory = tmp_path / "pipe.json", tmp_path / "directory.json"
    os.mkfifo(pipe)
    directory.mkdir()
    with caplog.at_level("INFO", logger="verve"):
        assert (
            read_status(pipe) == read_status(directory) == read_status(tmp_path / "none.json") == {}
        )
    assert [one["entry"] for one in _events(caplog)] == ["'pipe.json'", "'directory.json'"]


def test_a_full_disk_leaves_no_file_behind(tmp_path: Path) -> None:
    path = tmp_path / "kafka.json"
    write_status(path, {"attempts": 1})
    program = (
        "import sys; from pathlib import Path; from verve.status.status_file import write_status\n"
        "try: write_status(Path(sys.argv[1]), {'attempts': 2})\n"
        "except OSError as error: print(error.strerror)"
    )
    # No file may be longer than nothing: what a full disk comes to, without one.
    command = ["sh", "-c", f'ulimit -f 0; exec {sys.executable} -c "$0" "$1"', program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert list(tmp_path.iterdir()) == [path]
    assert read_status(path) == {"attempts": 1}


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "kafka.json"
    names = ("kafka.json.12.345", "kafka.json.13.345", "kafka.json.x.1", "kafka.json", "other.1.2")
    for name in names:
        (tmp_path / name).write_text("{}")
    for name in set(names) - {"kafka.json.13.345"}:
        os.utime(tmp_path / name, (1, 1))
    remove_leftovers(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(names[1:])


def _failure(**fields: object) -> dict[str, object]:
    given = {"time": 1.0, "outcome": "failed", "status": 500, "reason": "x", "attempt": 4}
    return {**given, "endpoint": "http://x", **fields}


def test_damaged_lines_of_failures_are_skipped(tmp_path: Path) -> None:
    made = rig.settings(tmp_path)
    made.state_dir.mkdir()
    odd = [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"{}"),
        *(json.dumps(_failure(**{name: []})).encode() for name in _failure()),
        json.dumps(_failure(time=1e300)).encode(),
        json.dumps(_failure(time=float("nan"))).encode(),
    ]
    good = [
        json.dumps(_failure(endpoint=f"http://x/{n}", status=n or None)).encode() for n in range(3)
    ]
    callbacks.failures_path(made).write_bytes(b"\n".join([*odd, *good, *odd]))
    found = callbacks.failures(made)
    assert [one["endpoint"] for one in found] == ["http://x/0", "http://x/1", "http://x/2"]


def test_workers_lose_no_history_when_the_file_gets_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that found it too long renamed it one after the other: the second hid the long one."""
    path = tmp_path / "callback-failures.jsonl"
    path.write_bytes(b"old\n" * 10)
    monkeypatch.setattr(callbacks, "_FILE_BYTES", 10)
    write, both = os.write, threading.Barrier(2)

    def together(descriptor: int, lines: bytes) -> int:
        written = write(descriptor, lines)
        both.wait(10)
        return written

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", together)
        workers = [threading.Thread(target=_append, args=(path, b"new\n")) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    before = path.with_suffix(".before.jsonl")
    assert not path.exists()
    assert sorted(before.read_text().split()) == ["new"] * 2 + ["old"] * 10


def test_a_worker_that_is_late_does_not_rename_the_next_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "callback-failures.jsonl"
    before = path.with_suffix(".before.jsonl")
    path.write_bytes(b"old\n" * 10)
    monkeypatch.setattr(callbacks, "_FILE_BYTES", 10)
    write = os.write

    def slow(descriptor: int, lines: bytes) -> int:
        """Another worker renames the file meanwhile, and a third begins the next one."""
        path.rename(before)
        path.write_bytes(b"next\n")
        return write(descriptor, lines)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", slow)
        _append(path, b"new\n")
    assert path.read_bytes() == b"next\n"
    assert before.read_bytes() == b"old\n" * 10 + b"new\n"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("window_start", 2**62),
        ("window_start", "soon"),
        ("window_start", -(2**62)),
        ("window_seconds", 0),
        ("window_seconds", 1e300),
        ('"unique"', "many"),
        ('"unique"', -1),
        ("requests", 1.5),
        ("late", b"\xff"),
        ("revision", "x"),
        ("host_unique", "x"),
    ],
)
def test_a_damaged_row_of_the_ledger_is_skipped(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / ledger.FILE_NAME
    with closing(Ledger(path, YEAR, ["kafka"])) as opened:
        opened.record([rig.window(n, n) for n in range(3)], sinks=["kafka"])
        with closing(sqlite3.connect(path)) as connection, connection:
            change = f"UPDATE windows SET {column} = ? WHERE window_start = ?"  # noqa: S608
            connection.execute(change, (value, rig.MINUTE + 60))
        good = [rig.window(0, 0), rig.window(2, 2)]
        assert opened.undelivered("kafka") == good
        assert ledger.rows(path) == good[::-1]
        assert [window for window, _ in ledger.undelivered(path)] == good[::-1]
        assert ledger.backlog(path, "kafka").windows == 3
        assert opened.expire(rig.MINUTE + 300) == []
        json.dumps([window.as_json() for window in ledger.rows(path)], allow_nan=False)


def test_a_delivery_without_sense_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / ledger.FILE_NAME
    with closing(Ledger(path, 60, ["kafka"])) as opened:
        opened.record([rig.window(n, n) for n in range(3)], sinks=["log"])
        with closing(sqlite3.connect(path)) as connection, connection:
            insert = "INSERT INTO deliveries (window_start, window_seconds, sink) VALUES (?, ?, ?)"
            rows = [("x", "y", "kafka"), (5, 60, "kafka"), (2**62, 2**62, "kafka")]
            connection.executemany(insert, rows)
        assert opened.undelivered("kafka") == []
        assert ledger.backlog(path, "kafka").windows == 3
        assert opened.expire(rig.MINUTE + 120) == []
        assert [w.window_start for w in ledger.rows(path)] == [rig.MINUTE + 120, rig.MINUTE + 60]


def test_a_damaged_record_of_the_ring_is_skipped() -> None:
    fields: dict[str, Any] = {
        "window_seconds": 60,
        "unique": 1,
        "requests": 1,
        "duplicates": 0,
        "late": 0,
        "rejected": 0,
        "gap": False,
    }
    records = [
        SimpleNamespace(window_start=rig.MINUTE, **fields),
        SimpleNamespace(window_start=2**60, **fields),
        SimpleNamespace(window_start=rig.MINUTE + 60, **{**fields, "window_seconds": 0}),
        SimpleNamespace(window_start=rig.MINUTE + 120, **fields),
    ]
    counter = SimpleNamespace(
        ring=SimpleNamespace(newest=lambda: rig.MINUTE + 180),
        closed=lambda _most: records,
        window=60,
    )
    found = ring.windows_after(cast("Counter", counter), 0)
    assert [window.window_start for window in found] == [rig.MINUTE, rig.MINUTE + 120]


def test_what_is_no_spill_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = rig.settings(tmp_path)
    spills = Spills(made, "0" * 16, EventRecorder())
    spills.directory.mkdir(parents=True)
    os.mkfifo(spills.directory / "pipe.ids")
    (spills.directory / "directory.ids").mkdir()
    (spills.directory / "link.ids").symlink_to("/nowhere")
    with caplog.at_level("INFO", logger="verve"):
        assert spills.find() == []
    assert sorted(one["entry"] for one in _events(caplog)) == [
        "'directory.ids'",
        "'link.ids'",
        "'pipe.ids'",
    ]
    assert spills.usage()[0] == 2
    spills.remove_old(0)


def test_a_file_in_the_place_of_the_spills(tmp_path: Path) -> None:
    made = rig.settings(tmp_path)
    spills = Spills(made, "0" * 16, EventRecorder())
    spills.directory.parent.mkdir(parents=True)
    spills.directory.write_text("")
    assert spills.find() == []
    assert spills.usage() == (0, 0)
    spills.remove_old(0)

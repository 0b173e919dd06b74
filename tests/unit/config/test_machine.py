from __future__ import annotations

import errno
import fcntl
import sqlite3
from pathlib import Path

import pytest

from tests.support import rig
from verve import SettingError
from verve.config import machine
from verve.startup.attachment import attach


def test_this_machine_will_do(tmp_path: Path) -> None:
    machine.check(tmp_path / "segment")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_used_is_left_to_others() -> None:
    machine.check(Path("/nowhere/at/all"))
    machine.check(Path("/proc/segment"))


def test_an_old_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 22, 0))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.22.0")
    with pytest.raises(SettingError, match=r"needs SQLite 3\.24\.0 .*: `3\.22\.0`; hint: "):
        attach(rig.settings(tmp_path))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_no_locks_of_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_descriptor: int, command: int, _request: bytes) -> int:
        assert command == fcntl.F_OFD_SETLK
        raise OSError(number, "refused")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(SettingError, match=r"no locks of open files .*; hint: use Linux 3\.15"):
        attach(rig.settings(tmp_path))


def test_a_file_system_that_reserves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "fallocate", lambda _descriptor, _length: errno.EOPNOTSUPP)
    with pytest.raises(SettingError, match=rf"`{tmp_path}`; hint: set `VERVE_SEGMENT`"):
        attach(rig.settings(tmp_path))


def test_the_call_itself(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        assert machine.fallocate(file.fileno(), 4096) == 0
        assert (tmp_path / "file").stat().st_size == 4096
    with Path("/dev/null").open("rb") as file:
        assert machine.fallocate(file.fileno(), 1) in {errno.EBADF, errno.ENODEV}

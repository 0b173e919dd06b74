from __future__ import annotations

import os
from pathlib import Path

import pytest

from verve.config import limits


def _proc(root: Path, *lines: str) -> Path:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text("\n".join(lines) + "\n", encoding="ascii")
    return root / "proc"


def _limit(root: Path, path: str, value: str) -> None:
    file = root / "cgroup" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value + "\n", encoding="ascii")


HOST = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_without_control_groups_the_host_decides(tmp_path: Path) -> None:
    assert limits.memory_limit(tmp_path, tmp_path) == HOST


def test_version_2_and_its_parents(tmp_path: Path) -> None:
    proc = _proc(tmp_path, "0::/slice/service")
    _limit(tmp_path, "slice/service/memory.max", "max")
    _limit(tmp_path, "slice/memory.max", "100000000")
    assert limits.memory_limit(proc, tmp_path / "cgroup") == 100_000_000
    _limit(tmp_path, "slice/service/memory.high", "50000000")
    assert limits.memory_limit(proc, tmp_path / "cgroup") == 50_000_000


def test_inside_a_container_only_the_root_is_there(tmp_path: Path) -> None:
    proc = _proc(tmp_path, "0::/docker/0123456789")
    _limit(tmp_path, "memory.max", "64000000")
    assert limits.memory_limit(proc, tmp_path / "cgroup") == 64_000_000


def test_version_1(tmp_path: Path) -> None:
    proc = _proc(tmp_path, "5:cpu,cpuacct:/x", "4:memory:/docker/1")
    _limit(tmp_path, "memory/docker/1/memory.limit_in_bytes", "70000000")
    assert limits.memory_limit(proc, tmp_path / "cgroup") == 70_000_000
    _limit(tmp_path, "memory/docker/1/memory.limit_in_bytes", "9223372036854771712")
    assert limits.memory_limit(proc, tmp_path / "cgroup") == HOST


@pytest.mark.parametrize("value", ["", "max", "0", "-1", "1e9", "0x10", "garbage"])
def test_odd_values_count_as_no_limit(tmp_path: Path, value: str) -> None:
    proc = _proc(tmp_path, "0::/", "garbage", "::", "1:name=systemd:/x")
    _limit(tmp_path, "memory.max", value)
    assert limits.memory_limit(proc, tmp_path / "cgroup") == HOST


def test_processors_by_quota(tmp_path: Path) -> None:
    proc = _proc(tmp_path, "0::/a")
    usable = limits.processors(proc, tmp_path / "cgroup")
    assert usable >= 1
    _limit(tmp_path, "a/cpu.max", "50000 100000")
    assert limits.processors(proc, tmp_path / "cgroup") == 1
    _limit(tmp_path, "a/cpu.max", "max 100000")
    assert limits.processors(proc, tmp_path / "cgroup") == usable


def test_the_pages_of_a_segment_count_as_free(tmp_path: Path) -> None:
    segment = tmp_path / "segment"
    without = limits.room_for(segment)
    segment.write_bytes(b"x" * (8 << 20))
    assert abs(limits.room_for(segment) - without) < 4 << 20


def test_ids_per_window(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "memory_limit", lambda: 8_000_000_000)
    monkeypatch.setattr(limits, "room_for", lambda _segment: 800_000_000)
    assert limits.max_ids_per_window(tmp_path) == 10_000_000
    monkeypatch.setattr(limits, "room_for", lambda _segment: 0)
    assert limits.max_ids_per_window(tmp_path) == 4096


def test_a_directory_that_is_not_there_sets_no_bound() -> None:
    assert limits.room_for(Path("/nowhere/at/all")) > 2**50

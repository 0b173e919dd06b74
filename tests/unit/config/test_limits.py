from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from verve import Counter
from verve._verve import ARENAS
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


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_processors_by_quota_of_version_1(tmp_path: Path, controllers: str) -> None:
    proc = _proc(tmp_path, f"5:{controllers}:/docker/1", "4:memory:/docker/1")
    usable = limits.processors(proc, tmp_path / "cgroup")
    _limit(tmp_path, "cpu/docker/1/cpu.cfs_period_us", "100000")
    _limit(tmp_path, "cpu/docker/1/cpu.cfs_quota_us", "-1")
    assert limits.processors(proc, tmp_path / "cgroup") == usable
    _limit(tmp_path, "cpu/docker/1/cpu.cfs_quota_us", "150000")
    assert limits.processors(proc, tmp_path / "cgroup") == 1
    # The limit of a parent holds as well.
    _limit(tmp_path, "cpu/docker/1/cpu.cfs_quota_us", "-1")
    _limit(tmp_path, "cpu/docker/cpu.cfs_period_us", "50000")
    _limit(tmp_path, "cpu/docker/cpu.cfs_quota_us", "50000")
    assert limits.processors(proc, tmp_path / "cgroup") == 1


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


def test_the_address_space_bounds_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(limits, "memory_limit", lambda: 1 << 50)
    monkeypatch.setattr(limits, "room_for", lambda _segment: 1 << 50)
    assert limits.address_space() > 1 << 50
    monkeypatch.setattr(limits, "address_space", lambda: 2 << 30)
    assert 2_000_000 < limits.max_ids_per_window(tmp_path) < 2_500_000
    monkeypatch.setattr(limits, "address_space", lambda: 1 << 20)
    assert limits.max_ids_per_window(tmp_path) == 4096


def test_a_limited_address_space_holds_the_segment(tmp_path: Path) -> None:
    """The default was more than `ulimit -v` lets a process map."""
    program = (
        "from verve import Counter; from verve.config import load; from pathlib import Path; "
        "import sys; made = load({'segment': sys.argv[1]}, {}); "
        "Counter(made.segment, max_ids=made.max_ids_per_window).add(7); "
        "print(made.max_ids_per_window)"
    )
    limited = f'ulimit -v 1500000; exec {sys.executable} -c "$0" "$1"'
    command = ["sh", "-c", limited, program, str(tmp_path / "segment")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 4096 < int(done.stdout) < 1_500_000_000 / limits.ADDRESSES_PER_ID


def test_a_directory_that_is_not_there_sets_no_bound() -> None:
    assert limits.room_for(Path("/nowhere/at/all")) > 2**50


def test_bytes_per_id_are_those_of_a_segment_and_of_the_page_on_sizes(tmp_path: Path) -> None:
    lengths = []
    for ids in (1_024_000, 2_048_000):
        with Counter(tmp_path / f"{ids}", max_ids=ids):
            lengths.append((tmp_path / f"{ids}").stat().st_size)
    addresses, rest = divmod(lengths[1] - lengths[0], 1_024_000)
    assert rest == 0
    assert addresses <= limits.ADDRESSES_PER_ID
    assert lengths[0] - addresses * 1_024_000 <= limits.ADDRESSES_OF_A_SEGMENT
    page = (ROOT / "docs/guides/scale.md").read_text()
    rows = re.findall(
        r"^\| (?:table of `|the same|address space).* \| (\d+) \|$", page, re.MULTILINE
    )
    assert [int(row) for row in rows] == [
        *(addresses // ARENAS, limits.BYTES_PER_ID, limits.ADDRESSES_PER_ID),
    ]

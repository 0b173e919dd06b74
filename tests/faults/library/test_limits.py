"""What a process's limits do to a counter: core dumps, address space, locks."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import NATIVE
from verve import Counter, SegmentError

MIB = 1 << 20
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

# The process dumps its shared mappings, too, whatever its parent's filter says.
_ABORT = """
import os, resource, sys
from verve import Counter
resource.setrlimit(resource.RLIMIT_CORE, (400 << 20, resource.RLIM_INFINITY))
with open("/proc/self/coredump_filter", "w") as filter:
    filter.write("0x7f")
path = sys.argv[1] or None
counter = Counter(path, max_ids=10_000_000)
counter.add_many(range(100_000))
if path:
    os.unlink(path)
os.abort()
"""

_REFUSALS = NATIVE / "refusals.c"
_TELL = """
import sys
from verve import Counter, SegmentError
try:
    Counter(sys.argv[1])
except SegmentError as error:
    print(error)
"""


def _mappings_of_segments() -> list[set[str]]:
    """The flags of all mappings of segments in this process, from `/proc/self/smaps`."""
    found, is_of_segment = [], False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            is_of_segment = "memfd:verve" in rest or "verve-test-library" in rest
        elif name == "VmFlags:" and is_of_segment:
            found.append(set(rest.split()))
    return found


def test_no_mapping_of_a_segment_goes_into_a_core_dump(segment: Path) -> None:
    with Counter(max_ids=1_000), Counter(segment, max_ids=1_000):
        found = _mappings_of_segments()
        assert len(found) == 2
        assert all("dd" in flags for flags in found), found
        if (child := os.fork()) == 0:
            inherited = _mappings_of_segments()
            os._exit(0 if len(inherited) == 2 and all("dd" in f for f in inherited) else 1)
        assert os.waitpid(child, 0)[1] == 0, "nor into that of a forked child"


@pytest.mark.parametrize("where", ["memory", "removed", "file"])
def test_a_core_dump_is_small(segment: Path, tmp_path: Path, where: str) -> None:
    pattern = _CORE_PATTERN.read_text(encoding="utf-8").strip()
    if pattern != "core" or resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("core dumps go elsewhere here")
    script = _ABORT if where != "file" else _ABORT.replace("os.unlink(path)", "pass")
    argument = "" if where == "memory" else str(segment)
    subprocess.run(
        [sys.executable, "-c", script, argument], cwd=tmp_path, check=False, capture_output=True
    )
    (core,) = tmp_path.glob("core*")
    assert 0 < core.stat().st_size < 200 * MIB
    core.unlink()


@pytest.mark.parametrize("argument", [None, "file"])
def test_little_address_space_names_the_way_out(tmp_path: Path, argument: str | None) -> None:
    script = (
        "import sys\nfrom verve import Counter, SegmentError\n"
        "path = sys.argv[1] or None\n"
        "try:\n    Counter(path)\nexcept SegmentError as error:\n    print(error)\n"
        "print(Counter(path and path + '2', max_ids=100_000).add(7))\n"
    )
    path = "" if argument is None else str(tmp_path / argument)
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -v 4000000; exec "$@"', "-", sys.executable, "-c", script, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    said, works = done.stdout.splitlines()
    assert "hint: make it for fewer ids with `max_ids`" in said
    assert "`VERVE_MAX_IDS_PER_WINDOW`" in said
    assert "ulimit -v" in said
    assert works == "True"


def test_a_limit_of_file_sizes_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TELL, str(tmp_path / "segment")]
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 1000; exec "$@"', "-", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in done.stdout, done
    assert "`ulimit -f`" in done.stdout


def test_few_open_files_are_named(segment: Path) -> None:
    Counter(segment, max_ids=1_000).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open("/dev/null", os.O_RDONLY)
    os.close(spare)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, hard))
        with pytest.raises(SegmentError, match=r"Too many open files.*`ulimit -n`"):
            Counter(segment, max_ids=1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    Counter(segment, max_ids=1_000).close()


def _told(tmp_path: Path, script: str, *arguments: str, **environment: str) -> str:
    """What a script prints in a process whose system calls are refused."""
    library = tmp_path / "refusals.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, _REFUSALS], check=True)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "LD_PRELOAD": str(library), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def test_locks_that_the_system_refuses_are_not_taken_slots(segment: Path, tmp_path: Path) -> None:
    said = _told(tmp_path, _TELL, str(segment), VERVE_TEST_REFUSE="locks")
    assert "No locks available" in said
    assert "all writer slots" not in said
    assert "hint: choose a `VERVE_SEGMENT` on a tmpfs" in said


def test_refused_storage_is_reported_with_its_reason(tmp_path: Path) -> None:
    script = (
        "import os\nfrom verve import CapacityError, Counter\n"
        "counter = Counter(max_ids=10_000_000)\nos.environ['VERVE_TEST_REFUSE'] = 'storage'\n"
        "for first in range(0, 2_000_000, 1_000_000):\n"
        "    try:\n        counter.add_many(range(first, first + 1_000_000))\n"
        "    except CapacityError as error:\n        print(error.reason, error)\n"
    )
    first, second = _told(tmp_path, script).splitlines()
    for said in (first, second):
        assert said.startswith("space no room for the table to grow: Disk quota exceeded"), said
        assert "hint: raise the user's quota" in said

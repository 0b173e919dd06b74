"""`verve segment ls` and `verve segment rm`: what Verve left outside its state directories."""

from __future__ import annotations

import os
import struct
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from tests.support import rig
from verve import config, segment_identity
from verve._verve import Keeper
from verve.commands import segment_files
from verve.commands.cli import main
from verve.publishing.lease import Cursor

if TYPE_CHECKING:
    from pathlib import Path

    from verve import Counter
    from verve.config import Settings

NAME = f"verve-{os.geteuid()}-0123456789abcdef"


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    """Settings of a service whose segment is in a folder of its own."""
    (tmp_path / "shm").mkdir()
    (tmp_path / "state").mkdir()
    return rig.settings(tmp_path, segment=str(tmp_path / "shm" / NAME))


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["segment", *arguments])


def _listed(made: Settings) -> list[segment_files.Found]:
    return list(segment_files.found_in(made.segment.parent))


def _publish(counter: Counter) -> None:
    """As the leader and its ledger do."""
    counter.seal()
    term = counter.lease.acquire()
    assert term is not None
    assert counter.ring.advance_cursor(Cursor.LEDGER, counter.ring.newest(), term)
    counter.lease.release()


def test_ls_tells_what_there_is(made: Settings) -> None:
    with rig.counter_of(made) as counter:
        counter.add(1)
        (alive,) = _listed(made)
        assert (alive.path, alive.use, alive.unpublished) == (made.segment, "alive", None)
        assert alive.size == made.segment.stat().st_blocks * 512 > 0
        assert 0 <= alive.age < 60
    (idle,) = _listed(made)
    assert (idle.use, idle.unpublished, idle.state_directory) == ("idle", 1, str(made.state_dir))
    shown = _run("ls", str(made.segment.parent))
    assert shown.exit_code == 0
    assert f"state directory {made.state_dir}\n" in shown.stdout
    for path in made.state_dir.iterdir():
        path.unlink()
    made.state_dir.rmdir()
    assert f"{made.state_dir} (gone)\n" in _run("ls", str(made.segment.parent)).stdout
    # To look at it brought nothing back.
    assert not made.state_dir.exists()


def test_ls_leaves_other_files_alone(made: Settings) -> None:
    folder = made.segment.parent
    (folder / "other").write_bytes(b"VERVE" * 1_000)
    (folder / "other").chmod(0o600)
    (folder / "other.lock").touch(0o600)
    (folder / "link").symlink_to("other")
    (folder / "directory").mkdir()
    os.mkfifo(folder / "pipe", 0o600)
    assert _listed(made) == []
    shown = _run("ls", str(folder))
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "no segments" in shown.stderr


def test_ls_by_default_looks_where_segments_are(tmp_path: Path) -> None:
    default = config.load({"state_dir": str(tmp_path), "max_ids_per_window": "1000"}, {})
    assert default.segment.parent == segment_files.default_directory()
    try:
        rig.counter_of(default).close()
        assert str(default.segment) in _run("ls").stdout
        assert _run("rm", str(default.segment)).exit_code == 0
        assert str(default.segment) not in _run("ls").stdout
    finally:
        for path in default.segment.parent.glob(f"{default.segment.name}*"):
            path.unlink()


def test_rm_refuses_while_a_process_lives_in_it(made: Settings) -> None:
    with rig.counter_of(made):
        for flags in ([], ["--force"]):
            done = _run("rm", *flags, str(made.segment))
            assert done.exit_code == 1
            assert "a process lives in the segment" in done.stderr
    with rig.counter_of(made) as counter, closing(Keeper(counter)):
        counter.close()
        assert _run("rm", "--force", str(made.segment)).exit_code == 1
    assert made.segment.exists()


def test_rm_refuses_windows_that_no_ledger_has(made: Settings) -> None:
    clock = rig.clock_in_minute()
    with rig.counter_of(made, clock) as counter:
        counter.add(1)
    assert _run("rm", str(made.segment)).exit_code == 1
    with rig.counter_of(made, clock) as counter:
        counter.seal()
    done = _run("rm", str(made.segment))
    assert (done.exit_code, made.segment.exists()) == (1, True)
    assert "`--force`" in done.stderr
    with rig.counter_of(made, clock) as counter:
        _publish(counter)
    assert _run("rm", str(made.segment)).exit_code == 0
    assert list(made.segment.parent.iterdir()) == []


def test_rm_with_force(made: Settings) -> None:
    with rig.counter_of(made) as counter:
        counter.add(1)
    assert _run("rm", "--force", str(made.segment)).exit_code == 0
    assert list(made.segment.parent.iterdir()) == []
    done = _run("rm", str(made.segment))
    assert (done.exit_code, "there is no segment" in done.stderr) == (1, True)


def test_one_of_another_format_goes_by_force_only(made: Settings) -> None:
    rig.counter_of(made).close()
    kept = made.segment.with_name(f"{NAME}.format-20260101T000000Z")
    made.segment.rename(kept)
    with kept.open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<I", 99))
    assert segment_identity(kept)["format"] == 99
    (found,) = [one for one in _listed(made) if one.path == kept]
    assert (found.use, found.unpublished) == ("format 99", None)
    assert _run("rm", str(kept)).exit_code == 1
    assert _run("rm", "--force", str(kept)).exit_code == 0
    assert not kept.exists()


def test_what_is_left_of_a_segment_goes_too(made: Settings) -> None:
    folder = made.segment.parent
    rig.counter_of(made).close()
    lock, unfinished = folder / f"{NAME}.lock", folder / f"{NAME}.new"
    assert "belongs to a segment" in _run("rm", str(lock)).stderr
    made.segment.unlink()
    unfinished.write_bytes(b"half")
    assert sorted(one.use for one in _listed(made)) == ["lock", "unfinished"]
    assert _run("rm", str(unfinished)).exit_code == 0
    assert list(folder.iterdir()) == []


def test_rm_of_what_is_no_segment(made: Settings) -> None:
    other = made.segment.parent / "other"
    other.write_bytes(b"mine" * 1_000)
    other.chmod(0o600)
    for flags in ([], ["--force"]):
        done = _run("rm", *flags, str(other))
        assert (done.exit_code, other.exists()) == (1, True)
        assert "no segment of Verve" in done.stderr

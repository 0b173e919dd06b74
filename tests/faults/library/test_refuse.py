"""Files that are no segment to attach: each is refused by name, and left as it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.processes.children import Child
from tests.support.processes.parts import Opening
from verve import Counter, SegmentError, segment_identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.processes.children import Link
    from tests.support.processes.parts import Remote

FORMAT_AT = 8
NOBODY = 65_534


def refusal(path: Path, window: int | None = 60, **settings: str) -> SegmentError:
    """The error with which opening is refused."""
    with pytest.raises(SegmentError) as caught:
        Counter(path, window=window, **settings)  # type: ignore[arg-type]
    assert f"`{path}`" in str(caught.value), "the message names the file"
    return caught.value


@pytest.fixture
def made(segment: Path) -> Path:
    """A segment that nobody uses, with two ids in its current window."""
    with Opening(segment).open() as counter:
        counter.add_many([1, 2])
    return segment


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"window": 30}, "window `60`, not `30`"),
        ({"window": 60, "cluster": "other"}, "cluster ``, not `other`"),
        ({"window": 60, "state_directory": "/other"}, "state directory ``, not `/other`"),
    ],
)
def test_other_settings_are_a_mismatch(
    made: Path, settings: dict[str, str], name: str, remote: Callable[[Opening], Remote]
) -> None:
    error = refusal(made, **settings)  # type: ignore[arg-type]
    assert (error.reason, error.alive) == ("mismatch", False)
    assert name in str(error)
    user = remote(Opening(made))
    error = refusal(made, **settings)  # type: ignore[arg-type]
    assert (error.reason, error.alive) == ("mismatch", True)
    user.child.kill()
    user.child.join()
    assert not refusal(made, **settings).alive  # type: ignore[arg-type]
    with Counter(made, window=None) as counter:
        assert counter.window == 60
        assert counter.count() in {0, 2}


def test_no_window_is_sixty_seconds_for_a_new_segment(segment: Path) -> None:
    with Counter(segment, window=None, max_ids=1_000) as counter:
        assert counter.window == 60


def test_another_window_is_taken_as_it_is(segment: Path) -> None:
    with (
        Counter(segment, window=7, max_ids=1_000) as first,
        Counter(segment, window=None) as second,
    ):
        assert second.window == 7
        assert second.max_ids == first.max_ids == 1_000
        assert first.add(1) != second.add(1)


def test_another_format_is_refused(made: Path, remote: Callable[[Opening], Remote]) -> None:
    user = remote(Opening(made))
    ours = segment_identity(made)
    assert (ours["ours"], ours["alive"]) == (True, True)
    with made.open("r+b") as file:
        file.seek(FORMAT_AT)
        file.write(struct.pack("<I", ours["format"] + 1))
    error = refusal(made)
    assert (error.reason, error.alive) == ("format", True)
    assert "restart, do not reload" in str(error)
    known = segment_identity(made)
    assert (known["format"], known["ours"], known["alive"]) == (ours["format"] + 1, False, True)
    user.child.kill()
    user.child.join()
    assert (refusal(made).reason, refusal(made, None).alive) == ("format", False)
    assert not segment_identity(made)["alive"]


@pytest.mark.parametrize("length", [0, 1, 4_095, 4_096, 8_192, 100_000, -1, -4_096])
def test_a_file_cut_off_is_refused(made: Path, length: int) -> None:
    whole = made.stat().st_size
    os.truncate(made, length if length >= 0 else whole + length)
    before = made.read_bytes()[:200_000]
    error = refusal(made)
    assert (error.reason, error.alive) == ("format", False)
    assert made.read_bytes()[:200_000] == before


def test_a_file_grown_longer_is_refused(made: Path) -> None:
    os.truncate(made, made.stat().st_size + 1)
    assert refusal(made).reason == "format"


@pytest.mark.parametrize("content", [b"x", b"\0" * 10_000, b"VERVESEG", os.urandom(1 << 20)])
def test_garbage_is_refused_and_left_as_it_is(segment: Path, content: bytes) -> None:
    segment.write_bytes(content)
    segment.chmod(0o600)
    error = refusal(segment)
    assert (error.reason, error.alive) == ("format", False)
    with pytest.raises(SegmentError):
        segment_identity(segment)
    assert segment.read_bytes() == content


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o606, 0o666, 0o601])
def test_a_file_that_others_may_open_is_refused(made: Path, mode: int) -> None:
    made.chmod(mode)
    error = refusal(made)
    assert error.reason == "mode"
    assert "chmod 600" in str(error)
    made.chmod(0o600)
    Counter(made).close()


def test_what_is_made_is_its_owners_alone(segment: Path) -> None:
    before = os.umask(0)
    try:
        Counter(segment, max_ids=1_000).close()
    finally:
        os.umask(before)
    for path in segment.parent.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path


@pytest.mark.parametrize("dangling", [True, False])
def test_a_symbolic_link_is_refused(made: Path, dangling: bool) -> None:
    link = made.with_name("link")
    link.symlink_to(made.with_name("nothing") if dangling else made)
    assert refusal(link).reason == "kind"
    assert not made.with_name("nothing").exists()


def test_a_link_in_place_of_the_lock_is_refused(made: Path) -> None:
    target = made.with_name("target")
    lock = made.with_name("segment.lock")
    lock.unlink()
    lock.symlink_to(target)
    assert refusal_of_lock(made).reason in {"io", "kind"}
    assert not target.exists(), "nothing is made through the link"


def refusal_of_lock(path: Path) -> SegmentError:
    with pytest.raises(SegmentError) as caught:
        Counter(path)
    return caught.value


def test_a_directory_is_refused(segment: Path) -> None:
    segment.mkdir()
    assert refusal(segment).reason == "kind"
    assert list(segment.iterdir()) == []


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, 0o600 | 0o060000, 0)])
def test_what_is_no_file_is_refused(segment: Path, make: Callable[[Path], None]) -> None:
    try:
        make(segment)
    except PermissionError:
        pytest.skip("devices may not be made here")
    error = refusal(segment)
    assert error.reason in {"kind", "mode", "io"}


def test_a_missing_directory_is_reported(segment: Path) -> None:
    missing = segment.parent / "missing" / "segment"
    with pytest.raises(SegmentError, match="No such file") as caught:
        Counter(missing)
    assert caught.value.reason == "io"
    with pytest.raises(SegmentError, match="there is no segment"):
        segment_identity(segment)


def open_as(link: Link, path: Path, user: int) -> None:
    """Open as another user, and say what came of it."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    try:
        Counter(path, window=60).close()
    except SegmentError as error:
        link.send((error.reason, str(error)))
    else:
        link.send(("opened", ""))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_segment_of_another_user_is_refused(made: Path, mode: int) -> None:
    os.chown(made, NOBODY, NOBODY)
    made.chmod(mode)
    error = refusal(made)
    assert error.reason == "owner"
    assert str(NOBODY) in str(error)
    # And the other way round: a user meets the segment of root.
    os.chown(made, 0, 0)
    made.parent.chmod(0o777)
    made.with_name("segment.lock").chmod(0o666)
    with Child(open_as, made, NOBODY) as child:
        assert child.receive()[0] == "owner"
    made.with_name("segment.lock").unlink()
    with Child(open_as, made, NOBODY) as child:
        assert child.receive()[0] == "owner"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_lock_of_another_user_is_refused(made: Path) -> None:
    os.chown(made.with_name("segment.lock"), NOBODY, NOBODY)
    assert refusal_of_lock(made).reason == "owner"


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_killed_maker_left_is_no_obstacle(segment: Path, whole: bool) -> None:
    """Its unfinished file is still there, with the segment in place or not yet."""
    with Counter(segment, max_ids=1_000) as counter:
        identity = counter.stats()["identity"]
    unfinished = segment.with_name("segment.new")
    if whole:
        unfinished.hardlink_to(segment)
    else:
        segment.rename(unfinished)
        os.truncate(unfinished, 5_000)
    with Counter(segment, max_ids=1_000) as counter:
        assert (counter.stats()["identity"] == identity) is whole
        assert counter.add(1)
    assert not unfinished.exists()


def test_a_stopped_maker_is_waited_for_and_told_of(segment: Path) -> None:
    """Whoever holds the attach lock for five seconds is stopped; that must not look like a hang."""
    lock = segment.with_name("segment.lock")
    with lock.open("wb") as file:
        lock.chmod(0o600)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhlli4x", fcntl.F_WRLCK, 0, 0, 1, 0))
        before = time.monotonic()
        error = refusal_of_lock(segment)
        assert (error.reason, error.alive) == ("busy", True)
        assert "look for a stopped process" in str(error)
        assert time.monotonic() - before > 4.5
    with Counter(segment, max_ids=1_000) as counter:
        assert counter.add(1)


def test_a_copy_is_another_segment(made: Path, remote: Callable[[Opening], Remote]) -> None:
    user = remote(Opening(made))
    copy = made.with_name("copy")
    shutil.copyfile(made, copy)
    copy.chmod(0o600)
    assert segment_identity(made)["alive"]
    assert not segment_identity(copy)["alive"]
    with Opening(copy).open() as counter:
        counter.add(3)
        assert counter.stats()["processes"] == [os.getpid()]
    assert user.call("count") in {0, 2}

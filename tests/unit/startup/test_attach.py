from __future__ import annotations

import multiprocessing
import struct
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import logged, rig
from verve import SegmentError, segment_identity
from verve.archive.format.manifest import State
from verve.archive.leader.lost_segment import REASON
from verve.archive.spool.spool import IDS, Spool
from verve.archive.spool.spool_file import SpoolFile
from verve.ledger import ledger
from verve.ledger.ledger import LedgerError
from verve.startup import attachment

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings


def test_it_makes_and_continues_a_segment(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    with attachment.attach(settings) as counter:
        counter.add(7)
        with attachment.attach(settings) as again:
            assert again.window == 60
            assert again.current().window_start == counter.current().window_start
    identity = segment_identity(settings.segment)
    assert (identity["window"], identity["alive"]) == (60, False)
    assert identity["state_directory"] == str(settings.state_dir)


def test_another_window_length_is_stored_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = rig.settings(tmp_path)
    clock = rig.clock_in_minute()
    with rig.counter_of(before, clock) as counter:
        counter.add_many(range(3))
        clock.advance(60)
        counter.maintenance.run()
        term = counter.lease.acquire()
        assert term is not None
        assert counter.ring.advance_cursor(0, rig.MINUTE, term)
    # The next one lives by the system's clock, which is another year.
    after = rig.settings(tmp_path, window="2")
    with caplog.at_level("INFO", logger="verve"), attachment.attach(after) as counter:
        assert counter.window == 2
    stored = ledger.rows(ledger.path_of(after))
    assert rig.window(0, 3, requests=3) in stored
    assert all(window.window_seconds == 60 for window in stored)
    with closing(ledger.open_ledger(after)) as opened:
        # What the log has not taken by then is taken to it by the next leader.
        assert rig.window(0, 3, requests=3) not in opened.undelivered("log")
        assert opened.taken_at("log", rig.window().key) is not None
    assert logged.events(caplog) == ["segment.retired"]


def test_the_current_window_is_stored_by_its_own_length(tmp_path: Path) -> None:
    with attachment.attach(rig.settings(tmp_path, window="86400")) as counter:
        counter.add_many(range(5))
        start = counter.current().window_start
    after = rig.settings(tmp_path, window="1")
    attachment.attach(after).close()
    assert [
        (w.window_start, w.window_seconds, w.unique) for w in ledger.rows(ledger.path_of(after))
    ] == [(start, 86_400, 5)]
    with closing(ledger.open_ledger(after)) as opened:
        assert [window.unique for window in opened.undelivered("log")] == [5]


def test_a_process_of_another_length_refuses(tmp_path: Path) -> None:
    with (
        attachment.attach(rig.settings(tmp_path)) as counter,
        pytest.raises(SegmentError, match="restart") as caught,
    ):
        attachment.attach(rig.settings(tmp_path, window="2"))
    assert (caught.value.reason, caught.value.alive) == ("mismatch", True)
    counter.close()
    with attachment.attach(rig.settings(tmp_path, window="2")) as counter:
        assert counter.window == 2


def test_without_a_ledger_the_segment_stays(tmp_path: Path) -> None:
    before = rig.settings(tmp_path)
    with attachment.attach(before) as counter:
        counter.add(1)
    ledger.path_of(before).mkdir()
    with pytest.raises(LedgerError):
        attachment.attach(rig.settings(tmp_path, window="2"))
    with attachment.attach(before) as counter:
        assert counter.window == 60


def test_a_damaged_ledger_does_not_keep_the_windows(tmp_path: Path) -> None:
    before = rig.settings(tmp_path, window="86400")
    with attachment.attach(before) as counter:
        counter.add(1)
    ledger.path_of(before).write_bytes(b"garbage " * 2_000)
    attachment.attach(rig.settings(tmp_path, window="2")).close()
    assert [window.unique for window in ledger.rows(ledger.path_of(before))] == [1]


def test_a_process_of_another_cluster_refuses(tmp_path: Path) -> None:
    with attachment.attach(rig.settings(tmp_path, cluster="a")) as counter:
        for flags in ({"cluster": "b"}, {"cluster": "b", "window": "2"}):
            with pytest.raises(SegmentError) as caught:
                attachment.attach(rig.settings(tmp_path, **flags))
            assert (caught.value.reason, caught.value.alive) == ("mismatch", True)
        counter.add(1)
    assert attachment.has_segment(rig.settings(tmp_path, cluster="a"))
    assert not attachment.has_segment(rig.settings(tmp_path, cluster="b"))


def test_another_state_directory_refuses(tmp_path: Path) -> None:
    before = rig.settings(tmp_path)
    attachment.attach(before).close()
    after = rig.settings(tmp_path, state_dir=str(tmp_path / "other"))
    with pytest.raises(SegmentError) as caught:
        attachment.attach(after)
    assert caught.value.reason == "mismatch"
    assert not attachment.has_segment(after)
    assert attachment.has_segment(before)


def _make_format_99(path: Path) -> bytes:
    """Turn a segment into one of a format that does not exist yet."""
    content = bytearray(path.read_bytes()[: 1 << 16])
    number = struct.pack("<I", segment_identity(path)["format"])
    at = content.index(number, 1)
    content[at : at + 4] = struct.pack("<I", 99)
    with path.open("r+b") as file:
        file.write(content)
    return bytes(content)


def test_another_format_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = rig.settings(tmp_path)
    with attachment.attach(settings):
        pass
    content = _make_format_99(settings.segment)
    assert segment_identity(settings.segment)["format"] == 99
    with caplog.at_level("INFO", logger="verve"), attachment.attach(settings) as counter:
        assert counter.count() == 0
    (kept,) = tmp_path.glob("segment.format-*")
    assert kept.read_bytes().startswith(content[:64])
    assert logged.events(caplog) == ["segment.set_aside"]


def test_another_format_refuses_while_somebody_lives(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    with attachment.attach(settings):
        _make_format_99(settings.segment)
        with pytest.raises(SegmentError, match="restart") as caught:
            attachment.attach(settings)
    assert (caught.value.reason, caught.value.alive) == ("format", True)
    assert settings.segment.exists()


def _attach(directory: Path) -> int:
    with attachment.attach(rig.settings(directory, window="2")) as counter:
        return counter.window


def test_many_attach_at_once_after_a_change(tmp_path: Path) -> None:
    with attachment.attach(rig.settings(tmp_path, window="86400")) as counter:
        counter.add(1)
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        assert pool.map(_attach, [tmp_path] * 12) == [2] * 12
    assert len(ledger.rows(ledger.path_of(rig.settings(tmp_path)))) == 1


def test_a_process_that_is_stuck_while_attaching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = rig.settings(tmp_path)
    monkeypatch.setattr(attachment, "LOCK_SECONDS", 0.1)
    with attachment._attach_lock(settings), pytest.raises(SegmentError) as caught:
        attachment.attach(settings)
    assert caught.value.reason == "busy"


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError):
        attachment.attach(rig.settings(tmp_path / "file"))


def test_a_state_directory_through_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    segment = str(tmp_path / "segment")
    real = rig.settings(tmp_path / "real", segment=segment)
    linked = rig.settings(tmp_path / "link", segment=segment)
    with attachment.attach(linked) as one, attachment.attach(real) as two:
        assert one.add(1)
        assert not two.add(1)
        assert attachment.has_segment(linked)
        assert attachment.has_segment(real)
    with attachment.attach(rig.settings(tmp_path / "link", segment=segment, window="2")) as counter:
        assert counter.window == 2


def test_a_state_directory_that_an_earlier_version_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    segment = str(tmp_path / "segment")
    with rig.counter_of(rig.settings(tmp_path / "link", segment=segment)) as one:
        assert one.add(1)
        with attachment.attach(rig.settings(tmp_path / "real", segment=segment)) as two:
            assert not two.add(1)


def test_a_segment_that_is_gone_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = rig.settings(tmp_path)
    with caplog.at_level("INFO", logger="verve"):
        attachment.attach(settings).close()
        attachment.attach(settings).close()
        assert logged.events(caplog) == []
        settings.segment.unlink()
        attachment.attach(settings).close()
        attachment.attach(settings).close()
        assert logged.events(caplog) == ["segment.lost"]
        # After a boot it is gone as it must be.
        settings.segment.unlink()
        monkeypatch.setattr(attachment, "_boot", lambda: "another")
        attachment.attach(settings).close()
        (settings.state_dir / "segment.json").write_text("[")
        attachment.attach(settings).close()
        assert logged.events(caplog) == ["segment.lost"]


def test_an_attach_joins_the_processes_of_a_removed_segment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = rig.settings(tmp_path)
    with caplog.at_level("INFO", logger="verve"), attachment.attach(settings) as one:
        assert one.add(1)
        settings.segment.unlink()
        for path in settings.state_dir.iterdir():
            path.unlink()
        assert attachment.has_segment(settings)
        with attachment.attach(settings) as two:
            assert not two.add(1)
        with pytest.raises(SegmentError, match="restart"):
            attachment.attach(rig.settings(tmp_path, window="2"))
    assert logged.events(caplog) == []


def _spooled(settings: Settings) -> dict[tuple[str, int], tuple[State, str | None]]:
    """What waits for the archive, by segment and window."""
    files = Spool(settings.state_dir, 1 << 30, 0).files(IDS)
    heads = [SpoolFile.open(path).head for path in files]
    return {(head.segment, head.window_start): (head.state, head.reason) for head in heads}


@pytest.mark.parametrize("how", ["removed", "boot", "format"])
def test_the_archive_knows_that_a_segment_is_gone(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next segment has only a part of the window, and archives it all the same."""
    settings = rig.settings(tmp_path, archive=str(tmp_path / "ids"), window="86400")
    with attachment.attach(settings) as counter:
        counter.add_many(range(9))
        identity, start = counter.stats()["identity"], counter.current().window_start
    if how == "format":
        _make_format_99(settings.segment)
    else:
        settings.segment.unlink()
    if how == "boot":
        monkeypatch.setattr(attachment, "_boot", lambda: "another")
    for _ in range(2):
        attachment.attach(settings).close()
    assert _spooled(settings) == {(identity, start): (State.LOST, REASON)}


def test_the_loss_of_a_segment_is_entered_once_the_disk_takes_it(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path, archive=str(tmp_path / "ids"), window="86400")
    attachment.attach(settings).close()
    settings.segment.unlink()
    place = settings.state_dir / "archive"
    place.touch()
    attachment.attach(settings).close()
    place.unlink()
    assert _spooled(settings) == {}
    attachment.attach(settings).close()
    assert [state for state, _ in _spooled(settings).values()] == [State.LOST]


def test_a_segment_whose_windows_were_stored_is_not_lost(tmp_path: Path) -> None:
    archive = str(tmp_path / "ids")
    attachment.attach(rig.settings(tmp_path)).close()
    (tmp_path / "segment").unlink()
    attachment.attach(rig.settings(tmp_path)).close()
    attachment.attach(rig.settings(tmp_path, archive=archive)).close()
    after = rig.settings(tmp_path, archive=archive, window="2")
    attachment.attach(after).close()
    attachment.attach(after).close()
    assert State.LOST not in {state for state, _ in _spooled(after).values()}


def test_who_keeps_ids_is_noted_until_no_ids_are_kept(tmp_path: Path) -> None:
    """A worker without an archive, beside a leader with one, changes no note."""
    off, on = rig.settings(tmp_path), rig.settings(tmp_path, archive=str(tmp_path / "ids"))

    def keeper() -> str | None:
        return attachment._read(off.state_dir / "segment.json").get("keeper")

    with attachment.attach(on) as counter:
        counter.retention.enable()
        attachment.attach(off).close()
        assert keeper() == "archive"
        counter.retention.disable()
        attachment.attach(off).close()
        assert keeper() is None

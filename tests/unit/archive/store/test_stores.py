"""One contract for all places of an archive."""

from __future__ import annotations

import builtins
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.archive import places as archive
from verve._verve import SettingError
from verve.archive.errors import GoneError, StoreError
from verve.archive.store import ArchiveStore, StoredFile, open_store
from verve.archive.store.folder import FolderStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with archive.s3(tmp_path_factory.mktemp("s3") / "log") as environment:
        yield environment


@pytest.fixture(params=["folder", "url", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ArchiveStore:
    if request.param == "folder":
        return open_store(tmp_path / "root")
    if request.param == "url":
        return open_store(f"{tmp_path.as_uri()}/root%20of%20ids")
    for name, value in request.getfixturevalue("bucket").items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{archive.BUCKET}/{tmp_path.name}/ids/")


def test_files_are_put_read_listed_and_deleted(store: ArchiveStore, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"0123456789")
    assert store.list("a/") == []
    store.put("a/2/x", local)
    store.put("a/1/y=z", b"first")
    store.put("b", b"other")
    store.put("a/1/y=z", b"second!")
    assert local.exists()
    assert store.list("a/") == [StoredFile("a/1/y=z", 7), StoredFile("a/2/x", 10)]
    assert store.get("a/1/y=z") == b"second!"
    assert list(store.get_ranges("a/2/x", [(0, 3), (8, 2), (3, 0)][:2])) == [b"012", b"89"]
    store.delete("a/1/y=z")
    store.delete("a/1/y=z")
    assert store.list("a/") == [StoredFile("a/2/x", 10)]


def test_what_is_not_there_is_gone(store: ArchiveStore) -> None:
    for call in (lambda: store.get("a/x"), lambda: store.get_ranges("a/x", [(0, 1)])):
        with pytest.raises(GoneError, match="`a/x`"):
            call()


def test_only_the_owner_reads_a_folder(tmp_path: Path) -> None:
    open_store(tmp_path / "root").put("a/b/c", b"x")
    modes = [(tmp_path / f"root{name}").stat().st_mode & 0o777 for name in ("", "/a", "/a/b/c")]
    assert modes == [0o700, 0o700, 0o600]


def test_a_file_that_is_being_written_is_not_listed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put("a/x", b"x")
    (tmp_path / "a/.0.part").write_bytes(b"half")
    assert store.list("a/") == [StoredFile("a/x", 1)]


def test_what_a_writer_that_was_killed_left_goes_when_it_is_old(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/x", b"x")
    old, new = tmp_path / "a/.0.part", tmp_path / "a/.1.part"
    for path in (old, new, tmp_path / "a/x"):
        path.write_bytes(b"ids")
    for path in (old, tmp_path / "a/x"):
        os.utime(path, (0, 0))
    store.remove_unfinished(3_600)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".1.part", "x"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "root")
    with pytest.raises(GoneError):
        store.put("a/x", tmp_path / "missing")
    assert list((tmp_path / "root/a").iterdir()) == []
    (tmp_path / "root/file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"`.*/file/x`; hint"):
        store.put("file/x", b"")


def test_folders_that_are_empty_go(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put("a/b/x", b"x")
    store.put("a/y", b"y")
    store.delete("a/b/x")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["y"]
    store.delete("a/y")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_is_an_error_that_names_the_bucket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in archive.SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("verve.archive.store.objects.MOST_RETRIES", 0)
    with pytest.raises(StoreError, match=f"in `s3://{archive.BUCKET}`"):
        open_store(f"s3://{archive.BUCKET}").get("a")


def test_a_url_of_no_store_is_an_error() -> None:
    with pytest.raises(SettingError, match=r"`ftp://`; hint: use a folder"):
        open_store("ftp://example.com/ids")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pyarrow(name: str, *rest: Any) -> Any:  # noqa: ANN401 - as the real one
        if name == "pyarrow":
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(SettingError, match=r"`pyarrow`; hint: pip install 'verve-counter\[arc"):
        open_store("/srv/ids")

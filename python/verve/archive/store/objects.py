"""The archive in an object store: S3 and what speaks its protocol, Google Cloud, Azure."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from verve._verve import SettingError
from verve.archive.errors import GoneError, StoreError

from .base import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

TIMEOUT = timedelta(seconds=30)
"""For a request; one that hangs fails then. With all its repeats it may take twice that."""
MOST_RETRIES = 5


class ObjectStore:
    """A bucket, or a folder in it. Credentials and regions come from the environment.

    The variables are those of the makers, such as `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT_URL`.
    """

    def __init__(
        self, url: str, *, allow_http: bool = False, timeout: timedelta | None = None
    ) -> None:
        timeout = timeout or TIMEOUT
        self._url = url.rstrip("/")
        try:
            self._store: Any = from_url(
                self._url,
                client_options={
                    "timeout": timeout,
                    "connect_timeout": timedelta(seconds=5),
                    "allow_http": allow_http,
                },
                retry_config={"max_retries": MOST_RETRIES, "retry_timeout": 2 * timeout},
            )
        except (BaseError, ValueError) as error:
            raise SettingError(
                f"the archive cannot be opened: {_first_line(error)}: `{self.url}`; "
                "hint: `VERVE_ARCHIVE` takes a folder, or `s3://`, `gs://` or `az://` with a bucket"
            ) from error

    @property
    def url(self) -> str:
        """The URL, without what may be secret in it."""
        parts = urlsplit(self._url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def list(self, prefix: str, check: Callable[[], object] | None = None) -> list[StoredFile]:
        """See `ArchiveStore`. It takes a request per page, of which none hangs for ever."""
        found = []
        with self._mapped(prefix):
            for page in obstore.list(self._store, prefix=prefix):
                if check is not None:
                    check()
                found += [StoredFile(one["path"], one["size"]) for one in page]
        return sorted(found)

    def get(self, name: str) -> bytes:
        """See `ArchiveStore`."""
        with self._mapped(name):
            return bytes(obstore.get(self._store, name).bytes())

    def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """See `ArchiveStore`."""
        if not ranges:
            return []
        with self._mapped(name):
            found = obstore.get_ranges(
                self._store,
                name,
                starts=[offset for offset, _ in ranges],
                lengths=[length for _, length in ranges],
            )
            return [bytes(one) for one in found]

    def put(self, name: str, data: bytes | Path) -> None:
        """See `ArchiveStore`. It is one request: the parts of several might be left behind."""
        body = data if isinstance(data, bytes) else data.read_bytes()
        with self._mapped(name):
            obstore.put(self._store, name, body, use_multipart=False)

    def delete(self, name: str) -> None:
        """See `ArchiveStore`."""
        with contextlib.suppress(GoneError), self._mapped(name):
            obstore.delete(self._store, name)

    @contextlib.contextmanager
    def _mapped(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise GoneError(f"a file of the archive is not there: `{name}`") from error
        except (BaseError, OSError) as error:
            raise StoreError(
                f"the archive's store failed: {_first_line(error)}: `{name}` in `{self.url}`; "
                "hint: check the bucket, its keys and the network"
            ) from error


def _first_line(error: Exception) -> str:
    """The message without the structure that obstore appends to it."""
    return str(error).strip().partition("\n")[0]

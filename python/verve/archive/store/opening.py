"""Opens the archive that a setting names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from verve._verve import SettingError
from verve.archive.errors import missing_extra

if TYPE_CHECKING:
    from datetime import timedelta

    from .base import ArchiveStore

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_BUCKETS = {"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl"}


def open_store(place: str | os.PathLike[str], *, timeout: timedelta | None = None) -> ArchiveStore:
    """The archive in a folder, or at the URL of a bucket. Nothing is made or asked yet.

    A request to a bucket fails after `timeout`, which has a default.

    Raises `SettingError`: for a URL that names no store, and without the extra `archive`.
    """
    text = os.fspath(place)
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else "file"
    try:
        import numpy  # noqa: F401, ICN001, PLC0415 - only to see that it is there
        import pyarrow  # noqa: F401, ICN001, PLC0415 - the same

        if scheme == "file":
            from .folder import FolderStore  # noqa: PLC0415 - beside the others

            path = unquote(urlsplit(text).path) if found else text
            return FolderStore(Path(path).expanduser().absolute())
        if scheme in _BUCKETS:
            from .objects import ObjectStore  # noqa: PLC0415 - only with the extra

            plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"true", "1"}
            return ObjectStore(text, allow_http=plain, timeout=timeout)
    except ImportError as error:
        raise missing_extra(error) from error
    raise SettingError(
        f"the archive has a URL of no known store: `{scheme}://`; "
        "hint: use a folder, or `s3://`, `gs://` or `az://` with a bucket"
    )

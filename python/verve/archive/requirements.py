"""Whether the packages of the extra `archive` are there, without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import missing_extra


def check(place: str) -> None:
    """Check that an archive at `place` can be used. Raises `SettingError`."""
    is_folder = "://" not in place or place.startswith("file:")
    for package in ("numpy", "pyarrow", *(() if is_folder else ("obstore",))):
        if find_spec(package) is None:
            raise missing_extra(ImportError(name=package))

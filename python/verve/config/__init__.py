"""The settings: a table, how it is filled, and how it is shown."""

from .loading import SUPERVISOR, load, unknown
from .settings import TABLE, Settings

__all__ = ["SUPERVISOR", "TABLE", "Settings", "load", "unknown"]

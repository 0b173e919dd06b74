"""The settings: their table, the loader that fills it, and the formats that print it."""

from .loading import SUPERVISOR, load, unknown
from .settings import TABLE, Settings

__all__ = ["SUPERVISOR", "TABLE", "Settings", "load", "unknown"]

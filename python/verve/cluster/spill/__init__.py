"""Ids of windows that wait for Redis: in an arena, or in a file on disk."""

"""The ids of frozen windows: in an arena, or in a file on disk."""

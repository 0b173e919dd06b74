"""Closed windows: what one is, and how they are read from the sealed ring of the segment."""

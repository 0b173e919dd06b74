"""Sealed windows: their figures, and how to read them from the ring of the segment."""

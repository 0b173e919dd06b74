"""Torture: real components under load and faults; each count is held against the ids sent."""

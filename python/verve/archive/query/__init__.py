"""Exact counts of distinct ids over any span of whole windows."""

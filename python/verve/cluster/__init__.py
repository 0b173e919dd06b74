"""Hosts that count as one: the protocol of `docs/cluster.md`, on the side of the leader.

Everything here runs on one event loop, in the thread of the `Reconciler`. A file holds one part:
`keys`, `state`, `hosts` say what stands in Redis; `clock`, `markers`, `closing`, `spill`,
`publisher` each keep some rules of that page; `life` is the way of one window through them, and
`reconciler` that of all windows.
"""

"""The rules of `docs/internals/cluster.md`, one part per file.

`markers` registers a host for a window, `host_completion` sends the ids that Redis lacks,
`record_committer` commits the count, `loss_detector` notices that Redis lost keys, `clock` follows
its time.
"""

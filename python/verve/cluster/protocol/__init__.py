"""The rules of `docs/cluster.md`, one part a file.

`markers` registers a host for a window, `host_completion` sends what Redis lacks of it,
`record_committer` publishes the count, `loss_detector` notices that Redis lost keys, `clock`
follows its time.
"""

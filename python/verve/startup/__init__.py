"""From the settings to a running service: inspect, migrate, open, join, lead.

`worker` is the process, `configuration` what it is started with, `startup` the steps of the start,
`attachment` opens the segment, `migration` takes up one of other settings, `cluster_join` joins a
cluster.
"""

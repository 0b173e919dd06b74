"""Hosts that count as one: the protocol of `docs/internals/cluster.md`, for a leader.

All of it but `replication` runs on one event loop, in the thread of the coordinator. `redis_state`
reads and writes what the hosts share in Redis, `protocol` has the rules, `spill` keeps ids on disk,
`coordinator` takes each window through the rules, `replication` sends new ids, `runtime` has the
event loop and the machine. `interfaces` has the ports.
"""

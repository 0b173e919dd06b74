"""Hosts that count as one: the protocol of `docs/cluster.md`, on the side of the leader.

Everything here but `replication` runs on one event loop, in the thread of the coordinator.
`redis_state` is what stands in Redis, `protocol` the rules, `spill` the ids that wait,
`coordinator` the way of all windows through them, `replication` the new ids on their way to Redis;
`interfaces` says what these need of one another.
"""

"""Publishes sealed windows to the ledger and the sinks: the work of the leader of a host.

`leader` holds the lease (`lease`) and runs a `term`, whose `task`s are steps that threads take.
`window_source` gives the windows, `ledger_writer` stores them. A `sink_worker` per sink delivers
them from the `log_queue` or the `outbox`; `sink_status` is the status of each sink.
"""

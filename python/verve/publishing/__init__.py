"""From closed windows to the ledger and the sinks, by the leader of the host.

`leader` runs it, `window_source` gives the closed windows, `ledger_writer` stores them, a
`sink_worker` per sink delivers them from the `outbox`, `sink_status` tells how each sink does.
"""

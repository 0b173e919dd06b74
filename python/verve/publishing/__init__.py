"""From closed windows to the ledger and the sinks, by the leader of the host."""

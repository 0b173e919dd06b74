"""Status files, by which the leader reports the state of the cluster to the other workers."""

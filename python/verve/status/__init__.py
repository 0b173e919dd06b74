"""What the leader tells the other workers of a host through small files: the cluster's state."""

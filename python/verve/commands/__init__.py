"""The command `verve`."""

"""What becomes of files as they age: roll-ups, the retention, and ids that are to be forgotten."""

"""What becomes of files as they age: roll-ups, the expiry, and ids that are to be forgotten."""

"""What stands in Redis beside the ids: keys, windows, hosts, changes, and the scripts on them."""

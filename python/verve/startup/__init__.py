"""From the settings to a counter: attach to the segment, migrate an old one, join a cluster."""

"""Loads and columns that several scenarios share."""

CONNECTIONS = ("--connections", "64")
"""Many more connections than workers."""
DUPLICATES = 10_000
ZIPF = "zipf:1000000:1.1"
"""A million ids, a few of them very often: the shape of users, addresses and products."""
OPEN_LOOP = (*CONNECTIONS, "--rate", "10000")

RATE_COLUMNS = {"rate": "requests/s", "cpu_us": "CPU us per request", "p99_ms": "p99 ms"}
LATENCY_COLUMNS = {
    "p99_ms": "p99 ms",
    "p50_ms": "p50 ms",
    "p99.9_ms": "p99.9 ms",
    "near_p99_ms": "p99 ms near a boundary",
    "away_p99_ms": "p99 ms away",
    "near_to_away": "near / away",
    "cpu_us": "CPU us per request",
}

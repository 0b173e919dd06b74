"""Whole clusters on virtual time: real cluster and publishing code, faults by seed, no waiting.

`world` is the time, `redis_double` the server, `network` its clients, `host` the hosts, `faults`
what goes wrong; `scenario` runs a seed, and `checker` reads its history and nothing else.
"""

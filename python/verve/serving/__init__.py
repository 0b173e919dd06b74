"""`verve serve`: Granian with what a service needs around it.

`serve` starts it, `granian_options` checks the options of Granian that the user gives, `listening`
resolves the address, `application` gives the workers their configuration, `supervisor` starts them
again by the `restart_policy`, `worker_sockets` keeps their sockets over a reload, `orphans` reaps
the processes that it inherits, `timers` derives Granian's timers.
"""

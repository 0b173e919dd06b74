"""`verve serve`: Granian with what a service needs around it.

`serve` starts it, `granian_options` judges what the user asks of Granian, `listening` finds the
address, `application` hands the settings to the workers, `supervisor` starts workers again,
`worker_sockets` keeps their sockets over a reload, `timers` derives Granian's timers.
"""

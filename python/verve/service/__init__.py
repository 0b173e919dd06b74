"""One worker process of the service: its parts, its fast path, its callbacks, its end.

`worker` holds all of it from the start to the end, `fast_path` answers accepts without the event
loop, `callbacks` sends them, `host_facts` and `disk_threads` look into files for those who ask over
HTTP, `termination` notices the signals to end, `batch_scheduling` sets the scheduling policy.
"""

"""The running service of one worker process: what its requests use.

`running` holds all of it, `fast_path` answers accepts without the event loop, `callbacks` sends
them, `host_facts` and `disk_threads` read files for requests, `termination` handles the signals to
end, `batch_scheduling` sets the scheduling policy.
"""

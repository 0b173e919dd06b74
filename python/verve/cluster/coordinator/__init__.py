"""The leader's work for the windows of all hosts.

`coordinator` assembles and runs the tasks, `work` lists them. `heartbeat`, `loss_recovery`,
`clock_sync`, `registrar`, `current_count` and `status_report` each have one task; `windows` starts
a `window_task` for each window, which hands its record to `publication`.
"""

"""The windows of all hosts, on the side of one leader: what is due, and the way of each window.

`coordinator` runs the rounds, `windows` starts a task for each window, `window_task` is the way of
one, `parts` assembles what they share, `tally` counts what is reported.
"""

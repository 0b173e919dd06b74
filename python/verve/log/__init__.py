"""The log: the table of events, the line formats, and output that never blocks the caller.

`event_log` contains the logger, the line formats and the handler; `events` defines every event;
`background` is the port for other parts. `stream_writer` and `deferred` write without blocking the
caller. `skipped` reports entries from outside that cannot be parsed. `losses` counts lost lines.
"""

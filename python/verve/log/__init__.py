"""The log: the table of events, the line formats, and output that never blocks the caller.

`event_log` holds the logger, the line formats and the handler, `events` every event, `background`
where other parts put theirs; `stream_writer` and `deferred` write without blocking the caller;
`skipped` reports entries from outside that cannot be read, `losses` counts lines that were lost.
"""

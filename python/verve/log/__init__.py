"""The log: what an event is, the table of events, and output that no thread waits for.

`event_log` holds the logger, the line formats and the handler, `events` every event, `background`
where other parts put theirs; `stream_writer` and `deferred` write without blocking the caller;
`skipped` reports entries from outside that cannot be read, `losses` counts lines that were lost.
"""

"""The process that puts the windows of the spool into the archive, at idle priority."""

"""The spool: closed windows on the local disk, until the writer has put them into the archive."""

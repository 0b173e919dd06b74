"""The ledger: the sealed windows of this host in SQLite, and which sinks took each.

`schema` opens and upgrades the file, `ledger` reads and writes it, `expiry` drops old windows,
`lock_holder` finds a deposed process that holds its lock, `errors` lists the failures.
"""

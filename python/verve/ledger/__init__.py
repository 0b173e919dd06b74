"""The ledger: the closed windows of this host in SQLite, and which sink has taken each.

`schema` opens and upgrades the file, `ledger` reads and writes it, `expiry` drops old windows,
`lock_holder` finds a deposed process that holds its lock, `errors` says what can go wrong.
"""

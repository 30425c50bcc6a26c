"""The embedded store: a ledger in SQLite, and indexes derived from it."""

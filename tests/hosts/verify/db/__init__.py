"""The database's host, and who reaches it."""

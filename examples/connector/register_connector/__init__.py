"""A connector of one's own: the town's register of residents, here a table in SQLite. Put your system in its place."""

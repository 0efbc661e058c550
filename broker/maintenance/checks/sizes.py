"""Sizes: how much is looked at together; memory is that much, and one row that changes makes that much be opened."""

PART = 128
"""Declarations of one part of the citizens, more or less."""
GRANTS = 8
"""So many grants weigh as much as a declaration with its deliveries."""
PAGE = 2_048
"""Entries of the ledger: eight full tiles."""
RECORDS = 500
"""Records of the log."""
ROWS = 500
"""Rows of one table."""

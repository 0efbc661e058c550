"""A service that cannot be had here, and why: the test that needs it is skipped with this reason, and counted."""


class Absent(Exception):
    """One sentence that says what is missing."""

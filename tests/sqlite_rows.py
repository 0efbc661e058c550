"""A hand in a SQLite database, for tests of who tampers and who looks."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def change(place: Path, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement in a file, or in the database of a home; returns its rows."""
    with closing(sqlite3.connect(place / "unefois.db" if place.is_dir() else place)) as database:
        rows = database.execute(statement).fetchall()
        database.commit()
    return rows

"""What is kept, before and after: nothing may be lost, and nothing added but the note that something was refused."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from broker.ledger.openings import NOBODY
from schemas.entry import Entry, EntryKind
from schemas.facts import FactKind

LEDGER, OPENINGS = "ledger_entries", "ledger_openings"
USES = "credential_uses"
"""From where a good token came is noted, whatever it asks for."""

Rows = dict[str, list[tuple[Any, ...]]]


def rows_of(database: Path) -> Rows:
    """Every row of every table, as another process would read them now."""
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        ours = sorted(name for name in names if not name.startswith("sqlite_") and name != USES)
        rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in ours}
        if LEDGER in rows:
            rows[LEDGER] = connection.execute(f"SELECT entry FROM {LEDGER} ORDER BY id").fetchall()
            rows[OPENINGS] = connection.execute(f"SELECT leaf, kind, subject FROM {OPENINGS}").fetchall()
        return rows


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file below a folder; the database's own and those without a name yet apart."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".db" not in path.name and not path.name.startswith(".")
    }


@contextmanager
def unchanged(database: Path, *, refusals: int = 0) -> Iterator[None]:
    """What happens inside changes no row, except that the ledger notes so many refusals, without a citizen in them."""
    before = rows_of(database)
    yield
    after = rows_of(database)
    old, new = before.pop(LEDGER, []), after.pop(LEDGER, [])
    kept, opened = before.pop(OPENINGS, []), after.pop(OPENINGS, [])
    assert before == after
    assert old == new[: len(old)]
    assert [EntryKind.FACT] * refusals == [Entry.decode(entry).kind for (entry,) in new[len(old) :]]
    assert set(kept) <= set(opened)
    assert [(FactKind.REFUSED.value, NOBODY)] * refusals == [row[1:] for row in set(opened) - set(kept)]

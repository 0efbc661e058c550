"""The town's own system: who lives where, in SQLite. Put yours here, and keep its two rules.

Refuses: nothing.
Keeps: an effect and the delivery's id are one transaction, so a delivery that comes again has no second effect. Of each
field the newest value counts, by when its source declared it; a field that was withheld says nothing.
"""

import json
import sqlite3
from pathlib import Path

from unefois_agency.connectors.sdk import WITHHELD, AddressChanged, plain
from unefois_agency.schemas.delivery import VerifiedDelivery

from town import match

FIELDS = ("subject", "effective_date", "new_address", "email", "occupancy")
"""What the town keeps, of what it may see."""
TABLES = """
CREATE TABLE IF NOT EXISTS applied (delivery TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS resident (
  person BLOB, field TEXT, value TEXT, declared_at INTEGER, PRIMARY KEY (person, field)) WITHOUT ROWID;
"""


def opened(path: Path) -> sqlite3.Connection:
    """The database, made if it is not there."""
    database = sqlite3.connect(path)
    database.executescript(f"PRAGMA synchronous = FULL; {TABLES} {match.TABLES}")
    return database


def moved(database: sqlite3.Connection, facts: VerifiedDelivery, record: AddressChanged) -> bool:
    """Somebody moves. Returns whether that was news; durable then, and before.

    Crash before the commit: the delivery comes again. After: it comes again and is known.
    """
    told = {name: value for name, value in plain(record).items() if name in FIELDS}
    with database:
        known = database.execute("INSERT OR IGNORE INTO applied VALUES (?)", (facts.delivery_id.hex(),))
        if known.rowcount == 0:
            return False
        database.executemany(
            "INSERT INTO resident VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value,"
            " declared_at = excluded.declared_at WHERE excluded.declared_at >= resident.declared_at",
            [
                (facts.pseudonym, name, json.dumps(told[name], default=str), facts.issued_at)
                for name in FIELDS
                if getattr(record, name) is not WITHHELD
            ],
        )
    return True


def residents(database: sqlite3.Connection) -> list[dict[str, object]]:
    """What is known of each person."""
    people: dict[bytes, dict[str, object]] = {}
    for person, name, value in database.execute("SELECT person, field, value FROM resident"):
        people.setdefault(person, {})[name] = json.loads(value)
    return list(people.values())

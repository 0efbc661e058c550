"""Match: which of the town's own people a delivery is about. Put your register where the table `known` is.

Refuses: to guess. Nobody, or several, is an answer; a number whose owner has another name or birthday is a colleague's.
Keeps: what was matched once is known by the pseudonym from then on, so a new name does not lose the person. As long as
no register was read, the town knows nobody before they come: then everybody is new, and no one is missing.
"""

import csv
import re
import sqlite3
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from unefois_agency.connectors.sdk import WITHHELD, Identity, PersonReference
from unefois_agency.schemas.delivery import VerifiedDelivery

TABLES = """
CREATE TABLE IF NOT EXISTS known (
  number TEXT PRIMARY KEY, family_name TEXT, given_names TEXT, birthdate TEXT, birthplace TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS known_by_name ON known (family_name, birthdate);
CREATE TABLE IF NOT EXISTS link (person BLOB PRIMARY KEY, number TEXT NOT NULL) WITHOUT ROWID;
"""
_LETTERS = str.maketrans({"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss"})
_OTHER = re.compile(r"[^A-Z]+")


def learn(database: sqlite3.Connection, file: Path) -> int:
    """Read the register: a CSV file with number, family_name, given_names, birthdate, birthplace. Returns how many."""
    with file.open(encoding="utf-8", newline="") as rows, database:
        told = [
            (
                row["number"],
                name(row["family_name"]),
                name(row["given_names"]),
                row["birthdate"],
                row["birthplace"],
            )
            for row in csv.DictReader(rows)
        ]
        database.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)", told)
    return len(told)


def numbers(database: sqlite3.Connection, facts: VerifiedDelivery, subject: object) -> list[str] | None:
    """The numbers of those whom it may be about, by the pseudonym or else by the identity; None without a register."""
    if database.execute("SELECT count(*) FROM known").fetchone() == (0,):
        return None
    linked = [row[0] for row in database.execute("SELECT number FROM link WHERE person = ?", (facts.pseudonym,))]
    if linked or not isinstance(subject, Identity):
        return linked
    query = "SELECT number FROM known WHERE family_name = ? AND birthdate = ? AND given_names = ? AND birthplace = ?"
    whole = (*_hint(subject), name(" ".join(subject.given_names)), subject.birthplace or "")
    found = [row[0] for row in database.execute(query, whole)]
    if len(found) == 1:
        _link(database, facts, found)
    return found


def noted(database: sqlite3.Connection, facts: VerifiedDelivery, told: PersonReference) -> bool:
    """Somebody adds their number. Whether it is theirs, as far as family name and date of birth tell."""
    if told.number is WITHHELD or not isinstance(told.subject, Identity):
        return False
    query = "SELECT number FROM known WHERE family_name = ? AND birthdate = ? AND number = ?"
    found = [row[0] for row in database.execute(query, (*_hint(told.subject), told.number))]
    if found:
        _link(database, facts, found)
    return bool(found)


def name(text: str) -> str:
    """As it is compared: capitals without accents, one space for whatever stands between."""
    bare = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    plain = "".join(letter for letter in bare if not unicodedata.combining(letter))
    return _OTHER.sub(" ", plain.upper()).strip()


def _hint(person: Identity) -> tuple[str, str]:
    return name(person.family_name), str(person.birthdate)


def _link(database: sqlite3.Connection, facts: VerifiedDelivery, found: Iterable[str]) -> None:
    with database:  # crash after it: it is known already, and found again
        database.executemany("INSERT OR REPLACE INTO link VALUES (?, ?)", [(facts.pseudonym, one) for one in found])

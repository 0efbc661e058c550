"""Systems: what each administration's own system holds, read with the tools that its people have.

Refuses: to ask the broker; a database is read with SQLite's library, a CSV file byte by byte.
Keeps: which column shows which field is read from the mapping file itself, so no list here can be wrong.
"""

import csv
import io
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from broker.cli.demo.stage import Stage
from connectors import mapping

QUERIES: Mapping[str, tuple[str, str]] = {
    "nantes": ("town.db", "SELECT * FROM departs ORDER BY rowid"),
    "rennes": ("town.db", "SELECT * FROM arrivees ORDER BY rowid"),
    "tax": ("tax.db", "SELECT * FROM residences ORDER BY rowid"),
}
"""Database and question, as an administrator would type it."""
MAPPINGS: Mapping[str, str] = {
    "nantes": "commune-departure-table",
    "rennes": "commune-table",
    "family": "family-benefits-csv",
    "tax": "tax-table",
}


def table_rows(database: Path, query: str) -> list[dict[str, Any]]:
    """Every row that a query finds; none where nothing was ever delivered."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def csv_files(folder: Path) -> list[bytes]:
    """Every CSV file of a folder, in the order of their numbers."""
    return [path.read_bytes() for path in sorted(folder.glob("*.csv"))]


def csv_rows(content: bytes) -> list[dict[str, str]]:
    """A file as the fund's program reads it: ISO-8859-1, semicolons, a header. Raises csv.Error for an open quote."""
    text = io.StringIO(content.decode("iso-8859-1"), newline="")
    return list(csv.DictReader(text, delimiter=";", strict=True))


def rows(stage: Stage, key: str) -> list[dict[str, Any]]:
    """What an administration's system holds of moves, oldest first."""
    if key in QUERIES:
        database, query = QUERIES[key]
        return table_rows(stage.folder(key) / database, query)
    if key == "family":
        return [row for content in csv_files(stage.folder("family") / "moves") for row in csv_rows(content)]
    return (
        [each["record"] for each in stage.health.kept() if "new_address" in each["record"]] if key == "health" else []
    )


def held(stage: Stage, key: str) -> dict[str, str]:
    """The newest move as this administration sees it: field of the declaration -> what stands in its system.

    A field that it does not hold is absent.
    """
    found = rows(stage, key)
    if not found:
        return {}
    if key == "health":
        return {name: _shown(value) for name, value in found[-1].items() if value != "WITHHELD"}
    shown: dict[str, str] = {}
    for column, fields in columns(MAPPINGS[key]).items():
        value = found[-1].get(column)
        for name in fields:
            if value not in (None, "") and name not in shown:
                shown[name] = str(value)
    return shown


def columns(name: str) -> dict[str, tuple[str, ...]]:
    """Which fields of the declaration each column of a packaged mapping shows."""
    loaded = mapping.load(mapping.packaged()[f"{name}.out.yaml"])
    return {pointer.rpartition("/")[2]: tuple(part.reads) for pointer, part in mapping.expressions(loaded)}


def _shown(value: object) -> str:
    """A record in one short word: a person by the family name, an address by its street."""
    if isinstance(value, dict):
        return value["family_name"] if "family_name" in value else f"{value['housenumber']} {value['street']}"
    return str(value)

"""The register's connector: one row for each delivery, and the delivery's id is the row's own reference.

Refuses: a target that the register has no column for; a cell that is no text, number or null.
Keeps: idempotent by reference. A delivery comes again whenever its acknowledgement was not heard: after a crash, a lost
answer, a lease that ended. What makes its second write find the first is `reference`, unique in the register itself and
written in the same transaction as the row. A note of "done" in another place would be written before the row, and lose
it, or after it, and double it.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from unefois_agency.connectors.cells import text_of
from unefois_agency.connectors.contract import Applied, Ground, Retry, Row, Settings, checked
from unefois_agency.schemas.delivery import VerifiedDelivery
from unefois_agency.schemas.errors import Refused
from unefois_agency.schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId, uuid_text

T = TypeVar("T")
COLUMNS = ("citizen", "name", "street", "town", "from_day", "mail")
TABLES = f"""
CREATE TABLE IF NOT EXISTS move (
  reference TEXT PRIMARY KEY, source TEXT NOT NULL, declaration TEXT NOT NULL, manifest TEXT NOT NULL,
  {", ".join(f"{name} TEXT" for name in COLUMNS)});
CREATE INDEX IF NOT EXISTS move_declaration ON move (source, declaration);
"""


class RegisterSettings(Settings):
    """What the connector has to be told."""

    database: Path
    """The register's file; its folder must exist."""


class RegisterConnector:
    """One register. Made by `open`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Look at the settings and at the register itself: what is wrong is told now, not at the first delivery.

        Raises Refused("connector.settings", "register.no-column"), Retry("register.away").
        """
        chosen = checked(RegisterSettings, settings)
        for name in targets:
            if name not in COLUMNS:
                raise Refused("register.no-column", f"/fields/{name}")
        try:
            database = sqlite3.connect(chosen.database, isolation_level=None, check_same_thread=False)
            database.executescript(f"PRAGMA synchronous = FULL; {TABLES}")
        except sqlite3.OperationalError:
            raise Retry("register.away") from None
        return cls(database)

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        """Asked before anything else is done with a delivery: one that is there is only acknowledged."""
        reference = uuid_text(delivery_id)
        query = "SELECT reference FROM move WHERE reference = ?"
        return Applied(reference) if await self._first(query, reference) is not None else None

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """One row, durable on return; the same delivery again changes nothing. Returns the reference.

        Raises Reject with the column as pointer, Retry("register.away").
        """
        told = {
            "reference": uuid_text(delivery.delivery_id),
            "source": str(delivery.source),
            "declaration": delivery.declaration_id.hex(),
            "manifest": delivery.manifest_digest.hex(),
            **{name: text_of(value, f"/{name}") for name, value in row.items()},
        }
        names, marks = ", ".join(told), ", ".join("?" * len(told))
        # Names are those of COLUMNS: `open` has seen to it. A reference that is there already changes nothing.
        query = f"INSERT INTO move ({names}) VALUES ({marks}) ON CONFLICT (reference) DO NOTHING"  # noqa: S608
        # Crash before the commit: there is no row, and the delivery comes again. After it: `find` finds the row.
        await self._asked(lambda: self._database.execute(query, tuple(told.values())))
        return told["reference"]

    async def flush(self) -> None:
        """Nothing is left to do: each write was committed. A system that takes batches would send its batch here."""

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """Under which manifest this declaration was written before: another one of the same id is refused."""
        query = "SELECT manifest FROM move WHERE source = ? AND declaration = ? LIMIT 1"
        found = await self._first(query, str(source), declaration_id.hex())
        return None if found is None else ManifestDigest.parse(found)

    async def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    async def _first(self, query: str, *values: str) -> str | None:
        row = await self._asked(lambda: self._database.execute(query, values).fetchone())
        return None if row is None else str(row[0])

    async def _asked(self, ask: Callable[[], T]) -> T:
        """In a thread, one after the other. A register that is locked or away is asked again later."""
        async with self._turn:
            try:
                return await asyncio.to_thread(ask)
            except sqlite3.OperationalError:
                raise Retry("register.away") from None

"""The table connector: rows in a table of the agency's own database, in the agency's own transaction.

    one transaction   the inbox row of this delivery (`unefois_inbox`), and the business row, or rows

so that the two are there together or not at all, whatever crashes, and a delivery that comes again finds its inbox row.

Refuses: a value that its column cannot hold, a row that breaks the agency's rules, and what `table_shape` refuses.
Keeps: one business row's change for each delivery id, for ever. An error never repeats a value: statements are built
       with bound parameters, and what a driver says is not passed on.

Modes: `insert` adds a row for each delivery; `upsert` changes the row with the same key, or adds it; `update` changes
it, and answers where nobody or several are found by the key. A target that the mapping left out (`keep_if_withheld`)
leaves its column as it is.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Self

from sqlalchemy import ColumnElement, Numeric, Select, String, Table, cast, select
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from connectors.cells import typed
from connectors.contract import (
    Answered,
    Applied,
    Ground,
    Otherwise,
    Reject,
    Retry,
    Row,
    Unknown,
    checked,
    reference_token,
)
from connectors.description import Case, Description
from connectors.table_shape import MARIADB, TableSettings, engine_of, examine, inbox_table, look
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault, Refused
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId, Reason, rfc3339, uuid_text

_AWAY = (SQLAlchemyError, OSError)
"""What a driver raises; asyncpg lets a refused connection through as the OSError that it is."""


class TableConnector:
    """One table. Made by `open`."""

    about: ClassVar = Description(
        settings=TableSettings,
        guarantee={
            "en": "The row and the note that it was written are one transaction: both are there, or neither.",
            "fr": "La ligne et la trace de son écriture forment une transaction : les deux existent, ou aucune.",
        },
        other_side={
            "en": "The table unefois_inbox stays in the same database, and its key delivery_id stays unique.",
            "fr": "La table unefois_inbox reste dans la même base, et sa clé delivery_id reste unique.",
        },
        at_once=4,
        spared={
            Case.CRASH_BEFORE_FLUSH: {
                "en": "Each write is committed by itself; nothing waits for a flush.",
                "fr": "Chaque écriture est validée à part ; rien n'attend de vidage.",
            },
            Case.TOO_MANY: {
                "en": "A database does not ask to come back later; one that is full is away.",
                "fr": "Une base ne demande pas de revenir plus tard ; pleine, elle est absente.",
            },
            Case.TRUNCATED_ANSWER: {
                "en": "The driver gives a whole answer, or none.",
                "fr": "Le pilote donne une réponse entière, ou aucune.",
            },
        },
    )

    def __init__(self, settings: TableSettings, ground: Ground, engine: AsyncEngine, table: Table) -> None:
        self._settings = settings
        self._ground = ground
        self._engine = engine
        self._table = table
        self._inbox = inbox_table(settings.database_schema)

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Connect, look at the table, and check that these targets fit it.

        Raises Refused("connector.settings", "table.*") or Retry("table.away").
        """
        chosen = checked(TableSettings, settings)
        engine = engine_of(chosen.url.get_secret_value(), chosen.ca_file)
        try:
            async with engine.begin() as connection:
                table = await connection.run_sync(look, chosen, targets)
        except BaseException as error:
            await engine.dispose()  # whatever went wrong, no connection is left behind
            if not isinstance(error, _AWAY):
                raise
        else:
            return cls(chosen, ground, engine, table)
        raise Retry("table.away")

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Connects, and looks at the tables; creates nothing, not even the file of an SQLite database."""
        try:
            chosen = checked(TableSettings, settings)
            engine = engine_of(chosen.url.get_secret_value(), chosen.ca_file)
        except Refused as fault:
            return (fault,)
        try:
            if await asyncio.to_thread(_is_not_there_yet, engine):
                return () if chosen.create else (Retry("table.away"),)
            async with engine.connect() as connection:
                return await connection.run_sync(examine, chosen, targets)
        except _AWAY:
            return (Retry("table.away"),)
        finally:
            await engine.dispose()

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        """From the agency's inbox table. Raises Retry("table.away")."""
        query = select(self._inbox.c.reference).where(self._inbox.c.delivery_id == uuid_text(delivery_id))
        found = await self._asked(query)
        return None if found is None else Applied(found[0])

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """Inbox row and business row in one transaction; durable and visible on return.

        Raises Retry("table.away", "table.failed"), Reject("table.*", "connector.cell"), Unknown("table.commit").
        """
        return await self.write_rows(delivery, (row,))

    async def write_rows(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str | None:
        """As `write`: all of them in the one transaction. The reference is the first row's."""
        try:
            return await self._write_once(delivery, rows)
        except Reject as fault:
            if fault.code != "table.constraint":
                raise
        # The constraint may be a neighbour's work of this instant: the same delivery (its inbox row is found now), or
        # the first row with this key (an update finds it now). What fails twice is the agency's own rule.
        return await self._write_once(delivery, rows)

    async def flush(self) -> None:
        """Nothing is left to do: each write committed."""

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """From the agency's inbox table. Raises Retry("table.away")."""
        inbox = self._inbox.c
        query = select(inbox.manifest_digest).where(
            inbox.source == str(source), inbox.declaration_id == uuid_text(declaration_id)
        )
        found = await self._asked(query.limit(1))
        return None if found is None else ManifestDigest.parse(found[0] or "")

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _asked(self, query: Select[str | None]) -> tuple[str | None] | None:
        """The one column of an answer's first row, or None where there is no row."""
        try:
            async with self._engine.connect() as connection:
                found = (await connection.execute(query)).first()
        except _AWAY:
            pass
        else:
            return None if found is None else (found[0],)
        raise Retry("table.away")

    async def _write_once(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str | None:
        known = await self.find(delivery.delivery_id)
        if known is not None:
            return known.reference
        cells = [{name: self._cell(name, value) for name, value in row.items()} for row in rows]
        try:
            async with self._engine.connect() as connection:
                reference = await self._both_rows(connection, delivery, cells)
                # Crash before the commit: nothing is written, the delivery comes again. After it: the inbox row is
                # there, and the delivery that comes again ends at `find`.
                await _commit(connection)
                return reference
        except _AWAY as error:
            fault = _fault(error)
        raise fault

    async def _both_rows(
        self, connection: AsyncConnection, delivery: VerifiedDelivery, cells: Sequence[Mapping[str, object]]
    ) -> str | None:
        """First the business rows, for the number; the inbox row's primary key then lets one of two neighbours win."""
        reference, *_ = [await self._business_row(connection, each) for each in cells]
        inbox_row = {
            "delivery_id": uuid_text(delivery.delivery_id),
            "source": str(delivery.source),
            "declaration_id": uuid_text(delivery.declaration_id),
            "manifest_digest": delivery.manifest_digest.hex(),
            "reference": reference,
            "applied_at": rfc3339(self._ground.clock()),
        }
        await connection.execute(self._inbox.insert().values(inbox_row))
        return reference

    async def _business_row(self, connection: AsyncConnection, cells: Mapping[str, object]) -> str | None:
        """Add or change the agency's row; its reference."""
        if self._settings.mode != "insert":
            where = self._where(cells)
            rest = {name: value for name, value in cells.items() if name not in self._settings.key} or dict(cells)
            count = (await connection.execute(self._table.update().where(*where).values(rest))).rowcount
            if count == 1:
                return await self._reference_where(connection, where)
            if self._settings.mode == "update":  # raised out of the transaction, which is rolled back
                raise Otherwise(Answered(Reason.SEVERAL_PERSONS if count else Reason.UNKNOWN_PERSON))
            if count > 1:
                raise Reject("table.key-ambiguous", rows=count)
        result = await connection.execute(self._table.insert().values(dict(cells)))
        primary = result.inserted_primary_key
        made = {} if primary is None else dict(zip(self._table.primary_key.columns.keys(), primary, strict=False))
        name = self._settings.reference
        return None if name is None else _reference({**made, **cells}.get(name))

    def _where(self, cells: Mapping[str, object]) -> list[ColumnElement[bool]]:
        for name in self._settings.key:
            if cells.get(name) is None:
                raise Reject("table.key-null", f"/{reference_token(name)}")
        equal = [self._table.c[name] == cells[name] for name in self._settings.key]
        if self._engine.dialect.name not in MARIADB:
            return equal
        # Most collations there take Hélène for Helene; the first comparison finds by the index, the second is exact.
        exactly = mysql.CHAR(charset="utf8mb4")
        return equal + [
            cast(self._table.c[name], exactly).collate("utf8mb4_bin") == cells[name]
            for name in self._settings.key
            if isinstance(self._table.c[name].type, String)
        ]

    async def _reference_where(self, connection: AsyncConnection, where: list[ColumnElement[bool]]) -> str | None:
        name = self._settings.reference
        if name is None:
            return None
        return _reference((await connection.execute(select(self._table.c[name]).where(*where))).scalar())

    def _cell(self, name: str, value: object) -> object:
        kind, pointer = self._table.c[name].type, f"/{reference_token(name)}"
        yes_or_no = isinstance(kind, mysql.TINYINT) and kind.display_width == 1 and isinstance(value, bool)
        cell = typed(value, bool if yes_or_no else kind.python_type, pointer)
        if isinstance(cell, Decimal) and isinstance(kind, Numeric) and kind.scale is not None:
            exponent = cell.normalize().as_tuple().exponent
            if isinstance(exponent, int) and -exponent > kind.scale:  # PostgreSQL and MariaDB would round it
                raise Reject("table.value", pointer)
        if isinstance(cell, str) and isinstance(kind, String) and kind.length and len(cell) > kind.length:
            # SQLite would take it, others would refuse or cut it: the column's word counts everywhere.
            raise Reject("table.too-long", pointer, length=len(cell), limit=kind.length)
        if isinstance(cell, datetime) and not getattr(kind, "timezone", False):
            return cell.astimezone(UTC).replace(tzinfo=None)
        return cell


def _is_not_there_yet(engine: AsyncEngine) -> bool:
    """An SQLite file that connecting would create, in a folder where that can be done."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:" or Path(name).exists():
        return False
    return os.access(Path(name).absolute().parent, os.W_OK | os.X_OK)


def _reference(value: object) -> str | None:
    return None if value is None else str(value)[:200]


async def _commit(connection: AsyncConnection) -> None:
    """Raises Reject for a constraint checked at the commit, Unknown for anything that leaves the end open."""
    try:
        await connection.commit()
    except _AWAY as error:
        fault = _fault(error)
        # SQLite keeps the transaction of a failed commit open, and SQLAlchemy believes it ended: back in the pool, the
        # connection would show the next reader rows that nobody committed.
        await connection.invalidate()
    else:
        return
    raise fault if isinstance(fault, Reject) else Unknown("table.commit")


_MARIADB_STATES: Mapping[object, str] = {
    **dict.fromkeys((1048, 1062, 1364, 1451, 1452, 3819, 4025), "23"),
    **dict.fromkeys((1264, 1265, 1292, 1366, 1406, 1411), "22"),
    **dict.fromkeys((1021, 1037, 1040, 1041, 1045, 1053, 1114, 1203, 1226), "53"),
}
"""Numbers of MariaDB's errors by the class that they belong to: it gives many of them the state HY000, or none."""


def _number(error: object) -> object:
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def _fault(error: SQLAlchemyError | OSError) -> Reject | Retry:
    """What a driver's error means for the delivery. Nothing of its text is kept: it may hold values."""
    if isinstance(error, OSError):
        return Retry("table.away")
    if not isinstance(error, DBAPIError):
        return Retry("table.failed", kind=type(error).__name__)
    # SQLSTATE class 23 is a constraint, 22 a value that does not fit (asyncpg and psycopg name them alike).
    state = _MARIADB_STATES.get(_number(error.orig)) or str(getattr(error.orig, "sqlstate", None) or "")
    if isinstance(error, IntegrityError) or state.startswith("23"):
        return Reject("table.constraint")
    if isinstance(error, DataError) or state.startswith("22"):
        return Reject("table.value")
    if error.connection_invalidated or state[:2] in {"08", "57", "53"}:
        return Retry("table.away")
    return Retry("table.failed", kind=type(error).__name__)

"""The shape of an agency's table: settings, engine, the inbox table, and whether a mapping's targets fit the columns.

Refuses: a table or column that does not exist (with the nearest one), a required column without a target, an unusable
         URL. A refusal never repeats the URL: it holds a password.
Keeps: nothing is created unless the settings say so; everything wrong is found before the first citizen's row.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeEngine

from connectors.contract import Settings, reference_token
from connectors.expression import nearest
from connectors.peers import trust
from connectors.secret_files import Secret
from schemas.errors import Refused

INBOX = "unefois_inbox"
MARIADB: Final = frozenset({"mysql", "mariadb"})
"""Names of its dialects."""
_TRANSACTIONAL: Final[Mapping[str, Any]] = {
    f"{name}_{option}": value
    for name in sorted(MARIADB)
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"))
}
_SESSION: Final = (
    # What does not fit is refused and not cut; a column of instants means UTC; no gap is locked against neighbours.
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00'"
)

_TYPES: Mapping[str, type[TypeEngine[Any]]] = {
    "text": Text,
    "integer": Integer,
    "decimal": Numeric,
    "boolean": Boolean,
    "date": Date,
    "datetime": DateTime,
}


class TableSettings(Settings):
    """Settings of a `table` connector."""

    url: Secret
    """An SQLAlchemy URL of an async driver: `sqlite+aiosqlite:////var/lib/town/town.db`, `postgresql+asyncpg://...`,
    `mysql+aiomysql://...` for MariaDB"""
    ca_file: Path | None = None
    """Certificates (PEM) of the authority of a server's database: then the connection is encrypted, and the server's
    name is checked."""
    table: Annotated[str, Field(min_length=1, max_length=63)]
    database_schema: str | None = None
    mode: Literal["insert", "upsert", "update"] = "insert"
    """`insert` adds a row for each delivery, `upsert` changes the row with the same key or adds it, `update` only
    changes one: where there is none, nobody is known by these data; where there are several, several are."""
    key: tuple[str, ...] = ()
    """Columns that find the row to change; `upsert` and `update` need them."""
    create: bool = False
    """Create what is missing. Otherwise both tables must exist (`inbox_ddl` has the statement for the inbox)."""
    types: Mapping[str, Literal["text", "integer", "decimal", "boolean", "date", "datetime"]] = Field(
        default_factory=dict
    )
    """Column types for `create`; text where nothing is said."""
    reference: str | None = None
    """The column whose value the broker is told as the agency's number. Never one that identifies a person."""


def inbox_table(schema: str | None) -> Table:
    """Which deliveries are in this database; text throughout, so that an administrator can read it."""
    return Table(
        INBOX,
        MetaData(),
        Column("delivery_id", String(36), primary_key=True),
        Column("source", String(80), nullable=False, index=True),
        Column("declaration_id", String(36), nullable=False, index=True),
        Column("manifest_digest", String(64), nullable=False),
        Column("reference", String(200)),
        Column("applied_at", String(24), nullable=False),
        schema=schema,
        **_TRANSACTIONAL,
    )


def inbox_ddl(url: str, schema: str | None = None) -> str:
    """The statement that creates the inbox, in the database's own dialect, for an administrator to run."""
    return str(CreateTable(inbox_table(schema)).compile(dialect=engine_of(url).dialect)).strip()


def engine_of(url: str, ca_file: Path | None = None) -> AsyncEngine:
    """An engine for this URL; nothing is connected yet. Raises Refused("table.url", "webhook.ca-file")."""
    more: dict[str, Any] = {} if ca_file is None else {"connect_args": {"ssl": trust(str(ca_file))}}
    try:
        parts = make_url(url)
        if parts.get_backend_name() in MARIADB:
            # Every letter goes over as it is, whatever the URL says.
            parts = parts.update_query_dict({"charset": "utf8mb4"})
            more["isolation_level"] = "READ COMMITTED"
        # Parameters are citizens' values: no error text and no log may show them.
        engine = create_async_engine(parts, hide_parameters=True, pool_pre_ping=True, **more)
    except (SQLAlchemyError, ImportError):
        engine = None
    if engine is None:
        raise Refused("table.url", "/url")
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _full_sync)
    if engine.dialect.name in MARIADB:
        event.listen(engine.sync_engine, "connect", _strict)
    return engine


def _full_sync(connection: Any, _: object) -> None:
    """SQLite: what is committed survives a power cut, even in a database in WAL mode."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _strict(connection: Any, _: object) -> None:
    """MariaDB, whatever its server is set to."""
    cursor = connection.cursor()
    cursor.execute(_SESSION)
    cursor.close()


def look(connection: Connection, settings: TableSettings, targets: Sequence[str]) -> Table:
    """The business table as the database has it, checked against the targets; created where the settings allow it.

    Raises Refused("table.*").
    """
    inbox = inbox_table(settings.database_schema)
    if not inspect(connection).has_table(INBOX, schema=settings.database_schema):
        if not settings.create:
            raise Refused("table.no-inbox", "/create", table=INBOX)
        inbox.create(connection)
    table = _existing(connection, settings)
    if table is None:
        if not settings.create:
            near = nearest(settings.table, inspect(connection).get_table_names(schema=settings.database_schema))
            raise Refused("table.missing", "/table", near=near)
        table = _created(connection, settings, targets)
    for wrong in (*_untransacted(connection, settings), *_wrong_columns(table, settings, targets)):
        raise wrong
    return table


def examine(connection: Connection, settings: TableSettings, targets: Sequence[str]) -> tuple[Refused, ...]:
    """Everything that `look` would refuse; nothing is created. Without targets, the tables alone."""
    wrong = []
    if not settings.create and not inspect(connection).has_table(INBOX, schema=settings.database_schema):
        wrong.append(Refused("table.no-inbox", "/create", table=INBOX))
    table = _existing(connection, settings)
    wrong += _untransacted(connection, settings)
    if table is not None:
        return (*wrong, *(_wrong_columns(table, settings, targets) if targets else ()))
    if not settings.create:
        near = nearest(settings.table, inspect(connection).get_table_names(schema=settings.database_schema))
        wrong.append(Refused("table.missing", "/table", near=near))
    return tuple(wrong)


def _untransacted(connection: Connection, settings: TableSettings) -> list[Refused]:
    """MariaDB's tables of an engine without transactions: half of a write would stay there after a crash."""
    if connection.dialect.name not in MARIADB:
        return []
    found = connection.execute(
        text(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = coalesce(:place, database())"
            " AND table_name IN (:one, :other) AND engine <> 'InnoDB'"
        ),
        {"place": settings.database_schema, "one": settings.table, "other": INBOX},
    )
    return [Refused("table.no-transactions", "/table", table=name) for (name,) in found]


def _existing(connection: Connection, settings: TableSettings) -> Table | None:
    try:
        return Table(settings.table, MetaData(), autoload_with=connection, schema=settings.database_schema)
    except NoSuchTableError:
        return None


def _created(connection: Connection, settings: TableSettings, targets: Sequence[str]) -> Table:
    columns = [
        Column(name, _type(settings, name, connection.dialect.name), primary_key=name in settings.key)
        for name in targets
    ]
    table = Table(settings.table, MetaData(), *columns, schema=settings.database_schema, **_TRANSACTIONAL)
    table.create(connection)
    return table


def _type(settings: TableSettings, name: str, dialect: str) -> TypeEngine[Any]:
    kind = settings.types.get(name, "text")
    if kind == "text" and name in settings.key and dialect in MARIADB:
        return String(191)  # a key there has a length
    return _TYPES[kind]()


def _wrong_columns(table: Table, settings: TableSettings, targets: Sequence[str]) -> Iterator[Refused]:
    for name in targets:
        if name not in table.c:
            place, near = f"/fields/{reference_token(name)}", nearest(name, table.c.keys())
            yield Refused("table.unknown-column", place, column=name, near=near)
    for number, name in enumerate(settings.key):
        if name not in targets:
            yield Refused("table.key-unmapped", f"/key/{number}", column=name)
    if settings.mode != "insert" and not settings.key:
        yield Refused("table.no-key", "/key")
    reference = settings.reference
    if reference is not None and reference not in table.c:
        yield Refused("table.unknown-column", "/reference", column=reference, near=nearest(reference, table.c.keys()))
    for column in table.c:
        # A lone integer primary key numbers itself, in every database.
        numbered = column.primary_key and isinstance(column.type, Integer) and len(table.primary_key.columns) == 1
        given = (
            settings.mode == "update"
            or column.nullable
            or column.server_default is not None
            or column.identity is not None
            or numbered
        )
        if not given and column.computed is None and column.name not in targets:
            yield Refused("table.required-column", "/fields", column=column.name)

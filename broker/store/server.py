"""Server: what a database server says of itself to a connection that asks for nothing special.

Refuses: nothing; `broker.setup.preflight` judges.
Keeps: the question changes nothing, and its connection is closed before the answer is given.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError

from broker.store.dialects import connected, faults
from broker.store.engine import dialect_of
from schemas.errors import Refused

NAMES: Final = ("server_version_num", "fsync", "synchronous_commit", "default_transaction_isolation")

_TOLD: Final = text("SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(:names)")


async def server_settings(url: str) -> Mapping[str, str]:
    """The settings of NAMES, as the server's, the database's and the role's defaults make them; {} without a server.

    Raises Refused: `store.url`, `store.no-driver`, `store.denied`. Raises Unavailable, Corrupt.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Refused("store.url", driver="?") from None
    dialect = dialect_of(parsed)
    engine = dialect.bare(parsed)
    if engine is None:
        return {}
    try:
        with faults(dialect):
            async with connected(dialect, engine) as connection:
                rows = (await connection.execute(_TOLD, {"names": list(NAMES)})).all()
    finally:
        await engine.dispose()
    return {row.name: row.setting for row in rows}

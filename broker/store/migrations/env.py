"""What Alembic runs: revisions on the connection that `broker.store.migrate` gives, inside its transaction.

Refuses: to open a database by itself, so that there is one way in, with one lock.
Keeps: SQLite changes a table by copying it (batch mode); types are compared when a revision is drafted.
"""

from alembic import context
from sqlalchemy import Connection

from broker.store import tables

_connection = context.config.attributes.get("connection")
if not isinstance(_connection, Connection):
    raise ValueError("migrations run through broker.store.migrate")
context.configure(
    connection=_connection,
    target_metadata=tables.meta.metadata,
    render_as_batch=True,
    compare_type=True,
    compare_server_default=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

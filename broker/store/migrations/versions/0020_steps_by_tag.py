"""A delivery's ledger entries are found by its tag; used assertions go to the journal of endings

Revision 0020, after 0019.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_TAGGED = sa.text("tag IS NOT NULL")
_BATCH = 5_000
_ENTRIES = sa.table(
    "ledger_entries", sa.column("id", sa.BigInteger), sa.column("entry", sa.LargeBinary), sa.column("tag")
)


def upgrade() -> None:
    op.drop_table("spent_assertions")
    op.add_column("deliveries", sa.Column("mac", sa.LargeBinary(), nullable=True))
    op.add_column("ledger_entries", sa.Column("tag", sa.LargeBinary(), nullable=True))
    bind, last = op.get_bind(), -1
    page = sa.select(_ENTRIES.c.id, _ENTRIES.c.entry).order_by(_ENTRIES.c.id).limit(_BATCH)
    place = sa.update(_ENTRIES).where(_ENTRIES.c.id == sa.bindparam("of_id")).values(tag=sa.bindparam("told"))
    while rows := bind.execute(page.where(_ENTRIES.c.id > last)).all():
        last = rows[-1].id
        tagged = [{"of_id": row.id, "told": tag} for row in rows if (tag := _tag(row.entry)) is not None]
        if tagged:
            bind.execute(place, tagged)
    op.create_index(
        "ledger_entries_by_tag", "ledger_entries", ["tag"], sqlite_where=_TAGGED, postgresql_where=_TAGGED
    )


def _tag(entry: bytes) -> bytes | None:
    """Of an entry of version 2: after version, window and kind, each a varint, a union of null and 16 bytes."""
    at = 0
    for _ in range(3):
        while at < len(entry) and entry[at] & 0x80:
            at += 1
        at += 1
    return bytes(entry[at + 1 : at + 17]) if entry[:1] == b"\x04" and entry[at : at + 1] == b"\x02" else None

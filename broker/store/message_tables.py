"""Message tables: at which address each citizen is told, and what is to be told there.

Refuses: an address in clear, and every value of a declaration. Columns hold ciphertext, identifiers, instants.
Keeps: both tables' rows carry the machine's MAC (`broker.store.rows.macs`): who writes to the database sends nobody's
news to another address.

Instants are milliseconds since the epoch.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from broker.store.columns import mac
from consent.tables import metadata

channels = Table(
    "channels",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("kind", Text, nullable=False),  # email, mobile
    Column("language", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the address, under a key of the key store
    Column("held_since", BigInteger, nullable=False),
    Column("ended_at", BigInteger, index=True),
    mac(),
)

_DUE = text("next_at IS NOT NULL")
_OVER = text("next_at IS NULL AND sent_at IS NULL")

messages = Table(
    "messages",  # one piece of news for one channel
    metadata,
    Column("id", LargeBinary, primary_key=True),  # follows from what it tells and to which channel
    Column("channel", LargeBinary, ForeignKey("channels.id"), nullable=False, index=True),
    Column("news", Text, nullable=False),
    Column("declaration", LargeBinary),  # its id; null: it is about the channels
    Column("at", BigInteger, nullable=False, index=True),  # of the news
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),  # when it is tried next; null: never again
    Column("sent_at", BigInteger),
    Column("code", Text),  # what was wrong with the last attempt
    mac(),
    Index("messages_due", "next_at", sqlite_where=_DUE, postgresql_where=_DUE),
    Index("messages_given_up", "code", sqlite_where=_OVER, postgresql_where=_OVER),
)

GIVEN_UP = (
    messages.c.next_at.is_(None),
    messages.c.sent_at.is_(None),
    messages.c.code.not_in(["channels.ended", "messages.too-late"]),
)
"""Tried for too long: not what was never tried, for its channel had ended or the news was too old."""

TABLES = (channels, messages)

"""Citizen tables: who has signed in by themselves, by which identifiers of a provider, which codes were given out; what
a person has begun to type, and by what the same declaration is known again.

Refuses: a value of a citizen in clear, a token of a session, a code; for drafts the broker's own reference of a person.
Columns hold digests, ciphertext, identifiers, instants.
Keeps: all rows carry the machine's MAC (`broker.store.rows.macs`). What is sealed in a session opens with the token
that only the citizen's browser has, what is sealed in a code with the code: tables and key store together open none.
Whoever has the database alone can tell neither whose a draft is nor what was typed, nor whether a declaration has a
given content.

Instants are milliseconds since the epoch.
"""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

from broker.store.columns import mac
from consent.tables import metadata

citizen_sessions = Table(
    "citizen_sessions",  # one that stands; its end takes the row away
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),  # of the token
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("way", Text, nullable=False),  # franceconnect, franceconnect-plus, code
    Column("assurance", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("portal", Text),  # the administration whose portal opened it; null: our own pages
    Column("credential", LargeBinary),  # of that portal; no other may use it
    Column("helped", Integer, nullable=False),  # 0 or 1
    Column("sealed", LargeBinary, nullable=False),  # who it is, the helper, the ID token
    Column("opened_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),  # exact to a minute
    Column("expires_at", BigInteger, nullable=False, index=True),
    mac(),
)

citizen_accounts = Table(
    "citizen_accounts",  # an identifier of a provider's, and whose it is
    metadata,
    Column("alias", LargeBinary, primary_key=True),  # HMAC of issuer, client, sub
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("known_at", BigInteger, nullable=False),
    mac(),
)

citizen_codes = Table(
    "citizen_codes",  # a code that was given at a counter and not used yet; its use takes the row away
    metadata,
    Column("locator", LargeBinary, primary_key=True),  # HMAC of the whole code
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # who it is, under a key from the code
    Column("made_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    mac(),
)

citizen_drafts = Table(
    "citizen_drafts",
    metadata,
    Column("id", LargeBinary, primary_key=True),  # random; of one that a code opens: keyed digest of the code
    Column("owner", LargeBinary, index=True),  # keyed digest of the person's reference; null: whoever has the code
    Column("origin", LargeBinary, index=True),  # of one that a code opens: the person's own draft that it goes with
    Column("version", Integer, nullable=False),
    Column("written_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    mac(),
)

told_already = Table(
    "told_already",
    metadata,
    Column("declaration", LargeBinary, primary_key=True),  # its id
    Column("fingerprint", LargeBinary, nullable=False, index=True),  # keyed digest of person, type and content
    Column("at", BigInteger, nullable=False),
    mac(),
)

TABLES = (citizen_sessions, citizen_accounts, citizen_codes, citizen_drafts, told_already)

"""Access tables: how administrations come in (tokens, client keys, topics), and who is told that something waits.

Refuses: a credential. Columns hold digests and public keys, and names by which others know an administration.
Keeps: an assertion is used once, a webhook's message is on its way once.

Instants are milliseconds since the epoch.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from broker.store.columns import Sequence, seal
from consent.tables import metadata

# ── API tokens: the digest of each secret, never the secret ─────────────────────────────────────────────────────────

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("party", Text, ForeignKey("parties.id"), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of 32 random bytes
    Column("scopes", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    *seal(),
)

credential_uses = Table(
    "credential_uses",
    metadata,
    Column("credential", LargeBinary, nullable=False),  # an API token's id, or the thumbprint of a client's pinned key
    Column("address", Text, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("credential", "address"),
)

# ── who is served by topics on Kafka: the name that Kafka knows them by, never their credential ─────────────────────

topic_users = Table(
    "topic_users",
    metadata,
    Column("party", Text, ForeignKey("parties.id"), nullable=False),
    Column("principal", Text, nullable=False),
    Column("receives", Integer, nullable=False),  # 0 or 1: sealed deliveries go to its topic
    Column("declares", Integer, nullable=False),  # 0 or 1: its declarations come by its topic
    Column("since", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    *seal(),
    PrimaryKeyConstraint("party", "since"),
)

# ── OAuth2 clients: their pinned public keys, and what they have used ──────────────────────────────────────────────

client_keys = Table(
    "client_keys",
    metadata,
    Column("kid", LargeBinary, primary_key=True),  # RFC 7638 thumbprint
    Column("party", Text, ForeignKey("parties.id"), nullable=False, index=True),
    Column("jwk", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    *seal(),
)

_FOLLOWED = text("revoked_at IS NULL")

client_key_sets = Table(
    "client_key_sets",  # where an administration publishes its client keys; one address at a time
    metadata,
    Column("party", Text, ForeignKey("parties.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    *seal(),
    PrimaryKeyConstraint("party", "added_at"),
    Index("client_key_sets_standing", "party", unique=True, sqlite_where=_FOLLOWED, postgresql_where=_FOLLOWED),
)

# ── what was answered to a request that said its Idempotency-Key ────────────────────────────────────────────────────

kept_answers = Table(
    "kept_answers",
    metadata,
    Column("party", Text, ForeignKey("parties.id"), nullable=False),
    Column("key", LargeBinary, nullable=False),  # SHA-256
    Column("request", LargeBinary, nullable=False),  # SHA-256 of all that was sent
    Column("at", BigInteger, nullable=False, index=True),
    Column("lease_until", BigInteger),  # null once it is answered
    Column("status", Integer),
    Column("headers", Text),
    Column("answer", LargeBinary),
    PrimaryKeyConstraint("party", "key"),
)

# ── webhooks: endpoints of administrations, the message that is on its way to each, and what came of every attempt ──

_DUE = text("next_at IS NOT NULL")

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("party", Text, ForeignKey("parties.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("symmetric", Integer, nullable=False),  # 1: signed with a shared secret, too
    Column("created_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),  # why it is disabled: a code
    Column("changed_at", BigInteger, nullable=False),  # when the status was last another
    Column("version", Integer, nullable=False),  # of its keys, which are made from the broker's secret
    Column("previous_until", BigInteger),  # until then the version before signs, too
    Column("told_seq", BigInteger, nullable=False),  # the newest delivery that a message was made for
    Column("message", LargeBinary),  # on its way; null: none
    Column("message_at", BigInteger),
    Column("waiting", Integer, nullable=False),  # what that message tells
    Column("attempts", Integer, nullable=False),  # of that message, without success
    Column("next_at", BigInteger),
    Column("remind_at", BigInteger),  # what still waits is told again
    Column("reminders", Integer, nullable=False),
    Column("lease_until", BigInteger),  # one process sends
    *seal(),
    Index("webhooks_due", "next_at", sqlite_where=_DUE, postgresql_where=_DUE),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("webhook", LargeBinary, ForeignKey("webhooks.id"), nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("status", Integer),  # null: no answer
    Column("code", Text),  # null: heard
    Index("webhook_attempts_of", "webhook", "seq"),
)

webhook_notices = Table(
    "webhook_notices",
    metadata,
    Column("webhook", LargeBinary, ForeignKey("webhooks.id"), primary_key=True),  # while it is disabled
    Column("disabled_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),  # when a letter is due, or its sender's lease is over; null: sent, or given up
    Column("mailed_at", BigInteger),
    Column("code", Text),  # what was wrong with the last try
    Index("webhook_notices_due", "next_at", sqlite_where=_DUE, postgresql_where=_DUE),
)

# ── what is counted in a window of time, for all processes together ─────────────────────────────────────────────────

tallies = Table(
    "tallies",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # keyed digest of what is counted, and whose it is
    Column("counted", Integer, nullable=False),
    Column("until", BigInteger, nullable=False, index=True),  # the end of the window
)

# ── letters that warn of the end of keys and tokens ─────────────────────────────────────────────────────────────────

expiry_notices = Table(
    "expiry_notices",
    metadata,
    Column("party", Text, ForeignKey("parties.id"), nullable=False),
    Column("what", Text, nullable=False),  # signing, sealing, token
    Column("ends_at", BigInteger, nullable=False),
    Column("days", Integer, nullable=False),  # before the end, when it is told: one letter for each of a few
    Column("kinds", Text, nullable=False),  # algorithms or scopes, separated by commas
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),  # when a letter is due, or its sender's lease is over; null: sent, or given up
    Column("mailed_at", BigInteger),
    Column("code", Text),  # what was wrong with the last try
    PrimaryKeyConstraint("party", "what", "ends_at", "days"),
    Index("expiry_notices_due", "next_at", sqlite_where=_DUE, postgresql_where=_DUE),
)

TABLES = (api_tokens, topic_users, client_keys, webhooks, webhook_attempts, webhook_notices)

"""Tables: everything the broker remembers, on one SQLAlchemy MetaData shared with `consent.tables`.

Who comes in by the API and who is told stands in `access_tables.py`, who works here in `operator_tables.py`; this
module makes both known. What is told to citizens stands in `message_tables.py`.

Refuses: a value. Columns hold ciphertext, commitments, identifiers, instants; the only content in clear are
territories.
Keeps: identifiers are unique where a repetition would be an effect twice; every queue has the index its query needs.

Instants are milliseconds since the epoch. Lists (fields, territories) are JSON text. Enumerations are their text
values.
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
    UniqueConstraint,
    literal_column,
    text,
)

from broker.store import access_tables, citizen_tables, message_tables, operator_tables
from broker.store.columns import Sequence, mac, seal
from consent.tables import metadata

ACCESS = access_tables.TABLES
OPERATORS = operator_tables.TABLES
MESSAGES = message_tables.TABLES
CITIZENS = citizen_tables.TABLES

# ── meta: what this home is ─────────────────────────────────────────────────────────────────────────────────────────

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# ── directory ───────────────────────────────────────────────────────────────────────────────────────────────────────

parties = Table(
    "parties",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sector", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("address", Text, nullable=False),  # as a citizen can reach it; told in consent receipts
    Column("contact", Text, nullable=False),
    Column("retention", Text, nullable=False),  # how long it keeps what it receives, in words
    Column("created_at", BigInteger, nullable=False),
    *seal(),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", LargeBinary, primary_key=True),
    Column("party", Text, ForeignKey("parties.id"), nullable=False, index=True),
    Column("algorithm", Integer, nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_to", BigInteger),
    Column("revoked_at", BigInteger),
    *seal(),
)

sealing_keys = Table(
    "sealing_keys",
    metadata,
    Column("kid", LargeBinary, primary_key=True),
    Column("party", Text, ForeignKey("parties.id"), nullable=False, index=True),
    Column("suite", Integer, nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_to", BigInteger),
    Column("revoked_at", BigInteger),
    *seal(),
)

directory_notes = Table(
    "directory_notes",  # each document that anybody was shown, signed, in a chain
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of its exact JSON
    Column("note", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("law_digest", LargeBinary),  # of the rules and purposes as they were then; null: from before revision 0036
    Column("law_note", Text),
)

publishing_rights = Table(
    "publishing_rights",
    metadata,
    Column("party", Text, ForeignKey("parties.id"), nullable=False),
    Column("event_type", Text, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_to", BigInteger),
    *seal(),
    PrimaryKeyConstraint("party", "event_type", "valid_from"),
)

signature_policies = Table(
    "signature_policies",
    metadata,
    Column("party", Text, ForeignKey("parties.id"), nullable=False),
    Column("policy", Integer, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    *seal(),
    PrimaryKeyConstraint("party", "valid_from"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("recipient", Text, ForeignKey("parties.id"), nullable=False),
    Column("event_type", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("territories", Text),  # null: everywhere
    Column("status", Text, nullable=False),
    Column("legal_reference", Text, nullable=False),
    Column("approved_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("least_assurance", Text),  # null: every declaration is sure enough
    Column("least_quality", Text),
    *seal(),
    UniqueConstraint("recipient", "event_type", "purpose", name="one_subscription_per_purpose"),
    Index("subscriptions_by_type", "event_type", "status"),
)

reference_links = Table(
    "reference_links",  # two references of one citizen: who was given another name, who was written in another way
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("alias", LargeBinary, nullable=False, index=True),
    Column("kept", LargeBinary, nullable=False, index=True),
    Column("ground", Text, nullable=False),
    Column("evidence", Text),  # the number of the act; null: one of spelling
    Column("asked_by", Text, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("confirmed_at", BigInteger),
    Column("acts_from", BigInteger),
    Column("ended_at", BigInteger),
    Column("ended_by", Text),
    *seal(),
)

rules = Table(
    "rules",  # by law, for everybody; where one first concerns a citizen it becomes a row of `grants`
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("recipient", Text, ForeignKey("parties.id"), nullable=False),
    Column("event_type", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("article", Text, nullable=False),
    Column("objection", Integer, nullable=False),  # 1: a citizen may object
    Column("status", Text, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("begins_at", BigInteger),
    Column("ends_at", BigInteger),
    Column("approved_at", BigInteger),
    Column("acts_from", BigInteger),
    Column("ended_at", BigInteger),
    Column("territories", Text),  # null: those of its subscription
    Column("least_assurance", Text),  # null: as its subscription asks
    Column("least_quality", Text),
    Column("narrowed_at", BigInteger),
    *seal(),
)

purposes = Table(
    "purposes",  # those that an operator has added; the others come with the program
    metadata,
    Column("id", Text, primary_key=True),  # with its version: school-meals, school-meals-v2
    Column("version", Integer, nullable=False),
    Column("families", Text, nullable=False),
    Column("label_fr", Text, nullable=False),
    Column("label_en", Text, nullable=False),
    Column("sentence_fr", Text, nullable=False),
    Column("sentence_en", Text, nullable=False),
    Column("legal_fr", Text, nullable=False),
    Column("legal_en", Text, nullable=False),
    Column("retention_fr", Text, nullable=False),
    Column("retention_en", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("approved_at", BigInteger),
    *seal(),
)

objections = Table(
    "objections",  # of one citizen to one rule
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("rule", LargeBinary, ForeignKey("rules.id"), primary_key=True),
    Column("objected_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("withdrawn_at", BigInteger),  # null: it stands
    Column("mac", LargeBinary),
)

retractions = Table(
    "retractions",  # declarations that were cancelled, recalled, or stopped before anybody got them
    metadata,
    Column("declaration", LargeBinary, primary_key=True),  # the first of a chain of corrections, or what was stopped
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("kind", Text, nullable=False),  # cancelled | recalled | stopped
    Column("given_by", Text, nullable=False),  # the source, the broker, or the citizen: who took it back
    Column("retracted_at", BigInteger, nullable=False),
    Column("notice", LargeBinary, unique=True),  # the declaration that tells the recipients; null: nobody has it
    Column("lifted_at", BigInteger),  # since when it counts no more; null: it stands
    Column("mac", LargeBinary),
)

representations = Table(
    "representations",  # one person acts for another, on the ground of an act
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("representative", LargeBinary, nullable=False, index=True),
    Column("subject", LargeBinary, nullable=False, index=True),  # who is represented
    Column("measure", Text, nullable=False),
    Column("proof", Text, nullable=False),  # where the act is found, never what it says
    Column("event_types", Text),  # null: all
    Column("purposes", Text),  # null: all
    Column("begins_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("given_by", Text, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, index=True),
    *seal(),
)

acted_for = Table(
    "acted_for",  # a declaration that somebody made for another
    metadata,
    Column("declaration", LargeBinary, primary_key=True),
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("representative", LargeBinary, nullable=False, index=True),
    Column("capacity", Text, nullable=False),
    Column("known", Text, nullable=False),  # record | source | relative
    Column("representation", LargeBinary),  # null: the source has looked itself, or a relative needs none
    Column("at", BigInteger, nullable=False),
    Column("mac", LargeBinary),
)

households = Table(
    "households",  # an adult of a household who has not declared yet: no content, the source keeps that
    metadata,
    Column("household", LargeBinary, nullable=False),  # the id of the first declaration of its form
    Column("number", Integer, nullable=False),  # the adult's place in the form, from 0 on
    Column("source", Text, nullable=False),
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("event_type", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("decided_at", BigInteger),  # null: it waits
    Column("declaration", LargeBinary),  # what the adult has confirmed; null: nothing
    Column("mac", LargeBinary),
    PrimaryKeyConstraint("household", "number"),
)

paused_subscriptions = Table(
    "paused_subscriptions",  # by the recipient itself: what is planned waits; the approval stays as the ledger has it
    metadata,
    Column("subscription", LargeBinary, ForeignKey("subscriptions.id"), primary_key=True),
    Column("paused_at", BigInteger, nullable=False),
)

# ── epochs: the gate's HPKE keys and the consent epoch keys; the private halves live in the key store ──────────────

gate_epochs = Table(
    "gate_epochs",
    metadata,
    Column("kid", LargeBinary, ForeignKey("sealing_keys.kid"), primary_key=True),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("destroyed_at", BigInteger),
    *seal(),
)

consent_epochs = Table(
    "consent_epochs",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("destroyed_at", BigInteger),
    *seal(),
)

# ── the log, embedded and server modes ──────────────────────────────────────────────────────────────────────────────

log_record = Table(
    "log_record",
    metadata,
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("headers", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("topic", "partition", "offset"),
)

consumed = Table(
    "consumed",
    metadata,
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("topic", "partition"),
)

# ── declarations ────────────────────────────────────────────────────────────────────────────────────────────────────

submissions = Table(
    "submissions",
    metadata,
    Column("source", Text, nullable=False),
    Column("declaration_id", LargeBinary, nullable=False, unique=True),
    Column("event_type", Text, nullable=False),
    Column("envelope_digest", LargeBinary, nullable=False, index=True),
    Column("subject", LargeBinary, nullable=False, index=True),
    Column("received_at", BigInteger, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    mac(),
    PrimaryKeyConstraint("source", "declaration_id"),
)

_CORRECTS = text("root IS NOT NULL")

declarations = Table(
    "declarations",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("declaration_id", LargeBinary, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("schema_id", LargeBinary, nullable=False),
    Column("manifest_digest", LargeBinary, nullable=False, index=True),
    Column("subject", LargeBinary, nullable=False),
    Column("corrects", LargeBinary),
    Column("root", LargeBinary),  # the first declaration of a chain of corrections; null when this is the first
    Column("envelope", LargeBinary, nullable=False),
    Column("gate_kid", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("routed_at", BigInteger, nullable=False),
    Column(
        "trace", LargeBinary
    ),  # the trace id that its sender brought along; null: it follows from the declaration_id
    mac(),
    UniqueConstraint("source", "declaration_id", name="one_declaration_per_id"),
    Index("declarations_by_subject", "subject", "event_type", "seq"),
    Index("declarations_by_id", "declaration_id"),
    Index("declarations_by_root", "root", sqlite_where=_CORRECTS, postgresql_where=_CORRECTS),
)

LOCKED = literal_column("length(locked)", Integer) > literal_column("0")
"""A delivery whose lock was not pruned yet: as the index below has it, word for word."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", LargeBinary, nullable=False, unique=True),
    Column("declaration", BigInteger, ForeignKey("declarations.seq"), nullable=False, index=True),
    Column("recipient", Text, ForeignKey("parties.id"), nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Column("subscription", LargeBinary, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("grant_id", LargeBinary, nullable=False),
    Column("grant_version", Integer, nullable=False),
    Column("tag", LargeBinary, nullable=False),  # by which anyone sees that entries are of one delivery
    Column("plan_blind", LargeBinary, nullable=False),  # of the commitment to what was planned last
    Column("fields", LargeBinary, nullable=False),  # bitmap
    Column("locked", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("available_at", BigInteger, nullable=False),
    Column("held_until", BigInteger),  # before this it is not in its citizen's queue; null: it never was held
    Column("lease_until", BigInteger),
    Column("planned_at", BigInteger, nullable=False),
    Column("handed_at", BigInteger),
    Column("released_at", BigInteger),
    Column("done_at", BigInteger),
    Column("reason", Text),
    Column("code", Text),
    Column("until", Text),  # the day by which somebody at the recipient decides
    Column("taken", LargeBinary),  # bitmap, where not everything was applied
    mac(),
    Index("deliveries_by_recipient", "recipient", "state", "seq"),
    Index("deliveries_in_order", "recipient", "subject", "seq"),
    Index("deliveries_by_grant", "grant_id", "state"),
    Index("deliveries_locked", "done_at", sqlite_where=LOCKED, postgresql_where=LOCKED),
)

withholdings = Table(
    "withholdings",
    metadata,
    Column("declaration", BigInteger, ForeignKey("declarations.seq"), nullable=False),
    Column("subscription", LargeBinary, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("declaration", "subscription"),
)

_WAITS = text("tried_at IS NULL")
repairs = Table(
    "repairs",
    metadata,
    Column("delivery", LargeBinary, ForeignKey("deliveries.id"), nullable=False),
    Column("number", Integer, nullable=False),  # 1, 2, 3: the tries of a delivery
    Column("reference", LargeBinary, nullable=False),  # the declaration that tells the recipient the person's number
    Column("grant_id", LargeBinary, nullable=False),  # under which that declaration, and nothing else, goes there
    Column("asked_at", BigInteger, nullable=False),
    Column("tried_at", BigInteger),  # when its delivery was planned again, or nothing came of it
    Column("reason", Text),  # why it was not planned again
    mac(),
    PrimaryKeyConstraint("delivery", "number"),
    Index("repairs_waiting", "asked_at", sqlite_where=_WAITS, postgresql_where=_WAITS),
)

_UNREPLAYED = text("replayed_at IS NULL")
_REPLAYED = text("replayed_at IS NOT NULL")

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("stage", Text, nullable=False),  # router | delivery
    Column("topic", Text),
    Column("partition", Integer),
    Column("offset", BigInteger),
    Column("record", LargeBinary),  # the log record's bytes, when the router could not read it
    Column("delivery", LargeBinary),
    Column("reason", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("replayed_at", BigInteger),
    Index("dead_letters_by_delivery", "delivery"),
    Index("dead_letters_waiting", "id", sqlite_where=_UNREPLAYED, postgresql_where=_UNREPLAYED),
    Index("dead_letters_replayed", "replayed_at", sqlite_where=_REPLAYED, postgresql_where=_REPLAYED),
)

# ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────────────

_WAITING = text("position IS NULL")
_TAGGED = text("tag IS NOT NULL")

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("leaf", LargeBinary, nullable=False, index=True),
    Column("entry", LargeBinary, nullable=False),
    Column("window", BigInteger, nullable=False),
    Column("chain", LargeBinary),  # what it keeps its order to: its grant; empty: everything; null: nothing
    mac(),
    Column("position", BigInteger, unique=True),  # the dense index, given by the sequencer; null until then
    Column("tag", LargeBinary),  # the entry's own, to find a delivery's steps by
    Index("ledger_entries_by_tag", "tag", sqlite_where=_TAGGED, postgresql_where=_TAGGED),
    Index("ledger_entries_waiting", "id", sqlite_where=_WAITING, postgresql_where=_WAITING),
    sqlite_autoincrement=True,
)

ledger_openings = Table(
    "ledger_openings",
    metadata,
    Column("leaf", LargeBinary, primary_key=True),  # a sealed entry holds a random blind: its leaf is its own
    Column("subject", LargeBinary, nullable=False, index=True),  # empty: about no citizen
    Column("period", Integer, nullable=False, index=True),  # whose key opens it
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("sealed", LargeBinary, nullable=False),
)

ledger_erased = Table(
    "ledger_erased",  # entries that nobody can open any more, and the entry that says so
    metadata,
    Column("leaf", LargeBinary, primary_key=True),
    Column("by", LargeBinary, nullable=False, index=True),
)

ledger_erasures = Table(
    "ledger_erasures",  # the blind of each erasure's commitment to its list, by the leaf of its entry
    metadata,
    Column("leaf", LargeBinary, primary_key=True),
    Column("blind", LargeBinary, nullable=False),
)

first_ledger = Table(
    "first_ledger",  # the entries of the first format, in clear: kept for this home's own checks, served to nobody
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
)

ledger_tiles = Table(
    "ledger_tiles",
    metadata,
    Column("level", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),  # 32 bytes each, 1 to 256 of them
    PrimaryKeyConstraint("level", "number"),
)

ledger_checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    mac(),
)

cosignatures = Table(
    "cosignatures",
    metadata,
    Column("size", BigInteger, nullable=False),  # of the checkpoint that was cosigned
    Column("witness", Text, nullable=False),  # its verifier key
    Column("line", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("size", "witness"),
    Index("cosignatures_of", "witness", "size"),
)

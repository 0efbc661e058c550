"""Arrived: one envelope on its way through the intake, in a type for each state of trust.

    Decoded -> Verified -> Kept, and from each of them to Declined

Refuses: what weighs too much, what cannot be decoded, and what another source has signed than the one that hands it in.
Keeps: an envelope ends as kept, with its row, or as declined, with its fault; there is no third and no both.
Source: docs/protocol.md, section 4.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, Final, Self

from sqlalchemy import Row, select

from broker.flow.retracted import Kind
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, submissions
from consent.representation import Acting
from schemas.assurance import Assurance, Provenance
from schemas.envelope import SignedDeclaration, VerifiedDeclaration
from schemas.errors import Refused
from schemas.manifest import Manifest
from schemas.names import DeclarationId, EventType, Instant, ManifestDigest, PartyId, SubjectRef
from schemas.retractions import CANCELLED, RECALLED

ENVELOPE_BYTES: Final = 1_000_000
"""What one declaration may weigh; the log's records hold it with its key and headers."""

Key = tuple[PartyId, DeclarationId]
"""Whose declaration, and its id."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer: whose declaration is kept, since when, and the receipt that proves it (JSON, DSSE-signed)."""

    declaration_id: DeclarationId
    digest: ManifestDigest
    received_at: Instant
    receipt: bytes
    repeated: bool


@dataclass(frozen=True, slots=True)
class Submission:
    """A row of `submissions`: what was accepted, and what its source was answered."""

    source: PartyId
    declaration_id: DeclarationId
    event_type: EventType
    envelope_digest: bytes
    subject: SubjectRef
    received_at: Instant
    receipt: bytes = field(repr=False)

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """As the table has it."""
        return cls(
            PartyId(row.source),
            DeclarationId(row.declaration_id),
            EventType(row.event_type),
            row.envelope_digest,
            SubjectRef(row.subject),
            Instant(row.received_at),
            row.receipt,
        )

    @property
    def key(self) -> Key:
        """Whose, and its id."""
        return self.source, self.declaration_id

    def row(self, macs: RowMacs) -> dict[str, Any]:
        """As the table takes it: with the intake's MAC, for the router believes no other."""
        told = {column.name: getattr(self, column.name) for column in submissions.columns if column.name != "mac"}
        return macs.made(submissions.name, told)


_RETRACTS: Final = {CANCELLED: Kind.CANCELLED, RECALLED: Kind.RECALLED}


@dataclass(frozen=True, slots=True)
class Limits:
    """The highest assurance that each source may state, by the operator's word; `others`: that of all not named."""

    by_source: Mapping[PartyId, Assurance] = field(default_factory=dict)
    others: Assurance = Assurance.HIGH

    def check(self, source: PartyId, stated: Provenance | None) -> None:
        """Raises Refused `assurance.above-limit`."""
        most = self.by_source.get(source, self.others)
        if stated is not None and stated.assurance.rank > most.rank:
            raise Refused("assurance.above-limit", "/assurance", stated=stated.assurance.value, most=most.value)


class Before(Enum):
    """What was there when an envelope arrived."""

    NOTHING = "nothing"
    ROW = "row"
    """The same bytes are kept, and may be missing in the log."""
    EFFECTS = "effects"
    """The same bytes are kept and routed."""


@dataclass(frozen=True, slots=True)
class Declined:
    """What the source is refused: SHA-256 of what came, and why."""

    digest: bytes
    fault: Refused


@dataclass(frozen=True, slots=True)
class Decoded:
    """It can be read, and names who hands it in as its source. Nothing of it is verified. Made by `decoded`."""

    envelope: bytes = field(repr=False)
    digest: bytes
    signed: SignedDeclaration
    manifest: Manifest

    @property
    def key(self) -> Key:
        """Whose it says that it is, and its id."""
        return self.manifest.source, self.manifest.declaration_id


@dataclass(frozen=True, slots=True)
class Verified:
    """Every step of the protocol was checked, and its citizen is known; nothing is written down. Made by the intake."""

    decoded: Decoded
    declaration: VerifiedDeclaration
    subject: SubjectRef
    acting: Acting | None = None
    """Who declares for that person; None: nobody else, as far as the source says."""

    @property
    def key(self) -> Key:
        """Whose, and its id."""
        return self.decoded.key

    @property
    def retracts(self) -> Kind | None:
        """How it takes another declaration back, if it does."""
        return _RETRACTS.get(self.declaration.manifest.event_type)

    def written(self, at: Instant, receipt: bytes) -> Submission:
        """The row that it gets."""
        manifest = self.declaration.manifest
        return Submission(*self.key, manifest.event_type, self.decoded.digest, self.subject, at, receipt)


@dataclass(frozen=True, slots=True)
class Kept:
    """It has its row: durable from the commit on."""

    decoded: Decoded
    submission: Submission
    before: Before

    @property
    def key(self) -> Key:
        """Whose, and its id."""
        return self.submission.key

    def accepted(self) -> Accepted:
        """What the source is told."""
        kept = self.submission
        digest = ManifestDigest(sha256(self.decoded.signed.payload).digest())
        repeated = self.before is not Before.NOTHING
        return Accepted(kept.declaration_id, digest, kept.received_at, kept.receipt, repeated)


Found = Decoded | Kept | Declined
"""After a look at what was written down before: a decoded one is new."""
Checked = Verified | Kept | Declined
"""After the numbered steps."""
Ended = Kept | Declined
"""After the transaction."""


def decoded(envelope: bytes, sender: PartyId | None = None) -> Decoded | Declined:
    """What came, as far as it can be read. `sender`, where it is known: who hands it in."""
    digest = sha256(envelope).digest()
    try:
        if len(envelope) > ENVELOPE_BYTES:
            raise Refused("intake.too-large", size=len(envelope), limit=ENVELOPE_BYTES)
        signed = SignedDeclaration.decode(envelope)
        manifest = Manifest.decode(signed.payload)
        if sender is not None and manifest.source != sender:  # else a receipt tells what another has declared
            raise Refused("intake.other-source", "/payload/source")
    except Refused as fault:
        return Declined(digest, fault)
    return Decoded(envelope, digest, signed, manifest)


def made_at(of: DeclarationId) -> Instant | None:
    """The instant in an id; None where it is no UUIDv7."""
    return Instant(int.from_bytes(of[:6], "big")) if of[6] >> 4 == 7 else None


def too_old(of: DeclarationId, before: Instant) -> bool:
    """Whether what had this id may be forgotten, where `before` is what is kept: so it is not to be taken as new."""
    made = made_at(of)
    return made is not None and made <= before


async def submitted(tx: Transaction, macs: RowMacs, ids: Sequence[DeclarationId]) -> dict[Key, Submission]:
    """What the intake wrote down before under these ids, whoever handed it in."""
    if not ids:
        return {}
    rows = await tx.execute(select(submissions).where(submissions.c.declaration_id.in_(ids)))
    return by_key(macs.valid(submissions.name, rows))


async def routed_of(tx: Transaction, ids: Sequence[DeclarationId]) -> set[Key]:
    """Which of these have their effects."""
    where = declarations.c.declaration_id.in_(ids)
    rows = await tx.execute(select(declarations.c.source, declarations.c.declaration_id).where(where))
    return {(PartyId(row.source), DeclarationId(row.declaration_id)) for row in rows}


def by_key(rows: Iterable[Row[Any]]) -> dict[Key, Submission]:
    """Rows of `submissions` by whose they are."""
    found = (Submission.of(row) for row in rows)
    return {one.key: one for one in found}

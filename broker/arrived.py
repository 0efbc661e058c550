"""Arrived: one envelope on its way through the intake, and what was written down before under its id.

Refuses: what weighs too much, what cannot be decoded, and what another source has signed than the one that hands it in.
Keeps: an envelope is either a row in the end, or a fault; nothing is both.
Source: docs/protocol.md, section 4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

from sqlalchemy import Row, select

from broker.store.engine import Transaction
from broker.store.tables import declarations, submissions
from schemas.envelope import SignedDeclaration, VerifiedDeclaration
from schemas.errors import Corrupt, Refused
from schemas.manifest import Manifest
from schemas.names import DeclarationId, Instant, ManifestDigest, PartyId, SubjectRef

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


@dataclass(slots=True)
class Arrived:
    """One envelope on its way through the intake: either a row in the end, or a fault."""

    envelope: bytes
    digest: bytes
    signed: SignedDeclaration | None = None
    manifest: Manifest | None = None
    verified: VerifiedDeclaration | None = None
    subject: SubjectRef | None = None
    row: Row[Any] | None = None
    routed: bool = False
    repeated: bool = False
    fault: Refused | None = None

    @property
    def key(self) -> Key:
        """Of one that could be decoded."""
        if self.manifest is None:
            raise Corrupt("intake.lost-row")
        return self.manifest.source, self.manifest.declaration_id

    @classmethod
    def of(cls, envelope: bytes, sender: PartyId | None = None) -> Self:
        """Decoded, or with the fault that stands against it."""
        one = cls(envelope, sha256(envelope).digest())
        try:
            if len(envelope) > ENVELOPE_BYTES:
                raise Refused("intake.too-large", size=len(envelope), limit=ENVELOPE_BYTES)
            one.signed = SignedDeclaration.decode(envelope)
            manifest = Manifest.decode(one.signed.payload)
            if sender is not None and manifest.source != sender:  # else a receipt tells what another has declared
                raise Refused("intake.other-source", "/payload/source")
            one.manifest = manifest
        except Refused as fault:
            one.fault = fault
        return one

    def written(self, at: Instant, receipt: bytes) -> dict[str, Any]:
        """As the table has it."""
        source, declaration_id = self.key
        return {
            "source": source,
            "declaration_id": declaration_id,
            "event_type": self.manifest.event_type if self.manifest is not None else None,
            "envelope_digest": self.digest,
            "subject": self.subject,
            "received_at": at,
            "receipt": receipt,
        }

    def answer(self) -> Accepted | Refused:
        """What the source is told."""
        if self.fault is not None:
            return self.fault
        if self.row is None or self.signed is None:
            raise Corrupt("intake.lost-row")
        return Accepted(
            DeclarationId(self.row.declaration_id),
            ManifestDigest(sha256(self.signed.payload).digest()),
            Instant(self.row.received_at),
            self.row.receipt,
            self.repeated,
        )


async def submitted(tx: Transaction, ids: Sequence[DeclarationId]) -> dict[Key, Row[Any]]:
    """What was written down before under these ids, whoever handed it in."""
    if not ids:
        return {}
    return by_key(await tx.execute(select(submissions).where(submissions.c.declaration_id.in_(ids))))


async def routed_of(tx: Transaction, ids: Sequence[DeclarationId]) -> set[Key]:
    """Which of these have their rows."""
    where = declarations.c.declaration_id.in_(ids)
    return set(by_key(await tx.execute(select(declarations.c.source, declarations.c.declaration_id).where(where))))


def by_key(rows: Iterable[Row[Any]]) -> dict[Key, Row[Any]]:
    """Rows that have both columns of the key."""
    return {(PartyId(row.source), DeclarationId(row.declaration_id)): row for row in rows}

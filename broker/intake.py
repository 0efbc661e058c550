"""Intake: take a source's envelope, check it, keep it durably, answer with a signed receipt.

Refuses: what fails a numbered check, with its code and the field's pointer, and an entry that names no citizen and no
value.
Keeps: what was answered with a receipt is in the log; the same declaration sent again gets the same receipt; the same
id with other bytes is refused.
Source: docs/architecture.md, steps 2 to 4; docs/protocol.md, sections 4 and 7.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

from sqlalchemy import Row, select

from broker import spans, tracing
from broker.crashpoints import mark
from broker.directory.lookup import Lookup
from broker.forgotten import too_old
from broker.identity import Identity
from broker.keyring import Keyring
from broker.ledger import Recorder
from broker.observe import logger
from broker.ports import Clock, Log, Outgoing
from broker.router import TOPIC
from broker.store.bell import DECLARED
from broker.store.engine import Store, Transaction
from broker.store.tables import declarations, submissions
from schemas.catalogue import Catalogue
from schemas.entry import EntryKind
from schemas.envelope import SignedDeclaration, VerifiedDeclaration, verify_declaration
from schemas.errors import Corrupt, Refused
from schemas.intake_receipt import IntakeReceipt
from schemas.manifest import Manifest
from schemas.names import DeclarationId, EventType, Instant, ManifestDigest, PartyId, Reason, SubjectRef
from schemas.signing import PrivateKey

_DAY_MS: Final = 86_400_000
ENVELOPE_BYTES: Final = 1_000_000
"""What one declaration may weigh; the log's records hold it with its key and headers."""

_REASONS: Final = {
    "envelope.payload-type": Reason.INVALID_SIGNATURE,
    "intake.id-reused": Reason.REPLAYED,
    "intake.id-too-old": Reason.STALE,
    "directory.not-entitled": Reason.NOT_ENTITLED,
    "manifest.too-late": Reason.STALE,
    "manifest.ahead": Reason.STALE,
}
_FAMILIES: Final = {
    "signing": Reason.INVALID_SIGNATURE,
    "directory": Reason.INVALID_SIGNATURE,
    "manifest": Reason.INVALID_SIGNATURE,
    "identity": Reason.UNKNOWN_SUBJECT,
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer: whose declaration is kept, since when, and the receipt that proves it (JSON, DSSE-signed)."""

    declaration_id: DeclarationId
    digest: ManifestDigest
    received_at: Instant
    receipt: bytes
    repeated: bool


@dataclass(slots=True)
class _Arrived:
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


class Intake:
    """Where declarations come in. It may be called concurrently, from any number of processes."""

    def __init__(
        self,
        *,
        store: Store,
        log: Log,
        lookup: Lookup,
        identity: Identity,
        keyring: Keyring,
        catalogue: Catalogue,
        recorder: Recorder,
        party: PartyId,
        kept_ms: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._log = log
        self._lookup = lookup
        self._identity = identity
        self._keyring = keyring
        self._catalogue = catalogue
        self._recorder = recorder
        self._party = party
        self._kept_ms = kept_ms
        self._clock = clock

    async def accept(self, envelope: bytes) -> Accepted:
        """Check, keep, answer. Durable once it returns.

        Raises Refused with the code and pointer of the check that failed. Raises Unavailable: nothing is known to be
        kept, send the same bytes again.
        """
        (answer,) = await self.accept_all([envelope])
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def accept_all(self, envelopes: Sequence[bytes], sender: PartyId | None = None) -> list[Accepted | Refused]:
        """Each on its own merits, kept together: an answer for each, in order. Raises Unavailable, as `accept`.

        `sender`, where it is known who hands them in: what another source has signed is refused.
        """
        return await self._accept(envelopes, sender, told=True)

    async def take_all(self, envelopes: Sequence[bytes], sender: PartyId) -> list[Accepted | Refused]:
        """As `accept_all`, for who reads them from where they can be read again: each refusal is the caller's to enter,
        with `record_refusals`, in the transaction that moves on.
        """
        return await self._accept(envelopes, sender, told=False)

    def record_refusals(self, tx: Transaction, refused: Iterable[tuple[bytes, Refused]], at: Instant) -> None:
        """The ledger's entries of what was refused: SHA-256 of what came, and why."""
        for digest, fault in refused:
            self._recorder.record(tx, EntryKind.REFUSED, at, reason=reason_of(fault), detail=digest)

    async def _accept(
        self, envelopes: Sequence[bytes], sender: PartyId | None, *, told: bool
    ) -> list[Accepted | Refused]:
        at = self._clock()
        batch = [_Arrived.of(envelope, sender) for envelope in envelopes]
        await self._look(batch, at)
        await self._write_down(batch, at, told=told)
        waiting = [(one, one.row) for one in batch if one.row is not None and one.fault is None and not one.routed]
        headers = _headers()
        await self._log.append_all(TOPIC, [Outgoing(_order_key(row), one.envelope, headers) for one, row in waiting])
        self._store.bell.ring(DECLARED)
        if waiting:
            mark("intake.appended")
            # Crash here: in the log, and routed; the source has no receipt and sends again: the same receipt, no
            # effect.
            self._say([row for _, row in waiting], at)
        return [one.answer() for one in batch]

    def _say(self, rows: Sequence[Row[Any]], at: Instant) -> None:
        """What is durable now, with the trace id that everything after it will have."""
        for row in rows:
            of = DeclarationId(row.declaration_id)
            trace = tracing.CURRENT.get() or tracing.TraceId.of(of)
            source, event_type = PartyId(row.source), EventType(row.event_type)
            logger().info("intake.accepted", declaration=of, source=source, event_type=event_type, trace_id=trace)
            until = self._clock()
            spans.ended("intake.accepted", trace, at, until, declaration=of, source=source, event_type=event_type)

    async def _look(self, batch: Sequence[_Arrived], at: Instant) -> None:
        """What was written down before under the same source and id, and whether it was routed; the others are
        verified.

        An earlier row proves nothing until its bytes are compared: whoever sends the very bytes that were verified
        gets the receipt again, also when a key or a token has ended meanwhile.
        """
        async with self._store.read() as tx:
            directory = await self._lookup.directory(tx)
            for one in batch:
                if one.signed is None or one.manifest is None:
                    continue
                try:
                    await self._compare(tx, one)
                    if one.row is None:
                        self._check_id(one.manifest.declaration_id, at)
                        one.verified = verify_declaration(one.signed, directory, self._catalogue, at)
                        one.subject = self._subject(one.verified, at)
                except Refused as fault:
                    one.fault = fault

    def _check_id(self, declaration_id: DeclarationId, at: Instant) -> None:
        """An id of a time of which nothing is kept may have been used: it would be the same one twice."""
        if too_old(declaration_id, Instant(at - self._kept_ms)):
            raise Refused("intake.id-too-old", "/payload/declaration_id", days=self._kept_ms // _DAY_MS)

    async def _compare(self, tx: Transaction, one: _Arrived) -> None:
        row = await _submission(tx, one.manifest.source, one.manifest.declaration_id) if one.manifest else None
        if row is None:
            return
        if row.envelope_digest != one.digest:
            raise Refused("intake.id-reused", "/payload/declaration_id")
        where = (declarations.c.source == row.source, declarations.c.declaration_id == row.declaration_id)
        one.row, one.repeated = row, True
        one.routed = (await tx.execute(select(declarations.c.seq).where(*where))).first() is not None

    async def _write_down(self, batch: Sequence[_Arrived], at: Instant, *, told: bool) -> None:
        """Write the intent before the act, and every refusal where it is to be told here, in one transaction."""
        if all(one.row is not None or (one.fault is not None and not told) for one in batch):
            return
        async with self._store.begin() as tx:
            signer = self._keyring.signer(await self._lookup.directory(tx), self._party, at)
            for one in batch:
                if one.verified is not None and one.subject is not None and one.fault is None:
                    try:
                        await self._insert(tx, one, one.verified, one.subject, at=at, signer=signer)
                    except Refused as fault:
                        one.fault = fault
            if told:
                self.record_refusals(tx, [(one.digest, one.fault) for one in batch if one.fault is not None], at)
            mark("intake.written-down")
            # Crash here: written down or not, it is in no log, and the source has no receipt: it sends the same again.

    async def _insert(
        self,
        tx: Transaction,
        one: _Arrived,
        verified: VerifiedDeclaration,
        subject: SubjectRef,
        *,
        at: Instant,
        signer: PrivateKey,
    ) -> None:
        manifest = verified.manifest
        await self._check_correction(tx, verified, subject, at)
        new = await tx.insert_new(
            submissions,
            {
                "source": manifest.source,
                "declaration_id": manifest.declaration_id,
                "event_type": manifest.event_type,
                "envelope_digest": one.digest,
                "subject": subject,
                "received_at": at,
                "receipt": _receipt(verified, at, self._party, signer),
            },
        )
        row = await _submission(tx, manifest.source, manifest.declaration_id)
        # Another source's id, or somebody was faster with other bytes. An id is one declaration's, whoever made it: the
        # ids of its deliveries are derived from it, and a citizen follows by it.
        if row is None or row.envelope_digest != one.digest:
            raise Refused("intake.id-reused", "/payload/declaration_id")
        one.row, one.repeated = row, not new

    def _subject(self, verified: VerifiedDeclaration, at: Instant) -> SubjectRef:
        try:
            return self._identity.resolve(verified.signed.slip.subject_token, verified.manifest.source, at)
        except Refused as fault:
            raise fault.under("/slip/subject_token") from None

    async def _check_correction(
        self, tx: Transaction, verified: VerifiedDeclaration, subject: SubjectRef, at: Instant
    ) -> None:
        """A correction corrects what the same source declared, of the same type, about the same citizen."""
        corrects = verified.manifest.corrects
        if corrects is None:
            return
        original = await _submission(tx, verified.manifest.source, corrects)
        if original is None and too_old(corrects, Instant(at - self._kept_ms)):
            raise Refused("intake.original-gone", "/payload/corrects", days=self._kept_ms // _DAY_MS)
        same_type = original is not None and original.event_type == verified.manifest.event_type
        if original is None or original.subject != subject or not same_type:
            raise Refused("intake.unknown-original", "/payload/corrects")


def reason_of(fault: Refused) -> Reason:
    """What the ledger says about a refusal: a family of reasons, never the details."""
    return _REASONS.get(fault.code) or _FAMILIES.get(fault.code.partition(".")[0], Reason.INVALID_ENVELOPE)


async def _submission(tx: Transaction, source: PartyId, declaration_id: DeclarationId) -> Row[Any] | None:
    where = (submissions.c.source == source, submissions.c.declaration_id == declaration_id)
    return (await tx.execute(select(submissions).where(*where))).one_or_none()


def _headers() -> Mapping[str, bytes]:
    """The caller's trace goes with the record; without one the router finds the same id by itself."""
    trace = tracing.CURRENT.get()
    return {} if trace is None else {tracing.HEADER: trace.header}


def _order_key(row: Row[Any]) -> bytes:
    """The log's key: one for each citizen, so that their declarations stay in order; tells nothing to who reads the
    log.
    """
    return sha256(b"unefois/log-key/v1\x00" + row.subject).digest()[:16]


def _receipt(verified: VerifiedDeclaration, at: Instant, broker: PartyId, signer: PrivateKey) -> bytes:
    """What the source keeps: the broker says that it has this manifest since this instant."""
    manifest = verified.manifest
    return IntakeReceipt(broker, manifest.source, manifest.declaration_id, verified.digest, at).sign(signer)

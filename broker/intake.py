"""Intake: take a source's envelope, check it, keep it durably, answer with a signed receipt.

Refuses: what fails a numbered check, with its code and the field's pointer, and an entry that names no citizen and no
value.
Keeps: what was answered with a receipt is in the log; the same declaration sent again gets the same receipt; the same
id with other bytes is refused.
Source: docs/architecture.md, steps 2 to 4; docs/protocol.md, sections 4 and 7.
"""

import json
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, select

from broker.crashpoints import mark
from broker.identity import Identity
from broker.keyring import Keyring
from broker.ledger import Recorder
from broker.lookup import Lookup
from broker.ports import Clock, Log
from broker.router import TOPIC
from broker.store.engine import Store, Transaction
from broker.store.tables import declarations, submissions
from schemas.catalogue import Catalogue
from schemas.entry import EntryKind
from schemas.envelope import SignedDeclaration, VerifiedDeclaration, verify_declaration
from schemas.errors import Corrupt, Refused
from schemas.manifest import Manifest
from schemas.names import DeclarationId, Instant, ManifestDigest, PartyId, Reason, SubjectRef
from schemas.signing import PrivateKey, pae

RECEIPT_TYPE: Final = "application/vnd.unefois.intake-receipt.v1+json"

ENVELOPE_BYTES: Final = 1_000_000
"""What one declaration may weigh; the log's records hold it with its key and headers."""

_REASONS: Final = {
    "envelope.payload-type": Reason.INVALID_SIGNATURE,
    "intake.id-reused": Reason.REPLAYED,
    "directory.not-entitled": Reason.NOT_ENTITLED,
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
        self._clock = clock

    async def accept(self, envelope: bytes) -> Accepted:
        """Check, keep, answer. Durable once it returns.

        Raises Refused with the code and pointer of the check that failed. Raises Unavailable: nothing is known to be
        kept, send the same bytes again.
        """
        at = self._clock()
        try:
            if len(envelope) > ENVELOPE_BYTES:
                raise Refused("intake.too-large", size=len(envelope), limit=ENVELOPE_BYTES)
            signed = SignedDeclaration.decode(envelope)
            manifest = Manifest.decode(signed.payload)
            row, routed, verified = await self._look(envelope, signed, manifest, at)
            repeated = row is not None
            if verified is not None:
                row, repeated = await self._write_down(envelope, verified, at)
        except Refused as fault:
            await self._record_refusal(envelope, fault, at)
            raise
        if row is None:
            raise Corrupt("intake.lost-row")
        if not routed:
            await self._log.append(TOPIC, _order_key(SubjectRef(row.subject)), envelope, {})
            mark("intake.appended")
            # Crash here: in the log, and routed; the source has no receipt and sends again: the same receipt, no
            # effect.
        return Accepted(
            manifest.declaration_id,
            ManifestDigest(sha256(signed.payload).digest()),
            Instant(row.received_at),
            row.receipt,
            repeated,
        )

    async def _look(
        self, envelope: bytes, signed: SignedDeclaration, manifest: Manifest, at: Instant
    ) -> tuple[Row[Any] | None, bool, VerifiedDeclaration | None]:
        """What was written down before under this source and id, and whether it was routed; or else the verified new
        one.

        An earlier row proves nothing until its bytes are compared: whoever sends the very bytes that were verified
        gets the receipt again, also when a key or a token has ended meanwhile.
        """
        async with self._store.read() as tx:
            row = await _submission(tx, manifest.source, manifest.declaration_id)
            if row is None:
                directory = await self._lookup.directory(tx)
                return None, False, verify_declaration(signed, directory, self._catalogue, at)
            if row.envelope_digest != sha256(envelope).digest():
                raise Refused("intake.id-reused", "/payload/declaration_id")
            where = (declarations.c.source == manifest.source, declarations.c.declaration_id == manifest.declaration_id)
            return row, (await tx.execute(select(declarations.c.seq).where(*where))).first() is not None, None

    async def _write_down(
        self, envelope: bytes, verified: VerifiedDeclaration, at: Instant
    ) -> tuple[Row[Any] | None, bool]:
        """Write the intent before the act. Returns the row, and whether somebody wrote the same meanwhile."""
        manifest, digest = verified.manifest, sha256(envelope).digest()
        subject = self._subject(verified, at)
        async with self._store.begin() as tx:
            await self._check_correction(tx, verified, subject)
            signer = self._keyring.signer(await self._lookup.directory(tx), self._party, at)
            new = await tx.insert_new(
                submissions,
                {
                    "source": manifest.source,
                    "declaration_id": manifest.declaration_id,
                    "event_type": manifest.event_type,
                    "envelope_digest": digest,
                    "subject": subject,
                    "received_at": at,
                    "receipt": _receipt(verified, at, self._party, signer),
                },
            )
            row = await _submission(tx, manifest.source, manifest.declaration_id)
            mark("intake.written-down")
            # Crash here: written down or not, it is in no log, and the source has no receipt: it sends the same again.
        if row is not None and row.envelope_digest != digest:  # somebody was faster with the same id and other bytes
            raise Refused("intake.id-reused", "/payload/declaration_id")
        return row, not new

    def _subject(self, verified: VerifiedDeclaration, at: Instant) -> SubjectRef:
        try:
            return self._identity.resolve(verified.signed.slip.subject_token, verified.manifest.source, at)
        except Refused as fault:
            raise fault.under("/slip/subject_token") from None

    async def _check_correction(self, tx: Transaction, verified: VerifiedDeclaration, subject: SubjectRef) -> None:
        """A correction corrects what the same source declared, of the same type, about the same citizen."""
        corrects = verified.manifest.corrects
        if corrects is None:
            return
        original = await _submission(tx, verified.manifest.source, corrects)
        same_type = original is not None and original.event_type == verified.manifest.event_type
        if original is None or original.subject != subject or not same_type:
            raise Refused("intake.unknown-original", "/payload/corrects")

    async def _record_refusal(self, envelope: bytes, fault: Refused, at: Instant) -> None:
        """That something was refused, when, and why; a digest of the bytes, so that the sender can prove it was
        theirs.
        """
        reason = _REASONS.get(fault.code) or _FAMILIES.get(fault.code.partition(".")[0], Reason.INVALID_ENVELOPE)
        async with self._store.begin() as tx:
            self._recorder.record(tx, EntryKind.REFUSED, at, reason=reason, detail=sha256(envelope).digest())


async def _submission(tx: Transaction, source: PartyId, declaration_id: DeclarationId) -> Row[Any] | None:
    where = (submissions.c.source == source, submissions.c.declaration_id == declaration_id)
    return (await tx.execute(select(submissions).where(*where))).one_or_none()


def _order_key(subject: SubjectRef) -> bytes:
    """The log's key: one for each citizen, so that their declarations stay in order; tells nothing to who reads the
    log.
    """
    return sha256(b"unefois/log-key/v1\x00" + subject).digest()[:16]


def _receipt(verified: VerifiedDeclaration, at: Instant, broker: PartyId, signer: PrivateKey) -> bytes:
    """What the source keeps: the broker says that it has this manifest since this instant. DSSE, JSON."""
    body = {
        "broker": broker,
        "declaration": verified.manifest.declaration_id.hex(),
        "manifest": verified.digest.hex(),
        "received_at": at,
        "source": verified.manifest.source,
    }
    payload = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    signature = b64encode(signer.sign(pae(RECEIPT_TYPE, payload))).decode()
    envelope = {
        "payload": b64encode(payload).decode(),
        "payloadType": RECEIPT_TYPE,
        "signatures": [{"keyid": signer.kid.hex(), "sig": signature}],
    }
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()

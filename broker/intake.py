"""Intake: take a source's envelope, check it, keep it durably, answer with a signed receipt.

Refuses: what fails a numbered check, with its code and the field's pointer, and an entry that names no citizen and no
value.
Keeps: what was answered with a receipt is in the log; the same declaration sent again gets the same receipt; the same
id with other bytes is refused.
Source: docs/architecture.md, steps 2 to 4; docs/protocol.md, sections 4 and 7.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row

from broker import spans, tracing
from broker.arrived import Accepted, Arrived, by_key, routed_of, submitted
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
from broker.store.tables import submissions
from schemas.catalogue import Catalogue
from schemas.directory import Directory
from schemas.entry import EntryKind
from schemas.envelope import VerifiedDeclaration, verify_declaration
from schemas.errors import Corrupt, Refused
from schemas.intake_receipt import IntakeReceipt
from schemas.names import DeclarationId, EventType, Instant, PartyId, Reason, SubjectRef
from schemas.signing import PrivateKey

_DAY_MS: Final = 86_400_000
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
        batch = [Arrived.of(envelope, sender) for envelope in envelopes]
        directory = await self._lookup.newest(self._store)
        await self._look(batch, at, directory)
        await self._write_down(batch, at, directory, told=told)
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

    async def _look(self, batch: Sequence[Arrived], at: Instant, directory: Directory) -> None:
        """What was written down before under the same source and id, and whether it was routed; the others are
        verified.

        An earlier row proves nothing until its bytes are compared: whoever sends the very bytes that were verified
        gets the receipt again, also when a key or a token has ended meanwhile.
        """
        decoded = [one for one in batch if one.manifest is not None]
        async with self._store.glance() as tx:
            before = await submitted(tx, [one.key[1] for one in decoded])
        for one in decoded:
            try:
                one.row = before.get(one.key)
                if one.row is None:
                    self._verify(one, directory, at)
                elif one.row.envelope_digest != one.digest:
                    raise Refused("intake.id-reused", "/payload/declaration_id")
            except Refused as fault:
                one.row, one.fault = None, fault
        if repeated := [one for one in decoded if one.row is not None]:
            async with self._store.glance() as tx:
                routed = await routed_of(tx, [one.key[1] for one in repeated])
            for one in repeated:
                one.repeated, one.routed = True, one.key in routed

    def _verify(self, one: Arrived, directory: Directory, at: Instant) -> None:
        if one.signed is None:
            raise Corrupt("intake.lost-row")
        self._check_id(one.key[1], at)
        one.verified = verify_declaration(one.signed, directory, self._catalogue, at)
        one.subject = self._subject(one.verified, at)

    def _check_id(self, declaration_id: DeclarationId, at: Instant) -> None:
        """An id of a time of which nothing is kept may have been used: it would be the same one twice."""
        if too_old(declaration_id, Instant(at - self._kept_ms)):
            raise Refused("intake.id-too-old", "/payload/declaration_id", days=self._kept_ms // _DAY_MS)

    async def _write_down(self, batch: Sequence[Arrived], at: Instant, directory: Directory, *, told: bool) -> None:
        """Write the intent before the act, and every refusal where it is to be told here, in one transaction.

        What waits for its row is written before a correction, whose original may be among it.
        """
        if all(one.row is not None or (one.fault is not None and not told) for one in batch):
            return
        signer = self._keyring.signer(directory, self._party, at)
        async with self._store.begin() as tx:
            ahead: list[Arrived] = []
            for one in batch:
                if one.verified is None or one.subject is None or one.fault is not None:
                    continue
                if one.verified.manifest.corrects is not None:
                    await self._insert(tx, ahead, at, signer)
                    ahead = []
                    try:
                        await self._check_correction(tx, one.verified, one.subject, at)
                    except Refused as fault:
                        one.fault = fault
                        continue
                ahead.append(one)
            await self._insert(tx, ahead, at, signer)
            if told:
                self.record_refusals(tx, [(one.digest, one.fault) for one in batch if one.fault is not None], at)
            mark("intake.written-down")
            # Crash here: written down or not, it is in no log, and the source has no receipt: it sends the same again.

    async def _insert(self, tx: Transaction, some: Sequence[Arrived], at: Instant, signer: PrivateKey) -> None:
        """A row for each, new or there by now: somebody was faster, or the batch holds it twice.

        Another source's id, or one that came with other bytes, is refused. An id is one declaration's, whoever made it:
        the ids of its deliveries are derived from it, and a citizen follows by it.
        """
        rows = [one.written(at, _receipt(one.verified, at, self._party, signer)) for one in some if one.verified]
        rows.sort(key=lambda row: row["declaration_id"])  # two batches that share ids do not wait in a circle
        made = by_key(await tx.insert_all_new(submissions, rows, *submissions.c))
        there = await submitted(tx, [one.key[1] for one in some if one.key not in made])
        for one in some:
            row = made.get(one.key) or there.get(one.key)
            if row is None or row.envelope_digest != one.digest:
                one.fault = Refused("intake.id-reused", "/payload/declaration_id")
                continue
            one.row, one.repeated = row, one.key in there
            there[one.key] = row

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
        original = (await submitted(tx, [corrects])).get((verified.manifest.source, corrects))
        if original is None and too_old(corrects, Instant(at - self._kept_ms)):
            raise Refused("intake.original-gone", "/payload/corrects", days=self._kept_ms // _DAY_MS)
        same_type = original is not None and original.event_type == verified.manifest.event_type
        if original is None or original.subject != subject or not same_type:
            raise Refused("intake.unknown-original", "/payload/corrects")


def reason_of(fault: Refused) -> Reason:
    """What the ledger says about a refusal: a family of reasons, never the details."""
    return _REASONS.get(fault.code) or _FAMILIES.get(fault.code.partition(".")[0], Reason.INVALID_ENVELOPE)


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

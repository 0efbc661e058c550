"""Intake: take a source's envelope, check it, keep it durably, answer with a signed receipt.

Refuses: what fails a numbered check, with its code and the field's pointer, and an entry that names no citizen and no
value.
Keeps: what was answered with a receipt is in the log; the same declaration sent again gets the same receipt; the same
id with other bytes is refused.
Source: docs/architecture.md, steps 2 to 4; docs/protocol.md, sections 4 and 7.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final

from broker.directory.lookup import Lookup
from broker.flow import retracted
from broker.flow.acting import ActingChecks
from broker.flow.arrived import (
    Accepted,
    Before,
    Checked,
    Declined,
    Decoded,
    Ended,
    Found,
    Kept,
    Limits,
    Submission,
    Verified,
    by_key,
    decoded,
    routed_of,
    submitted,
    too_old,
)
from broker.flow.deliveries import citizen_lock
from broker.flow.retracted import Kind
from broker.flow.retracting import Retracting, retraction
from broker.flow.router import TOPIC
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.observability import spans, tracing
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.people.identity import Identity
from broker.ports import Clock, Log, Outgoing
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import submissions
from broker.store.wake_signal import declared_in
from schemas.catalogue import Catalogue
from schemas.directory import Directory
from schemas.envelope import verify_declaration
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.intake_receipt import IntakeReceipt
from schemas.names import DeclarationId, Instant, PartyId, Reason, SubjectRef
from schemas.retractions import RETRACTIONS
from schemas.signing import PrivateKey

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_REASONS: Final = {
    "envelope.payload-type": Reason.INVALID_SIGNATURE,
    "intake.id-reused": Reason.REPLAYED,
    "intake.id-too-old": Reason.STALE,
    "intake.issued-too-long-ago": Reason.STALE,
    "directory.not-entitled": Reason.NOT_ENTITLED,
    "assurance.above-limit": Reason.NOT_ENTITLED,
    "manifest.too-late": Reason.STALE,
    "manifest.ahead": Reason.STALE,
}
_FAMILIES: Final = {
    "signing": Reason.INVALID_SIGNATURE,
    "directory": Reason.INVALID_SIGNATURE,
    "manifest": Reason.INVALID_SIGNATURE,
    "identity": Reason.UNKNOWN_SUBJECT,
    "representations": Reason.NOT_ENTITLED,
}


Beside = Callable[[Transaction, Sequence[Kept]], Awaitable[None]]
"""Writes what belongs to declarations that are kept together."""


class _Apart(Exception):
    """One of those that come together is refused: the transaction is undone."""

    def __init__(self, ended: Sequence[Ended]) -> None:
        self.ended = ended


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
        macs: RowMacs,
        retracting: Retracting,
        acting: ActingChecks,
        limits: Limits,
        party: PartyId,
        kept_ms: int,
        age_ms: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._log = log
        self._lookup = lookup
        self._identity = identity
        self._keyring = keyring
        self._catalogue = catalogue
        self._recorder = recorder
        self._macs = macs
        self._retracting = retracting
        self._acting = acting
        self.limits = limits
        self._party = party
        self._kept_ms = kept_ms
        self._age_ms = age_ms
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

    async def accept_together(
        self, envelopes: Sequence[bytes], sender: PartyId, beside: Beside
    ) -> list[Accepted | Refused]:
        """All of them are kept, or none: where one is refused, nothing of the others is written down. An answer for
        each, in order. `beside` writes what belongs to them in their transaction, and may refuse. Raises what it
        raises; Unavailable, as `accept`.
        """
        return await self._accept(envelopes, sender, told=True, beside=beside)

    async def take_all(self, envelopes: Sequence[bytes], sender: PartyId) -> list[Accepted | Refused]:
        """As `accept_all`, for who reads them from where they can be read again: each refusal is the caller's to enter,
        with `record_refusals`, in the transaction that moves on.
        """
        return await self._accept(envelopes, sender, told=False)

    def record_refusals(
        self, tx: Transaction, refused: Iterable[tuple[bytes, Refused]], at: Instant, sender: PartyId | None = None
    ) -> None:
        """One entry for each reason, whatever a batch held: how many, SHA-256 of what came, and from whom.

        Of several, `detail` is SHA-256 of their digests in the order in which they came.
        """
        by_reason: dict[Reason, list[bytes]] = {}
        for digest, fault in refused:
            by_reason.setdefault(reason_of(fault), []).append(digest)
        for reason, digests in by_reason.items():
            detail = digests[0] if len(digests) == 1 else sha256(b"".join(digests)).digest()
            self._recorder.record(
                tx, FactKind.REFUSED, at, actor=sender, reason=reason, count=len(digests), detail=detail
            )

    async def _accept(
        self, envelopes: Sequence[bytes], sender: PartyId | None, *, told: bool, beside: Beside | None = None
    ) -> list[Accepted | Refused]:
        at = self._clock()
        arrived = [decoded(envelope, sender) for envelope in envelopes]
        try:
            ended = await self._write_down(await self._find(arrived), at, sender, told=told, beside=beside)
        except _Apart as apart:
            ended = apart.ended
            await self._turn_away(ended, at, sender)
        waiting = [one for one in ended if isinstance(one, Kept) and one.before is not Before.EFFECTS]
        # The caller's trace goes with the record; without one the router finds the id by itself.
        trace = tracing.CURRENT.get()
        headers = {} if trace is None else {tracing.HEADER: trace.header}
        records = [Outgoing(_order_key(one.submission.subject), one.decoded.envelope, headers) for one in waiting]
        for partition in {place.partition for place in await self._log.append_all(TOPIC, records)}:
            self._store.wake_signal.ring(declared_in(partition))
        if waiting:
            mark("intake.appended")
            # Crash here: in the log, and routed; the source has no receipt and sends again: the same receipt, no
            # effect.
            self._say([one.submission for one in waiting], at)
        return [one.accepted() if isinstance(one, Kept) else one.fault for one in ended]

    def _say(self, some: Sequence[Submission], at: Instant) -> None:
        """What is durable now, with the trace id that everything after it will have."""
        for one in some:
            of, source, event_type = one.declaration_id, one.source, one.event_type
            trace = tracing.CURRENT.get() or tracing.TraceId.of(of)
            logger().info("intake.accepted", declaration=of, source=source, event_type=event_type, trace_id=trace)
            until = self._clock()
            spans.ended("intake.accepted", trace, at, until, declaration=of, source=source, event_type=event_type)

    async def _find(self, arrived: Sequence[Decoded | Declined]) -> Sequence[Found]:
        """What was written down before under the same source and id, and whether it was routed.

        An earlier row proves nothing until its bytes are compared: whoever sends the very bytes that were verified
        gets the receipt again, also when a key or a token has ended meanwhile.
        """
        async with self._store.read_one() as tx:
            before = await submitted(tx, self._macs, [one.key[1] for one in arrived if isinstance(one, Decoded)])
        found = [
            _same(one, before[one.key], Before.ROW) if isinstance(one, Decoded) and one.key in before else one
            for one in arrived
        ]
        repeated = [one.key[1] for one in found if isinstance(one, Kept)]
        if not repeated:
            return found
        async with self._store.read_one() as tx:
            routed = await routed_of(tx, repeated)
        return [
            replace(one, before=Before.EFFECTS) if isinstance(one, Kept) and one.key in routed else one for one in found
        ]

    def _verify_new(self, found: Sequence[Found], at: Instant, directory: Directory) -> Sequence[Checked]:
        return [self._verify(one, at, directory) if isinstance(one, Decoded) else one for one in found]

    def _verify(self, one: Decoded, at: Instant, directory: Directory) -> Verified | Declined:
        try:
            # An id of a time of which nothing is kept may have been used: it would be the same one twice.
            if too_old(one.key[1], Instant(at - self._kept_ms)):
                raise Refused("intake.id-too-old", "/payload/declaration_id", days=self._kept_ms // _DAY_MS)
            declaration = verify_declaration(one.signed, directory, self._catalogue, at)
            manifest = declaration.manifest
            # What is dated back is judged by a directory of then. The router does not ask: it judges as of the receipt.
            if manifest.issued_at < at - self._age_ms:
                hours, limit = (at - manifest.issued_at) // _HOUR_MS, self._age_ms // _HOUR_MS
                raise Refused("intake.issued-too-long-ago", "/payload/issued_at", hours=hours, limit=limit)
            # Here and not at the router: a limit that is set later judges nothing of before.
            try:
                self.limits.check(manifest.source, manifest.provenance)
            except Refused as fault:
                raise fault.under("/payload") from None
            token = declaration.signed.slip.subject_token
            try:
                subject = self._identity.resolve(token, manifest.source, at)
                acting = self._identity.acting(token, manifest.source, at)
            except Refused as fault:
                raise fault.under("/slip/subject_token") from None
            return Verified(one, declaration, subject, acting)
        except Refused as fault:
            return Declined(one.digest, fault)

    async def _turn_away(self, ended: Sequence[Ended], at: Instant, sender: PartyId | None) -> None:
        """What came together and goes together: nothing of it is kept, and the ledger says why."""
        async with self._store.begin() as tx:
            declined = [(one.digest, one.fault) for one in ended if isinstance(one, Declined)]
            self.record_refusals(tx, declined, at, sender)

    async def _write_down(
        self, found: Sequence[Found], at: Instant, sender: PartyId | None, *, told: bool, beside: Beside | None
    ) -> Sequence[Ended]:
        """Write the intent before the act, and every refusal where it is to be told here, in one transaction.

        Signatures are verified before it, so that nobody waits for them, and again if another directory is in force by
        then: a key may have been revoked meanwhile, as of an instant before ours. What we answer for is judged by the
        router and by `fsck` as it was here.
        """
        ended: list[Ended] = [one for one in found if not isinstance(one, Decoded)]
        to_tell = told and any(isinstance(one, Declined) for one in ended)
        if beside is None and len(ended) == len(found) and not to_tell:
            return ended
        directory = await self._lookup.at_hand(self._store)
        checked = self._verify_new(found, at, directory)
        async with self._store.begin() as tx:
            in_force = await self._lookup.in_force(tx)
            if in_force is not directory:
                checked = self._verify_new(found, at, in_force)
            taking = {one.subject for one in checked if isinstance(one, Verified) and one.retracts is not None}
            alone = [citizen_lock(subject) for subject in sorted(taking)]
            shared = [lock for lock in await self._acting.locks(tx, checked, at) if lock not in alone]
            await (tx.lock_both(shared, alone) if shared else tx.lock_exclusive(alone))
            checked, acted = await self._acting.judge(tx, checked, at)
            ended = await self._write(tx, checked, at, self._keyring.signer(in_force, self._party, at))
            await self._acting.write(tx, ended, acted, at)
            if beside is not None:
                kept = [one for one in ended if isinstance(one, Kept)]
                if len(kept) < len(ended):
                    raise _Apart(ended)
                await beside(tx, kept)
            if told:
                declined = [(one.digest, one.fault) for one in ended if isinstance(one, Declined)]
                self.record_refusals(tx, declined, at, sender)
            mark("intake.written-down")
            # Crash here: written down or not, it is in no log, and the source has no receipt: it sends the same again.
        return ended

    async def _write(self, tx: Transaction, checked: Sequence[Checked], at: Instant, signer: PrivateKey) -> list[Ended]:
        """What waits for its row is written before a correction, whose original may be among it."""
        ended: list[Ended] = []
        ahead: list[Checked] = []
        for one in checked:
            if isinstance(one, Verified) and one.retracts is not None:
                ended += await self._insert(tx, ahead, at, signer)
                ahead = [await self._retract(tx, one, one.retracts, at)]
            elif isinstance(one, Verified) and one.declaration.manifest.corrects is not None:
                ended += await self._insert(tx, ahead, at, signer)
                ahead = [await self._check_correction(tx, one, one.declaration.manifest.corrects, at)]
            else:
                ahead.append(one)
        return ended + await self._insert(tx, ahead, at, signer)

    async def _insert(self, tx: Transaction, some: Sequence[Checked], at: Instant, signer: PrivateKey) -> list[Ended]:
        """A row for each that is verified, new or there by now: somebody was faster, or the batch holds it twice."""
        new = [one for one in some if isinstance(one, Verified)]
        rows = []
        for fresh in new:  # its source keeps the receipt: the broker says that it has this manifest since this instant
            manifest, digest = fresh.declaration.manifest, fresh.declaration.digest
            receipt = IntakeReceipt(self._party, manifest.source, manifest.declaration_id, digest, at).sign(signer)
            rows.append(fresh.written(at, receipt).row(self._macs))
        rows.sort(key=lambda row: row["declaration_id"])  # two batches that share ids do not wait in a circle
        made = by_key(await tx.insert_all_new(submissions, rows, *submissions.c))
        there = await submitted(tx, self._macs, [one.key[1] for one in new if one.key not in made])
        ended: list[Ended] = []
        for one in some:
            if not isinstance(one, Verified):
                ended.append(one)
            elif one.key in made:
                there[one.key] = made.pop(one.key)
                ended.append(_same(one.decoded, there[one.key], Before.NOTHING))
            else:
                ended.append(_same(one.decoded, there.get(one.key), Before.ROW))
        return ended

    async def _check_correction(
        self, tx: Transaction, one: Verified, corrects: DeclarationId, at: Instant
    ) -> Verified | Declined:
        """A correction corrects what the same source declared, of the same type, about the same citizen."""
        original = (await submitted(tx, self._macs, [corrects])).get((one.key[0], corrects))
        if original is None and too_old(corrects, Instant(at - self._kept_ms)):
            fault = Refused("intake.original-gone", "/payload/corrects", days=self._kept_ms // _DAY_MS)
            return Declined(one.decoded.digest, fault)
        same = original is not None and original.event_type == one.declaration.manifest.event_type
        if original is None or not same or not await self._same(tx, original.subject, one.subject, at):
            return Declined(one.decoded.digest, Refused("intake.unknown-original", "/payload/corrects"))
        if retracted.standing(await tx.endings(), original.event_type, corrects, None) is not None:
            return Declined(one.decoded.digest, Refused("retractions.taken-back", "/payload/corrects"))
        return one

    async def _same(self, tx: Transaction, one: SubjectRef, other: SubjectRef, at: Instant) -> bool:
        """Whether two references are one citizen's: the original may bear the name of before."""
        return one == other or one in (await self._lookup.kin(tx, [other], at)).of(other)

    async def _retract(self, tx: Transaction, one: Verified, kind: Kind, at: Instant) -> Verified | Declined:
        """A retraction takes back what the same source declared about the same citizen; the broker's, what two of its
        operators have written down. It counts from this transaction on, before its source has the receipt.
        """
        manifest, source = one.declaration.manifest, one.key[0]
        try:
            if manifest.corrects is None:
                raise Refused("retractions.names-nothing", "/payload/corrects")
            ids = [manifest.corrects, manifest.declaration_id]
            there = {key[1]: found for key, found in (await submitted(tx, self._macs, ids)).items()}
            if manifest.declaration_id in there:  # somebody was faster, or has this id: what is written next says so
                return one
            original = there.get(manifest.corrects)
            mine = original is not None and source in (original.source, self._party)
            if original is None or not mine or not await self._same(tx, original.subject, one.subject, at):
                raise Refused("intake.unknown-original", "/payload/corrects")
            if original.event_type in RETRACTIONS:
                raise Refused("retractions.of-a-retraction", "/payload/corrects")
            root = await self._retracting.root_of(tx, manifest.corrects)
            wanted = retraction(kind, root, original.subject, by=source, at=at, notice=manifest.declaration_id)
            fresh = await self._retracting.check(tx, wanted)
            if fresh and source != original.source:
                raise Refused("retractions.not-approved", "/payload/corrects")
            if fresh:
                await self._retracting.take_back(tx, wanted, at)
        except Refused as fault:
            return Declined(one.decoded.digest, fault)
        return one


def reason_of(fault: Refused) -> Reason:
    """What the ledger says about a refusal: a family of reasons, never the details."""
    return _REASONS.get(fault.code) or _FAMILIES.get(fault.code.partition(".")[0], Reason.INVALID_ENVELOPE)


def _same(one: Decoded, earlier: Submission | None, before: Before) -> Kept | Declined:
    """Kept, if what has the id is these bytes of this source.

    An id is one declaration's, whoever made it: the ids of its deliveries are derived from it, and a citizen follows by
    it.
    """
    if earlier is None or earlier.envelope_digest != one.digest:
        return Declined(one.digest, Refused("intake.id-reused", "/payload/declaration_id"))
    return Kept(one, earlier, before)


def _order_key(subject: SubjectRef) -> bytes:
    """The log's key: one for each citizen, so that their declarations stay in order; tells nothing to who reads the
    log.
    """
    return sha256(b"unefois/log-key/v1\x00" + subject).digest()[:16]

"""Router: read a batch of the log, decide for each declaration and subscription, write down what follows, move the
offset.

Refuses: a record that the intake did not accept, whoever wrote that it did (it is parked with its reason); a batch
whose offset somebody else moved.
Keeps: offset and effects are one transaction, so a record has its effects exactly once, whoever dies when.
Source: docs/architecture.md, steps 5 to 9 and "Transactions that matter".
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, select

from broker.directory.lookup import Lookup
from broker.flow.declared import recipients_of_chain
from broker.flow.deliveries import Stage
from broker.flow.ended_grants import RowsBehind
from broker.flow.offsets import Behind, advance, next_offsets
from broker.flow.planner import Known, Planner, Standing, standing_of
from broker.flow.retraction_notices import RetractionNotices
from broker.flow.rule_grants import RuleGrants
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.observability import spans, tracing
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.observability.tracing import TraceId
from broker.ports import Clock, Log, Record
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import dead_letters, declarations, submissions
from schemas.catalogue import Catalogue
from schemas.directory import Directory
from schemas.envelope import SignedDeclaration, VerifiedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.manifest import Manifest
from schemas.names import DeclarationId, EventType, GrantId, Instant, PartyId, Reason, SubjectRef
from schemas.retractions import RETRACTIONS

TOPIC = "declarations"
"""Where the intake appends what it accepted; the key is the citizen, so one citizen's declarations stay in order."""

BATCH = 200
"""Records in one transaction."""

LATE_MS: Final = 3_600_000
"""A consent that was given so long after a declaration came does not reach back to it, however late it is routed: who
sets an offset back has it routed again under the consents of another day.
"""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A record with what the intake wrote down about it, or with the fault that parks it."""

    record: Record
    fault: Refused | None
    verified: VerifiedDeclaration | None
    subject: SubjectRef | None
    received_at: Instant | None


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A declaration that gets its row."""

    verified: VerifiedDeclaration
    subject: SubjectRef
    received_at: Instant
    trace: TraceId | None

    def row(self, root: DeclarationId | None, at: Instant) -> dict[str, object]:
        """As the table has it."""
        manifest = self.verified.manifest
        return {
            "source": manifest.source,
            "declaration_id": manifest.declaration_id,
            "event_type": manifest.event_type,
            "schema_id": manifest.schema,
            "manifest_digest": self.verified.digest,
            "subject": self.subject,
            "corrects": manifest.corrects,
            "root": root,
            "envelope": self.verified.signed.encode(),
            "gate_kid": self.verified.signed.gate_kid,
            "received_at": self.received_at,
            "routed_at": at,
            "trace": self.trace,
        }


class Router:
    """Turns accepted declarations into deliveries. Any number may run; each batch is done by one of them."""

    def __init__(
        self,
        *,
        store: Store,
        log: Log,
        lookup: Lookup,
        keyring: Keyring,
        planner: Planner,
        rule_grants: RuleGrants,
        retraction_notices: RetractionNotices,
        catalogue: Catalogue,
        recorder: Recorder,
        macs: RowMacs,
        complete: Callable[[GrantId], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._log = log
        self._behind = Behind(TOPIC, log.stale_seconds)
        self._lookup = lookup
        self._keyring = keyring
        self._planner = planner
        self._rule_grants = rule_grants
        self._retraction_notices = retraction_notices
        self._catalogue = catalogue
        self._recorder = recorder
        self._macs = macs
        self._complete = complete
        self._clock = clock

    async def route(self) -> int:
        """Route everything that waits in every partition. Returns how many records. Raises Unavailable, Corrupt."""
        total, partitions = 0, range(await self._log.partitions(TOPIC))
        while moved := [await self.route_batch(*each) for each in (await self.waiting(partitions)).items()]:
            if not any(moved):
                break
            total += sum(moved)
        return total

    async def waiting(self, partitions: Iterable[int]) -> dict[int, int]:
        """Which of these partitions hold records that nobody has routed, or cannot be asked now, and from which offset
        on: two questions for all of them. Raises Unavailable, Corrupt `log.shorter`.
        """
        async with self._store.read_one() as tx:
            read = await next_offsets(tx, TOPIC)
        wanted = list(partitions)
        ends = await self._log.ends(TOPIC, wanted)
        self._behind.look(read, ends)
        return {each: read.get(each, 0) for each in wanted if each not in ends or read.get(each, 0) < ends[each]}

    async def route_batch(self, partition: int, offset: int, limit: int = BATCH) -> int:
        """One batch of one partition, in one transaction, from where it waits. Returns how many records; 0 at the end
        of the log.

        Signatures are verified before the transaction, so that nobody waits for them.
        Raises LostOwnership: somebody else routed it. Raises Unavailable, Corrupt.
        """
        records = await self._log.read(TOPIC, partition, offset, limit)
        if not records:
            return 0
        directory = await self._lookup.newest(self._store)
        async with self._store.read_one() as tx:
            checked = await self._check(tx, records, directory)
        try:
            await self._route(partition, offset, checked)
        except RowsBehind as behind:  # somebody has put older rows back, or a change was cut off before its commit
            for grant in behind.grants:
                await self._complete(grant)
            await self._route(partition, offset, checked)
        return len(records)

    async def _route(self, partition: int, offset: int, checked: Sequence[_Checked]) -> None:
        async with self._store.begin() as tx:
            await advance(tx, TOPIC, partition, offset, checked[-1].record.position.offset + 1)
            await self._write_effects(tx, checked)
            mark("router.batch")
            # Crash here: effects and offset are gone together; whoever owns the partition next reads the same records.

    async def route_again(self, tx: Transaction, record: Record) -> None:
        """A parked record once more, in the caller's transaction. Raises Refused with what is still wrong."""
        (checked,) = await self._check(tx, [record], await self._lookup.directory(tx))
        if checked.fault is not None:
            raise checked.fault
        await self._write_effects(tx, [checked], late=None)

    async def _check(self, tx: Transaction, records: Sequence[Record], directory: Directory) -> list[_Checked]:
        """The intake's checks again, as of the instant of receipt: whoever writes to the log forges nothing by that."""
        digests = [sha256(record.value).digest() for record in records]
        rows = await tx.execute(select(submissions).where(submissions.c.envelope_digest.in_(digests)))
        accepted = {row.envelope_digest: row for row in self._macs.valid(submissions.name, rows)}
        found = []
        for record, digest in zip(records, digests, strict=True):
            row = accepted.get(digest)
            try:
                signed = SignedDeclaration.decode(record.value)
                if row is None:  # accepted by nobody: written into the log behind the intake's back
                    raise Refused("router.not-accepted")
                received_at = Instant(row.received_at)
                verified = verify_declaration(signed, directory, self._catalogue, received_at)
                found.append(_Checked(record, None, verified, SubjectRef(row.subject), received_at))
            except Refused as fault:
                found.append(_Checked(record, fault, None, None, None))
        return found

    async def _write_effects(self, tx: Transaction, batch: Sequence[_Checked], late: int | None = LATE_MS) -> None:
        """Rows first, then the decisions by type, so that a batch asks once for all its grants.

        What waits for its row is written before a correction, whose original may be among it. `late`: None where an
        operator wants it under the consents of today.
        """
        at = self._clock()
        written: list[Known] = []
        ahead: list[_Accepted] = []
        for one in batch:
            if one.fault is not None:
                self._park(tx, one.record, one.fault, at)
            elif one.verified is not None and one.subject is not None and one.received_at is not None:
                trace = tracing.carried(one.record.headers)
                if one.verified.manifest.corrects is not None:
                    written += await self._write(tx, ahead, at, late)
                    ahead = []
                ahead.append(_Accepted(one.verified, one.subject, one.received_at, trace))
        written += await self._write(tx, ahead, at, late)
        by_type: dict[EventType, list[Known]] = {}
        for known in written:
            by_type.setdefault(known.verified.manifest.event_type, []).append(known)
        for event_type, waiting in sorted(by_type.items(), key=lambda each: each[0] in RETRACTIONS):
            if event_type in RETRACTIONS:
                await self._retraction_notices.plan(tx, event_type, waiting, at)
                continue
            subjects = {known.subject for known in waiting}
            rules = await self._lookup.rules_for(tx, event_type)
            acting = await self._rule_grants.prepare(tx, rules, at)
            epochs = self._keyring.consent_epochs()
            standing = await standing_of(
                tx,
                subjects,
                event_type,
                epochs,
                self._macs,
                lookup=self._lookup,
                rules=rules,
                at=at,
                alone=bool(acting),
            )
            if acting:
                await self._rule_grants.make(tx, acting, waiting, standing, at)
            for known in waiting:
                await self._plan(tx, known, standing, at)

    async def _write(self, tx: Transaction, some: Sequence[_Accepted], at: Instant, late: int | None) -> list[Known]:
        """The declarations' rows, all at once and in the log's order, and their `received` entries. One that has them
        already (appended twice) is not among the answers.
        """
        originals = [await self._original(tx, one.verified.manifest) for one in some]
        roots = [_root(one.verified.manifest, original) for one, original in zip(some, originals, strict=True)]
        told = [one.row(root, at) for one, root in zip(some, roots, strict=True)]
        rows = [self._macs.made(declarations.name, row) for row in told]
        wanted = (declarations.c.seq, declarations.c.source, declarations.c.declaration_id)
        made = await tx.insert_all_new(declarations, rows, *wanted)
        numbers = {(row.source, row.declaration_id): row.seq for row in made}
        found = []
        for one, root, original in zip(some, roots, originals, strict=True):
            manifest = one.verified.manifest
            seq = numbers.pop((manifest.source, manifest.declaration_id), None)
            if seq is None:
                continue
            self._recorder.record(
                tx,
                FactKind.RECEIVED if root is None else FactKind.CORRECTED,
                at,
                actor=manifest.source,
                about=one.subject,
                event_type=manifest.event_type,
                declaration=one.verified.digest,
                detail=None if original is None else original.manifest_digest,
            )
            trace = tracing.stored(one.trace, manifest.declaration_id)
            tx.after(partial(_say, manifest, trace, one.received_at, at))
            reach = None if late is None else Instant(one.received_at + late)
            found.append(Known(seq, one.verified, one.subject, one.received_at, at, trace, root, None, reach))
        return found

    async def _original(self, tx: Transaction, manifest: Manifest) -> Row[Any] | None:
        """The row of what this one corrects; None for what corrects nothing, or what is not there any more."""
        if manifest.corrects is None:
            return None
        where = [declarations.c.declaration_id == manifest.corrects]
        if manifest.event_type not in RETRACTIONS:  # of these the intake knows whose they may take back
            where.append(declarations.c.source == manifest.source)
        rows = await tx.execute(select(declarations).where(*where))
        return next(iter(self._macs.valid(declarations.name, rows)), None)

    async def _plan(self, tx: Transaction, known: Known, standing: Standing, at: Instant) -> None:
        manifest = known.verified.manifest
        originals: frozenset[PartyId] = frozenset()
        if known.corrects is not None:
            await tx.flush()  # the original may stand in this very batch
            originals = await recipients_of_chain(tx, manifest.source, known.corrects)
            known = replace(known, original_recipients=originals)
        territories = known.verified.signed.slip.territories
        for subscription in await self._lookup.candidates(tx, manifest.event_type, territories, originals):
            await self._planner.plan(tx, known, subscription, standing, at)

    def _park(self, tx: Transaction, record: Record, fault: Refused, at: Instant) -> None:
        """Keep a record that cannot be routed, with its bytes and its reason; the offset moves on with it."""
        letter = {
            "stage": Stage.ROUTER.value,
            "topic": record.position.topic,
            "partition": record.position.partition,
            "offset": record.position.offset,
            "record": record.value,
            "reason": Reason.INVALID_ENVELOPE.value,
            "code": fault.code,
            "attempts": 1,
            "at": at,
        }
        tx.add(dead_letters, letter)
        mark("router.parked")
        # Crash here: as in route_batch; the record is read and parked again.
        self._recorder.record(
            tx, FactKind.REFUSED, at, reason=Reason.INVALID_ENVELOPE, detail=sha256(record.value).digest()
        )


def _root(manifest: Manifest, original: Row[Any] | None) -> DeclarationId | None:
    """The first declaration of the chain that a correction belongs to; None for what corrects nothing."""
    if original is not None and original.root is not None:
        return DeclarationId(original.root)
    return manifest.corrects


def _say(manifest: Manifest, trace: TraceId, since: Instant, at: Instant) -> None:
    """Once it is committed. The span is how long it waited in the log."""
    of, source, event_type = manifest.declaration_id, manifest.source, manifest.event_type
    logger().info("router.routed", declaration=of, source=source, event_type=event_type, trace_id=trace)
    spans.ended("router.routed", trace, since, at, declaration=of, source=source, event_type=event_type)

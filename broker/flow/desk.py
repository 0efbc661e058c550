"""Desk: a source that is hosted here declares through the same bytes as any other; and the dry run before it does.

Refuses: what the source's side refuses (a wrong field, by its pointer) and what the intake refuses.
Keeps: the dry run asks the very function that the router will ask, so what it shows is what will happen under the same
consents; it writes nothing. What is said again under an id of the caller's is the same envelope for
`idempotency.HOURS`: sealed and signed once, and kept before it is handed in.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from hashlib import sha256
from heapq import nsmallest
from typing import Any, Final

from broker.access.idempotency import Answer, Claim, IdempotencyKeys
from broker.directory.lookup import Lookup
from broker.flow.arrived import Accepted
from broker.flow.contact import Contact
from broker.flow.holding import Holds, held_until
from broker.flow.intake import Intake
from broker.flow.objected import allowing, barred, stands
from broker.keys.keyring import Keyring
from broker.people import protection
from broker.people.identity import Identity
from broker.people.pivot import PivotIdentity
from broker.ports import Clock, Entropy
from broker.store.engine import Store
from broker.store.rows.macs import RowMacs
from consent import registry
from consent.explain import Line, dry_run
from consent.grant import Grant
from consent.policy import DeclarationFacts, Deny, Permit
from consent.representation import Acting, of_age_at
from consent.rules import as_ruled, grant_under, missing
from schemas import avro, values
from schemas.assurance import Provenance
from schemas.catalogue import Catalogue, EventSchema, territories_of, with_defaults
from schemas.declaration import Source, declare
from schemas.errors import Refused, Unavailable
from schemas.names import (
    Capacity,
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    PartyId,
    Reason,
    SchemaId,
    SubjectRef,
    uuid7,
    uuid_text,
)

_HANDED_IN: Final = 202
_NOTICE: Final = b"unefois/retraction-notice/v1\x00"
_ELSEWHERE: Final = 20
"""How many subscriptions of other places a dry run names: those first that the citizen has allowed something."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would happen: the facts that decide, and one line for each subscription that may want to hear."""

    facts: DeclarationFacts
    lines: tuple[Line, ...]
    elsewhere: int = 0
    """How many more hear of this type, but of other places: all that `lines` does not name."""
    held_until: Instant | None = None
    """Nobody would get it before this instant; None where nobody has to wait."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Signed and sealed under an id of the caller's, and kept, so that the same content gets the same bytes. `claim`:
    what forgets it; None: it was kept before.
    """

    envelope: bytes
    claim: Claim | None


class Desk:
    """The source's side of an administration hosted here."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        keyring: Keyring,
        identity: Identity,
        contact: Contact,
        catalogue: Catalogue,
        intake: Intake,
        idempotency_keys: IdempotencyKeys,
        macs: RowMacs,
        holds: Holds,
        lifetime_ms: int,
        token_ms: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._keyring = keyring
        self._identity = identity
        self._contact = contact
        self._catalogue = catalogue
        self._intake = intake
        self._idempotency_keys = idempotency_keys
        self._macs = macs
        self._holds = holds
        self._lifetime_ms = lifetime_ms
        self._token_ms = token_ms
        self._clock = clock
        self._entropy = entropy

    async def subject(self, record: Mapping[str, Any]) -> SubjectRef:
        """Whom a record is about. Raises Refused `desk.no-subject`, `identity.*`, with a pointer under `/subject`;
        Unavailable.
        """
        person = record.get("subject")
        if not isinstance(person, Mapping):
            raise Refused("desk.no-subject", "/subject")
        try:
            return await self._contact.reference(pivot_of(person))
        except Refused as fault:
            raise fault.under("/subject") from None

    async def token(self, source: PartyId, record: Mapping[str, Any]) -> tuple[bytes, Instant]:
        """A token that this source alone can put into its declarations about this person, and when it expires. Where
        the record names a `declarant` and a `capacity`, it says who declares for that person.

        Raises as `subject`, with a pointer under `/subject` or `/declarant`; Refused `representations.oneself`,
        `representations.of-age`.
        """
        at = self._clock()
        subject, expires_at = await self.subject(record), Instant(at + self._token_ms)
        acting = await self.acting(record, subject, at)
        return self._identity.token(subject, source, expires_at, acting), expires_at

    async def acting(self, record: Mapping[str, Any], subject: SubjectRef, at: Instant) -> Acting | None:
        """Who a record says declares for its subject; None: nobody else. Raises as `token`."""
        declarant, capacity = record.get("declarant"), record.get("capacity")
        if not isinstance(declarant, Mapping) or capacity == Capacity.SELF.value:
            return None
        try:
            representative = await self._contact.reference(pivot_of(declarant))
        except Refused as fault:
            raise fault.under("/declarant") from None
        if representative == subject:
            raise Refused("representations.oneself", "/declarant")
        try:
            acting = Acting(representative, Capacity(capacity), of_age_at(str(record["subject"]["birthdate"])))
        except ValueError:
            raise Refused("representations.capacity", "/capacity") from None
        if acting.capacity is Capacity.PARENT and acting.until is not None and acting.until <= at:
            raise Refused("representations.of-age", "/capacity")
        return acting

    async def explain(
        self,
        source: PartyId,
        event_type: EventType,
        record: Mapping[str, Any],
        provenance: Provenance | None = None,
        *,
        own: bool = False,
        subject: SubjectRef | None = None,
    ) -> DryRun:
        """Who would get what, and who would get nothing and why; nothing is written. Raises as `declare`. `subject`:
        whom it is about, where that is known otherwise than by the facts of the record.

        `own`: for the citizen, in a session of their own. To anybody else the answer is what it would be if nobody were
        protected, with as many lines and questions.
        """
        event = self._catalogue.by_type(event_type)
        at = self._clock()
        self._intake.limits.check(source, provenance)
        record = with_defaults(event, record)
        values.check(event, record, at)
        subject = await self.subject(record) if subject is None else subject
        territories = territories_of(event, record)
        facts = DeclarationFacts(
            declaration_id=DeclarationId(uuid7(at, self._entropy(10))),
            source=source,
            event_type=event_type,
            schema=event.schema.id,
            field_names=event.names,
            territories=territories,
            uses_territories=event.uses_territories,
            provenance=provenance,
        )
        async with self._store.read() as tx:
            subscriptions = await self._lookup.candidates(tx, event_type, territories)
            elsewhere = await self._lookup.elsewhere(tx, event_type, territories)
            kin = await self._lookup.kin(tx, [subject], at)
            found = await registry.for_routing(tx.conn, kin.of(subject), event_type)
            rules = await self._lookup.rules_for(tx, event_type)
            hears, ended = await self._lookup.hears(tx), await tx.endings()
            objecting = await barred(tx, self._macs, kin.of(subject), rules, kin)
        objected = objecting.get(subject, {})
        ruled = as_ruled(rules, (one for one in found if isinstance(one, Grant)))
        grants = [one for one in ruled if one.status.over or not stands(objecting, one)]
        objects = {(one.recipient, one.purpose) for one in objected.values() if one.stands}
        allowed = {one.recipient for one in grants if not one.status.over}
        subscriptions += nsmallest(
            _ELSEWHERE, elsewhere, key=lambda one: (one.recipient not in allowed, one.recipient, one.purpose)
        )
        acting = [rule for rule in rules if rule.acts(at) and (not event.uses_territories or rule.reaches(territories))]
        for rule in allowing(missing(acting, grants), objected):  # the grant that the router would make
            grant_id = GrantId(uuid7(at, self._entropy(10)))
            grants.append(grant_under(rule, subject, schema=event.schema.id, grant_id=grant_id, at=at))
        lines = tuple(
            dry_run(
                facts,
                subscriptions,
                grants,
                at,
                objects=objects,
                rules={one.id: one for one in rules},
                citizen=kin.of(subject),
            )
        )
        if own and (theirs := protection.standing(ended, subject, at)) is not None:
            lines = tuple(_sheltered(line, theirs, facts, hears) for line in lines)
        waits = held_until(self._holds, event_type, at, at)
        return DryRun(facts, lines, max(0, len(elsewhere) - _ELSEWHERE), waits)

    async def declare(
        self,
        source: PartyId,
        event_type: EventType,
        record: Mapping[str, Any],
        *,
        corrects: DeclarationId | None = None,
        declaration_id: DeclarationId | None = None,
        subject: SubjectRef | None = None,
        provenance: Provenance | None = None,
    ) -> Accepted:
        """Sign, seal and hand in one declaration. `subject`: as for `explain`; `provenance`: how sure it is; None
        states nothing.

        Raises Refused with a pointer into the record: `avro.*`, `values.*`, `identity.*`, `directory.*`; and what the
        intake refuses. Raises Unavailable: hand in again with the same `declaration_id`.
        """
        stated: dict[str, Any] = {"corrects": corrects, "subject": subject, "provenance": provenance}
        if declaration_id is not None:
            return await self._once(source, event_type, record, of=declaration_id, **stated)
        return await self._intake.accept(await self.envelope(source, event_type, record, **stated))

    async def retract(
        self, source: PartyId, event_type: EventType, of: DeclarationId, subject: SubjectRef, reason: str
    ) -> Accepted:
        """Take a declaration about this citizen back, by a notice of this type, which has one id for ever: said again
        within `idempotency.HOURS`, it is the same. Raises as `declare`.
        """
        record = {"declaration": uuid_text(of), "reason": reason.replace("-", "_")}
        return await self._once(source, event_type, record, corrects=of, of=notice_of(event_type, of), subject=subject)

    async def _once(self, source: PartyId, event_type: EventType, record: Mapping[str, Any], **stated: Any) -> Accepted:
        """The same bytes for the same content: then the intake answers as the first time. What is refused is forgotten,
        so that its id is free for what is right. Raises Refused `intake.id-reused` for other content.
        """
        prepared = await self.prepare(source, event_type, record, **stated)
        try:
            return await self._intake.accept(prepared.envelope)
        except Refused:
            await self.forget(prepared)
            raise

    async def forget(self, prepared: Prepared) -> None:
        """It was refused: its id is free for what is right."""
        if prepared.claim is not None:
            await self._idempotency_keys.forget(prepared.claim)

    async def prepare(
        self,
        source: PartyId,
        event_type: EventType,
        record: Mapping[str, Any],
        *,
        of: DeclarationId,
        corrects: DeclarationId | None = None,
        subject: SubjectRef | None = None,
        provenance: Provenance | None = None,
    ) -> Prepared:
        """The envelope under an id of the caller's, signed and kept, and not handed in; the same content gets the same
        bytes for `idempotency.HOURS`. Raises as `declare`, and Refused `intake.id-reused` for other content.
        """
        event = self._catalogue.by_type(event_type)
        record = with_defaults(event, record)
        values.check(event, record)
        original = None if corrects is None else corrects.hex()
        told = [] if provenance is None else [each.value for each in astuple(provenance)]
        asked = self._macs.asked([source, event.schema.id.hex(), original, _written(event, record), *told])
        try:
            claim = await self._idempotency_keys.claim(source, f"\x00desk/{of.hex()}", asked)
        except Refused as fault:
            reused = fault.code == "api.idempotency-reused"
            raise (Refused("intake.id-reused", "/payload/declaration_id") if reused else fault) from None
        if isinstance(claim, Answer):
            return Prepared(claim.body, None)
        stated: dict[str, Any] = {"corrects": corrects, "subject": subject, "provenance": provenance}
        try:
            envelope = await self.envelope(source, event_type, record, declaration_id=of, **stated)
        except (Refused, Unavailable):
            await self._idempotency_keys.release(claim)
            raise
        await self._idempotency_keys.keep(claim, Answer(_HANDED_IN, "{}", envelope))
        # Crash here: sent again, these bytes are handed in, for the first time or again.
        return Prepared(envelope, claim)

    async def envelope(
        self,
        source: PartyId,
        event_type: EventType,
        record: Mapping[str, Any],
        *,
        corrects: DeclarationId | None = None,
        declaration_id: DeclarationId | None = None,
        schema: SchemaId | None = None,
        subject: SubjectRef | None = None,
        provenance: Provenance | None = None,
    ) -> bytes:
        """The signed and sealed envelope, not handed in; by the type's newest schema, or by `schema`. `subject`: whom
        it is about, where the record does not say it.

        Raises as `declare`, and `catalogue.unknown-schema`.
        """
        event: EventSchema = self._catalogue.by_type(event_type) if schema is None else self._catalogue.by_id(schema)
        subject = await self._subject_of(event, record) if subject is None else subject
        at = self._clock()
        async with self._store.read() as tx:
            directory = await self._lookup.directory(tx)
        signed = declare(
            Source(source, self._keyring.signers(directory, source, at), directory.policy(source, at)),
            event,
            record,
            subject_token=self._identity.token(
                subject, source, Instant(at + self._token_ms), await self.acting(record, subject, at)
            ),
            gate=directory.current_sealing_key(directory.broker, at),
            at=at,
            lifetime_ms=self._lifetime_ms,
            declaration_id=declaration_id or DeclarationId(uuid7(at, self._entropy(10))),
            entropy=self._entropy,
            corrects=corrects,
            provenance=provenance,
        )
        return signed.encode()

    async def _subject_of(self, event: EventSchema, record: Mapping[str, Any]) -> SubjectRef:
        """Whom a record is about; one that is wrong is refused with the words of the dry run, which reads it first."""
        try:
            return await self.subject(record)
        except Refused:
            values.check(event, with_defaults(event, record))
            raise


def _sheltered(
    line: Line, theirs: protection.Protection, facts: DeclarationFacts, hears: Mapping[PartyId, frozenset[str]]
) -> Line:
    """As the router decides for a protected person."""
    one = line.subscription
    heard = hears.get(one.recipient, frozenset())
    hidden = theirs.hides(one, heard, facts.territories, by_place=facts.uses_territories)
    return replace(line, decision=Deny(Reason.NO_GRANT)) if hidden and isinstance(line.decision, Permit) else line


def notice_of(event_type: EventType, of: DeclarationId) -> DeclarationId:
    """The id of the notice by which a declaration is taken back: UUIDv7, of the instant that the declaration's id
    tells, so that it is as old as that one and no older.
    """
    drawn = sha256(_NOTICE + event_type.encode() + b"\x00" + of).digest()[:10]
    return DeclarationId(uuid7(Instant(int.from_bytes(of[:6], "big")), drawn))


def pivot_of(person: Mapping[str, Any]) -> PivotIdentity:
    """The pivot identity of a `subject` record. Raises Refused `desk.no-subject` when a part is missing or of another
    type.
    """
    try:
        return PivotIdentity(
            family_name=_text(person["family_name"]),
            given_names=tuple(_text(name) for name in person["given_names"]),
            birthdate=_text(person["birthdate"]),
            gender=_text(person["gender"]),
            birthplace=_text(person["birthplace"] or ""),
            birthcountry=_text(person["birthcountry"]),
        )
    except (KeyError, TypeError):
        raise Refused("desk.no-subject") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _written(event: EventSchema, record: Mapping[str, Any]) -> str:
    """A record as its bytes, in hexadecimal: what is said twice is the same, however it was spelled."""
    return avro.encode(event.schema, record).hex()

"""Acting: who hands in a declaration for another is held against the records, and written down beside it.

    token ──► Acting ──the records, under the citizens' locks──► ActedFor, in the transaction that keeps the declaration

Refuses: whoever acts for another without a record of it, after its end, before its beginning, out of its scope; whoever
acts as a parent for somebody of age; who acts, or is said to act for themselves, after their certified death.
Keeps: an end that was acknowledged lets nothing more in: it holds the person's lock alone, and the intake shares it.
What a source says of itself, in its own capacity, needs no record: a town hall that states a birth acts for nobody.
Source: docs/adr/0052-who-acts-for-another-is-a-record.md; Code civil, articles 78, 372-2, 388, 414, 418.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import Row, select

from broker.directory.kin import Kin
from broker.directory.lookup import Lookup
from broker.flow import represented, retracted
from broker.flow.arrived import Checked, Declined, Ended, Kept, Verified
from broker.flow.deliveries import citizen_lock
from broker.ledger.recorder import Recorder
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowReader
from broker.store.tables import acted_for, declarations
from consent.asking import one_of
from consent.representation import Acting, Known, Representation
from schemas.assurance import Quality
from schemas.envelope import VerifiedDeclaration
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.manifest import Manifest
from schemas.names import (
    Capacity,
    DeclarationId,
    EventType,
    Instant,
    ManifestDigest,
    PartyId,
    RepresentationId,
    SubjectRef,
)
from schemas.retractions import RETRACTIONS

_PLACE: Final = "/slip/subject_token"
DEATHS: Final = frozenset({EventType("fr.unefois.person.died.v1"), EventType("fr.unefois.person.died.v2")})
BIRTHS: Final = frozenset({EventType("fr.unefois.person.born.v1"), EventType("fr.unefois.person.born.v2")})
_AFTER_DEATH: Final = DEATHS | RETRACTIONS | {EventType("fr.unefois.identity.corrected.v1")}
"""What may be declared of somebody whose death is certified, by whoever declares it."""
_DEATHS: Final = select(declarations).where(
    one_of(declarations.c.subject, "subjects"), declarations.c.event_type.in_(sorted(DEATHS))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActedFor:
    """A declaration that somebody made for another: who, as what, how it was known that they may."""

    declaration: DeclarationId
    subject: SubjectRef
    representative: SubjectRef
    capacity: Capacity
    known: Known
    representation: RepresentationId | None
    at: Instant

    def row(self) -> dict[str, Any]:
        """As the table has it, without its MAC."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return told | {"capacity": self.capacity.value, "known": self.known.value}


def of_row(row: Row[Any]) -> ActedFor:
    """What a row tells."""
    return ActedFor(
        declaration=DeclarationId(row.declaration),
        subject=SubjectRef(row.subject),
        representative=SubjectRef(row.representative),
        capacity=Capacity(row.capacity),
        known=Known(row.known),
        representation=None if row.representation is None else RepresentationId(row.representation),
        at=Instant(row.at),
    )


async def told(tx: Transaction, macs: RowMacs, of: DeclarationId) -> ActedFor | None:
    """Who made a declaration for another; None: nobody did, as far as its source has said."""
    rows = macs.valid(acted_for.name, await tx.execute(select(acted_for).where(acted_for.c.declaration == of)))
    return of_row(rows[0]) if rows else None


class ActingChecks:
    """Part of the intake."""

    def __init__(
        self, *, rows: RowReader, lookup: Lookup, macs: RowMacs, recorder: Recorder, trusted: Collection[PartyId]
    ) -> None:
        """`trusted`: the sources that look themselves whether somebody may act for another."""
        self._rows = rows
        self._lookup = lookup
        self._macs = macs
        self._recorder = recorder
        self._trusted = frozenset(trusted)

    async def locks(self, tx: Transaction, checked: Iterable[Checked], at: Instant) -> list[bytes]:
        """The locks of those for whom somebody acts, under each reference of theirs: shared by the intake, held alone
        by who ends a representation.
        """
        acting = {one.subject for one in checked if isinstance(one, Verified) and one.acting is not None}
        family = (await self._lookup.kin(tx, acting, at)).all() if acting else ()
        return [citizen_lock(subject) for subject in sorted(acting.union(family))]

    async def judge(
        self, tx: Transaction, checked: Sequence[Checked], at: Instant
    ) -> tuple[list[Checked], Mapping[DeclarationId, ActedFor]]:
        """Each that nobody may make is declined; of the others, who made it for whom. For who holds `locks`."""
        spoken = [one for one in checked if isinstance(one, Verified)]
        people = {each for one in spoken for each in _people(one)} | {
            each for one in spoken if one.acting is not None for each in (one.subject, one.acting.representative)
        }
        family = await self._lookup.kin(tx, people, at)
        dead = await self._dead(tx, people.union(family.all()))
        acting = {each for one in spoken if one.acting is not None for each in family.of(one.subject)}
        records = await represented.of_subjects(tx, self._rows, acting)
        judged: list[Checked] = []
        found: dict[DeclarationId, ActedFor] = {}
        for one in checked:
            if not isinstance(one, Verified):
                judged.append(one)
                continue
            try:
                _check_living(one, dead, family)
                if one.acting is not None:
                    found[one.key[1]] = self._may(one, one.acting, records, family, at)
                judged.append(one)
            except Refused as fault:
                judged.append(Declined(one.decoded.digest, Refused(fault.code, _PLACE, **fault.details)))
        return judged, found

    async def write(
        self, tx: Transaction, ended: Iterable[Ended], found: Mapping[DeclarationId, ActedFor], at: Instant
    ) -> None:
        """Beside each declaration that was kept just now: who made it for whom, and the entry that says so."""
        for one in ended:
            acted = found.get(one.key[1]) if isinstance(one, Kept) else None
            if acted is None or not isinstance(one, Kept):
                continue
            if not await tx.insert_new(acted_for, self._macs.made(acted_for.name, acted.row())):
                continue  # the batch holds it twice
            self._recorder.record(
                tx,
                FactKind.ACTED_FOR,
                at,
                about=acted.subject,
                actor=one.submission.source,
                event_type=one.submission.event_type,
                declaration=ManifestDigest(one.accepted().digest),
                detail=row_digest(acted_for.name, acted.row()),
            )

    def _may(
        self, one: Verified, acting: Acting, records: Iterable[Representation], family: Kin, at: Instant
    ) -> ActedFor:
        """Raises Refused `representations.*`."""
        manifest = one.declaration.manifest
        known, record = self._known(one, acting, records, family, at)
        return ActedFor(
            declaration=manifest.declaration_id,
            subject=one.subject,
            representative=acting.representative,
            capacity=acting.capacity,
            known=known,
            representation=None if record is None else record.id,
            at=at,
        )

    def _known(
        self, one: Verified, acting: Acting, records: Iterable[Representation], family: Kin, at: Instant
    ) -> tuple[Known, Representation | None]:
        event_type = one.declaration.manifest.event_type
        if acting.capacity is Capacity.NEXT_OF_KIN and event_type not in BIRTHS | DEATHS:
            raise Refused("representations.relative", event_type=event_type)
        if acting.capacity is Capacity.NEXT_OF_KIN or (acting.capacity is Capacity.PARENT and event_type in BIRTHS):
            return Known.RELATIVE, None
        if acting.capacity is Capacity.PARENT and acting.until is not None and acting.until <= at:
            raise Refused("representations.of-age")
        theirs = [
            each
            for each in records
            if each.representative in family.of(acting.representative)
            and each.subject in family.of(one.subject)
            and each.measure.capacity is acting.capacity
        ]
        fault = Refused("representations.none", capacity=acting.capacity.value)
        for each in theirs:  # the newest one's reason, where none allows it
            try:
                each.check(event_type, at)
            except Refused as why:
                fault = why
            else:
                return Known.RECORD, each
        if not theirs and one.key[0] in self._trusted:
            return Known.SOURCE, None
        raise fault

    async def _dead(self, tx: Transaction, people: Collection[SubjectRef]) -> set[SubjectRef]:
        """Those of these people whose death a source has certified, and nobody has taken back."""
        if not people:
            return set()
        rows = await tx.execute(_DEATHS, {"subjects": sorted(people)})
        ended, dead = await tx.endings(), set()
        for row in self._macs.valid(declarations.name, rows):
            of, root = DeclarationId(row.declaration_id), row.root and DeclarationId(row.root)
            if retracted.standing(ended, EventType(row.event_type), of, root) is None and _certified(
                VerifiedDeclaration.stored(row.envelope).manifest
            ):
                dead.add(SubjectRef(row.subject))
        return dead


def _people(one: Verified) -> set[SubjectRef]:
    """Who has to be alive: whoever acts for another; whoever this is about, where it rests on their own word."""
    if one.declaration.manifest.event_type in _AFTER_DEATH:
        return set() if one.acting is None else {one.acting.representative}
    if one.acting is not None:
        return {one.subject, one.acting.representative}
    return set() if _certified(one.declaration.manifest) else {one.subject}


def _check_living(one: Verified, dead: AbstractSet[SubjectRef], family: Kin) -> None:
    """Raises Refused `representations.died`, under whichever of their references the death was declared."""
    if any(not dead.isdisjoint(family.of(each)) for each in _people(one)):
        raise Refused("representations.died")


def _certified(manifest: Manifest) -> bool:
    """Whether it rests on an act or a register, and not on somebody's word."""
    stated = manifest.provenance
    return stated is not None and stated.quality is not Quality.DECLARED

"""Person report: everything that was handed over about one person, to whom, when and on which ground, and who looked.

    the person's entries in the ledger ──► what was received, handed over, kept back, under way; consents; looks
    the directory                      ──► who each party is, how it is reached, how long it keeps what it has

Refuses: a person whom the six facts do not tell from others; to show a value: the broker has none that it could open.
Keeps: what is told is what the ledger holds, opened and proven entry by entry, whatever the tables say. The look is
written down before anything is shown. What stood in a ledger of the first format, and what can be opened no more, is
not told; how much of the latter there is, is.
Source: Regulation (EU) 2016/679 (GDPR), article 15(1); docs/protocol.md, section 8.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, select

from broker.directory.reading import Party
from broker.ledger.openings import Opened
from broker.services.viewing import record_look
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.store.tables import declarations, ledger_openings
from consent import asking, purposes
from schemas.catalogue import Catalogue, EventSchema
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.names import (
    DeclarationId,
    DeliveryId,
    EventType,
    Instant,
    LeafHash,
    ManifestDigest,
    PartyId,
    SchemaId,
    SubjectRef,
)
from schemas.release import indices

CHUNK: Final = 500
_CONSENTS: Final = frozenset({FactKind.GRANTED, FactKind.CARRIED, FactKind.CHANGED, FactKind.REVOKED, FactKind.EXPIRED})
_ACTING: Final = frozenset({FactKind.REPRESENTATION_STARTED, FactKind.REPRESENTATION_ENDED, FactKind.ACTED_FOR})
_DECLARED: Final = frozenset({FactKind.RECEIVED, FactKind.CORRECTED})
_ENDS: Final = frozenset({FactKind.APPLIED, FactKind.REJECTED, FactKind.ANSWERED, FactKind.WITHHELD})
_BY_DIGEST: Final = select(
    declarations.c.manifest_digest, declarations.c.declaration_id, declarations.c.schema_id
).where(asking.one_of(declarations.c.manifest_digest, "digests"))


@dataclass(frozen=True, slots=True)
class Told:
    """One entry about the person: its leaf, what it says, and the names of the fields that it is about, if any.

    `declaration`: the id of the declaration that it is about, while that is still held.
    """

    entry: LeafHash
    facts: Facts
    fields: tuple[str, ...] = ()
    declaration: DeclarationId | None = None


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A delivery that the recipient could open, at the instant of `released`; what the recipient made of it, if it is
    known: the entry of its being applied or rejected.
    """

    released: Told
    outcome: Told | None = None


@dataclass(slots=True)
class PersonReport:
    """Everything, each list in the order of time."""

    at: Instant
    broker: PartyId
    look: LeafHash | None
    """The entry that says that this was looked at; None: the person looks, in a session of their own."""
    parties: Mapping[PartyId, Party]
    events: Mapping[EventType, EventSchema]
    purposes: purposes.Catalogue
    declared: list[Told] = field(default_factory=list)
    handed_over: list[HandedOver] = field(default_factory=list)
    under_way: list[Told] = field(default_factory=list)
    """Planned, and neither handed over nor closed."""
    withheld: list[Told] = field(default_factory=list)
    consents: list[Told] = field(default_factory=list)
    """Each version of each consent and mandate by law."""
    acting: list[Told] = field(default_factory=list)
    """Who may act for the person, since when, until when; and which declarations somebody made for them."""
    looks: list[Told] = field(default_factory=list)
    """Without this one."""
    told: list[Told] = field(default_factory=list)
    """All of it, in the order of writing."""
    closed: int = 0
    """Entries about the person that nobody can open any more."""


async def person_report(home: Home, subject: SubjectRef) -> PersonReport:
    """What the ledger knows of a person (`viewing.subject_of`). The look is recorded first, as the broker's.

    Raises Corrupt `openings.damaged`; Unavailable.
    """
    async with home.store.begin() as tx:
        return await report_in(home, tx, subject)


async def own_report(home: Home, subject: SubjectRef) -> PersonReport:
    """The same for the person, in a session of their own: nobody else looks, and nothing is written."""
    async with home.store.read() as tx:
        return await report_in(home, tx, subject, own=True)


async def report_in(home: Home, tx: Transaction, subject: SubjectRef, *, own: bool = False) -> PersonReport:
    """As `person_report`, inside the caller's transaction; `own`: as `own_report`."""
    kin = (await home.lookup.kin(tx, [subject], home.clock())).of(subject)
    entries = [entry for one in kin for entry in await home.openings.of_subject(tx, one)]
    opened = sorted(entries, key=lambda one: one.facts.at, reverse=True) if len(kin) > 1 else entries
    mine = select(func.count()).select_from(ledger_openings).where(ledger_openings.c.subject.in_(kin))
    total: int = (await tx.execute(mine)).scalar_one()
    parties = {one.id: one for one in await home.lookup.parties(tx)}
    known, all_purposes = await _known(tx, opened), await home.lookup.purposes(tx)
    look = None if own else record_look(home, tx, subject)
    told = [_told(home.catalogue, one, known) for one in reversed(opened)]
    types = {one.facts.event_type for one in told if one.facts.event_type is not None}
    report = PersonReport(home.clock(), home.party, look, parties, _events(home.catalogue, types), all_purposes)
    report.closed = total - len(opened)
    report.told = told
    _sort(report, told)
    return report


def _sort(report: PersonReport, told: Iterable[Told]) -> None:
    """Each entry into its list. A delivery is handed over once for each release of it: a recipient may ask again."""
    lists = {
        **dict.fromkeys(_DECLARED, report.declared),
        **dict.fromkeys(_CONSENTS, report.consents),
        **dict.fromkeys(_ACTING, report.acting),
        FactKind.VIEWED: report.looks,
        FactKind.WITHHELD: report.withheld,
    }
    planned: dict[DeliveryId, Told] = {}
    released: dict[DeliveryId, list[Told]] = {}
    ends: dict[DeliveryId, Told] = {}
    for one in told:
        kind, delivery = one.facts.kind, one.facts.delivery
        lists.get(kind, []).append(one)
        if delivery is None:
            continue
        if kind is FactKind.PLANNED:
            planned[delivery] = one
            ends.pop(delivery, None)  # planned anew: what closed it before is of the past
        elif kind is FactKind.RELEASED:
            released.setdefault(delivery, []).append(one)
        elif kind in _ENDS:
            ends[delivery] = one
    for delivery, each in released.items():
        end = ends.get(delivery)
        outcome = None if end is None or end.facts.kind is FactKind.WITHHELD else end
        report.handed_over += [HandedOver(one, outcome) for one in each]
    report.handed_over.sort(key=lambda one: one.released.facts.at)
    report.under_way = [one for delivery, one in planned.items() if delivery not in released | ends]


def _told(catalogue: Catalogue, opened: Opened, known: Mapping[ManifestDigest, tuple[DeclarationId, SchemaId]]) -> Told:
    facts = opened.facts
    declaration, schema = known.get(facts.declaration, (None, None)) if facts.declaration else (None, None)
    return Told(opened.leaf, facts, _fields(catalogue, facts, schema), declaration)


def _fields(catalogue: Catalogue, facts: Facts, schema: SchemaId | None) -> tuple[str, ...]:
    """By the schema of the declaration, where it is still held, else by the type's newest; numbers where neither is."""
    if facts.fields is None:
        return ()
    names: tuple[str, ...] = ()
    try:
        if schema is not None:
            names = catalogue.by_id(schema).names
        elif facts.event_type is not None:
            names = catalogue.by_type(facts.event_type).names
        return tuple(names[index] for index in indices(facts.fields, len(names)))
    except Refused:  # a type that this program does not know, or a bitmap that is not of this schema
        numbers = range(8 * len(facts.fields))
        return tuple(f"#{at}" for at in numbers if facts.fields[at // 8] & 0x80 >> at % 8)


def _events(catalogue: Catalogue, types: Iterable[EventType]) -> dict[EventType, EventSchema]:
    found = {}
    for event_type in types:
        try:
            found[event_type] = catalogue.by_type(event_type)
        except Refused:
            continue
    return found


async def _known(tx: Transaction, opened: Iterable[Opened]) -> dict[ManifestDigest, tuple[DeclarationId, SchemaId]]:
    """Id and schema of the declarations that are still held."""
    digests = sorted({one.facts.declaration for one in opened if one.facts.declaration is not None})
    found: dict[ManifestDigest, tuple[DeclarationId, SchemaId]] = {}
    for start in range(0, len(digests), CHUNK):
        for row in await tx.execute(_BY_DIGEST, {"digests": digests[start : start + CHUNK]}):
            found[ManifestDigest(row.manifest_digest)] = DeclarationId(row.declaration_id), SchemaId(row.schema_id)
    return found

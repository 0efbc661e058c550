"""History: who opened what about a citizen, when, why, on which ground; who was refused; who looked; and the proofs.

Refuses: another's, as unknown as what never was. A proof of what the ledger has not ordered yet: it comes within its
window.
Keeps: what is told is what the ledger holds, opened entry by entry, whatever the tables say. The citizen's own look is
no look at their file, and nothing is written; but the export, by which everything leaves, is entered.
Source: Regulation (EU) 2016/679 (GDPR), article 15; docs/protocol.md, section 8.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, select

from broker.citizens import levels
from broker.citizens.citizen import Citizen
from broker.citizens.levels import Act
from broker.consents.consents import Recorded
from broker.directory.reading import Party
from broker.services import proofs
from broker.services.citizens.outlook import both, party, purpose_label
from broker.services.consent_receipts import receipt_of
from broker.services.person_export import person_export
from broker.services.person_report import PersonReport, Told, own_report
from broker.services.person_shape import entry_shape
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from broker.store.tables import declarations, withholdings
from consent import registry
from consent.explain import explain_reason
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import EventType, GrantId, Instant, PartyId, Purpose, Reason

PAGE: Final = 50
"""Entries of one page, and the most that can be asked for."""
OPENED, WITHHELD, LOOKED, CONSENTS, DECLARED, ACTING = (
    "opened",
    "withheld",
    "looked",
    "consents",
    "declared",
    "acting",
)
WHAT: Final = (OPENED, WITHHELD, LOOKED, CONSENTS, DECLARED, ACTING)
"""What there is to ask for."""
_OF_GRANTS: Final = (
    FactKind.GRANTED.value,
    FactKind.CARRIED.value,
    FactKind.CHANGED.value,
    FactKind.REVOKED.value,
    FactKind.EXPIRED.value,
)


async def events(
    home: Home, citizen: Citizen, *, what: str | None = None, after: bytes | None = None, limit: int = PAGE
) -> Json:
    """What happened, the newest first. `what`: one of `WHAT`; None: all of it. `after`: `next` of the page before,
    32 bytes.

    `{events: [{what, kind, at, actor, recipient, event_type, event_label, purpose, purpose_label, fields, basis, grant,
    grant_version, delivery, declaration, manifest, reason, why, outcome, outcome_at, entry}], next, closed}`. `fields`:
    `[{name, label}]`; `actor`, `recipient`: `{party, name, contact}`; `entry`: its leaf in the ledger, None for what
    was never planned, which no entry tells; `closed`: how many entries nobody can open any more. Raises Refused
    `citizens.history-kind`, `citizens.history-after`.
    """
    if what is not None and what not in WHAT:
        raise Refused("citizens.history-kind", "/what", known=", ".join(WHAT))
    found = await own_report(home, citizen.subject)
    there = [_told(found, *one) for one in _all(found, what)]
    if what in (None, WITHHELD):
        there += await _never_planned(home, citizen, found)
    there.sort(key=lambda one: one.key, reverse=True)
    start = 0
    if after is not None:
        places = [number for number, one in enumerate(there) if one.key[1] == after]
        if not places:
            raise Refused("citizens.history-after", "/after")
        start = places[0] + 1
    page = there[start : start + max(1, min(limit, PAGE))]
    more = len(there) > start + len(page)
    return {
        "events": [one.shown for one in page],
        "next": page[-1].key[1].hex() if more else None,
        "closed": found.closed,
    }


async def proof(home: Home, citizen: Citizen, of: bytes, kind: FactKind | None = None) -> str:
    """The ledger's receipt of the newest entry, of this kind if one is named, about a declaration, delivery or grant of
    the citizen's (16 bytes); it is verified without us. Raises Refused `proofs.*`, `ledger.not-sequenced-yet`.
    """
    return await proofs.show(home, of, kind, citizen.language, whose=citizen.subject)


async def receipt(home: Home, citizen: Citizen, grant: GrantId, version: int | None = None) -> str:
    """The signed receipt (JSON text) of one version of a grant; None: the newest. Raises Refused
    `consents.unknown-grant`, `citizens.no-receipt` for a version that never was or that the ledger tells no more.
    """
    async with home.store.read() as tx:
        kin = (await home.lookup.kin(tx, [citizen.subject], home.clock())).of(citizen.subject)
        versions = await registry.history(tx.conn, grant)
        if not versions or versions[0].subject not in kin:
            raise Refused("consents.unknown-grant", "/grant")
        wanted = versions[-1].version if version is None else version
        made = next((one for one in versions if one.version == wanted), None)
        told = await home.openings.of_subject(tx, versions[0].subject, *_OF_GRANTS)
    same = (one.leaf for one in told if (one.facts.grant, one.facts.grant_version) == (grant, wanted))
    entry = next(same, None)
    if made is None or entry is None:
        raise Refused("citizens.no-receipt", "/version")
    return (await receipt_of(home, Recorded(made, entry))).decode()


async def export(home: Home, citizen: Citizen) -> Json:
    """Everything that this broker holds about the citizen, as `schemas/person-export.v1.schema.json` has it; the ledger
    says that it was handed out. Raises Refused `citizens.level-too-low`.
    """
    levels.check(citizen, Act.EXPORT)
    return await person_export(home, citizen.subject, whose=citizen.subject)


def _all(found: PersonReport, what: str | None) -> Iterator[tuple[str, Told, Told | None]]:
    """Each with what it is, and what came of it."""
    if what in (None, OPENED):
        yield from ((OPENED, one.released, one.outcome) for one in found.handed_over)
    lists = {
        WITHHELD: found.withheld,
        LOOKED: found.looks,
        CONSENTS: found.consents,
        DECLARED: found.declared,
        ACTING: found.acting,
    }
    for name, entries in lists.items():
        if what in (None, name):
            yield from ((name, one, None) for one in entries)


@dataclass(frozen=True, slots=True)
class _Told:
    """One line. `key`: by which it stands in its place, and is found again: its instant, and 32 bytes."""

    key: tuple[Instant, bytes]
    shown: Json


def _told(found: PersonReport, what: str, one: Told, outcome: Told | None) -> _Told:
    told, reason = entry_shape(found, one), one.facts.reason
    labels = told.pop("field_labels")
    shown = {
        **told,
        "what": what,
        "actor": _party(found.parties, one.facts.actor),
        "recipient": _party(found.parties, one.facts.recipient),
        "fields": [{"name": name, "label": labels.get(name, {"fr": name, "en": name})} for name in one.fields],
        "why": None if reason is None else both(lambda language: explain_reason(reason, language)),
        "outcome": None if outcome is None else outcome.facts.kind.value,
        "outcome_at": None if outcome is None else time_of(outcome.facts.at),
    }
    return _Told((one.facts.at, one.entry), shown)


async def _never_planned(home: Home, citizen: Citizen, found: PersonReport) -> list[_Told]:
    """Who heard of a type and got nothing of a declaration, and why: rows, for no entry of the ledger tells it."""
    same = withholdings.c.declaration == declarations.c.seq
    asked = select(withholdings, declarations.c.declaration_id, declarations.c.event_type).join(declarations, same)
    async with home.store.read() as tx:
        kin = (await home.lookup.kin(tx, [citizen.subject], home.clock())).of(citizen.subject)
        rows = (await tx.execute(asked.where(declarations.c.subject.in_(kin)))).all()
    return [_withheld(home, found, row) for row in rows]


def _withheld(home: Home, found: PersonReport, row: Row[Any]) -> _Told:
    reason, at = Reason(row.reason), Instant(row.at)
    try:
        named = home.catalogue.by_type(EventType(row.event_type)).label
        label: Json | None = both(lambda language: named[language])
    except Refused:  # a type of an older program
        label = None
    empty = ("actor", "basis", "grant", "grant_version", "delivery", "manifest", "outcome", "outcome_at", "entry")
    shown = {
        **dict.fromkeys(empty),
        "what": WITHHELD,
        "kind": FactKind.WITHHELD.value,
        "at": time_of(at),
        "recipient": party(found.parties, PartyId(row.recipient)),
        "event_type": row.event_type,
        "event_label": label,
        "purpose": row.purpose,
        "purpose_label": purpose_label(Purpose(row.purpose), found.purposes),
        "fields": [],
        "declaration": uuid_of(row.declaration_id),
        "reason": reason.value,
        "why": both(lambda language: explain_reason(reason, language)),
    }
    return _Told((at, sha256(row.declaration_id + row.subscription).digest()), shown)


def _party(parties: Mapping[PartyId, Party], one: PartyId | None) -> Json | None:
    return None if one is None else party(parties, one)

"""Declarations: who would get what, handing one in, and how far it got.

Refuses: to choose between two sources (`broker.services.publishers`); a declaration that is not `whose`.
Keeps: nothing of its own; `broker.flow.desk` explains and declares, `broker.flow.tracking` follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from broker.flow import acting
from broker.flow.arrived import Accepted
from broker.flow.desk import DryRun
from broker.flow.tracking import Track
from broker.services import identities
from broker.services.publishers import publisher_of
from broker.services.viewing import record_look
from broker.setup.wiring import Home
from schemas.assurance import Provenance
from schemas.catalogue import EventSchema
from schemas.names import DeclarationId, EventType, PartyId, SubjectRef


@dataclass(frozen=True, slots=True)
class Explained:
    """Who would declare, what each subscription would get, the names of the parties, and the event type."""

    source: PartyId
    dry: DryRun
    names: Mapping[PartyId, str]
    event: EventSchema


async def explain(
    home: Home,
    event_type: EventType,
    record: Mapping[str, Any],
    source: PartyId | None,
    provenance: Provenance | None = None,
    *,
    own: bool = False,
    subject: SubjectRef | None = None,
) -> Explained:
    """Who would get what, and who nothing and why. Nothing is sent and nothing is written. `own`: the citizen asks, in
    a session of their own, and reads what they are protected from, too; `subject`: who they are.

    Raises Refused: `publishers.*`, `desk.*`, `identity.*`, and what the record's type refuses.
    """
    who = await publisher_of(home, event_type, source)
    dry = await home.desk.explain(who, event_type, record, provenance, own=own, subject=subject)
    async with home.store.read() as tx:
        names = {one.id: one.name for one in await home.lookup.parties(tx)}
    return Explained(who, dry, names, home.catalogue.by_type(event_type))


async def declare(
    home: Home,
    event_type: EventType,
    record: Mapping[str, Any],
    source: PartyId | None,
    *,
    corrects: DeclarationId | None = None,
    declaration_id: DeclarationId | None = None,
    subject: SubjectRef | None = None,
    provenance: Provenance | None = None,
) -> tuple[PartyId, Accepted]:
    """Sign, seal and hand in; `provenance` says how sure it is; `subject`: as for `explain`. Returns who declared, and
    what the intake answered. Durable once it returns.

    Raises Refused as `explain`, and `intake.*`. Raises Unavailable.
    """
    who = await publisher_of(home, event_type, source)
    accepted = await home.desk.declare(
        who,
        event_type,
        record,
        corrects=corrects,
        declaration_id=declaration_id,
        subject=subject,
        provenance=provenance,
    )
    # Crash here: the declaration is in, and no link was asked for; handed in again with its id, it is.
    await identities.follow(home, who, event_type, record, accepted.declaration_id)
    return who, accepted


async def track(home: Home, declaration: DeclarationId, *, whose: SubjectRef | None = None) -> Track:
    """How far a declaration got with everybody. `whose`: the citizen who asks; None: an operator, who is also told when
    the router has set it aside, and whose look is recorded first.

    Raises Refused `tracking.unknown`.
    """
    if whose is None:
        async with home.store.begin() as tx:
            record_look(home, tx, await home.tracking.whose(tx, declaration))
    found = await home.tracking.track(declaration, whose)
    async with home.store.read() as tx:
        found = replace(found, acted_for=await acting.told(tx, home.macs, declaration))
    if whose is not None or found.routed_at is not None:
        return found
    return replace(found, parked=await home.tracking.parked(declaration))

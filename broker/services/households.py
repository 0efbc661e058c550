"""Households: one form about several people, handed in by a source; and what each other adult decides.

Refuses: what `broker.flow.households` refuses; a source that is not hosted here, where it is to sign.
Keeps: nothing of its own. What a hosted source has its people fill in is signed by the broker for it, and no draft of
it is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.flow.arrived import Accepted
from broker.flow.households import Awaited, Code, Declared, Member, Opened
from broker.setup.wiring import Home
from schemas.assurance import Provenance
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, PartyId

__all__ = ["Awaited", "Code", "Declared", "Filled", "Member", "Opened", "confirm", "open_form", "refuse"]


@dataclass(frozen=True, slots=True)
class Filled:
    """One person of a form at a hosted source: their record; `waits`: an adult who has still to confirm it."""

    record: Mapping[str, Any]
    waits: bool = False


async def open_form(home: Home, source: PartyId, members: Sequence[Member]) -> Opened:
    """Take in a form whose declarations are signed. Raises as `Households.open`."""
    return await home.households.open(source, members)


async def confirm(home: Home, source: PartyId, household: DeclarationId, code: str, envelope: bytes) -> Accepted:
    """An adult confirms, by their own declaration. Raises as `Households.confirm`."""
    return await home.households.confirm(source, household, code, envelope)


async def refuse(home: Home, source: PartyId, household: DeclarationId, code: str) -> None:
    """An adult refuses. Raises as `Households.refuse`."""
    await home.households.refuse(source, household, code)


async def fill_in(
    home: Home,
    source: PartyId,
    event_type: EventType,
    members: Sequence[Filled],
    provenance: Provenance | None = None,
) -> Opened:
    """Take in a form of a hosted source: the broker signs for it what is declared at once. Raises as `open_form`, and
    what a record's type refuses, under `/members`.
    """
    made: list[Member] = []
    for number, one in enumerate(members):
        try:
            if one.waits:
                made.append(Awaited((await home.desk.token(source, one.record))[0]))
            else:
                envelope = await home.desk.envelope(source, event_type, one.record, provenance=provenance)
                made.append(Declared(envelope))
        except Refused as fault:
            raise fault.under(f"/members/{number}") from None
    return await open_form(home, source, made)


async def confirm_filled(
    home: Home,
    source: PartyId,
    household: DeclarationId,
    code: str,
    *,
    event_type: EventType,
    record: Mapping[str, Any],
    provenance: Provenance | None = None,
) -> Accepted:
    """An adult confirms at a hosted source: what they have confirmed is signed now. Raises as `confirm`."""
    envelope = await home.desk.envelope(source, event_type, record, provenance=provenance)
    return await confirm(home, source, household, code, envelope)

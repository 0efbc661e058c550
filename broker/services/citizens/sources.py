"""Sources: in whose name the broker signs what a citizen declares, cancels or corrects.

    citizen.portal, where its signing key is in this home ──► that portal
    else the setting `citizen_source`                      ──► the party of our own pages
    neither                                                ──► the only party hosted here that may publish the type

Refuses: to choose between two parties.
Keeps: the request never says it: a portal declares in its own name or in that of our pages.
"""

from typing import Final

from sqlalchemy import ColumnElement

from broker.citizens.citizen import Citizen
from broker.flow.arrived import submitted
from broker.flow.declared import known
from broker.services.publishers import publisher_of
from broker.setup.wiring import Home
from broker.store.tables import declarations
from schemas.assurance import Quality
from schemas.catalogue import BANK_ACCOUNT
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, PartyId

DECLARABLE: Final = (
    EventType("fr.unefois.address.changed.v1"),
    BANK_ACCOUNT,
    EventType("fr.unefois.contact.changed.v1"),
    EventType("fr.unefois.name.changed.v1"),
    EventType("fr.unefois.couple.formed.v1"),
    EventType("fr.unefois.couple.separated.v1"),
    EventType("fr.unefois.child-residence.changed.v1"),
)
"""What a person knows first, and states by themselves. What a register, a court or a notary states (births, deaths,
unions, representations, corrections of an identity) comes from there.
"""


async def source_of(home: Home, portal: PartyId | None, event_type: EventType) -> PartyId:
    """Who signs. Raises Refused `publishers.nobody`, `publishers.several`."""
    if portal is not None and await signs_here(home, portal):
        return portal
    named = home.settings.citizen_source
    return await publisher_of(home, event_type, None if named is None else PartyId(named))


async def signs_here(home: Home, party: PartyId) -> bool:
    """Whether the broker has the keys of this party, and so signs for it."""
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    try:
        return bool(home.keyring.signers(directory, party, home.clock()))
    except Refused:
        return False


async def own_word(home: Home, citizen: Citizen, declaration: DeclarationId) -> PartyId:
    """Who declared what a citizen takes back or corrects: their own word, handed in through a source that is hosted
    here.

    Raises Refused: `tracking.unknown` for another's; `citizens.not-own-word` for what a register or a court has stated;
    `citizens.declared-elsewhere` where its source signs by itself.
    """
    async with home.store.read() as tx:
        kin = (await home.lookup.kin(tx, [citizen.subject], home.clock())).of(citizen.subject)
        found = (await submitted(tx, home.macs, [declaration])).values()
        stated = [one.verified.manifest for one in await known(tx, home.macs, _is(declaration))]
    mine = next((one for one in found if one.subject in kin), None)
    if mine is None:
        raise Refused("tracking.unknown", "/declaration")
    sure = next((one.provenance for one in stated), None)
    if mine.event_type not in DECLARABLE or (sure is not None and sure.quality is not Quality.DECLARED):
        raise Refused("citizens.not-own-word", "/declaration", event_type=mine.event_type)
    if not await signs_here(home, mine.source):
        raise Refused("citizens.declared-elsewhere", "/declaration", source=mine.source)
    return mine.source


def _is(declaration: DeclarationId) -> ColumnElement[bool]:
    return declarations.c.declaration_id == declaration

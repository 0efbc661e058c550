"""Citizens for tests: somebody who is signed in, without a provider in between."""

from typing import Any

from sqlalchemy import Table, delete

from broker.citizens.citizen import Citizen, Helper
from broker.citizens.sealed import Private
from broker.citizens.sessions import Opening, Way
from broker.flow.desk import pivot_of
from schemas.assurance import Assurance
from schemas.messages import Language
from schemas.names import PartyId
from tests.world import ELISE, World


async def sign_in(
    here: World,
    person: dict[str, Any] = ELISE,
    *,
    way: Way = Way.FRANCECONNECT,
    assurance: Assurance = Assurance.LOW,
    language: Language = "fr",
    portal: PartyId | None = None,
    credential: bytes | None = None,
    helper: Helper | None = None,
    id_token: str | None = None,
) -> tuple[str, Citizen]:
    """The token of a session of this person's, and who it is."""
    identity = pivot_of(person)
    opening = Opening(
        subject=await here.home.contact.reference(identity),
        private=Private(identity, helper, id_token),
        way=way,
        assurance=assurance,
        language=language,
        portal=portal,
        credential=credential,
    )
    async with here.home.store.begin() as tx:
        return await here.home.sessions.open(tx, opening, here.clock())


async def found_out(here: World, check: str, table: Table) -> None:
    """What an insider did to this table is found by this check and no other; then it is taken away."""
    assert {check} == {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:
        await tx.execute(delete(table))

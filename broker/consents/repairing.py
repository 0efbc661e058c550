"""Repairing: the consent for a person's number and the try that it is for, in one transaction.

Refuses: what `broker.consents.consents` and `broker.flow.repairs` refuse.
Keeps: there is no consent for a number without its try, and no try without its consent.
"""

from dataclasses import dataclass, replace

from broker.access import acts
from broker.consents.consents import Consents, GrantRequest
from broker.directory.lookup import Lookup
from broker.flow.repairs import Repairs, repairable
from broker.ports import Clock
from broker.store.engine import Store
from schemas.names import DeclarationId, GrantId, PartyId


@dataclass(frozen=True, slots=True)
class Begun:
    """A try: the consent that the reference goes under, which try it is, and the consents of tries that came to
    nothing, which are to be ended.
    """

    grant: GrantId
    number: int
    stale: tuple[GrantId, ...]


class Repairing:
    """Begins tries."""

    def __init__(self, *, store: Store, lookup: Lookup, consents: Consents, repairs: Repairs, clock: Clock) -> None:
        self._store = store
        self._lookup = lookup
        self._consents = consents
        self._repairs = repairs
        self._clock = clock

    async def begin(
        self, wish: GrantRequest, declaration: DeclarationId, to: PartyId, reference: DeclarationId
    ) -> Begun:
        """Give the consent for `reference` alone, and write down the try, before the reference is handed in.

        Raises Refused: as `Consents.give`, `tracking.unknown`, `repair.*`.
        """
        async with self._store.begin() as tx:
            given = await self._consents.give_in(tx, replace(wish, once_for=reference))
            at = self._clock()
            kin = await self._lookup.kin(tx, [wish.subject], at)
            waiting = await repairable(tx, kin.of(wish.subject), declaration, to)
            number, stale = await self._repairs.begin(tx, waiting, reference, given.grant.id, at)
            begun = Begun(given.grant.id, number, tuple(stale))
            await acts.keep(tx, begun)
        # Crash here: a consent for a declaration that never was, and a try that is made anew (`broker.flow.repairs`).
        return begun

"""Offices: an administration at work: it pulls, opens, verifies, keeps, answers, undoes; sometimes it fails.

Refuses: a delivery that does not verify: then the simulation has found a fault.
Keeps: it tells the promises of every field that it reads, before it does anything with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from broker.flow.hosted import HostedInbox
from broker.lab.simulation.cast import NUMBER, Office
from broker.lab.simulation.promises import Promises, Said
from broker.runtime import hosting
from broker.setup.wiring import Home
from connectors.contract import Answered, Applied, Outcome, Rejected
from schemas.delivery import VerifiedDelivery, open_release, verify_delivery
from schemas.errors import Corrupt
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId, Reason
from schemas.release import KeyRelease
from schemas.retractions import RETRACTIONS

LIMIT: Final = 100
_FAILS: Final = 0.01
"""How often its own system is away when it has opened something."""
_REFUSES: Final = 0.003


@dataclass(slots=True)
class Looked:
    """What one look into the mailbox gave: what was applied, answered, refused; what comes again; what was undone."""

    applied: list[Said] = field(default_factory=list)
    unknown: list[Said] = field(default_factory=list)
    refused: int = 0
    again: int = 0
    undone: int = 0
    withheld: int = 0


class OfficeAtWork:
    """One administration, its own file of people, and its own luck."""

    def __init__(self, office: Office, home: Home, promises: Promises, seed: str) -> None:
        self.office = office
        self.file: dict[DeclarationId, frozenset[str]] = {}
        """What its own system holds: the fields of each declaration that it applied and has not undone."""
        self._home = home
        self._promises = promises
        self._seed = seed
        self._chance = Random(f"{seed}/{office.party}")
        self._found: set[int] = set()
        self._seen: dict[tuple[PartyId, DeclarationId], ManifestDigest] = {}

    @property
    def inbox(self) -> HostedInbox:
        """Its mailbox."""
        return self._home.inbox(self.office.party)

    async def look(self) -> Looked:
        """Fetch until nothing is due."""
        looked = Looked()
        while True:
            pulled = await self.inbox.pull(LIMIT)
            looked.withheld += len(pulled.withheld)
            if not pulled.locked and not pulled.withheld:
                return looked
            if not pulled.locked:
                continue
            agency = await hosting.agency_of(self._home, self.office.party)
            key = agency.sealing_keys[KeyRelease.decode(pulled.key_release).recipient_kid]
            released = open_release(pulled.locked, pulled.key_release, key)
            opened = [
                verify_delivery(
                    each,
                    recipient=agency.party,
                    directory=agency.directory,
                    catalogue=agency.catalogue,
                    at=self._home.clock(),
                    seen=lambda source, declaration: self._seen.get((source, declaration)),
                )
                for each in released
            ]
            await self._take(opened, looked)

    async def _take(self, opened: Sequence[VerifiedDelivery], looked: Looked) -> None:
        ended: dict[DeliveryId, Outcome] = {}
        for delivery in opened:
            self._seen[delivery.source, delivery.declaration_id] = delivery.manifest_digest
            if delivery.event_type in RETRACTIONS:
                ended[delivery.delivery_id] = self._undo(delivery, looked)
                continue
            said = self._promises.said.get(delivery.declaration_id)
            if said is None:
                raise Corrupt("simulation.unheard-of")
            self._promises.open(self.office, said, set(delivery.disclosed), self._home.clock())
            if self._chance.random() < _FAILS:
                looked.again += 1
                await self.inbox.retry_later(delivery.delivery_id, "table.away")
                continue
            ended[delivery.delivery_id] = self._answer(said, delivery, looked)
        refused = await self.inbox.acknowledge_all(ended)
        for fault in refused.values():
            raise fault

    def _undo(self, delivery: VerifiedDelivery, looked: Looked) -> Outcome:
        declaration = DeclarationId(bytes.fromhex(str(delivery.record["declaration"]).replace("-", "")))
        self._promises.undo(self.office, declaration)
        for held in [one for one in self.file if declaration in (one, self._promises.said[one].corrects)]:
            del self.file[held]
        looked.undone += 1
        return Applied(None)

    def _answer(self, said: Said, delivery: VerifiedDelivery, looked: Looked) -> Outcome:
        if said.event_type == NUMBER:
            self._found.add(said.person)
        elif self._stranger(said.person):
            looked.unknown.append(said)
            return Answered(Reason.UNKNOWN_PERSON)
        if self._chance.random() < _REFUSES:
            looked.refused += 1
            return Rejected("table.refused", Reason.SYSTEM_REFUSED)
        self.file[said.id] = frozenset(delivery.disclosed)
        looked.applied.append(said)
        return Applied(None)

    def _stranger(self, person: int) -> bool:
        """Whether it does not find this person among its own; a number helps."""
        if person in self._found or not self.office.strangers:
            return False
        return Random(f"{self._seed}/{self.office.party}/{person}").randrange(1000) < self.office.strangers

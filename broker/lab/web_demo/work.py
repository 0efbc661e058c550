"""Work: the administrations of the cast, each at its own pace: they fetch, open, verify, answer; and undo.

Refuses: a delivery that does not verify: then the machine has a fault, and the demonstration ends with it.
Keeps: what they hold is in memory alone.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from broker.lab.web_demo.cast import NUMBER, Office
from broker.runtime import hosting
from broker.setup.wiring import Home
from connectors.contract import Answered, Applied, Outcome
from schemas.delivery import VerifiedDelivery, open_release, verify_delivery
from schemas.errors import Unavailable
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId, Reason
from schemas.release import KeyRelease
from schemas.retractions import RETRACTIONS

LIMIT: Final = 50


@dataclass
class AtWork:
    """One administration. `file`: what its own system holds, by declaration."""

    office: Office
    home: Home
    file: dict[DeclarationId, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    found: set[bytes | None] = field(default_factory=set)
    """Whom it knows by their number: their pseudonyms."""
    seen: dict[tuple[PartyId, DeclarationId], ManifestDigest] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Look into the mailbox again and again until asked to stop."""
        while not stop.is_set():
            with suppress(Unavailable):
                await self.look()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.office.every)

    async def look(self) -> int:
        """Fetch once. Returns how many deliveries there were."""
        inbox = self.home.inbox(self.office.party)
        pulled = await inbox.pull(LIMIT)
        if not pulled.locked:
            return 0
        agency = await hosting.agency_of(self.home, self.office.party)
        key = agency.sealing_keys[KeyRelease.decode(pulled.key_release).recipient_kid]
        ends: dict[DeliveryId, Outcome] = {}
        for each in open_release(pulled.locked, pulled.key_release, key):
            delivery = verify_delivery(
                each,
                recipient=agency.party,
                directory=agency.directory,
                catalogue=agency.catalogue,
                at=self.home.clock(),
                seen=lambda source, declaration: self.seen.get((source, declaration)),
            )
            self.seen[delivery.source, delivery.declaration_id] = delivery.manifest_digest
            ends[delivery.delivery_id] = self._end(delivery)
        await inbox.acknowledge_all(ends)
        return len(ends)

    def _end(self, delivery: VerifiedDelivery) -> Outcome:
        if delivery.event_type in RETRACTIONS:
            self.file.pop(DeclarationId.parse(str(delivery.record["declaration"])), None)
            return Applied(None)
        if delivery.event_type == NUMBER:
            self.found.add(delivery.pseudonym)
            return Applied(None)
        if self.office.strangers and delivery.pseudonym not in self.found:
            return Answered(Reason.UNKNOWN_PERSON)
        self.file[delivery.declaration_id] = {name: delivery.record[name] for name in delivery.disclosed}
        return Applied(None)

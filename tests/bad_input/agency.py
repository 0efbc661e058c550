"""An administration's side, run by the real runner: a shelf that keeps what it is given, and a mailbox between."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from broker.runtime.hosting import agency_of
from connectors.contract import Applied, Ground, Inbox, Outcome, Pulled, Ready, Row
from connectors.mapping_files import loaded
from connectors.retry import Backoff
from connectors.runner import Route, RunReport, run_routes
from schemas.delivery import VerifiedDelivery
from schemas.errors import Refused
from schemas.manifest import Schemas
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId
from tests.world import CAF, World

MAPPING = b"""
name: small
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {nom: record.subject.family_name}
"""


@dataclass
class Shelf:
    """An administration's own system, in memory."""

    rows: dict[DeliveryId, Row] = field(default_factory=dict)
    known: dict[tuple[PartyId, DeclarationId], ManifestDigest] = field(default_factory=dict)

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Always there."""
        return cls()

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        """Whether it is on the shelf."""
        return Applied(None) if delivery_id in self.rows else None

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """Put it there."""
        self.rows[delivery.delivery_id] = row
        self.known[delivery.source, delivery.declaration_id] = delivery.manifest_digest
        return None

    async def flush(self) -> None:
        """Nothing to do."""

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """Under which manifest it was put there."""
        return self.known.get((source, declaration_id))

    async def close(self) -> None:
        """Nothing to do."""


@dataclass
class Bent:
    """A mailbox that hands out something else than what the broker gave."""

    inbox: Inbox
    bend: Callable[[Pulled], Pulled]

    async def pull(self, limit: int) -> Pulled:
        """Bent."""
        return self.bend(await self.inbox.pull(limit))

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        """Bent too."""
        return self.bend(await self.inbox.release(ids))

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        """As it is."""
        return await self.inbox.acknowledge_all(ended)

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """As it is."""
        await self.inbox.retry_later(delivery_id, code, after_ms)

    async def ready(self, limit: int) -> tuple[Ready, ...]:
        """As it is."""
        return await self.inbox.ready(limit)


@dataclass
class Fund:
    """The family fund with its shelf."""

    here: World
    shelf: Shelf = field(default_factory=Shelf)
    mapping: bytes = MAPPING
    catalogue: Schemas | None = None

    async def run(self, bend: Callable[[Pulled], Pulled] = lambda pulled: pulled) -> RunReport:
        """One pull, by the runner."""
        home = self.here.home
        agency = await agency_of(home, CAF)
        if self.catalogue is not None:
            agency = type(agency)(agency.party, agency.sealing_keys, agency.directory, self.catalogue)
        route = Route(loaded(self.mapping, "small"), self.shelf)
        backoff = Backoff(home.entropy)
        return await run_routes(
            Bent(self.here.inbox(CAF), bend), agency, (route,), clock=home.clock, limit=10, backoff=backoff
        )

    async def takes(self) -> None:
        """A pull as it should be: one delivery is put on the shelf and acknowledged."""
        report = await self.run()
        assert (1, 1, ()) == (report.pulled, len(report.applied), report.rejected)
        assert report.applied == tuple(self.shelf.rows)[-1:]
        await self.here.step()

"""A `publik` connector before the double: one clock for both, deliveries to write, and what the site has in the end."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from connectors.contract import Ground
from connectors.publik.connector import PublikConnector
from connectors.rehearsal import Rehearsal
from schemas import samples
from schemas.delivery import VerifiedDelivery
from schemas.names import EventType, Instant, PartyId
from tests.publik.rules import Access, Door
from tests.publik.server import Served
from tests.publik.site import Form, Site

NOW = datetime(2026, 3, 2, 9, 15, 3, tzinfo=UTC)
SLUG = "changement-d-adresse"
AGENTS = frozenset({"etat-civil"})
FIELDS: list[dict[str, Any]] = [
    {"type": "title", "label": "Vous"},
    {"type": "string", "varname": "reference_source"},
    {"type": "string", "varname": "nom"},
    {"type": "bool", "varname": "urgent"},
    {"type": "date", "varname": "date_effet"},
    {"type": "numeric", "varname": "montant"},
    {"type": "item", "varname": "occupation", "items": ["Locataire", "Propriétaire"]},
    {"type": "item", "varname": "commune", "source": [{"id": "35238", "text": "Rennes"}]},
    {"type": "items", "varname": "services", "items": ["Eau", "Gaz"]},
    {"type": "file", "varname": "piece"},
    {"type": "map", "varname": "lieu"},
    {"type": "table", "varname": "tableau"},
    {
        "type": "block",
        "varname": "adresse",
        "schema": {"fields": [{"type": "string", "varname": "numero"}, {"type": "string", "varname": "voie"}]},
    },
]
MOVED = EventType("fr.unefois.address.changed.v1")


class Bytes:
    """Bytes that look random, and are the same in every run."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return b"".join(sha256(f"{self.count}/{part}".encode()).digest() for part in range(-(-size // 32)))[:size]


def new_site() -> Site:
    """A site with one form, an access without roles (`pont`) and one with (`agents`)."""
    door = Door(NOW, [Access("pont", "clé à nous"), Access("agents", "cle2", AGENTS)])
    fields = [dict(one) for one in FIELDS]
    return Site(door, {SLUG: Form(SLUG, fields, AGENTS, AGENTS)})


@dataclass
class Desk:
    """The agency's side: `off_s` is how far its clock is ahead of the site's."""

    served: Served
    folder: Path
    targets: tuple[str, ...] = ("nom",)
    off_s: int = 0
    entropy: Bytes = field(default_factory=Bytes)

    def __post_init__(self) -> None:
        for access in self.site.door.accesses:
            (self.folder / access.identifier).write_text(f"{access.key}\n", "utf-8")
            (self.folder / access.identifier).chmod(0o600)
        self.rehearsal = Rehearsal(PartyId("urn:fr:siret:21350238800019"), self.clock, Bytes())

    @property
    def site(self) -> Site:
        return self.served.site

    @property
    def form(self) -> Form:
        return self.site.forms[SLUG]

    def clock(self) -> Instant:
        return Instant(int(self.site.door.now.timestamp() * 1000) + self.off_s * 1000)

    def pass_by(self, seconds: int) -> None:
        self.site.door.now += timedelta(seconds=seconds)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Those of a submission by signature, and others."""
        told = {"url": self.served.url, "form": SLUG, "access": "pont", "field": "reference_source"} | more
        journal = self.folder / "publik.db"
        return {"key_file": str(self.folder / told["access"]), "journal": str(journal)} | told

    @asynccontextmanager
    async def opened(self, **more: Any) -> AsyncIterator[PublikConnector]:
        """As after a start."""
        ground = Ground(self.clock, self.entropy)
        connector = await PublikConnector.open(self.settings(**more), self.targets, ground)
        try:
            yield connector
        finally:
            await connector.close()

    def delivery(self) -> VerifiedDelivery:
        return self.rehearsal.verified(self.rehearsal.declare(MOVED, samples.sample(MOVED), {"subject"}))

    def shown(self) -> list[Mapping[str, Any]]:
        """What the site has, by varname."""
        return [one.values for one in self.form.data]

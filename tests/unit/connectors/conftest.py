"""What the connectors' tests share: a clock that stands still, bytes that never change, invented people."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from connectors import exclusive
from connectors.contract import Ground
from connectors.rehearsal import Rehearsal
from schemas.catalogue import builtin
from schemas.delivery import VerifiedDelivery
from schemas.names import EventType, Instant, PartyId

NOW = Instant(1_793_610_000_000)  # 2026-11-02T09:00:00Z
TOWN = PartyId("urn:fr:siret:21350238800019")
MOVED = EventType("fr.unefois.address.changed.v1")


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test keeps in memory is closed with it."""
    made, ordinary = [], exclusive.opened

    def opened(path: Path | None, *told: Any, **more: Any) -> Any:
        connection = ordinary(path, *told, **more)
        if path is None and isinstance(connection, sqlite3.Connection):
            made.append(connection)
        return connection

    monkeypatch.setattr(exclusive, "opened", opened)
    yield
    for connection in made:
        connection.close()


@dataclass
class Clock:
    """Stands still until it is moved."""

    at: int = NOW

    def __call__(self) -> Instant:
        return Instant(self.at)


@dataclass
class Bytes:
    """Bytes that look random, and are the same in every run."""

    count: int = field(default=0)

    def __call__(self, size: int) -> bytes:
        self.count += 1
        whole = b"".join(sha256(f"{self.count}/{part}".encode()).digest() for part in range(-(-size // 32)))
        return whole[:size]


LISE = {
    "family_name": "Aubépin",
    "given_names": ["Lise", "Maëlle"],
    "birthdate": "1987-05-19",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}
RENNES = {
    "dwelling": "Appartement 12",
    "building": None,
    "housenumber": "5",
    "repetition": "bis",
    "street": "rue de l'Échange",
    "locality": None,
    "po_box": None,
    "postcode": "35000",
    "city": "Rennes",
    "commune": "35238",
    "country": "99100",
    "lines": [],
    "ban_key": None,
}


def a_move(**over: Any) -> dict[str, Any]:
    """A whole record of a change of address, with fields replaced."""
    record = {
        "subject": LISE,
        "declarant": None,
        "capacity": "self",
        "effective_date": "2026-11-02",
        "old_address": None,
        "new_address": RENNES,
        "old_commune": "44109",
        "new_commune": "35238",
        "old_country": "99100",
        "new_country": "99100",
        "household": [],
        "occupants": 1,
        "occupancy": None,
        "usual_name": None,
        "phone": "+33600000000",
        "email": None,
        "vehicles": [],
    }
    return record | over


ALL = frozenset(builtin().by_type(MOVED).names)


@pytest.fixture
def clock() -> Clock:
    """The test's own time."""
    return Clock()


@pytest.fixture
def ground(clock: Clock) -> Ground:
    """What a connector stands on."""
    return Ground(clock, Bytes(1000))


@pytest.fixture
def rehearsal(clock: Clock) -> Rehearsal:
    """A broker, a source and an inbox for one town."""
    return Rehearsal(TOWN, clock, Bytes())


@pytest.fixture
def moved() -> Callable[..., dict[str, Any]]:
    """Makes a whole record of a change of address, with fields replaced."""
    return a_move


@pytest.fixture
def declared(rehearsal: Rehearsal) -> Callable[..., VerifiedDelivery]:
    """Declares a change of address and gives its delivery, verified; `withheld` names the fields not disclosed."""

    def declare(*withheld: str, record: dict[str, Any] | None = None, **over: Any) -> VerifiedDelivery:
        delivery_id = rehearsal.declare(MOVED, record or a_move(), ALL - set(withheld), **over)
        return rehearsal.verified(delivery_id)

    return declare

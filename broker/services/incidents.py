"""Incidents: what an operator asks once something went wrong: what a stolen key has signed and who was told, what left
under an approval that was a mistake, who sends the most.

Refuses: to name a citizen; it counts them.
Keeps: it reads, and changes nothing. A row that is not as the broker wrote it is left out, and `unefois fsck` tells it.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, func, select

from broker.directory.reading import Party
from broker.flow.deliveries import Delivery, load
from broker.flow.tracking import PROGRESS, Progress
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.store.tables import declarations, deliveries, submissions
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.names import DeclarationId, DeliveryId, EventType, Instant, Kid, PartyId
from schemas.release import indices

PAGE: Final = 50
"""Declarations that are read together: each holds up to a megabyte."""


@dataclass(frozen=True, slots=True)
class Told:
    """A recipient, and how far a delivery to it got. `released_at`: when it could open it; None: it never could."""

    recipient: PartyId
    progress: Progress
    released_at: Instant | None


@dataclass(frozen=True, slots=True)
class Signed:
    """A declaration, and who was told."""

    declaration: DeclarationId
    event_type: EventType
    received_at: Instant
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class SignedBy:
    """All that a key has signed. `waiting`: declarations of its party that are not routed, whatever signed them."""

    party: PartyId
    declarations: tuple[Signed, ...]
    waiting: int
    persons: int
    opened_by: tuple[tuple[Party, int], ...]
    """Who could open how many of them."""


@dataclass(frozen=True, slots=True)
class Left:
    """A delivery that its recipient could open, and which fields of it."""

    delivery: DeliveryId
    declaration: DeclarationId
    source: PartyId
    fields: tuple[str, ...]
    released_at: Instant
    progress: Progress


@dataclass(frozen=True, slots=True)
class Released:
    """All that left under a subscription."""

    recipient: Party
    deliveries: tuple[Left, ...]
    persons: int


@dataclass(frozen=True, slots=True)
class Busiest:
    """Of the declarations that were routed last: since when, and how many of each source, most first."""

    since: Instant | None
    sources: tuple[tuple[Party, int], ...]


async def signed_by(home: Home, kid: Kid, since: Instant | None = None) -> SignedBy:
    """What a signing key has signed that was received since an instant; None: ever. Raises Refused
    `registrar.unknown-key`.
    """
    async with home.store.read(patient=True) as tx:
        directory = await home.lookup.directory(tx)
        party = next((key.party for key in directory.signing if key.kid == kid), None)
        if party is None:
            raise Refused("registrar.unknown-key", "/kid", kid=kid.hex())
        found: list[Signed] = []
        persons, opened = set(), Counter[PartyId]()
        start = since or Instant(0)
        mine = select(declarations).where(declarations.c.source == party, declarations.c.received_at >= start)
        async with aclosing(tx.pages(mine.order_by(declarations.c.seq), PAGE)) as pages:
            async for rows in pages:
                theirs = [
                    row
                    for row in home.macs.valid(declarations.name, rows)
                    if row.envelope and _signs(kid, row.envelope)
                ]
                told = await _told(tx, theirs)
                persons |= {bytes(row.subject) for row in theirs}
                for row in theirs:
                    found.append(_signed(row, told.get(row.seq, [])))
                    opened.update({one.recipient for one in found[-1].told if one.released_at is not None})
        waiting = (await tx.execute(_waiting(party, start))).scalar_one()
        return SignedBy(party, tuple(found), waiting, len(persons), await _named(home, tx, opened))


async def released_under(home: Home, subscription: bytes, since: Instant | None = None) -> Released:
    """What was released under a subscription since an instant; None: ever. Raises Refused `subscribing.unknown`."""
    async with home.store.read(patient=True) as tx:
        known = (await home.lookup.subscriptions_by_id(tx)).get(subscription)
        if known is None:
            raise Refused("subscribing.unknown", "/subscription")
        recipient = await home.lookup.party(tx, known.recipient)
        mine = (deliveries.c.recipient == known.recipient, deliveries.c.subscription == subscription)
        found = await load(tx, *mine, deliveries.c.released_at >= (since or Instant(0)))
    left = tuple(_left(home, one, one.released_at) for one in found if one.released_at is not None)
    return Released(recipient, left, len({one.subject for one in found}))


async def busiest(home: Home, last: int) -> Busiest:
    """Who declared most of the last declarations that were routed. What waits in the log is not among them."""
    newest = select(declarations.c.source, declarations.c.received_at).order_by(declarations.c.seq.desc()).limit(last)
    async with home.store.read() as tx:
        rows = (await tx.execute(newest)).all()
        counted = Counter(PartyId(row.source) for row in rows)
        since = min((Instant(row.received_at) for row in rows), default=None)
        return Busiest(since, await _named(home, tx, counted))


def _signs(kid: Kid, envelope: bytes) -> bool:
    return any(one.kid == kid for one in SignedDeclaration.decode(envelope).signatures)


async def _told(tx: Transaction, rows: Sequence[Row[Any]]) -> dict[int, list[Delivery]]:
    """Of each declaration, by its `seq`."""
    found: dict[int, list[Delivery]] = {}
    if rows:
        for one in await load(tx, deliveries.c.declaration.in_([row.seq for row in rows])):
            found.setdefault(one.declaration, []).append(one)
    return found


def _signed(row: Row[Any], planned: Sequence[Delivery]) -> Signed:
    told = tuple(Told(one.recipient, PROGRESS[one.state], one.released_at) for one in planned)
    return Signed(DeclarationId(row.declaration_id), EventType(row.event_type), Instant(row.received_at), told)


def _left(home: Home, one: Delivery, released_at: Instant) -> Left:
    names = home.catalogue.by_id(one.schema).names
    fields = tuple(names[index] for index in indices(one.fields, len(names)))
    return Left(one.id, one.declaration_id, one.source, fields, released_at, PROGRESS[one.state])


def _waiting(party: PartyId, start: Instant) -> Any:
    routed = declarations.c.declaration_id == submissions.c.declaration_id
    return (
        select(func.count())
        .select_from(submissions.outerjoin(declarations, routed))
        .where(submissions.c.source == party, submissions.c.received_at >= start, declarations.c.seq.is_(None))
    )


async def _named(home: Home, tx: Transaction, counted: Counter[PartyId]) -> tuple[tuple[Party, int], ...]:
    """With their contacts, most first."""
    parties = {one.id: one for one in await home.lookup.parties(tx)}
    return tuple((parties[of], count) for of, count in counted.most_common() if of in parties)

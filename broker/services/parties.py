"""Parties: an operator registers administrations, renews and ends their keys, gives and ends their rights.

Refuses: what `broker.directory` refuses; a right that runs already.
Keeps: one call is one transaction; what it answers was read after that one was committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from broker.directory.parties import Enrolment
from broker.directory.publication import Published
from broker.directory.reading import Party, PartyKind
from broker.flow import backlog
from broker.flow.backlog import Backlog
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.names import EventType, Instant, Kid, PartyId
from schemas.signing import Algorithm

DAY_MS: Final = 86_400_000

OwnKey = tuple[Algorithm | Suite, bytes]
"""The kind of a public key, and its raw bytes."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A party, the directory that lists its keys and rights, and the ids of the keys that are held here."""

    party: Party
    directory: Directory
    held: frozenset[str]


async def enrol(
    home: Home,
    party: PartyId,
    *,
    name: str,
    sector: str,
    kind: PartyKind,
    address: str,
    contact: str,
    retention: str,
    policy: int,
    suite: Suite | None,
    publishes: Sequence[EventType] = (),
    keys: Sequence[OwnKey] = (),
) -> Registered:
    """A new party. With `keys`, its own public ones, none is made here. Raises Refused: `directory.*`, `parties.*`."""
    who = Party(party, name, sector, kind, address, contact, retention, home.clock())
    await home.parties.enrol(Enrolment(who, policy, suite, tuple(publishes), tuple(keys)))
    return await one(home, party)


async def edit(home: Home, party: PartyId, changes: Mapping[str, str]) -> Registered:
    """Other words for name, address, contact or retention of a party. Raises Refused: `directory.unknown-party`,
    `registrar.text`, `registrar.no-change`.
    """
    async with home.store.begin() as tx:
        await home.registrar.change_party(tx, party, changes, home.clock())
    return await one(home, party)


async def every(home: Home) -> list[Registered]:
    """Every party, in the order of registration."""
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
        held = home.parties.held()
        return [Registered(party, directory, held) for party in await home.lookup.parties(tx)]


async def one(home: Home, party: PartyId) -> Registered:
    """One party. Raises Refused `directory.unknown-party`."""
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
        return Registered(await home.lookup.party(tx, party), directory, home.parties.held())


@dataclass(frozen=True, slots=True)
class Waiting:
    """An administration for which something waits, or that has given something up."""

    party: Party
    backlog: Backlog


async def behind(home: Home) -> list[Waiting]:
    """Who has something waiting: who has waited longest first, then who has dead letters alone."""
    async with home.store.read() as tx:
        found = [Waiting(one, await backlog.of(tx, one.id)) for one in await home.lookup.parties(tx)]
    late = [one for one in found if one.backlog.oldest_at is not None or one.backlog.dead_letters]
    return sorted(late, key=lambda one: (one.backlog.oldest_at is None, one.backlog.oldest_at or 0))


async def directory(home: Home) -> Published:
    """The newest directory, as text, with the note that the ledger's key has signed. Raises Unavailable."""
    return await home.publication.newest()


async def rotate(home: Home, party: PartyId, overlap_days: int | None = None) -> list[Kid]:
    """New keys of the same kinds for a party whose keys are held here; the old ones stay good for `overlap_days`, else
    for the setting `key_overlap_days`. Raises Refused: `parties.*`, `directory.*`.
    """
    days = home.settings.key_overlap_days if overlap_days is None else overlap_days
    return list(await home.parties.rotate(party, days * DAY_MS))


async def add_key(home: Home, party: PartyId, key: OwnKey) -> Kid:
    """List a public key that a party made itself. Raises Refused: `directory.*`, `registrar.*`."""
    kind, public = key
    at = home.clock()
    async with home.store.begin() as tx:
        await home.lookup.party(tx, party)
        return await home.registrar.add_key(tx, party, kind=kind, public=public, at=at)


async def revoke_key(home: Home, kid: Kid, since: Instant | None = None) -> None:
    """Trust a key no more, from `since` on; None: from now on. Raises Refused `registrar.*`."""
    async with home.store.begin() as tx:
        await home.registrar.revoke_key(tx, kid, home.clock, since)


async def allow(home: Home, party: PartyId, event_type: EventType | None = None) -> Registered:
    """Let a party declare events of a type from now on; None: of those that the last `forbid` took away. Raises Refused
    `registrar.right-exists`, `registrar.nothing-ended`, `directory.unknown-party`.
    """
    async with home.store.begin() as tx:
        at = home.clock()
        wanted = await _taken(home, tx, party, at) if event_type is None else [event_type]
        if event_type in await home.registrar.running(tx, party, at):
            raise Refused("registrar.right-exists", "/event_type", party=party, event_type=event_type or "")
        for each in wanted:
            await home.registrar.allow_publishing(tx, party, each, at)
    return await one(home, party)


async def _taken(home: Home, tx: Transaction, party: PartyId, at: Instant) -> list[EventType]:
    """What the last `forbid` took from the party and it has not got again."""
    await home.lookup.party(tx, party)
    rights = [one for one in (await home.lookup.directory(tx)).rights if one.party == party]
    last = max((one.valid_to for one in rights if one.valid_to is not None and one.valid_to <= at), default=None)
    taken = {one.event_type for one in rights if one.valid_to is not None and one.valid_to == last}
    found = sorted(taken - set(await home.registrar.running(tx, party, at)))
    if not found:
        raise Refused("registrar.nothing-ended", "/event_type", party=party)
    return found


async def forbid(home: Home, party: PartyId, event_type: EventType | None = None) -> list[EventType]:
    """Accept nothing more of a type from a party, or of any type. Returns the types. Raises Refused `registrar.*`."""
    async with home.store.begin() as tx:
        return await home.registrar.forbid(tx, party, event_type, home.clock)


async def demand(home: Home, party: PartyId, policy: int, since: Instant | None = None) -> tuple[list[Kid], Registered]:
    """Which signatures a party's declarations need from `since` on; None: from now on. Returns the keys that were made
    here for it, and the party. Raises Refused: `parties.*`, `registrar.*`.
    """
    made = await home.parties.demand(party, policy, since)
    return list(made), await one(home, party)

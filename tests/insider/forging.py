"""What somebody with the database and a key of their own makes: rows of that key, and a declaration about a citizen.

The token that names the citizen is taken from an envelope that lies in the database; its maker's secret is not needed.
"""

from typing import Any

from schemas.declaration import Source, declare
from schemas.entry import Entry
from schemas.envelope import SignedDeclaration
from schemas.hpke import SealingKey, Suite
from schemas.merkle import leaf_hash
from schemas.names import DeclarationId, EventType, Instant, LeafHash, PartyId, uuid7
from schemas.signing import Algorithm, PrivateKey
from tests.insider.hand import Hand, Row
from tests.insider.watch import Watch
from tests.world import DAY, PORTAL


async def slip_in_sealing_key(watch: Watch, party: PartyId) -> SealingKey:
    """A key of the insider's own, listed as this party's newest one."""
    watch.here.clock.pass_(1)
    model = (await watch.hand.rows("sealing_keys", party=party))[0]
    key = SealingKey.generate(Suite(model["suite"]))
    await watch.hand.insert("sealing_keys", {**model, **listed(watch, key)})
    return key


async def slip_in_signing_key(watch: Watch, party: PartyId) -> PrivateKey:
    """The same of a key that signs."""
    watch.here.clock.pass_(1)
    model = (await watch.hand.rows("signing_keys", party=party))[0]
    key = PrivateKey.generate(Algorithm(model["algorithm"]))
    await watch.hand.insert("signing_keys", {**model, **listed(watch, key)})
    return key


def listed(watch: Watch, key: PrivateKey | SealingKey) -> dict[str, Any]:
    """What differs in the row of a key that is valid from now on."""
    public = {"kid": key.kid, "public": key.public}
    return {**public, "valid_from": watch.here.clock(), "valid_to": None, "revoked_at": None}


async def slip_in_entry(hand: Hand, entry: Entry) -> LeafHash:
    """An entry of the insider's own words, at the end of those that wait for their place in the ledger.

    A sealed one has no opening: nobody seals one without the key store.
    """
    model = (await hand.rows("ledger_entries"))[-1]
    told = {"position": None, "leaf": leaf_hash(entry.encode()), "entry": entry.encode(), "window": entry.window}
    await hand.insert("ledger_entries", {name: value for name, value in {**model, **told}.items() if name != "id"})
    return LeafHash(told["leaf"])


async def is_signed(hand: Hand, leaf: LeafHash) -> bool:
    """Whether this entry has its place in the ledger."""
    return any((row["position"] or -1) >= 0 for row in await hand.rows("ledger_entries", leaf=leaf))


async def token_of(hand: Hand, declaration: DeclarationId) -> bytes:
    """The token that names the citizen of a declaration, out of its envelope."""
    row: Row = await hand.row("declarations", declaration_id=declaration)
    return SignedDeclaration.decode(row["envelope"]).slip.subject_token


async def forged(
    watch: Watch, key: PrivateKey, event_type: EventType, record: dict[str, Any], token: bytes, source: PartyId = PORTAL
) -> bytes:
    """A declaration in a source's name, by the insider's own key."""
    home, at = watch.here.home, watch.here.clock()
    directory = await home.lookup.newest(home.store)
    event = home.catalogue.by_type(event_type)
    return declare(
        Source(source, [key], 1),
        event,
        record,
        subject_token=token,
        gate=directory.current_sealing_key(directory.broker, at),
        at=Instant(at),
        lifetime_ms=DAY,
        declaration_id=DeclarationId(uuid7(at, home.entropy(10))),
        entropy=home.entropy,
    ).encode()

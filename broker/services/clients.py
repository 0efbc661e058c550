"""Clients: how administrations are let in: API tokens, pinned keys of OAuth2 clients, addresses with their keys.

Refuses: what `broker.access` refuses.
Keeps: one call is one transaction. A token is answered when it is issued and never again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.access import uses as uses_of
from broker.access.credentials import Credential, Issued, Scope
from broker.access.keysets import KeySet
from broker.access.oauth import ClientKey
from broker.access.uses import Use
from broker.setup.wiring import Home
from schemas.errors import Refused, Unavailable
from schemas.names import Instant, Kid, PartyId

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Followed:
    """An address that is followed, and what is there now: how many key names, or the code of what is wrong."""

    address: KeySet
    published: int
    trouble: str | None


async def issue(home: Home, party: PartyId, scopes: Iterable[Scope], days: int) -> Issued:
    """A new token, good for so many days. Raises Refused: `credentials.*`, `directory.unknown-party`."""
    async with home.store.begin() as tx:
        at = home.clock()
        return await home.credentials.issue(tx, party, scopes, expires_at=Instant(at + days * DAY_MS), at=at)


async def tokens(home: Home, party: PartyId | None = None) -> list[Credential]:
    """Every token, without its secret; or those of one party."""
    async with home.store.read() as tx:
        return list(await home.credentials.list(tx, party))


async def last_used(home: Home) -> Mapping[bytes, Instant]:
    """When each token and pinned key was last used that ever was, by its id."""
    async with home.store.read() as tx:
        return await uses_of.last(tx)


async def uses(home: Home, credential: bytes) -> list[Use]:
    """From where a token or a pinned key was used, by its id, and when: the newest first. Raises Refused
    `credentials.unknown-id`.
    """
    async with home.store.read() as tx:
        known = {one.id for one in await home.credentials.list(tx)} | {one.kid for one in await home.oauth.keys(tx)}
        if credential not in known:
            raise Refused("credentials.unknown-id", "/id")
        return await uses_of.of(tx, credential)


async def revoke(home: Home, token: bytes) -> Credential:
    """Take a token no more, from the next request on. `token`: its id. Raises Refused `credentials.unknown`."""
    async with home.store.begin() as tx:
        return await home.credentials.revoke(tx, token, home.clock())


async def pin(home: Home, party: PartyId, jwk: bytes, scopes: Iterable[Scope]) -> ClientKey:
    """Trust a client's public key. Raises Refused: `oauth.*`, `credentials.no-scope`, `directory.unknown-party`."""
    async with home.store.begin() as tx:
        return await home.oauth.pin(tx, party, jwk, scopes, home.clock())


async def unpin(home: Home, kid: Kid) -> ClientKey:
    """Trust a client's key no more. Raises Refused `oauth.unknown-key`."""
    async with home.store.begin() as tx:
        return await home.oauth.unpin(tx, kid, home.clock())


async def keys(home: Home, party: PartyId | None = None) -> tuple[list[ClientKey], list[KeySet]]:
    """Every pinned key, and every address that is followed; or those of one party."""
    async with home.store.read() as tx:
        return list(await home.oauth.keys(tx, party)), list(await home.key_sets.list(tx, party))


async def follow(home: Home, party: PartyId, url: str, scopes: Iterable[Scope]) -> Followed:
    """Trust the keys that a party publishes at an address. What is there now is looked at once.

    Raises Refused: `key-sets.*`, `credentials.no-scope`, `directory.unknown-party`.
    """
    async with home.store.begin() as tx:
        made = await home.key_sets.follow(tx, party, url, scopes, home.clock())
    try:
        return Followed(made, await home.key_sets.look(made), None)
    except (Refused, Unavailable) as fault:
        return Followed(made, 0, fault.code)


async def unfollow(home: Home, party: PartyId) -> KeySet:
    """Trust the keys at a party's address no more. Raises Refused `key-sets.*`."""
    async with home.store.begin() as tx:
        return await home.key_sets.unfollow(tx, party, home.clock())

"""Webhooks: where administrations are told that deliveries wait; what an operator does for them.

Refuses: `webhooks.unknown`, and what `broker.webhooks` refuses.
Keeps: one call is one transaction; a shared secret is answered where it is new and never again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.webhooks.endpoints import Attempt, Keys, Webhook
from schemas.errors import Refused
from schemas.names import PartyId

HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook and the keys to verify with."""

    webhook: Webhook
    keys: Keys


async def add(home: Home, party: PartyId, url: str, *, symmetric: bool = False) -> Endpoint:
    """Register an endpoint; it is challenged next. `symmetric`: sign with a shared secret, too, which is in the
    answer. Raises Refused: `webhooks.*`, `outbound.*`, `directory.unknown-party`.
    """
    async with home.store.begin() as tx:
        made = await home.webhooks.add(tx, party, url, home.clock(), symmetric=symmetric)
    return _shown(home, made, show_secret=True)


async def every(home: Home, party: PartyId | None = None) -> list[Endpoint]:
    """Every webhook, ended ones too; or those of one party."""
    async with home.store.read() as tx:
        return [_shown(home, one) for one in await home.webhooks.list(tx, party)]


async def attempts(home: Home, webhook: str, limit: int) -> list[Attempt]:
    """What was sent to a webhook lately, newest first. Raises Refused `webhooks.unknown`."""
    async with home.store.read() as tx:
        one = await _one(home, tx, webhook)
        return list(await home.webhooks.attempts(tx, one.party, one.id, limit=limit))


async def prove(home: Home, webhook: str) -> Endpoint:
    """Challenge an endpoint anew. Raises Refused `webhooks.*`."""
    return await _change(home, webhook, lambda tx, of: home.webhooks.prove(tx, of.party, of.id, home.clock()))


async def rotate(home: Home, webhook: str, overlap_hours: int) -> Endpoint:
    """New keys; the old ones sign beside them for so long. Raises Refused `webhooks.*`."""

    def renew(tx: Transaction, of: Webhook) -> Awaitable[Webhook]:
        return home.webhooks.rotate(tx, of.party, of.id, home.clock(), overlap_hours * HOUR_MS)

    return await _change(home, webhook, renew, show_secret=True)


async def end(home: Home, webhook: str) -> Endpoint:
    """Tell an endpoint nothing more. Raises Refused `webhooks.*`."""
    return await _change(home, webhook, lambda tx, of: home.webhooks.end(tx, of.party, of.id, home.clock()))


async def _change(
    home: Home,
    webhook: str,
    act: Callable[[Transaction, Webhook], Awaitable[Webhook]],
    *,
    show_secret: bool = False,
) -> Endpoint:
    async with home.store.begin() as tx:
        made = await act(tx, await _one(home, tx, webhook))
    return _shown(home, made, show_secret=show_secret)


async def _one(home: Home, tx: Transaction, text: str) -> Webhook:
    """Whosever it is."""
    wanted = text.replace("-", "")
    for one in await home.webhooks.list(tx):
        if one.id.hex() == wanted:
            return one
    raise Refused("webhooks.unknown", "/webhook")


def _shown(home: Home, one: Webhook, *, show_secret: bool = False) -> Endpoint:
    return Endpoint(one, home.webhooks.keys(one, home.clock(), show_secret=show_secret))

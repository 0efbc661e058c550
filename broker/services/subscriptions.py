"""Subscriptions: what administrations ask to receive; an operator approves, pauses, resumes and ends it.

Refuses: what `broker.flow.subscribing` refuses.
Keeps: one call is one transaction; what it answers was read after that one was committed.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from broker.setup.wiring import Home
from broker.store.engine import Transaction
from consent.policy import Subscription
from schemas.assurance import ANY, Least
from schemas.names import EventType, Instant, PartyId, Purpose


@dataclass(frozen=True, slots=True)
class Standing:
    """A subscription, and since when it is paused, if it is."""

    subscription: Subscription
    paused_at: Instant | None


async def ask(
    home: Home,
    *,
    recipient: PartyId,
    event_type: EventType,
    purpose: Purpose,
    fields: Iterable[str],
    territories: Iterable[str] | None = None,
    legal_reference: str | None = None,
    least: Least = ANY,
) -> Standing:
    """Ask on an administration's behalf; with the legal reference it is approved at once, in the same transaction.
    `least`: how sure a declaration has to be.

    Raises Refused: `subscribing.*`, `directory.unknown-party`, `catalogue.unknown-type`, `purposes.*`.
    """
    async with home.store.begin() as tx:
        asked = await home.subscribing.ask(
            tx,
            home.entropy(16),
            recipient=recipient,
            event_type=event_type,
            purpose=purpose,
            fields=frozenset(fields),
            territories=frozenset(territories) if territories else None,
            least=least,
        )
        if legal_reference is not None:
            asked = await home.subscribing.approve(tx, asked.id, legal_reference, home.clock())
    return await _one(home, asked.id)


async def approve(home: Home, subscription: bytes, legal_reference: str) -> Standing:
    """Let an administration receive from now on. Raises Refused `subscribing.*`."""
    return await _change(
        home, subscription, lambda tx: home.subscribing.approve(tx, subscription, legal_reference, home.clock())
    )


async def end(home: Home, subscription: bytes) -> Standing:
    """No more deliveries from now on; what was not released stays closed. Raises Refused `subscribing.*`."""
    return await _change(home, subscription, lambda tx: home.subscribing.end(tx, subscription, home.clock()))


async def pause(home: Home, subscription: bytes) -> Standing:
    """Hand out nothing of it until `resume`. Raises Refused `subscribing.*`."""
    return await _change(home, subscription, lambda tx: home.subscribing.pause(tx, subscription, home.clock()))


async def resume(home: Home, subscription: bytes) -> Standing:
    """Hand out what waited, the oldest first, and what comes. Raises Refused `subscribing.*`."""
    return await _change(home, subscription, lambda tx: home.subscribing.resume(tx, subscription))


async def every(home: Home) -> list[Standing]:
    """Every subscription: asked for, approved, ended."""
    async with home.store.read() as tx:
        found = list((await home.lookup.subscriptions_by_id(tx)).values())
        paused = await home.subscribing.paused(tx, found)
    return [Standing(one, paused.get(one.id)) for one in found]


async def _change(home: Home, subscription: bytes, act: Callable[[Transaction], Awaitable[object]]) -> Standing:
    async with home.store.begin() as tx:
        await act(tx)
    return await _one(home, subscription)


async def _one(home: Home, subscription: bytes) -> Standing:
    (found,) = [one for one in await every(home) if one.subscription.id == subscription]
    return found

"""Consents: a citizen, or an operator on a citizen's word, gives, changes and withdraws them; each with its receipt.

Refuses: a grant that is not `whose`: it is as unknown as one that never was. What `broker.consents` refuses.
Keeps: one call is one change, in a transaction of its own; the text that was shown is the one that the grant's digest
is of.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from hashlib import sha256

from broker.consents.consents import GrantRequest, Recorded
from broker.services.consent_receipts import receipt_of, text_shown
from broker.setup.wiring import Home
from consent import registry
from consent.basis import end_of
from consent.grant import Voice
from consent.purposes import by_id
from schemas.errors import Refused
from schemas.names import GrantId, SubjectRef


@dataclass(frozen=True, slots=True)
class Signed:
    """One version of a grant, its ledger entry, and its signed receipt (JSON)."""

    recorded: Recorded
    receipt: bytes


@dataclass(frozen=True, slots=True)
class Given(Signed):
    """A new grant, with the text that was shown before it was given."""

    shown: str


async def give(home: Home, wish: GrantRequest, own_text: str | None = None) -> Given:
    """A new consent, or a mandate by law, under the text that was shown: the caller's, or ours.

    Raises Refused: `grant.*`, `purposes.*`, `directory.unknown-party`, `catalogue.unknown-type`.
    """
    starts_at = wish.starts_at if wish.starts_at is not None else home.clock()
    wish = replace(wish, expires_at=end_of(wish.basis, starts_at, wish.expires_at))
    async with home.store.read() as tx:
        recipient = await home.lookup.party(tx, wish.recipient)
        purpose = by_id(wish.purpose, await home.lookup.purposes(tx))
    shown = own_text or text_shown(
        wish.voice.language,
        recipient,
        home.catalogue.by_type(wish.event_type),
        fields=wish.fields,
        purpose=purpose,
        basis=wish.basis,
        scope=wish.scope,
        until=wish.expires_at,
    )
    voice = replace(wish.voice, text_hash=sha256(shown.encode()).digest())
    recorded = await home.consents.give(replace(wish, voice=voice))
    return Given(recorded, await receipt_of(home, recorded), shown)


async def revoke(home: Home, grant: GrantId, voice: Voice, *, whose: SubjectRef | None = None) -> Signed:
    """End a consent for good. `whose`: the citizen who asks; None: an operator, who may speak for anybody.

    Raises Refused: `consents.unknown-grant`, `grant.mandate`, `grant.over`.
    """
    await _check_whose(home, grant, whose)
    return await _signed(home, home.consents.revoke(grant, voice))


async def end_mandate(home: Home, grant: GrantId, voice: Voice) -> Signed:
    """End a mandate by law, on an operator's word. Raises Refused: `consents.unknown-grant`, `grant.*`."""
    return await _signed(home, home.consents.end_mandate(grant, voice))


async def pause(
    home: Home, grant: GrantId, voice: Voice, *, whose: SubjectRef | None = None, version: int | None = None
) -> Signed:
    """Hold everything back until `resume`. `version`: of which whoever asks has read. Raises as `revoke`, and Refused
    `citizens.changed-meanwhile`.
    """
    await _check_whose(home, grant, whose)
    return await _signed(home, home.consents.pause(grant, voice, version=version))


async def resume(
    home: Home, grant: GrantId, voice: Voice, *, whose: SubjectRef | None = None, version: int | None = None
) -> Signed:
    """End a pause; what was held back goes out. Raises as `pause`."""
    await _check_whose(home, grant, whose)
    return await _signed(home, home.consents.resume(grant, voice, version=version))


async def narrow(
    home: Home,
    grant: GrantId,
    fields: frozenset[str],
    voice: Voice,
    *,
    whose: SubjectRef | None = None,
    version: int | None = None,
) -> Signed:
    """Keep only these fields; what is on its way is planned anew with them. Raises as `pause`."""
    await _check_whose(home, grant, whose)
    return await _signed(home, home.consents.narrow(grant, fields, voice, version=version))


async def revoke_all(home: Home, subject: SubjectRef, voice: Voice) -> list[Signed]:
    """End every consent of a citizen that still stands; mandates by law stay. Raises as `Consents.revoke_all`."""
    ended = await home.consents.revoke_all(subject, voice)
    return [Signed(one, await receipt_of(home, one)) for one in ended]


async def _check_whose(home: Home, grant: GrantId, whose: SubjectRef | None) -> None:
    """Whose a grant is does not change with it, so it may be asked before."""
    if whose is None:
        return
    async with home.store.read() as tx:
        there = (await registry.current(tx.conn, [grant])).get(grant)
        kin = await home.lookup.kin(tx, [whose], home.clock())
    if there is None or there.subject not in kin.of(whose):
        raise Refused("consents.unknown-grant", "/grant")


async def _signed(home: Home, change: Awaitable[Recorded]) -> Signed:
    recorded = await change
    return Signed(recorded, await receipt_of(home, recorded))

"""Repairing: a person adds their number at an administration that has not found them; the declaration is tried again.

Refuses: a declaration that is not the person's; an administration that waits for no number, or may not hear of one; a
fourth try.
Keeps: the number goes to that administration alone, sealed, under a consent for this one declaration, which is given
before anything is handed in. Nothing of it is kept here. What a crash leaves is said again: `broker.flow.repairs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

from broker.consents.consents import GrantRequest
from broker.directory.reading import Party
from broker.flow.deliveries import Delivery
from broker.flow.repairs import TRIES, of_deliveries, repairable
from broker.services.consent_receipts import text_shown
from broker.services.publishers import publisher_of
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from consent import purposes
from consent.basis import CONSENT
from consent.grant import Scope, Voice
from consent.policy import Subscription, SubscriptionStatus
from schemas import values
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, GrantId, Instant, PartyId, rfc3339, uuid7, uuid_text

TYPE: Final = EventType("fr.unefois.person.reference.v1")
DAYS: Final = 30
"""How long the administration may take to fetch it; afterwards nobody can open it."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Repair:
    """What a person says: for which declaration, to whom, and their number there. `until`: the end of the consent, as
    it was shown; None: `DAYS` from now.
    """

    declaration: DeclarationId
    to: PartyId
    person: Mapping[str, Any] = field(repr=False)
    number_kind: str
    number: str = field(repr=False)
    until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would happen: the text that the person agrees to, and how many tries are left, this one among them."""

    source: PartyId
    recipient: PartyId
    text: str
    left: int
    until: Instant


@dataclass(frozen=True, slots=True)
class Repaired:
    """The reference was handed in: its id, the consent that it goes under, and which try it was."""

    outlook: Outlook
    reference: DeclarationId
    grant: GrantId
    number: int


@dataclass(frozen=True, slots=True)
class _Ground:
    """All that a try is made of, before anything is written."""

    record: dict[str, Any]
    wish: GrantRequest
    outlook: Outlook


async def explain(home: Home, asked: Repair, voice: Voice, source: PartyId | None = None) -> Outlook:
    """What would happen; nothing is sent and nothing is written. Raises Refused as `repair` does."""
    return (await _ground(home, asked, voice, source)).outlook


async def repair(home: Home, asked: Repair, voice: Voice, source: PartyId | None = None) -> Repaired:
    """Give the consent, hand in the number; the declaration follows once the administration has applied it.

    Raises Refused: `tracking.unknown`, `repair.*`, `publishers.*`, `purposes.*`, and what the values of a declaration
    are refused with, by their pointer. Raises Unavailable: say it again in ten minutes.
    """
    ground = await _ground(home, asked, voice, source)
    at = home.clock()
    reference = DeclarationId(uuid7(at, home.entropy(10)))
    who = ground.outlook.source
    envelope = await home.desk.envelope(who, TYPE, ground.record, declaration_id=reference)
    begun = await home.repairing.begin(ground.wish, asked.declaration, asked.to, reference)
    accepted = await home.intake.accept(envelope)
    for grant in begun.stale:  # crash before: a consent for a declaration that never was, which ends by its date
        await _end(home, grant, voice)
    return Repaired(ground.outlook, accepted.declaration_id, begun.grant, begun.number)


async def _end(home: Home, grant: GrantId, voice: Voice) -> None:
    try:
        await home.consents.revoke(grant, voice)
    except Refused as fault:
        if fault.code != "grant.over":  # by its date, or by the person
            raise


async def _ground(home: Home, asked: Repair, voice: Voice, source: PartyId | None) -> _Ground:
    at = home.clock()
    record = {
        "subject": dict(asked.person),
        "declarant": None,
        "capacity": voice.capacity.value,
        "effective_date": rfc3339(at)[:10],
        "number_kind": asked.number_kind,
        "number": asked.number,
        "repairs": uuid_text(asked.declaration),
    }
    event = home.catalogue.by_type(TYPE)
    values.check(event, record, at)
    subject = await home.desk.subject(record)
    async with home.store.read() as tx:
        kin = await home.lookup.kin(tx, [subject], at)
        waiting = await repairable(tx, kin.of(subject), asked.declaration, asked.to)
        subscription = await _subscription(home, tx, waiting)
        recipient: Party = await home.lookup.party(tx, asked.to)
        purpose = purposes.by_id(subscription.purpose, await home.lookup.purposes(tx))
        used = await of_deliveries(tx, home.macs, [one.id for one in waiting])
    left = TRIES - max(len(tries) for tries in used.values())
    if left < 1:
        raise Refused("repair.too-many-tries", "/to", most=TRIES)
    until = _until(asked, at)
    wish = GrantRequest(
        subject=subject,
        recipient=asked.to,
        event_type=TYPE,
        purpose=subscription.purpose,
        fields=subscription.fields & frozenset(event.names),
        basis=CONSENT,
        voice=voice,
        expires_at=until,
        scope=Scope.ONCE,
    )
    text = text_shown(
        voice.language,
        recipient,
        event,
        fields=wish.fields,
        purpose=purpose,
        basis=wish.basis,
        scope=wish.scope,
        until=until,
    )
    digested = replace(voice, text_hash=sha256(text.encode()).digest())
    who = await publisher_of(home, TYPE, source)
    return _Ground(record, replace(wish, voice=digested), Outlook(who, asked.to, text, left, until))


def _until(asked: Repair, at: Instant) -> Instant:
    """Raises Refused `repair.until`."""
    latest = Instant(at + DAYS * _DAY_MS)
    if asked.until is None:
        return latest
    if not at < asked.until <= latest:
        raise Refused("repair.until", "/until", days=DAYS)
    return asked.until


async def _subscription(home: Home, tx: Transaction, waiting: list[Delivery]) -> Subscription:
    """By which the administration hears of numbers: for the purpose of the declaration, or else for another to which a
    person can agree. It must see the number, and to whom it belongs. Raises Refused `repair.not-heard`.
    """
    first, known = waiting[0], await home.lookup.purposes(tx)
    fitting = [
        one
        for one in (await home.lookup.subscriptions_by_id(tx)).values()
        if (one.recipient, one.event_type, one.status) == (first.recipient, TYPE, SubscriptionStatus.APPROVED)
        and (found := known.get(one.purpose)) is not None
        and found.allows_consent
        and one.fields >= {"subject", "number", "repairs"}
    ]
    if not fitting:
        raise Refused("repair.not-heard", "/to", recipient=first.recipient)
    return min(fitting, key=lambda one: (one.purpose != first.purpose, one.purpose))

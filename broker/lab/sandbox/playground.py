"""Playground: a broker with an administration to try out, a source of test events, and citizens who decide.

Refuses: what the broker refuses: consents, declarations and keys go the way that they go anywhere.
Keeps: whatever happens here is done by the real machine; what is not (a lease that ends early, an answer changed on its
way out) is named here and in `mischief`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, update

from broker.consents.consents import GrantRequest, Recorded
from broker.flow.answers import End, Rejection
from broker.flow.declared import known
from broker.flow.deliveries import ACTIVE, Delivery, DeliveryState, in_states, load
from broker.flow.offsets import LostOwnership
from broker.lab.sandbox import news, people, tampering
from broker.lab.sandbox.clock import MovedClock
from broker.lab.sandbox.door import DECLARE, NOTES, PULL, SIGNED, Door, Json
from broker.lab.sandbox.mischief import Mischief, Mischiefs
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.store.tables import declarations, deliveries
from consent.basis import CONSENT
from consent.grant import Grant, Scope, Voice
from schemas.assurance import SURE
from schemas.catalogue import LEAST
from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    DeliveryId,
    EventType,
    Instant,
    Kid,
    PartyId,
    Purpose,
    Reason,
    SubjectRef,
)

SOURCE: Final = PartyId("urn:unefois:sandbox-source")
"""Who signs the test events."""
CODE: Final = "sandbox.parked"
"""Why the sandbox sets a delivery aside: to hand it out later, behind a newer one."""
_VOICE: Final = Voice("self", Capacity.SELF, Channel.ONLINE, "fr", bytes(32))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The administration that is tried out: who it is, what it receives and for what, what it declares itself.

    `fields`: those that it asks for; None for all of each type.
    """

    party: PartyId
    types: tuple[EventType, ...]
    purpose: Purpose
    fields: frozenset[str] | None = None
    suite: Suite = Suite.X25519

    def asked(self, event_type: EventType) -> frozenset[str]:
        """The fields of one type that it asks for."""
        return frozenset(news.events().by_type(event_type).names) if self.fields is None else self.fields


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a citizen declares. `changes`: fields that differ from the person's sample."""

    citizen: str
    event_type: EventType
    changes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    corrects: DeclarationId | None = None
    second_schema: bool = False
    new_symbol: bool = False

    def record(self) -> dict[str, Any]:
        """The record. Raises Refused `sandbox.*`, `samples.none`."""
        told = people.record(self.event_type, people.check_word(self.citizen), self.changes)
        if self.second_schema or self.new_symbol:
            told[news.FIELD] = "second version"
        if self.new_symbol:
            told[news.growing(self.event_type)] = news.SYMBOL
        return told


class Playground:
    """One sandbox. It is made by `opening.opened`."""

    def __init__(self, home: Home, clock: MovedClock, wanted: Wanted) -> None:
        self.home = home
        self.clock = clock
        self.wanted = wanted
        self.mischiefs = Mischiefs()
        self.door = Door(self.mischiefs, self)
        self.late: dict[DeliveryId, DeliveryId] = {}
        """Newer delivery -> the older one that is handed out again once the newer is done."""

    # ── citizens ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def subject(self, citizen: str) -> SubjectRef:
        """Who they are to the broker. Raises Refused `sandbox.citizen`."""
        return await self.home.desk.subject({"subject": people.identity(people.check_word(citizen))})

    async def grants(self, citizen: str) -> list[Grant]:
        """Their consents to the administration that still run."""
        found = await self.home.consents.of(await self.subject(citizen))
        return [one for one in found if one.recipient == self.wanted.party and not one.status.over]

    async def allow(
        self,
        citizen: str,
        event_type: EventType,
        fields: Iterable[str] | None = None,
        lasts_ms: int | None = None,
    ) -> Recorded:
        """Let the administration know. Raises Refused `grant.*`."""
        return await self.home.consents.give(
            GrantRequest(
                subject=await self.subject(citizen),
                recipient=self.wanted.party,
                event_type=event_type,
                purpose=self.wanted.purpose,
                fields=self.wanted.asked(event_type) if fields is None else frozenset(fields),
                basis=CONSENT,
                voice=_VOICE,
                expires_at=None if lasts_ms is None else Instant(self.clock() + lasts_ms),
                scope=Scope.STANDING,
            )
        )

    async def decide(self, citizen: str, what: str, fields: Iterable[str] = ()) -> int:
        """Revoke, pause, resume, or narrow to `fields`, every running consent. Returns how many. Raises Refused."""
        consents, changed = self.home.consents, 0
        for grant in await self.grants(citizen):
            if what == "narrow":
                await consents.narrow(grant.id, frozenset(fields), _VOICE)
            else:
                await {"revoke": consents.revoke, "pause": consents.pause, "resume": consents.resume}[what](
                    grant.id, _VOICE
                )
            changed += 1
        await self.door.stir()
        return changed

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def declare(self, told: Sequence[News]) -> list[DeclarationId]:
        """Sign, hand in and route. Raises Refused, with a pointer into the record."""
        envelopes = [await self._envelope(one) for one in told]
        ids = []
        for accepted in await self.home.intake.accept_all(envelopes, SOURCE):
            if isinstance(accepted, Refused):
                raise accepted
            ids.append(accepted.declaration_id)
        await self.route()
        return ids

    async def _envelope(self, told: News) -> bytes:
        schema = news.second(told.event_type).schema.id if told.second_schema or told.new_symbol else None
        return await self.home.desk.envelope(
            SOURCE,
            told.event_type,
            told.record(),
            corrects=told.corrects,
            schema=schema,
            provenance=SURE if told.event_type in LEAST else None,
        )

    async def route(self) -> None:
        """Everything that was handed in is planned."""
        while True:
            try:
                routed = await self.home.router.route()
            except LostOwnership:
                continue  # the loop of the same process was faster
            if not routed:
                break
        await self.door.stir()

    async def reversed(self, older: News, newer: News) -> list[DeclarationId]:
        """Two events of one citizen; the older one is handed out again after the newer one.

        It happens without any mischief when an agency, or an operator, replays a dead letter.
        """
        async with self.door.held():  # who waits at the door would get the older one before it is set aside
            first = await self.declare([older])
            await self.set_aside(first)
            second = await self.declare([newer])
            (late,), (early,) = await self.of(first), await self.of(second)
            self.late[early.id] = late.id
        return first + second

    # ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def of(self, declared: Iterable[DeclarationId]) -> list[Delivery]:
        """The administration's deliveries of these declarations, oldest first."""
        return await self.mail(declarations.c.declaration_id.in_(list(declared)))

    async def mail(self, *conditions: ColumnElement[bool]) -> list[Delivery]:
        """Its deliveries that meet all conditions, oldest first."""
        async with self.home.store.read() as tx:
            return await load(tx, deliveries.c.recipient == self.wanted.party, *conditions)

    async def handed(self) -> bool:
        """Whether it has been given keys of deliveries whose end it has not told."""
        return bool(await self.mail(in_states(frozenset({DeliveryState.RELEASED}))))

    async def set_aside(self, declared: Iterable[DeclarationId]) -> None:
        """Park what is on its way."""
        ids = {one.id for one in await self.of(declared)}
        async with self.home.store.begin() as tx:
            for one in await self._active(tx):
                if one.id in ids:
                    await self.home.mailbox.park(tx, one, Rejection(CODE, Reason.PARKED), self.clock())

    async def set_all_aside(self) -> int:
        """Park whatever is on its way. Returns how many."""
        async with self.home.store.begin() as tx:
            left = await self._active(tx)
            for one in left:
                await self.home.mailbox.park(tx, one, Rejection(CODE, Reason.PARKED), self.clock())
        return len(left)

    async def _active(self, tx: Transaction) -> list[Delivery]:
        return await load(tx, deliveries.c.recipient == self.wanted.party, in_states(ACTIVE))

    async def lease(self, declared: Iterable[DeclarationId]) -> list[DeliveryId]:
        """Take deliveries for the administration, as its next pull would, without opening them."""
        wanted = {one.id for one in await self.of(declared)}
        leased = await self.home.inbox(self.wanted.party).lease(500)
        return [one.id for one in leased if one.id in wanted]

    async def answer(self, declared: DeclarationId, end: End) -> None:
        """In the administration's name: what is due of this declaration is opened, and answered so."""
        party = self.wanted.party
        for one in await self.lease([declared]):
            await self.home.gate.release(party, [one])
        await self.tell_end(declared, end)

    async def tell_end(self, declared: DeclarationId, end: End) -> None:
        """In the administration's name: what became of this declaration there."""
        ends = {one.id: end for one in await self.of([declared])}
        async with self.home.store.begin() as tx:
            await self.home.mailbox.acknowledge(tx, self.wanted.party, ends, self.clock())

    async def try_again(self, declared: DeclarationId) -> None:
        """Plan again what was answered: after its person has added a number, or by an operator, who replays what was
        given up.
        """
        home, ids = self.home, {one.id for one in await self.of([declared])}
        waiting = [one.id for one in await home.dead_letters.list() if one.delivery in ids]
        for letter in waiting:
            await home.dead_letters.replay(letter)
        if not waiting:
            await self._plan_again(declared)
        await self.door.stir()

    async def _plan_again(self, declared: DeclarationId) -> None:
        home = self.home
        async with home.store.begin() as tx:
            for one in await load(tx, declarations.c.declaration_id == declared):
                found = await known(tx, home.macs, declarations.c.declaration_id == declared)
                subscription = (await home.lookup.subscriptions_by_id(tx))[one.subscription]
                keys, at = home.keyring.consent_epochs(), self.clock()
                await home.planner.replan(tx, found[0], subscription, keys, at, replayed=one.id)

    async def rotate(self, whose: PartyId, overlap_ms: int) -> tuple[Kid, ...]:
        """New keys of the same kinds. Raises Refused `registrar.overlap`."""
        return await self.home.parties.rotate(whose, overlap_ms)

    # ── what the door asks ──────────────────────────────────────────────────────────────────────────────────────────

    async def waiting(self) -> bool:
        """Whether anything may be handed out now."""
        return bool(await self.home.inbox(self.wanted.party).ready(1))

    async def settled(self) -> None:
        """Hand out again what was to come after something that is done now."""
        newer = await self.mail(deliveries.c.id.in_(list(self.late))) if self.late else []
        done = [one.id for one in newer if one.state not in ACTIVE]
        for one in done:
            await self.home.dead_letters.replay_own(self.wanted.party, self.late.pop(one))

    async def end_leases(self) -> None:
        """What is handed out comes again at once, as if its lease had run out."""
        async with self.home.store.begin() as tx:
            await tx.execute(
                update(deliveries)
                .where(deliveries.c.recipient == self.wanted.party, in_states(ACTIVE))
                .values(lease_until=None, available_at=self.clock())
            )
        await self.door.stir()

    async def change(self, path: str, told: Json) -> Json:
        """The mischief of one good answer."""
        if path == PULL and told["deliveries"]:
            return await self.tampered(told)
        if path == DECLARE and self.mischiefs.take(Mischief.BAD_RECEIPT):
            return _bad_receipt(told)
        if path in {SIGNED, NOTES} and self.mischiefs.take(Mischief.FORGED_DIRECTORY):
            return tampering.forged_directory(told)
        return told

    async def tampered(self, told: Json) -> Json:
        """A pull's answer with what is switched on for it."""
        if self.mischiefs.take(Mischief.BAD_SIGNATURE):
            told = tampering.bad_signature(told)
        wrong, forged = (self.mischiefs.take(one) for one in (Mischief.WRONG_STATEMENT, Mischief.FORGED_STATEMENT))
        if wrong or forged:
            home = self.home
            async with home.store.read() as tx:
                pinned = await home.lookup.directory(tx)
            keys: list[SealingKey] = list(home.keyring.recipient(pinned, self.wanted.party).values())
            told = tampering.forged_statement(told, keys) if forged else told
            told = (
                tampering.wrong_statement(told, keys, home.keyring.signer(pinned, home.party, self.clock()))
                if wrong
                else told
            )
        return told


def _bad_receipt(told: Json) -> Json:
    receipt = told["receipt"]
    first = receipt["signatures"][0]
    other = "B" if first["sig"][0] == "A" else "A"
    return {**told, "receipt": {**receipt, "signatures": [{**first, "sig": other + first["sig"][1:]}]}}

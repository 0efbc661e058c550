"""Protecting: somebody in danger is kept from the place and the people they left; and how that ends.

    the journal has it ──► what is on its way is closed ──► consents for who hears nothing end ──► acknowledged

Refuses: a protection from nobody; one that is over already; a notice without its reference; to lift for somebody else.
Keeps: when `protect` returns, nothing of the person, or of the children named with it, is released to whoever they are
protected from, whatever was on its way, whatever somebody declares, corrects or allows later. What a crash leaves
undone is obeyed at once, and done by the next start. Said again it grows, and answers the same: nobody learns by it
whether somebody was protected before. It is lifted by the person alone, and goes on for three days after that.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sized
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

from sqlalchemy import or_, select

from broker.consents.consents import Consents
from broker.directory.kin import Kin
from broker.directory.lookup import Lookup
from broker.ended import Ended, Ending
from broker.flow.declared import known
from broker.flow.deliveries import ACTIVE, OPEN, Delivery, citizen_lock, in_states, load, mailbox_lock, withhold
from broker.flow.planner import EpochKeys, Planner
from broker.ledger.recorder import Recorder
from broker.messages.news import News
from broker.messages.outbox import Outbox
from broker.observability.crashpoints import mark
from broker.people import protection
from broker.people.protection import Protection
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, deliveries, households
from consent.grant import GIVEN_BY, Grant, Voice
from schemas import areas
from schemas.catalogue import Catalogue
from schemas.errors import Refused
from schemas.names import INSTANT_MAX, Instant, PartyId, Reason, SubjectRef
from schemas.release import indices
from schemas.retractions import RETRACTIONS

MOST: Final = 30
"""Places, parties, children, housemates: of each in one act."""
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_REFERENCE: Final = re.compile(r"[^\x00-\x1f]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. `places`: codes of areas; `parties`: recipients wherever they are; `children`: declared with
    the person, protected as it is; `housemates`: in whose declarations the person may stand. `notice`: the reference
    of a prosecutor's, where it comes from one.
    """

    subject: SubjectRef
    places: frozenset[str]
    parties: frozenset[PartyId] = frozenset()
    children: frozenset[SubjectRef] = frozenset()
    housemates: frozenset[SubjectRef] = frozenset()
    reason: str = "danger"
    notice: str | None = None
    until: Instant | None = None
    given_by: str = "self"
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """What a link between names has taken along: who is protected by it, and whose declarations name nobody else."""

    protected: tuple[Protection, ...] = ()
    housemates: tuple[SubjectRef, ...] = ()


class Protecting:
    """The only writer of protections."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        planner: Planner,
        catalogue: Catalogue,
        consents: Consents,
        recorder: Recorder,
        outbox: Outbox,
        macs: RowMacs,
        epochs: Callable[[], EpochKeys],
        clock: Clock,
    ) -> None:
        """`epochs`: the consent epoch keys that are alive."""
        self._store = store
        self._lookup = lookup
        self._planner = planner
        self._catalogue = catalogue
        self._consents = consents
        self._recorder = recorder
        self._outbox = outbox
        self._macs = macs
        self._epochs = epochs
        self._clock = clock

    async def protect(self, wanted: Wanted) -> Protection:
        """From now on. Whoever is protected already is protected from more, and never for a shorter time.

        Raises Refused: `protection.*`, `areas.*`, `directory.unknown-party`, `grant.given-by`.
        """
        at = self._clock()
        _check(wanted, at)
        made = Protection(
            subject=wanted.subject,
            whose=wanted.subject,
            since=at,
            until=wanted.until,
            places=wanted.places,
            parties=wanted.parties,
            reason=wanted.reason,
            notice=wanted.notice or "",
            given_by=wanted.given_by,
            by=wanted.by,
        )
        children = sorted(wanted.children - {wanted.subject})
        housemates = sorted(wanted.housemates - {wanted.subject, *children})
        async with self._store.begin() as tx:
            for party in sorted(wanted.parties):
                await self._lookup.party(tx, party)
            housemates = sorted({*housemates, *await self._lived_with(tx, {wanted.subject, *children})})
            family = await self._family(tx, {wanted.subject, *children, *housemates})
            everybody = {one for person in (wanted.subject, *children, *housemates) for one in family.of(person)}
            await tx.lock_exclusive([citizen_lock(one) for one in sorted(everybody)])
            ended = await tx.endings()
            theirs: dict[SubjectRef, Protection] = {}
            for person in [one for each in (wanted.subject, *children) for one in family.of(each)]:
                before = protection.standing(ended, person, at)
                own = replace(made, subject=person)
                theirs[person] = own if before is None else before.with_(own)
                tx.end(theirs[person].ending(at))
            housemates = sorted({one for each in housemates for one in family.of(each)} - theirs.keys())
            for one in housemates:
                named = protection.protected_with(ended, one) | theirs.keys()
                tx.end(protection.housemate(one, named, at, wanted.given_by))
            await self._close(tx, theirs, at)
            mark("protecting.written")
            # Crash here: nobody is protected and nobody was told so; or, if the journal of endings has it, it is
            # obeyed at once, and the next start does the rest.
        for own in theirs.values():
            await self.end_consents(own, at)
        for one in housemates:
            await self._veil(one)
        return theirs[wanted.subject]

    async def lift(self, subject: SubjectRef, *, given_by: str, by: tuple[str, ...] = ()) -> Protection:
        """It ends three days from now, for the children named with it, too; the person is told where they are told.

        Raises Refused: `protection.not-self`, `protection.none`, `protection.lifting`.
        """
        if given_by != "self":
            raise Refused("protection.not-self", "/given_by")
        return await self._change(subject, lambda at: Instant(at + protection.LIFT_MS), by)

    async def keep(self, subject: SubjectRef, *, by: tuple[str, ...] = ()) -> Protection:
        """It is not lifted after all. Raises Refused `protection.none`."""
        return await self._change(subject, None, by)

    async def _change(
        self, subject: SubjectRef, lifts: Callable[[Instant], Instant] | None, by: tuple[str, ...]
    ) -> Protection:
        async with self._store.begin() as tx:
            mine = (await self._family(tx, {subject})).of(subject)
            await tx.lock_exclusive([citizen_lock(one) for one in sorted(mine)])
            at, ended = self._clock(), await tx.endings()
            own = next((one for one in [protection.standing(ended, each, at) for each in mine] if one), None)
            if own is None:
                raise Refused("protection.none", "/person")
            if lifts is not None and own.whose not in mine:  # a child's goes with its parent's: nobody else lifts it
                raise Refused("protection.not-self", "/person")
            if lifts is not None and own.lifts_at is not None:
                raise Refused("protection.lifting", "/person")
            until = None if lifts is None else lifts(at)
            theirs = [one for one in protection.every(ended) if {one.whose, one.subject} & set(mine) and one.stands(at)]
            for one in {each.subject: each for each in (*theirs, own)}.values():
                tx.end(replace(one, lifts_at=until, by=by).ending(at))
            if until is not None:
                await self._outbox.tell(
                    tx, News.CHECK, subject, key=b"check" + at.to_bytes(8, "big"), declaration=None, at=at
                )
            mark("protecting.changed")
            # Crash here: the protection stands as before, and whoever asked asks again; or, if the journal of endings
            # has it, it is as asked, and the person may not have been told: the DPO's list says it.
        return replace(own, lifts_at=until, by=by)

    async def of(self, subject: SubjectRef) -> Protection | None:
        """What protects a person now. For that person, and for the DPO."""
        async with self._store.read() as tx:
            ended, at = await tx.endings(), self._clock()
            mine = (await self._family(tx, {subject})).of(subject)
        return next((one for one in [protection.standing(ended, each, at) for each in mine] if one), None)

    async def spread(self, tx: Transaction, mine: Collection[SubjectRef], at: Instant) -> Spread:
        """One citizen's references are about to be known as such. Any of them is protected, or has lived with somebody
        who is: so are all, from now on. For who holds their locks; then `finish`, outside the transaction.
        """
        ended = await tx.endings()
        there = {one: protection.standing(ended, one, at) for one in sorted(mine)}
        standing = [one for one in there.values() if one is not None]
        new: dict[SubjectRef, Protection] = {}
        if standing:
            joined = reduce(lambda one, other: one.with_(other), standing)
            new = {ref: replace(joined, subject=ref) for ref, own in there.items() if own is None}
        with_ = {one: protection.protected_with(ended, one) for one in sorted(mine)}
        named = frozenset[SubjectRef]().union(*with_.values())
        mates = [one for one, known_ in with_.items() if known_ != named]
        for own in new.values():
            tx.end(own.ending(at))
        for mate in mates:
            tx.end(protection.housemate(mate, named, at, "self"))
        await self._close(tx, new, at)
        return Spread(tuple(new.values()), tuple(mates))

    async def finish(self, spread: Spread, at: Instant) -> None:
        """What is left to do once that was committed; after a crash the next start does it."""
        for own in spread.protected:
            await self.end_consents(own, at)
        for mate in spread.housemates:
            await self._veil(mate)

    async def _lived_with(self, tx: Transaction, people: Collection[SubjectRef]) -> set[SubjectRef]:
        """The adults with whom these stood in one form about a household: they may declare them again."""
        theirs = select(declarations.c.declaration_id).where(declarations.c.subject.in_(people))
        named = or_(households.c.subject.in_(people), households.c.household.in_(theirs))
        forms = select(households.c.household).where(named)
        adults = select(households).where(households.c.household.in_(forms))
        first = select(declarations).where(declarations.c.declaration_id.in_(forms))
        found = [
            *self._macs.valid(households.name, await tx.execute(adults)),
            *self._macs.valid(declarations.name, await tx.execute(first)),
        ]
        return {SubjectRef(row.subject) for row in found} - set(people)

    async def _family(self, tx: Transaction, people: Collection[SubjectRef]) -> Kin:
        """Whose these references are, or will be once a link that is confirmed acts."""
        return await self._lookup.kin(tx, people, INSTANT_MAX)

    async def every(self) -> list[Protection]:
        """All that stand, the oldest first. For the DPO."""
        async with self._store.read() as tx:
            found = [one for one in protection.every(await tx.endings()) if one.stands(self._clock())]
        return sorted(found, key=lambda one: (one.since, one.subject))

    async def complete(self, ending: Ending) -> bool:
        """Do what a protection asks for and the rows do not say. Never told: how much there was to do would say that
        somebody is protected.
        """
        if ending.table == protection.HOUSEMATES:
            await self._veil(SubjectRef(ending.key))
            return False
        told = protection.of_ending(ending)
        if not told.stands(self._clock()):
            return False
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(told.subject)])
            await self._close(tx, {told.subject: told}, self._clock())
        await self.end_consents(told, ending.at)
        return False

    async def _close(self, tx: Transaction, theirs: Mapping[SubjectRef, Protection], at: Instant) -> None:
        """What is on its way by a place that is kept from everybody stays closed: no router plans more of it, for it
        holds their locks shared, and no gate opens it, for it holds the mailbox's. What goes to a recipient that hears
        nothing at all is closed with its consent (`end_consents`): rows in another order would say why.
        """
        first = await self._by_place(tx, theirs)
        if not first:
            return
        await tx.lock_exclusive([mailbox_lock(each) for each in sorted({one.recipient for one in first})])
        await withhold(tx, self._recorder, await self._by_place(tx, theirs), Reason.REVOKED, at)

    async def _by_place(self, tx: Transaction, theirs: Mapping[SubjectRef, Protection]) -> list[Delivery]:
        there, hears = await self._lookup.subscriptions_by_id(tx), await self._lookup.hears(tx)
        under_way = await load(tx, deliveries.c.subject.in_(sorted(theirs)), in_states(OPEN))
        numbers = sorted({one.declaration for one in under_way})
        places = {
            one.seq: one.verified.signed.slip.territories
            for one in (await known(tx, self._macs, declarations.c.seq.in_(numbers)) if numbers else ())
        }
        found = []
        for one in under_way:
            own, heard = theirs[one.subject], hears.get(one.recipient, frozenset())
            subscription, told = there.get(one.subscription), places.get(one.declaration, ())
            by_place = self._catalogue.by_id(one.schema).uses_territories
            if subscription is None or own.hides_from(one.recipient, heard):
                continue  # a subscription that lost its seal opens nothing
            if own.hides(subscription, heard, told, by_place=by_place):
                found.append(one)
        return found

    async def end_consents(self, person: Protection, at: Instant) -> None:
        """What the person had allowed, until then, to those who hear nothing any more ends as any consent does, key and
        all, so that rows and ledger say what they say of anybody who has changed their mind. Each is a transaction of
        its own. What is given later stands, and opens nothing.
        """
        async with self._store.read() as tx:
            hears = await self._lookup.hears(tx)
        for grant in await self._consents.of(person.subject):
            hidden = person.hides_from(grant.recipient, hears.get(grant.recipient, frozenset()))
            notice = grant.event_type in RETRACTIONS  # nobody ends its grant; the gate opens nothing of it
            if hidden and not notice and grant.granted_at <= at and not grant.status.over:
                await self._end(grant, person.given_by)
        mark("protecting.ended")
        # Crash here, or between two of them: the gate opens nothing of it, and the next start ends the others.

    async def _end(self, grant: Grant, given_by: str) -> None:
        """In the words in which it was given last: words of its own would say why it ends."""
        voice = Voice(given_by, grant.capacity, grant.channel, grant.language, grant.text_hash)
        try:
            if grant.rule is not None:
                await self._consents.leave_rule(grant.id)
            elif grant.by_law:
                await self._consents.end_mandate(grant.id, voice)
            else:
                await self._consents.revoke(grant.id, voice)
        except Refused as fault:
            if fault.code != "grant.over":  # somebody else was faster
                raise

    async def _veil(self, housemate: SubjectRef) -> None:
        """What is on its way of somebody who has lived with a protected person is planned anew, without the fields in
        which others stand.
        """
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(housemate)])
            at, there = self._clock(), await self._lookup.subscriptions_by_id(tx)
            under_way = await load(tx, deliveries.c.subject == housemate, in_states(ACTIVE))
            ended = await tx.endings()
            pairs = {(one.declaration, one.subscription) for one in under_way if self._names_others(one, ended, at)}
            for seq, subscription in sorted(pairs):
                for declaration in await known(tx, self._macs, declarations.c.seq == seq):
                    if subscription in there:
                        await self._planner.replan(tx, declaration, there[subscription], self._epochs(), at)
            mark("protecting.veiled")
            # Crash here: the transaction is gone; whoever asked has no answer, and the next start plans it anew.

    def _names_others(self, one: Delivery, ended: Ended, at: Instant) -> bool:
        event = self._catalogue.by_id(one.schema)
        veiled = protection.veiled(ended, one.subject, at, event)
        return any(event.names[index] in veiled for index in indices(one.fields, len(event.names)))


def _check(wanted: Wanted, at: Instant) -> None:
    if not wanted.places and not wanted.parties:
        raise Refused("protection.nowhere", "/places")
    lists: dict[str, Sized] = {
        "/places": wanted.places,
        "/parties": wanted.parties,
        "/children": wanted.children,
        "/housemates": wanted.housemates,
    }
    for pointer, some in lists.items():
        if len(some) > MOST:
            raise Refused("protection.too-many", pointer, limit=MOST)
    for code in sorted(wanted.places):
        try:
            areas.subscribable(code)
        except Refused as fault:
            raise fault.under("/places") from None
    if not _WORD.fullmatch(wanted.reason):
        raise Refused("protection.reason", "/reason")
    if wanted.notice is not None and not _REFERENCE.fullmatch(wanted.notice.strip()):
        raise Refused("protection.reference", "/notice")
    if wanted.until is not None and wanted.until <= at:
        raise Refused("protection.until", "/until")
    if not GIVEN_BY.fullmatch(wanted.given_by):
        raise Refused("grant.given-by", "/given_by")

"""Households: one form about several people becomes a declaration for each; other adults confirm before theirs goes.

    the form ──► the declarant's and the minors': kept together, or none of them
             └─► each other adult: a place that waits, a code ──confirm──► their own declaration, kept with the place
                                                              ──refuse───► nothing

Refuses: nobody; the same person twice; a declaration for an adult who has not confirmed; for a minor by somebody who
does not act for them; a code that is another's, used, or too old.
Keeps: the broker holds no draft. The source keeps what the form says, and signs an adult's declaration when they
confirm; the broker holds whose it is, until when, and knows the code without keeping it. What an adult decided stands
in the journal of endings. No answer tells one adult what another has decided.
Source: docs/adr/0052-who-acts-for-another-is-a-record.md.
"""

import hmac
from base64 import b32encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import Row, select, update

from broker.ended import Ended, Ending
from broker.flow import acting
from broker.flow.arrived import Accepted, Kept
from broker.flow.intake import Intake
from broker.observability.crashpoints import mark
from broker.people.identity import Identity
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import households
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, Instant, PartyId, SubjectRef, instant_of

MOST: Final = 20
"""People in one form."""
DAYS: Final = 14
"""In which an adult can confirm."""
_CODE_BYTES: Final = 10
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Declared:
    """The declarant's own declaration, or one for a minor: a signed envelope."""

    envelope: bytes


@dataclass(frozen=True, slots=True)
class Awaited:
    """An adult who has still to confirm, by a token for them."""

    token: bytes


Member = Declared | Awaited


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An adult's place in a form. `declaration`: what they confirmed; `decided_at` without it: they refused."""

    household: DeclarationId
    number: int
    source: PartyId
    subject: SubjectRef
    event_type: EventType
    opened_at: Instant
    expires_at: Instant
    decided_at: Instant | None = None
    declaration: DeclarationId | None = None

    @property
    def key(self) -> bytes:
        """What names it in the journal of endings."""
        return self.household + bytes((self.number,))

    def row(self) -> dict[str, Any]:
        """As the table has it, without its MAC."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def ending(self, at: Instant) -> Ending:
        """That it is decided, in the journal."""
        return Ending.of(
            households.name, self.key, at=at, actor=self.source, decided_at=at, declaration=self.declaration
        )


@dataclass(frozen=True, slots=True)
class Code:
    """What the source hands to one adult: the place of the adult in the form, and the code by which they decide."""

    number: int
    code: str
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class Opened:
    """A form that was taken in: what the declarant declared, in the order of the form, and a code for each adult."""

    household: DeclarationId
    accepted: tuple[Accepted, ...]
    codes: tuple[Code, ...]


class Households:
    """Takes forms in, and what adults decide."""

    def __init__(self, *, store: Store, identity: Identity, intake: Intake, macs: RowMacs, clock: Clock) -> None:
        self._store = store
        self._identity = identity
        self._intake = intake
        self._macs = macs
        self._clock = clock

    async def open(self, source: PartyId, members: Sequence[Member]) -> Opened:
        """Take a form in, the declarant first. What is declared at once is kept, all of it or nothing; sent again, it
        gets the same receipts and the same codes.

        Raises Refused `households.*`, `identity.*`, and what the intake refuses, with a pointer into `/members`. Raises
        Unavailable: send the same again.
        """
        at = self._clock()
        _check_form(members)
        waiting = self._awaited(source, members, at)
        numbers = [number for number, one in enumerate(members) if isinstance(one, Declared)]
        places: list[Place] = []

        async def beside(tx: Transaction, kept: Sequence[Kept]) -> None:
            await self._check_members(tx, numbers, kept, waiting)
            first = kept[0].submission
            for number, subject in sorted(waiting.items()):
                place = Place(
                    household=first.declaration_id,
                    number=number,
                    source=source,
                    subject=subject,
                    event_type=first.event_type,
                    opened_at=first.received_at,
                    expires_at=Instant(first.received_at + DAYS * _DAY_MS),
                )
                places.append(place)
            await self._write_places(tx, first.declaration_id, places)
            mark("households.opened")
            # Crash here: nothing of the form is kept, and its source sends it again.

        envelopes = [one.envelope for one in members if isinstance(one, Declared)]
        answers = await self._intake.accept_together(envelopes, source, beside)
        accepted = []
        for number, answer in zip(numbers, answers, strict=True):
            if isinstance(answer, Refused):
                raise answer.under(f"/members/{number}/declaration")
            accepted.append(answer)
        codes = tuple(Code(one.number, self._code(one.household, one.number), one.expires_at) for one in places)
        return Opened(accepted[0].declaration_id, tuple(accepted), codes)

    async def confirm(self, source: PartyId, household: DeclarationId, code: str, envelope: bytes) -> Accepted:
        """An adult confirms, and their declaration is kept. The same again gets the same receipt.

        Raises Refused `households.unknown` (also for another person's declaration), `households.expired`,
        `households.decided`; what the intake refuses, under `/declaration`. Raises Unavailable.
        """

        async def beside(tx: Transaction, kept: Sequence[Kept]) -> None:
            place = await self._place(tx, source, household, code)
            mine = kept[0].submission
            if (mine.subject, mine.event_type) != (place.subject, place.event_type):
                raise Refused("households.unknown")
            if place.decided_at is None:
                await self._decide(tx, place, mine.declaration_id)
            elif place.declaration != mine.declaration_id:
                raise Refused("households.decided", "/code")

        (answer,) = await self._intake.accept_together([envelope], source, beside)
        if isinstance(answer, Refused):
            raise answer.under("/declaration")
        return answer

    async def source_of(self, household: DeclarationId, whose: Collection[SubjectRef]) -> PartyId:
        """Who took a form in, told to one of its adults by their references. Raises Refused `households.unknown`."""
        async with self._store.read() as tx:
            for place in await self._of(tx, household):
                if place.subject in whose:
                    return place.source
        raise Refused("households.unknown")

    async def refuse(
        self, source: PartyId, household: DeclarationId, code: str, *, whose: Collection[SubjectRef] | None = None
    ) -> None:
        """An adult refuses: nothing of theirs goes, by this form. Again, it changes nothing. `whose`: the references of
        who refuses, where they are known. Raises as `confirm`.
        """
        async with self._store.begin() as tx:
            place = await self._place(tx, source, household, code)
            if whose is not None and place.subject not in whose:
                raise Refused("households.unknown")
            if place.decided_at is None:
                await self._decide(tx, place, None)
            elif place.declaration is not None:
                raise Refused("households.decided", "/code")

    async def complete(self, ending: Ending) -> bool:
        """Do what the journal of endings says of a place, and its row does not. Whether there was anything to do."""
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_lock(ending.key)])
            for place in await self._rows(tx, DeclarationId(ending.key[:16])):
                if place.key == ending.key and obeyed(place, ending) != place:
                    await self._update(tx, obeyed(place, ending))
                    return True
        return False

    def _awaited(self, source: PartyId, members: Sequence[Member], at: Instant) -> dict[int, SubjectRef]:
        found = {}
        for number, one in enumerate(members):
            if isinstance(one, Awaited):
                try:
                    found[number] = self._identity.resolve(one.token, source, at)
                except Refused as fault:
                    raise fault.under(f"/members/{number}/subject_token") from None
        return found

    async def _check_members(
        self, tx: Transaction, numbers: Sequence[int], kept: Sequence[Kept], waiting: dict[int, SubjectRef]
    ) -> None:
        declarant = kept[0].submission
        people: dict[SubjectRef, int] = {}
        for number, one in zip(numbers, kept, strict=True):
            acted = await acting.told(tx, self._macs, one.submission.declaration_id)
            place = f"/members/{number}/declaration"
            if number == 0 and acted is not None:
                raise Refused("households.declarant", place)
            if number > 0 and acted is None:
                raise Refused("households.not-confirmed", place)
            if acted is not None and acted.representative != declarant.subject:
                raise Refused("households.not-represented", place)
            if one.submission.event_type != declarant.event_type:
                raise Refused("households.another-type", place, event_type=declarant.event_type)
            if people.setdefault(one.submission.subject, number) != number:
                raise Refused("households.twice", f"/members/{number}")
        for number, subject in waiting.items():
            if people.setdefault(subject, number) != number:
                raise Refused("households.twice", f"/members/{number}")

    async def _write_places(self, tx: Transaction, household: DeclarationId, places: Sequence[Place]) -> None:
        """Raises Refused `households.another-form`: this declaration opened another form before."""
        there = {one.number: one for one in await self._of(tx, household)}
        if there and [one.subject for one in places] != [there[number].subject for number in sorted(there)]:
            raise Refused("households.another-form", "/members/0/declaration")
        for place in () if there else places:
            if not await tx.insert_new(households, self._macs.made(households.name, place.row())):
                raise Refused("households.another-form", "/members/0/declaration")  # a row that nobody here wrote

    async def _place(self, tx: Transaction, source: PartyId, household: DeclarationId, code: str) -> Place:
        """The place that a code is for, under its lock. A code of another form, or of another source, is as unknown as
        one that was never given.
        """
        code = code.strip().upper().replace("-", "").replace(" ", "")
        for place in await self._of(tx, household):
            right = hmac.compare_digest(self._code(household, place.number).encode(), code.encode())
            if right and place.source == source:
                await tx.lock_exclusive([_lock(place.key)])
                (locked,) = [one for one in await self._of(tx, household) if one.key == place.key]
                if locked.decided_at is None and locked.expires_at <= self._clock():
                    raise Refused("households.expired", "/code")
                return locked
        raise Refused("households.unknown")

    async def _of(self, tx: Transaction, household: DeclarationId) -> list[Place]:
        """A form's places, as the journal tells them where it does."""
        ended = await tx.endings()
        return [_counts(one, ended) for one in await self._rows(tx, household)]

    async def _rows(self, tx: Transaction, household: DeclarationId) -> list[Place]:
        asked = select(households).where(households.c.household == household).order_by(households.c.number)
        return [of_row(row) for row in self._macs.valid(households.name, await tx.execute(asked))]

    async def _decide(self, tx: Transaction, place: Place, declaration: DeclarationId | None) -> None:
        at = self._clock()
        decided = replace(place, decided_at=at, declaration=declaration)
        tx.end(decided.ending(at))
        await self._update(tx, decided)
        mark("households.decided")
        # Crash here: nothing is decided, and the adult's source says so again; or, if the journal of endings has it,
        # the same again is done, anything else is refused, and the next start completes the row.

    async def _update(self, tx: Transaction, place: Place) -> None:
        same = (households.c.household == place.household, households.c.number == place.number)
        made = self._macs.made(households.name, place.row())
        await tx.execute(update(households).where(*same).values(made))

    def _code(self, household: DeclarationId, number: int) -> str:
        """The code of one place: 16 characters that follow from the broker's secret, and are kept nowhere."""
        return b32encode(self._macs.asked(["household", household.hex(), str(number)])[:_CODE_BYTES]).decode()


def of_row(row: Row[Any]) -> Place:
    """The place of a row."""
    return Place(
        household=DeclarationId(row.household),
        number=row.number,
        source=PartyId(row.source),
        subject=SubjectRef(row.subject),
        event_type=EventType(row.event_type),
        opened_at=Instant(row.opened_at),
        expires_at=Instant(row.expires_at),
        decided_at=instant_of(row.decided_at),
        declaration=None if row.declaration is None else DeclarationId(row.declaration),
    )


def obeyed(place: Place, ending: Ending) -> Place:
    """A place as a record of the journal tells it."""
    declared = ending.told["declaration"]
    return replace(
        place,
        decided_at=Instant(ending.told["decided_at"]),
        declaration=None if declared is None else DeclarationId.parse(declared),
    )


def _counts(place: Place, ended: Ended) -> Place:
    told = ended.newest(households.name, place.key)
    return place if told is None else obeyed(place, told)


def _check_form(members: Sequence[Member]) -> None:
    if not members:
        raise Refused("households.nobody", "/members")
    if len(members) > MOST:
        raise Refused("households.too-many", "/members", count=len(members), most=MOST)
    if not isinstance(members[0], Declared):
        raise Refused("households.declarant", "/members/0")


def _lock(key: bytes) -> bytes:
    return b"household/" + key

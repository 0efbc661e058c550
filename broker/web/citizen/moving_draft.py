"""Moving draft: the answers of "I am moving" as they are kept between two pages, and after they were sent.

    begun  {"id": of the declaration, "answers": {page: {field: typed}}, "people": [{field: typed}],
            "joins": None | {"household": id, "code": typed}       what somebody else's form asks this person to confirm
            "corrects": None | id}                                 the declaration that this one puts right
    sent   {"declaration": id, "waiting": [{"name", "code", "expires_at"}]}      the codes of adults, for three days

Refuses: nothing.
Keeps: what two windows write at the same time is both kept, page by page; the id is drawn once, so that what is sent
twice is one declaration.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from broker.citizens.citizen import Citizen
from broker.services.citizens import drafts, forms
from broker.setup.wiring import Home
from broker.web.citizen.moving_answers import PEOPLE, Raw
from schemas.errors import Refused
from schemas.names import DeclarationId

FORM: Final = "move"
SENT: Final = "move-sent"
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Joins:
    """The form of somebody else that this person confirms their part of."""

    household: DeclarationId
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """What was typed so far."""

    draft: bytes
    version: int
    id: DeclarationId
    answers: Mapping[str, Raw] = field(repr=False)
    people: list[Raw] = field(repr=False)
    joins: Joins | None = None
    corrects: DeclarationId | None = None


async def find(home: Home, citizen: Citizen) -> Begun | None:
    """The move that the citizen has begun, if they have."""
    found = await drafts.open_newest(home, citizen, FORM)
    return None if found is None else _begun(found)


async def begin(home: Home, citizen: Citizen) -> None:
    """A new one, empty, where there is none."""
    if await find(home, citizen) is None:
        content: dict[str, Any] = {
            "id": forms.begin(home).hex(),
            "answers": {},
            "people": [],
            "joins": None,
            "corrects": None,
        }
        await drafts.write(home, citizen, FORM, content)


async def join(home: Home, citizen: Citizen, household: DeclarationId, code: str) -> None:
    """Confirm a part of somebody else's form with these answers; those that were begun stay."""
    await begin(home, citizen)
    joins = {"household": household.hex(), "code": code}
    await _change(home, citizen, lambda told: {**told, "joins": joins})


async def correct(home: Home, citizen: Citizen, declaration: DeclarationId) -> None:
    """Put a declaration right with these answers. Where another form was begun, that one is left as it is."""
    found = await find(home, citizen)
    if found is not None and found.corrects != declaration:
        raise Refused("pages.begun-already")
    await begin(home, citizen)
    await _change(home, citizen, lambda told: {**told, "corrects": declaration.hex()})


async def answer(home: Home, citizen: Citizen, step: str, typed: Raw) -> Begun:
    """Keep what was typed on one page. Raises Refused `pages.no-draft` where nothing was begun."""
    return await _change(home, citizen, lambda told: {**told, "answers": {**told["answers"], step: dict(typed)}})


async def put_person(home: Home, citizen: Citizen, number: int | None, typed: Raw) -> Begun:
    """Keep what was typed about somebody of the household; None: somebody new. What is too many is not kept."""

    def put(told: Mapping[str, Any]) -> dict[str, Any]:
        people = list(told["people"])
        if number is not None and number < len(people):
            people[number] = dict(typed)
        elif len(people) < PEOPLE:
            people.append(dict(typed))
        return {**told, "people": people}

    return await _change(home, citizen, put)


async def drop_person(home: Home, citizen: Citizen, number: int) -> Begun:
    """Take somebody out of the list."""
    return await _change(
        home,
        citizen,
        lambda told: {**told, "people": [each for at, each in enumerate(told["people"]) if at != number]},
    )


async def close(home: Home, citizen: Citizen) -> None:
    """Forget all of it."""
    found = await find(home, citizen)
    if found is not None:
        await drafts.close(home, citizen, found.draft)


async def keep_sent(home: Home, citizen: Citizen, begun: Begun, told: Mapping[str, Any]) -> None:
    """What was typed goes; what the citizen has to hand on stays for three days."""
    before = await drafts.open_newest(home, citizen, SENT)
    if before is not None:
        await drafts.close(home, citizen, before.id)
    await drafts.write(home, citizen, SENT, told, draft=begun.draft, seen=begun.version)


async def sent(home: Home, citizen: Citizen) -> Mapping[str, Any] | None:
    """What was sent last, of these three days."""
    found = await drafts.open_newest(home, citizen, SENT)
    return None if found is None else found.content


async def _change(home: Home, citizen: Citizen, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Begun:
    for attempt in range(_ATTEMPTS):
        found = await drafts.open_newest(home, citizen, FORM)
        if found is None:
            break
        try:
            made = await drafts.write(home, citizen, FORM, change(found.content), draft=found.id, seen=found.version)
        except Refused as fault:  # another window was faster: read again what it wrote
            if fault.code != "drafts.changed" or attempt == _ATTEMPTS - 1:
                raise
        else:
            return _begun(made)
    raise Refused("pages.no-draft")


def _begun(found: drafts.Draft) -> Begun:
    told, joins = found.content, found.content.get("joins")
    return Begun(
        found.id,
        found.version,
        DeclarationId(bytes.fromhex(told["id"])),
        told["answers"],
        list(told["people"]),
        None if joins is None else Joins(DeclarationId(bytes.fromhex(joins["household"])), joins["code"]),
        DeclarationId(bytes.fromhex(told["corrects"])) if told.get("corrects") else None,
    )

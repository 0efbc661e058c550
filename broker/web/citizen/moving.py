"""Moving: "I am moving", one thing a page: what was typed is kept at each step, wrong or right, and shown again.

    start ──► who ──► (household) ──► day ──► from ──► to ──► address ──► home ──► contact ──► check ──► sent

Refuses: to send what has an open page; what the services refuse, with a link to the page where it was typed.
Keeps: each page is kept by a POST that leads on by a GET, so going back, reloading or sending twice does no harm. The
check page shows the dry run that the router itself would decide by.
"""

import asyncio
from functools import partial

from fastapi import APIRouter, Response

from broker.web.citizen import moving_draft as drafts
from broker.web.citizen import places_typed
from broker.web.citizen.moving_answers import (
    FIELDS,
    PEOPLE,
    PERSON,
    Raw,
    Read,
    read_person,
    read_step,
    steps_of,
)
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.visit import Visit, page
from broker.web.citizen.words import Words, today

routes = APIRouter()
START = f"{PREFIX}/demenager"
BEGIN = f"{START}/commencer"
GIVE_UP = f"{START}/abandonner"
CODE = f"{START}/code"
RESUME = f"{START}/reprendre"
HOUSEHOLD = f"{START}/foyer"
PERSON_PAGE = f"{HOUSEHOLD}/personne"
DROP = f"{HOUSEHOLD}/retirer"
CHECK = f"{START}/verifier"
SUMMARY = "#erreurs"
"""Where what is wrong stands: a browser puts the focus there, without a script."""


async def start(visit: Visit) -> Response:
    """What it takes, and how long."""
    begun = await drafts.find(visit.home, visit.who)
    places = {"begin": BEGIN, "code": CODE, "give_up": GIVE_UP, "resume": RESUME}
    return visit.page("move/start.html", begun=begun, errors=[], places=places, typed="")


async def begin(visit: Visit) -> Response:
    """Begin, or go on."""
    await drafts.begin(visit.home, visit.who)
    begun = await drafts.find(visit.home, visit.who)
    place = START if begun is None else f"{START}/{await first_open(visit, begun) or 'verifier'}"
    return visit.go(place)


async def give_up(visit: Visit) -> Response:
    """Forget what was typed."""
    await drafts.close(visit.home, visit.who)
    return visit.go(START)


async def first_open(visit: Visit, begun: drafts.Begun) -> str | None:
    """The first page that is not answered, or not rightly; None where all are."""
    for step in steps_of(begun.answers):
        if (await read(visit, step, begun)).wrong:
            return step
    return None


async def read(visit: Visit, step: str, begun: drafts.Begun) -> Read:
    """A page as it was read; looking for communes takes its time, beside the loop."""
    day = today(visit.home.clock())
    return await asyncio.to_thread(read_step, step, begun.answers, begun.people, day)


async def show_step(step: str, visit: Visit) -> Response:
    """One page, with what was typed; with what is wrong once it was sent."""
    begun = await drafts.find(visit.home, visit.who)
    if begun is None:
        return visit.go(START)
    raw = begun.answers.get(step, {})
    found = await read(visit, step, begun) if visit.asked("revoir") else Read()
    return visit.page(
        f"move/{step}.html",
        action=f"{START}/{step}",
        back=before(step, begun, visit),
        begun=begun,
        errors=told(visit.words, found),
        offers=found.offers,
        raw={name: raw.get(name, "") for name in FIELDS[step]},
        since=visit.asked("depuis"),
        abroad=begun.answers.get("arrivee", {}).get("arrivee") == "etranger",
        countries=places_typed.country_names,
    )


async def keep_step(step: str, visit: Visit) -> Response:
    """Keep it, and go on; back to it where something is wrong."""
    typed: Raw = {name: visit.sent(name) for name in FIELDS[step]}
    begun = await drafts.answer(visit.home, visit.who, step, typed)
    checking = visit.sent("depuis") == "verifier"
    if (await read(visit, step, begun)).wrong:
        return visit.go(f"{START}/{step}?revoir=1{'&depuis=verifier' if checking else ''}{SUMMARY}")
    if checking:
        return visit.go(CHECK)
    following = steps_of(begun.answers)
    number = following.index(step) + 1
    return visit.go(CHECK if number == len(following) else f"{START}/{following[number]}")


def before(step: str, begun: drafts.Begun, visit: Visit) -> str:
    """The page to go back to."""
    if visit.asked("depuis") == "verifier":
        return CHECK
    steps = steps_of(begun.answers)
    number = steps.index(step) if step in steps else 0
    return START if number == 0 else f"{START}/{steps[number - 1]}"


def told(words: Words, found: Read) -> list[tuple[str, str]]:
    """What is wrong, by field, in the visitor's language."""
    return [(each.name, words.say(each.sentence, **each.filled)) for each in found.wrong]


# ── who moves along ─────────────────────────────────────────────────────────────────────────────────────────────────


async def household(visit: Visit) -> Response:
    """The list."""
    begun = await drafts.find(visit.home, visit.who)
    if begun is None:
        return visit.go(START)
    day = today(visit.home.clock())
    people = [
        (number, each, await asyncio.to_thread(read_person, each, day)) for number, each in enumerate(begun.people)
    ]
    found = await read(visit, "foyer", begun) if visit.asked("revoir") else Read()
    return visit.page(
        "move/household.html",
        action=HOUSEHOLD,
        back=before("foyer", begun, visit),
        drop=DROP,
        errors=told(visit.words, found),
        full=len(people) >= PEOPLE,
        people=people,
        person=PERSON_PAGE,
        since=visit.asked("depuis"),
    )


async def household_done(visit: Visit) -> Response:
    """Go on from the list."""
    begun = await drafts.find(visit.home, visit.who)
    if begun is None:
        return visit.go(START)
    day = today(visit.home.clock())
    for number, each in enumerate(begun.people):
        if (await asyncio.to_thread(read_person, each, day)).wrong:
            return visit.go(f"{PERSON_PAGE}?numero={number}&revoir=1{SUMMARY}")
    if not begun.people:
        return visit.go(f"{HOUSEHOLD}?revoir=1{SUMMARY}")
    return visit.go(CHECK if visit.sent("depuis") == "verifier" else f"{START}/date")


async def person(visit: Visit) -> Response:
    """Somebody of the household: new, or as typed before."""
    begun = await drafts.find(visit.home, visit.who)
    if begun is None:
        return visit.go(START)
    number = _number(visit.asked("numero"))
    there = number is not None and number < len(begun.people)
    raw = begun.people[number] if there and number is not None else {}
    day = today(visit.home.clock())
    found = await asyncio.to_thread(read_person, raw, day) if visit.asked("revoir") else Read()
    return visit.page(
        "move/person.html",
        action=PERSON_PAGE,
        back=HOUSEHOLD,
        countries=places_typed.country_names,
        errors=told(visit.words, found),
        number=number if there else "",
        offers=found.offers,
        raw={name: raw.get(name, "") for name in PERSON},
        since="",
    )


async def keep_person(visit: Visit) -> Response:
    """Keep them, and back to the list."""
    typed: Raw = {name: visit.sent(name) for name in PERSON}
    number = _number(visit.sent("numero"))
    begun = await drafts.put_person(visit.home, visit.who, number, typed)
    at = number if number is not None and number < len(begun.people) else len(begun.people) - 1
    found = await asyncio.to_thread(read_person, typed, today(visit.home.clock()))
    return visit.go(f"{PERSON_PAGE}?numero={at}&revoir=1{SUMMARY}" if found.wrong else HOUSEHOLD)


async def drop_person(visit: Visit) -> Response:
    """Take somebody out."""
    number = _number(visit.sent("numero"))
    if number is not None:
        await drafts.drop_person(visit.home, visit.who, number)
    return visit.go(HOUSEHOLD)


def _number(told: str) -> int | None:
    return int(told) if told.isascii() and told.isdigit() and len(told) < 3 else None


page(routes, START, start)
page(routes, BEGIN, begin, "POST")
page(routes, GIVE_UP, give_up, "POST")
for _step in FIELDS:
    page(routes, f"{START}/{_step}", partial(show_step, _step))
    page(routes, f"{START}/{_step}", partial(keep_step, _step), "POST")
page(routes, HOUSEHOLD, household)
page(routes, HOUSEHOLD, household_done, "POST")
page(routes, PERSON_PAGE, person)
page(routes, PERSON_PAGE, keep_person, "POST")
page(routes, DROP, drop_person, "POST")

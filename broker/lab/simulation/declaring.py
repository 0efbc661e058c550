"""Declaring: people move, alone or with their household, open accounts, have children, marry, die, take other names.

Refuses: nothing.
Keeps: a form of several people is one call; each other adult confirms later, or never does.
"""

from collections.abc import Sequence

from broker.directory.kin import Link
from broker.lab.simulation import records
from broker.lab.simulation.cast import ACCOUNT, BIRTH, CONTACT, DEATH, MOVE, NAME, PORTAL, UNION
from broker.lab.simulation.clock import DAY_MS
from broker.lab.simulation.country import Person
from broker.lab.simulation.founding import registrar
from broker.lab.simulation.ground import Ground
from broker.lab.simulation.life import Happening, Kind, Mistake, Place
from broker.lab.simulation.promises import Guardian, Said
from broker.services import households, identities, representations
from broker.services.households import Filled
from schemas.names import Instant


async def move(here: Ground, happening: Happening) -> None:
    """A person moves, with everybody who lives with them; for whom somebody acts, they move alone."""
    person = happening.person
    if here.promises.guardian(person.number, here.clock()) is not None:
        await _move_ward(here, person)
        return
    wards = here.promises.guardians.keys()
    others = [one for one in here.country.household(person) if one is not person and one.number not in wards]
    await go(here, person, others)


async def _move_ward(here: Ground, one: Person) -> None:
    old, on = (one.street, one.commune), here.clock.today
    one.commune, one.street = here.country.somewhere(), here.country.street()
    record = here.spoken_for(one, records.move(one, old, (), on))
    said = await here.say(PORTAL, MOVE, one, record, old[1], one.commune)
    here.may_follow(Happening(Kind.CANCEL, one, said))
    here.may_follow(Happening(Kind.CORRECT, one, Mistake(said, record)))


async def go(here: Ground, person: Person, others: Sequence[Person]) -> None:
    """One form for all: the person's and the children's declarations at once; each other adult confirms theirs."""
    on, family = here.clock.today, [person, *others]
    old, commune, street = (person.street, person.commune), here.country.somewhere(), here.country.street()
    for one in family:
        one.commune, one.street = commune, street
    await here.choose(person, MOVE)
    ordered = sorted(family, key=lambda one: (one is not person, not one.adult(on)))
    filled = []
    for one in ordered:
        along = [(each, _relation(one, each)) for each in family if each is not one]
        waits, child = one.adult(on) and one is not person, not one.adult(on)
        if child:
            await _may_act(here, person, one)
        record = records.move(one, old, along, on, parent=person if child else None)
        filled.append(Filled(record, waits))
    form = await households.fill_in(here.home, PORTAL, MOVE, filled)
    at_once = [(one, each.record) for one, each in zip(ordered, filled, strict=True) if not each.waits]
    for (one, handed_in), accepted in zip(at_once, form.accepted, strict=True):
        said = here.remember(accepted, MOVE, one, (old[1], commune), by_citizen=True)
        here.may_follow(Happening(Kind.CANCEL, one, said))
        here.may_follow(Happening(Kind.CORRECT, one, Mistake(said, handed_in)))
    for code in form.codes:
        place = Place(form.household, code.code, filled[code.number].record, (old[1], commune))
        here.may_follow(Happening(Kind.CONFIRM, ordered[code.number], place))
    here.counts["households"] += len(family) > 1


async def _may_act(here: Ground, parent: Person, child: Person) -> None:
    """The act by which a parent speaks for a child is written down when it is first needed."""
    if (parent.number, child.number) not in here.parents:
        here.parents.add((parent.number, child.number))
        await representations.start(
            here.home,
            representative=parent.pivot(),
            subject=child.pivot(),
            measure="parental_authority",
            proof="Livret de famille",
        )


async def correct(here: Ground, happening: Happening) -> None:
    """The house was another one: who got the first declaration gets this one."""
    wrong, one = happening.about, happening.person
    if not isinstance(wrong, Mistake) or wrong.said.back or not one.alive or not _speaks(here, one, wrong):
        return
    house = {**wrong.record["new_address"], "housenumber": str(here.chance.randrange(1, 120))}
    record, said = {**wrong.record, "new_address": house}, wrong.said
    accepted = await here.home.desk.declare(PORTAL, MOVE, record, corrects=said.id)
    here.remember(accepted, MOVE, one, said.places, by_citizen=True, corrects=said)
    here.counts["corrected"] += 1


def _speaks(here: Ground, one: Person, wrong: Mistake) -> bool:
    """Whether whoever declared it still may."""
    capacity = wrong.record["capacity"]
    if capacity == "guardian":
        return here.promises.guardian(one.number, here.clock()) is not None
    return capacity == "self" or not one.adult(here.clock.today)


async def confirm(here: Ground, happening: Happening) -> None:
    """An adult of a household confirms what somebody filled in for them."""
    place, one = happening.about, happening.person
    if not isinstance(place, Place) or not one.alive or place.record["subject"] != one.pivot():
        return
    await here.choose(one, MOVE)
    accepted = await households.confirm_filled(
        here.home, PORTAL, place.household, place.code, event_type=MOVE, record=place.record
    )
    here.remember(accepted, MOVE, one, place.places, by_citizen=True)
    here.counts["confirmed"] += 1


async def contact(here: Ground, happening: Happening) -> None:
    """Another e-mail address."""
    one = happening.person
    await here.say(PORTAL, CONTACT, one, records.contact(one, here.clock.today))


async def account(here: Ground, happening: Happening) -> None:
    """Another bank account; whoever did not open it stops it."""
    one = happening.person
    said = await here.say(PORTAL, ACCOUNT, one, records.account(one, here.clock.today))
    here.may_follow(Happening(Kind.STOP, one, said))


async def birth(here: Ground, happening: Happening) -> None:
    """By the registrar."""
    mother, on = happening.person, here.clock.today
    parents = [mother] if mother.partner is None else [mother, here.country.people[mother.partner]]
    child = here.country.add(on, mother.commune, mother.street, tuple(parents))
    record = records.birth(child, parents, here.act_number(), on)
    said = await here.say(registrar(child.birthplace), BIRTH, child, record, child.commune)
    here.may_follow(Happening(Kind.RECALL, child, said))


async def death(here: Ground, happening: Happening) -> None:
    """By the registrar."""
    one = happening.person
    if not one.alive:
        return
    partner = None if one.partner is None else here.country.people[one.partner]
    record = records.death(one, partner, here.act_number(), here.clock.today)
    said = await here.say(registrar(one.commune), DEATH, one, record, one.commune)
    one.alive = False
    here.country.part(one)
    for number, guardian in list(here.promises.guardians.items()):
        if guardian.number == one.number:
            await _release(here, number, guardian)
    here.may_follow(Happening(Kind.RECALL, one, said))
    here.may_follow(Happening(Kind.AGAIN, one, said))


async def again(here: Ground, happening: Happening) -> None:
    """The town where somebody died and the town where they lived both say so, and not of the same day: each is told as
    it was said, and whoever hears it has two acts to compare. One may be recalled, and the other stands.
    """
    one, first = happening.person, happening.about
    if one.alive or not isinstance(first, Said) or first.back:
        return
    town = here.country.somewhere()
    record = records.death(one, None, here.act_number(), here.clock.today)
    said = await here.say(registrar(town), DEATH, one, record, one.commune)
    here.may_follow(Happening(Kind.RECALL, one, said))
    here.counts["said twice"] += 1


async def ward(here: Ground, happening: Happening) -> None:
    """A judge has named somebody who acts for them; half of the judgments say until when."""
    one, other, at = happening.person, happening.about, here.clock()
    if not isinstance(other, Person) or one.number in here.promises.guardians:
        return
    ends_at = Instant(at + here.chance.randrange(10, 200) * DAY_MS) if here.chance.random() < 0.5 else None
    done = await representations.start(
        here.home,
        representative=other.pivot(),
        subject=one.pivot(),
        measure="guardianship",
        proof=f"TJ Rennes, {here.act_number()}",
        ends_at=ends_at,
    )
    record = done.representation
    here.promises.guardians[one.number] = Guardian(other.number, record.id, record.voice, other.pivot(), ends_at)
    here.counts["guardians"] += 1
    here.may_follow(Happening(Kind.RELEASE, one, here.promises.guardians[one.number]))


async def release(here: Ground, happening: Happening) -> None:
    """The judge lifts it: what was allowed in their stead ends, unless they have had a word since."""
    guardian = happening.about
    if isinstance(guardian, Guardian):
        await _release(here, happening.person.number, guardian)


async def _release(here: Ground, number: int, guardian: Guardian) -> None:
    if here.promises.guardian(number, here.clock()) == guardian:
        await representations.end(here.home, guardian.of)
        here.promises.released(number)
        here.counts["released"] += 1


async def union(here: Ground, happening: Happening) -> None:
    """By the registrar, for each of the two."""
    one, other, on = happening.person, happening.about, here.clock.today
    if not isinstance(other, Person):
        return
    here.country.pair(one, other)
    number = here.act_number()
    for each, partner in ((one, other), (other, one)):
        record = records.union(each, partner, number, on)
        await here.say(registrar(one.commune), UNION, each, record, one.commune)


async def parting(here: Ground, happening: Happening) -> None:
    """Nobody is told; what they say afterwards is said apart."""
    here.country.part(happening.person)


async def name(here: Ground, happening: Happening) -> None:
    """The registrar's word joins the two names, or asks two operators to."""
    one, on = happening.person, here.clock.today
    if one.number in here.promises.shelters:
        return
    town, before = registrar(one.commune), one.pivot()
    here.pivots[one.number, one.name] = before
    family = one.family_name
    here.country.renamed(one, here.country.family_name())
    new, one.family_name, one.name = one.family_name, family, one.name - 1
    record = records.name(before, new, here.act_number(), one.commune, on)
    said = await here.say(town, NAME, one, record, one.commune)
    one.family_name, one.name = new, one.name + 1
    link = await identities.follow(here.home, town, NAME, record, said.id)
    if link is not None and link.acts_from is not None:
        here.promises.links[one.number, one.name] = link.acts_from
    elif link is not None:
        here.may_follow(Happening(Kind.LINK, one, link))
    here.counts["renamed"] += 1


async def link(here: Ground, happening: Happening) -> None:
    """Two operators have seen the act."""
    if isinstance(happening.about, Link):
        link = await identities.confirm(here.home, happening.about.id)
        if link.acts_from is not None:
            here.promises.links[happening.person.number, happening.person.name] = link.acts_from
            here.counts["linked"] += 1


def _relation(one: Person, other: Person) -> str:
    if other.number == one.partner:
        return "partner"
    return "child"

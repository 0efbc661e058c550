"""Deciding: people end, pause and narrow what they have allowed, object, take back, repair; and flee.

Refuses: what the broker refuses passes through; whoever runs the country knows what may be.
Keeps: the promises change once the broker has acknowledged, and not before.
"""

from broker.consents.protecting import Wanted
from broker.lab.simulation.cast import BY_PARTY, DEATH, NUMBER
from broker.lab.simulation.declaring import go
from broker.lab.simulation.ground import VOICE, Ground
from broker.lab.simulation.life import Happening, Kind
from broker.lab.simulation.promises import Law, Said, Standing, Word
from broker.services import protecting, repairing, retractions, rules


async def revoke(here: Ground, happening: Happening) -> None:
    """A consent ends."""
    word = _word(happening)
    await here.home.consents.revoke(word.grant, VOICE)
    word.standing = Standing.OVER
    here.counts["revoked"] += 1


async def pause(here: Ground, happening: Happening) -> None:
    """A consent rests for a while."""
    word = _word(happening)
    if word.standing is Standing.ACTIVE:
        await here.home.consents.pause(word.grant, VOICE)
        word.standing, word.by = Standing.PAUSED, None
        here.may_follow(Happening(Kind.RESUME, happening.person, word))


async def resume(here: Ground, happening: Happening) -> None:
    """It goes on."""
    word = _word(happening)
    if word.standing is Standing.PAUSED:
        await here.home.consents.resume(word.grant, VOICE)
        word.standing, word.by = Standing.ACTIVE, None


async def narrow(here: Ground, happening: Happening) -> None:
    """One field fewer."""
    word = _word(happening)
    less = word.fields - {here.chance.choice(sorted(word.fields))}
    if less:
        await here.home.consents.narrow(word.grant, frozenset(less), VOICE)
        word.fields, word.by = less, None


async def object_to(here: Ground, happening: Happening) -> None:
    """To a rule that lets them."""
    law, one = happening.about, happening.person
    if isinstance(law, Law):
        subject = await here.subject(one)
        await rules.object_to(here.home, subject, law.rule, reason="personal-situation", given_by="self")
        law.objects.add((one.number, one.name))
        here.counts["objections"] += 1
        here.may_follow(Happening(Kind.UNOBJECT, one, law))


async def withdraw_objection(here: Ground, happening: Happening) -> None:
    """The rule counts again, for what comes."""
    law, one = happening.about, happening.person
    if isinstance(law, Law):
        (name,) = [name for person, name in law.objects if person == one.number]
        subject = await here.subject(one, name)
        await rules.withdraw_objection(here.home, subject, law.rule, given_by="self")
        law.objects.discard((one.number, name))
        law.again[one.number] = here.clock()


async def cancel(here: Ground, happening: Happening) -> None:
    """They take back what they said."""
    said = _said(happening)
    await retractions.cancel(here.home, said.id, reason="changed-mind")
    here.promises.take_back(said)
    here.counts["cancelled"] += 1


async def recall(here: Ground, happening: Happening) -> None:
    """Its source was mistaken."""
    said = _said(happening)
    await retractions.recall(here.home, said.id, reason="wrong-person")
    here.promises.take_back(said)
    here.counts["recalled"] += 1
    if said.event_type == DEATH and not _dead(here, said.person):  # somebody else had died
        happening.person.alive = True


async def stop(here: Ground, happening: Happening) -> None:
    """It was not them: nobody gets it."""
    said = _said(happening)
    subject = await here.subject(happening.person, said.name)
    await here.home.router.route()
    await retractions.stop(here.home, subject, said.id, given_by="self")
    said.stopped = True
    here.counts["stopped"] += 1


async def repair(here: Ground, happening: Happening) -> None:
    """They add their number where they were not found."""
    said, party, one = _said(happening), happening.to, happening.person
    if party is None or said.back:
        return
    number = f"{one.number:07d}"
    person = here.pivots.get((one.number, said.name), one.pivot())
    asked = repairing.Repair(said.id, party, person, "numéro d'allocataire", number)
    done = await repairing.repair(here.home, asked, VOICE)
    wish = BY_PARTY[party].wish(NUMBER)
    fields, at = set(wish.fields if wish else ()), here.clock()
    here.promises.tell(Said(done.reference, None, one.number, said.name, NUMBER, at, frozenset(), True))
    here.promises.give(Word(done.grant, one.number, said.name, party, NUMBER, fields, at, once=done.reference))
    here.counts["repaired"] += 1


async def flee(here: Ground, happening: Happening) -> None:
    """Somebody in danger leaves with their children, is protected from where they were, and moves."""
    one, on = happening.person, here.clock.today
    if one.number in here.promises.shelters.keys() | here.promises.guardians.keys() or one.name:
        return
    left, partner = one.commune, None if one.partner is None else here.country.people[one.partner]
    children = [each for each in here.country.household(one) if not each.adult(on) and each.number in one.children]
    near = [] if partner is None or not partner.alive else [partner]
    await protecting.add(
        here.home,
        Wanted(
            subject=await here.subject(one),
            places=frozenset({left}),
            children=frozenset([await here.subject(each) for each in children]),
            housemates=frozenset([await here.subject(each) for each in near]),
        ),
    )
    for each in (one, *children):
        here.promises.shelter(each.number, left, ((mate.number, mate.name) for mate in near))
        for word in here.promises.living(each.number):
            word.standing = Standing.OVER if BY_PARTY[word.office].commune == left else word.standing
    here.counts["protected"] += 1
    here.country.part(one)
    await go(here, one, children)
    here.may_follow(Happening(Kind.LIFT, one))


async def lift(here: Ground, happening: Happening) -> None:
    """The person comes back and asks for the end."""
    one = happening.person
    lifted = await protecting.lift(here.home, await here.subject(one), given_by="self")
    for number in (one.number, *one.children):
        if number in here.promises.shelters:
            here.promises.shelters[number].until = lifted.lifts_at


def _dead(here: Ground, person: int) -> bool:
    """Whether a registrar's word that they are dead still stands."""
    said = here.promises.said.values()
    return any((one.event_type, one.person, one.back) == (DEATH, person, False) for one in said)


def _word(happening: Happening) -> Word:
    if not isinstance(happening.about, Word):
        raise TypeError("about no word")
    return happening.about


def _said(happening: Happening) -> Said:
    if not isinstance(happening.about, Said):
        raise TypeError("about nothing said")
    return happening.about

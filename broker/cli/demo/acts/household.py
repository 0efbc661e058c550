"""Household: four people move, one fills in the form, the other adult confirms; each declaration is its person's own.

Refuses: nothing.
Keeps: what one partner may see of the other is asked of the very function that answers citizens.
"""

from broker.cli.demo import cast
from broker.cli.demo.stage import Stage
from broker.flow.arrived import Accepted
from broker.services import declarations, households, representations
from broker.services.households import Filled, Opened
from consent.representation import Known
from schemas.errors import Refused
from schemas.names import DeclarationId, SubjectRef


async def move_together(stage: Stage) -> None:
    """One form about four people: three declarations at once, the fourth when its person confirms."""
    home = stage.home
    mother, father, *children = cast.HOUSEHOLD
    refusal = await _without_a_record(stage)
    for child in children:
        await representations.start(
            home, representative=mother, subject=child, measure="parental_authority", proof="Livret de famille, Rennes"
        )
    filled = [Filled(cast.their_move(mother)), Filled({"subject": father}, waits=True)]
    filled += [Filled(cast.their_move(child, parent=mother)) for child in children]
    form = await households.fill_in(home, cast.PORTAL, cast.ADDRESS, filled)
    await home.router.route()
    at_once = (len(form.accepted), [one.number for one in form.codes])
    stage.claim("household.together", held=at_once == (3, [1]), count=len(form.accepted))
    stage.claim("household.record", held=refusal == "representations.none", evidence=refusal)
    acted = [await representations.acted_for(home, one.declaration_id) for one in form.accepted]
    known = [None if one is None else one.known for one in acted]
    stage.claim("household.parent", held=known == [None, Known.RECORD, Known.RECORD])

    his = await _confirm(stage, form)
    await home.router.route()
    await stage.deliver()
    told = {one.declaration_id for one in (*form.accepted, his)}
    stage.claim("household.confirmed", held=len(told) == len(cast.HOUSEHOLD), count=len(told))
    again = await _use_again(stage, form)
    stage.claim("household.once", held=again == "households.decided", evidence=again)
    she, he = [await home.desk.subject({"subject": one}) for one in (mother, father)]
    own = [await _sees(stage, she, form.accepted[0].declaration_id), await _sees(stage, he, his.declaration_id)]
    other = [await _sees(stage, she, his.declaration_id), await _sees(stage, he, form.accepted[0].declaration_id)]
    stage.claim("household.apart", held=own == [True, True] and other == [False, False], evidence="tracking.unknown")


async def _without_a_record(stage: Stage) -> str:
    """Somebody declares for a child before anything says that they may. Returns the code of the refusal."""
    mother, _, child, _ = cast.HOUSEHOLD
    try:
        await stage.home.desk.declare(cast.PORTAL, cast.ADDRESS, cast.their_move(child, parent=mother))
    except Refused as fault:
        return fault.code
    return ""


async def _confirm(stage: Stage, form: Opened) -> Accepted:
    father = cast.their_move(cast.HOUSEHOLD[1])
    code = form.codes[0].code
    return await households.confirm_filled(
        stage.home, cast.PORTAL, form.household, code, event_type=cast.ADDRESS, record=father
    )


async def _use_again(stage: Stage, form: Opened) -> str:
    """The code of a confirmation, for another declaration. Returns the code of the refusal."""
    try:
        await _confirm(stage, form)
    except Refused as fault:
        return fault.code
    return ""


async def _sees(stage: Stage, who: SubjectRef, declared: DeclarationId) -> bool:
    """Whether somebody finds this declaration in their own account."""
    try:
        await declarations.track(stage.home, declared, whose=who)
    except Refused:
        return False
    return True

"""One form about a household: the declarant's and the children's go together or not at all, other adults confirm."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from broker.consents.protecting import Wanted
from broker.flow.arrived import Accepted
from broker.flow.households import DAYS, MOST, Awaited, Declared, Member, Opened
from broker.flow.tracking import Progress
from broker.store.tables import households as table
from broker.store.tables import submissions
from consent.representation import Measure
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import DeclarationId, Instant
from tests.unit.broker.families import LOU, TIM, acts
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, PORTAL, RENNES, YANN, World

pytestmark = pytest.mark.asyncio


async def declared(here: World, person: dict[str, Any], **told: Any) -> Declared:
    """Somebody's move, signed."""
    return Declared(await here.home.desk.envelope(PORTAL, MOVED, here.moved(person, **told)))


async def minor(here: World, child: dict[str, Any], parent: dict[str, Any] = ELISE) -> Declared:
    """A child's move, by a parent."""
    return await declared(here, child, declarant=parent, capacity="parent")


async def awaited(here: World, person: dict[str, Any] = YANN) -> Awaited:
    """An adult who has to confirm."""
    return Awaited((await here.home.desk.token(PORTAL, {"subject": person}))[0])


async def family(here: World) -> list[Member]:
    """Élise, her partner Yann, who has to confirm, and their two children."""
    for child in (LOU, TIM):
        await acts(here, Measure.PARENTAL_AUTHORITY, subject=child)
    return [await declared(here, ELISE), await awaited(here), await minor(here, LOU), await minor(here, TIM)]


async def opened(here: World) -> Opened:
    """Their form, handed in."""
    return await here.home.households.open(PORTAL, await family(here))


async def confirm(here: World, form: Opened, person: dict[str, Any] = YANN, code: str | None = None) -> Accepted:
    """Somebody confirms."""
    envelope = (await declared(here, person)).envelope
    return await here.home.households.confirm(PORTAL, form.household, code or form.codes[0].code, envelope)


async def kept(here: World) -> int:
    """How many declarations were taken in."""
    async with here.home.store.read() as tx:
        return len((await tx.execute(select(submissions))).all())


async def refusal(here: World, members: list[Member]) -> tuple[str, str]:
    """Code and pointer; and nothing of the form is kept."""
    with pytest.raises(Refused) as fault:
        await here.home.households.open(PORTAL, members)
    assert 0 == await kept(here)
    return fault.value.code, fault.value.pointer


async def test_a_household_of_four_is_four_declarations_and_one_of_them_waits_for_its_person(here: World) -> None:
    for person in (ELISE, YANN):
        await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"), person=person)
    form = await opened(here)
    await here.home.router.route()
    assert (3, 3) == (len(form.accepted), await kept(here))
    assert [1] == [one.number for one in form.codes]
    assert 1 == len(await here.take(CAF))

    mine = await confirm(here, form)
    await here.home.router.route()

    assert 4 == await kept(here)
    track = await here.home.tracking.track(mine.declaration_id, here.subject(YANN))
    assert Progress.SENT in {one.progress for one in track.steps}
    with pytest.raises(Refused, match=r"tracking.unknown"):
        await here.home.tracking.track(mine.declaration_id, here.subject(ELISE))
    with pytest.raises(Refused, match=r"tracking.unknown"):
        await here.home.tracking.track(form.accepted[0].declaration_id, here.subject(YANN))
    assert 2 == len(await here.entries(FactKind.ACTED_FOR))
    await here.step()


@pytest.mark.parametrize("who", ["declarant", "adult"])
async def test_who_stood_in_one_form_with_a_protected_person_names_nobody_any_more(here: World, who: str) -> None:
    """Nobody had to name the housemate: the form about the household did."""
    await opened(here)
    await here.home.router.route()
    protected, other = (ELISE, YANN) if who == "declarant" else (YANN, ELISE)
    await here.give(CAF, MOVED, FAMILY, ("subject", "new_address", "household"), person=other)

    await here.home.protecting.protect(Wanted(subject=here.subject(protected), places=frozenset({"44109"})))
    await here.declare(MOVED, here.moved(other, household=[{"identity": protected, "relation": "partner"}]))

    (delivery,) = await here.take(CAF)
    assert {"subject", "new_address"} == set(delivery.disclosed)
    await here.step()


async def test_a_form_that_is_sent_again_gets_the_same_receipts_and_the_same_codes(here: World) -> None:
    members = await family(here)
    first = await here.home.households.open(PORTAL, members)
    second = await here.home.households.open(PORTAL, members)

    assert first.codes == second.codes
    assert [one.receipt for one in first.accepted] == [one.receipt for one in second.accepted]
    assert 3 == await kept(here)


async def test_a_confirmation_that_is_sent_again_gets_the_same_receipt_and_another_one_none(here: World) -> None:
    form = await opened(here)
    envelope = (await declared(here, YANN)).envelope
    code = form.codes[0].code
    first = await here.home.households.confirm(PORTAL, form.household, code, envelope)
    here.clock.pass_((DAYS + 1) * DAY)
    second = await here.home.households.confirm(PORTAL, form.household, code, envelope)

    assert first.receipt == second.receipt
    with pytest.raises(Refused) as fault:
        await confirm(here, form)
    assert ("households.decided", "/code") == (fault.value.code, fault.value.pointer)
    assert 4 == await kept(here)
    await here.step()


async def test_who_refuses_sends_nothing_and_cannot_confirm_any_more(here: World) -> None:
    form = await opened(here)
    for _ in range(2):
        await here.home.households.refuse(PORTAL, form.household, form.codes[0].code)

    with pytest.raises(Refused, match=r"households.decided"):
        await confirm(here, form)
    assert 3 == await kept(here)
    await here.step()


async def test_who_has_confirmed_cannot_refuse_any_more(here: World) -> None:
    form = await opened(here)
    await confirm(here, form)

    with pytest.raises(Refused, match=r"households.decided"):
        await here.home.households.refuse(PORTAL, form.household, form.codes[0].code)


async def test_after_two_weeks_nobody_confirms_or_refuses(here: World) -> None:
    form = await opened(here)
    here.clock.pass_(DAYS * DAY - 1)
    with pytest.raises(Refused, match=r"households.unknown"):
        await confirm(here, form, code="AAAABBBBCCCCDDDD")
    here.clock.pass_(1)

    for act in (confirm(here, form), here.home.households.refuse(PORTAL, form.household, form.codes[0].code)):
        with pytest.raises(Refused) as fault:
            await act
        assert ("households.expired", "/code") == (fault.value.code, fault.value.pointer)
    assert 3 == await kept(here)


async def test_a_code_is_as_unknown_as_one_that_never_was_to_everybody_else(here: World) -> None:
    form = await opened(here)
    code, envelope = form.codes[0].code, (await declared(here, YANN)).envelope
    homes = here.home.households

    for act in (
        confirm(here, form, LOU),  # another person's declaration
        confirm(here, form, code="AAAABBBBCCCCDDDD"),
        homes.confirm(PORTAL, DeclarationId(bytes(16)), code, envelope),
        homes.refuse(RENNES, form.household, code),
        homes.refuse(PORTAL, DeclarationId(bytes(16)), code),
    ):
        with pytest.raises(Refused) as fault:
            await act
        assert ("households.unknown", "") == (fault.value.code, fault.value.pointer)
    assert 3 == await kept(here)
    await confirm(here, form)


async def test_a_code_counts_as_people_type_it(here: World) -> None:
    form = await opened(here)
    code = form.codes[0].code.lower()

    await confirm(here, form, code=f" {code[:4]}-{code[4:8]} {code[8:]}")


async def test_what_makes_no_household_is_refused_at_its_place_and_nothing_of_it_is_kept(here: World) -> None:
    for child in (LOU, TIM):
        await acts(here, Measure.PARENTAL_AUTHORITY, subject=child)
    elise, lou = await declared(here, ELISE), await minor(here, LOU)

    assert ("households.nobody", "/members") == await refusal(here, [])
    assert ("households.too-many", "/members") == await refusal(here, [elise] * (MOST + 1))
    assert ("households.declarant", "/members/0") == await refusal(here, [await awaited(here)])
    assert ("households.declarant", "/members/0/declaration") == await refusal(here, [lou, elise])
    assert ("households.not-confirmed", "/members/1/declaration") == await refusal(
        here, [elise, await declared(here, YANN)]
    )
    assert ("households.twice", "/members/2") == await refusal(here, [elise, lou, await minor(here, LOU)])
    assert ("households.twice", "/members/1") == await refusal(here, [elise, await awaited(here, ELISE)])
    assert ("households.twice", "/members/2") == await refusal(here, [elise, lou, await awaited(here, LOU)])
    await acts(here, Measure.PARENTAL_AUTHORITY, by=YANN, subject=TIM)
    assert ("households.not-represented", "/members/1/declaration") == await refusal(
        here, [elise, await minor(here, TIM, YANN)]
    )
    assert ("identity.token-forged", "/members/1/subject_token") == await refusal(here, [elise, Awaited(bytes(80))])
    await here.step()


async def test_one_child_whom_the_declarant_may_not_declare_keeps_the_whole_form_out(here: World) -> None:
    await acts(here, Measure.PARENTAL_AUTHORITY, subject=LOU)
    form: list[Member] = [await declared(here, ELISE), await minor(here, LOU), await minor(here, TIM)]

    code, pointer = await refusal(here, form)

    assert ("representations.none", "/members/2/declaration/slip/subject_token") == (code, pointer)
    assert 1 == len(await here.entries(FactKind.REFUSED))
    assert [] == await here.entries(FactKind.ACTED_FOR)
    await here.step()


async def test_a_child_who_came_of_age_confirms_as_an_adult(here: World) -> None:
    grown = LOU | {"birthdate": "2008-11-24"}
    with pytest.raises(Refused) as fault:
        await minor(here, grown)
    assert ("representations.of-age", "/capacity") == (fault.value.code, fault.value.pointer)

    form = await here.home.households.open(PORTAL, [await declared(here, ELISE), await awaited(here, grown)])
    await confirm(here, form, grown)


async def test_an_insider_who_puts_a_place_back_lets_nobody_confirm_twice(here: World) -> None:
    form = await opened(here)
    async with here.home.store.read() as tx:
        before = dict((await tx.execute(select(table))).one()._mapping)
    await confirm(here, form)
    async with here.home.store.begin() as tx:
        await tx.execute(update(table).values(before))

    with pytest.raises(Refused, match=r"households.decided"):
        await confirm(here, form)
    assert {"endings.behind"} == {one.check for one in await here.home.fsck.check()}
    await here.home.completion.finish(all_of_it=True)
    await here.step()


async def test_an_insider_who_gives_a_place_more_time_gains_none(here: World) -> None:
    form = await opened(here)
    async with here.home.store.begin() as tx:
        before = dict((await tx.execute(select(table))).one()._mapping)
        await tx.execute(update(table).values(expires_at=Instant(2**50)))

    with pytest.raises(Refused, match=r"households.unknown"):
        await confirm(here, form)
    assert {"households.mac"} == {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:
        await tx.execute(update(table).values(before))


async def test_a_place_is_forgotten_once_it_is_over(here: World) -> None:
    await opened(here)
    here.clock.pass_(3 * 366 * DAY)

    assert 1 == (await here.home.pruning.prune()).rows["households"]


async def test_a_form_that_a_log_that_is_away_interrupts_is_whole_when_it_is_sent_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = await family(here)

    async def away(*_: Any) -> Any:
        raise Unavailable("store.away")

    with monkeypatch.context() as broken:
        broken.setattr(here.home.log, "append_all", away)
        with pytest.raises(Unavailable):
            await here.home.households.open(PORTAL, members)
    form = await here.home.households.open(PORTAL, members)
    await here.home.router.route()

    assert 3 == len(await here.entries(FactKind.RECEIVED))
    await confirm(here, form)
    await here.home.router.route()
    assert 4 == len(await here.entries(FactKind.RECEIVED))
    await here.step()


async def test_two_who_decide_at_once_decide_once(here: World) -> None:
    form = await opened(here)
    code = form.codes[0].code

    async def refuse() -> None:
        await here.home.households.refuse(PORTAL, form.household, code)

    outcomes = await asyncio.gather(confirm(here, form), refuse(), confirm(here, form), return_exceptions=True)

    done = [one for one in outcomes if not isinstance(one, BaseException)]
    assert 1 == len(done)
    assert {"households.decided"} == {one.code for one in outcomes if isinstance(one, Refused)}
    assert await kept(here) in {3, 4}
    await here.step()

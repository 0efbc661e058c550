"""A citizen's own declarations: how far they got, taking them back, putting them right; nothing of another's."""

from pathlib import Path
from typing import Any

import pytest

from broker.consents.protecting import Wanted
from broker.services.citizens import following, forms
from broker.services.repairing import TYPE
from connectors.contract import Answered
from schemas.assurance import Assurance, Provenance, Quality
from schemas.errors import Refused
from schemas.names import Channel, DeclarationId, Instant, Reason, from_rfc3339
from tests.unit.broker.citizens.people import citizen, form_of, move
from tests.world import BANK, CAF, CPAM, DAY, ELISE, FAMILY, MOVED, PORTAL, YANN, World, world

pytestmark = pytest.mark.asyncio
FIELDS = ("subject", "new_address")


async def declared(here: World, person: dict[str, Any] = ELISE, *, route: bool = True) -> DeclarationId:
    """Somebody's move, declared by them."""
    of = forms.begin(here.home)
    await forms.declare(here.home, citizen(here, person), move(here), of)
    if route:
        await here.home.router.route()
    return of


async def refusal(work: Any) -> tuple[str, str]:
    """Code and pointer of what it is refused with."""
    with pytest.raises(Refused) as fault:
        await work
    return fault.value.code, fault.value.pointer


async def test_each_administration_has_its_line_in_hubees_words_and_says_for_whom_it_waits(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    of = await declared(here)

    told = await following.track(here.home, citizen(here), of)
    lines = {one["recipient"]["party"]: one for one in told["steps"]}

    caf, cpam = lines[CAF], lines[CPAM]
    assert ("sent", "Transmise", "administration") == (caf["progress"], caf["word"]["fr"], caf["awaited"])
    assert ("consent", None) == (caf["basis"], caf["article"])
    assert ["subject", "new_address"] == [one["name"] for one in caf["fields"]]
    assert ("withheld", "no-grant", "nobody") == (cpam["progress"], cpam["reason"], cpam["awaited"])
    assert cpam["why"]["fr"]
    assert 1 == told["progress"]["sent"]
    await here.take(CAF)
    assert (
        "Traitée"
        == {one["recipient"]["party"]: one for one in (await following.track(here.home, citizen(here), of))["steps"]}[
            CAF
        ]["word"]["fr"]
    )


async def test_what_is_not_routed_yet_is_there_without_steps(here: World) -> None:
    of = await declared(here, route=False)

    told = await following.track(here.home, citizen(here), of)

    assert (None, [], MOVED) == (told["routed_at"], told["steps"], told["event_type"])


async def test_the_list_comes_in_pages_the_newest_first_and_ends(here: World) -> None:
    made = []
    for _ in range(5):
        made.append(await declared(here))
        here.clock.pass_(1_000)
    await declared(here, YANN)
    me, found, after = citizen(here), [], None
    for _ in range(3):
        page = await following.mine(here.home, me, after=after, limit=2)
        found += [DeclarationId.parse(one["declaration"]) for one in page["declarations"]]
        after = None if page["next"] is None else DeclarationId.parse(page["next"])

    assert after is None
    assert made[::-1] == found


async def test_those_of_one_instant_are_all_in_the_list(here: World) -> None:
    made = {await declared(here) for _ in range(3)}
    first = await following.mine(here.home, citizen(here), limit=2)
    rest = await following.mine(here.home, citizen(here), after=DeclarationId.parse(first["next"]), limit=2)

    told = [DeclarationId.parse(one["declaration"]) for page in (first, rest) for one in page["declarations"]]
    assert (3, made) == (len(told), set(told))


async def test_another_persons_declaration_is_as_unknown_as_one_that_never_was(here: World) -> None:
    of, never = await declared(here), DeclarationId(bytes(16))
    yann = citizen(here, YANN)
    for one in (of, never):
        for work in (
            following.track(here.home, yann, one),
            following.mine(here.home, yann, after=one),
            following.cancel(here.home, yann, one, "mistake"),
            following.acknowledgement(here.home, yann, one),
            forms.correct(here.home, yann, one, move(here), forms.begin(here.home)),
            following.explain_repair(here.home, yann, one, CAF, number_kind="allocataire", number="1234567"),
        ):
            assert "tracking.unknown" == (await refusal(work))[0]
        assert "holds.unknown" == (await refusal(following.stop(here.home, yann, one)))[0]
    assert not (await following.track(here.home, citizen(here), of))["taken_back"]


async def test_taken_back_nobody_gets_it_and_who_had_it_is_told_and_again_changes_nothing(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    of, me = await declared(here), citizen(here)

    first = await following.cancel(here.home, me, of, "mistake")
    again = await following.cancel(here.home, me, of, "mistake")

    assert (True, True) == (first["stands"], again["repeated"])
    assert [] == await here.take(CAF)
    told = await following.track(here.home, me, of)
    assert ("cancelled", True) == (told["taken_back"]["kind"], told["taken_back"]["stands"])
    assert {"withheld"} == {one["progress"] for one in told["steps"]}
    await here.step()


async def test_a_reason_that_is_none_is_refused(here: World) -> None:
    of = await declared(here)

    assert ("citizens.reason", "/reason") == await refusal(following.cancel(here.home, citizen(here), of, "because"))


async def test_what_a_register_has_stated_is_not_the_citizens_to_take_back_or_to_put_right(here: World) -> None:
    sure = Provenance(Assurance.HIGH, Quality.AUTHENTIC, Channel.SYSTEM)
    accepted = await here.home.desk.declare(PORTAL, MOVED, here.moved(), provenance=sure)
    await here.home.router.route()
    of, me = accepted.declaration_id, citizen(here)

    for work in (
        following.cancel(here.home, me, of, "mistake"),
        forms.correct(here.home, me, of, move(here), forms.begin(here.home)),
    ):
        assert ("citizens.not-own-word", "/declaration") == await refusal(work)


async def test_a_correction_reaches_who_had_the_first_version(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    of, me = await declared(here), citizen(here)
    await here.take(CAF)
    better, mine = move(here, occupants=2), forms.begin(here.home)

    first = await forms.correct(here.home, me, of, better, mine)
    again = await forms.correct(here.home, me, of, better, mine)
    await here.home.router.route()

    assert (False, True) == (first["repeated"], again["repeated"])
    (delivery,) = await here.take(CAF)
    assert of == delivery.corrects
    told = await following.track(here.home, me, mine)
    assert of == DeclarationId.parse(told["corrects"])
    await following.cancel(here.home, me, mine, "mistake")
    for one in (of, mine):
        assert (await following.track(here.home, me, one))["taken_back"]["stands"]
    await here.step()


async def test_a_correction_of_another_type_is_refused(here: World) -> None:
    of = await declared(here)

    found = await refusal(
        forms.correct(here.home, citizen(here), of, form_of(BANK, here.bank()), forms.begin(here.home))
    )

    assert "intake.unknown-original" == found[0]


async def test_what_is_held_is_shown_and_its_citizen_stops_it(tmp_path: Path, home_settings: dict[str, Any]) -> None:
    async with world(tmp_path, **{**home_settings, "bank_hold_hours": 72}) as here:
        me, of = citizen(here), forms.begin(here.home)
        await forms.declare(here.home, me, form_of(BANK, here.bank()), of)
        await here.home.router.route()
        (waits,) = await following.held(here.home, me)
        assert (of, False) == (DeclarationId.parse(waits["declaration"]), waits["stopped"])

        first, again = await following.stop(here.home, me, of), await following.stop(here.home, me, of)

        assert first == again
        assert ("stopped", True) == (first["kind"], first["stands"])
        assert [] == await following.held(here.home, citizen(here, YANN))
        await here.step()


async def test_the_acknowledgement_is_the_citizens_own(here: World) -> None:
    of = await declared(here)

    told = await following.acknowledgement(here.home, citizen(here), of)

    assert (of, "none") == (DeclarationId.parse(told["number"]), told["values"])


async def test_a_protected_person_reads_that_nothing_went_there(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    await here.home.protecting.protect(Wanted(subject=here.subject(), places=frozenset(), parties=frozenset({CAF})))
    of = await declared(here)

    lines = {
        one["recipient"]["party"]: one["progress"]
        for one in (await following.track(here.home, citizen(here), of))["steps"]
    }

    assert "withheld" == lines[CAF]


async def unknown(here: World) -> DeclarationId:
    """The family office has not found her, and may hear of her number."""
    async with here.home.store.begin() as tx:
        await here.home.registrar.allow_publishing(tx, PORTAL, TYPE, here.clock())
    await here.subscribe(CAF, TYPE, FAMILY, ("subject", "number_kind", "number", "repairs"))
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    of = await declared(here)
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    await here.inbox(CAF).acknowledge(locked.delivery_id, Answered(Reason.UNKNOWN_PERSON))
    return of


async def at_caf(here: World, of: DeclarationId) -> dict[str, Any]:
    """How far it is there."""
    steps = (await following.track(here.home, citizen(here), of))["steps"]
    found: dict[str, Any] = next(one for one in steps if one["recipient"]["party"] == CAF)
    return found


async def test_who_was_not_found_reads_what_they_agree_to_and_adds_their_number(here: World) -> None:
    of, me = await unknown(here), citizen(here)
    line = await at_caf(here, of)
    assert (True, "citizen", "À compléter") == (line["repairable"], line["awaited"], line["word"]["fr"])
    number = {"number_kind": "numéro allocataire", "number": "7654321"}

    shown = await following.explain_repair(here.home, me, of, CAF, **number)
    here.clock.pass_(61_000)
    until = from_rfc3339(shown["until"]) or here.clock()
    agreed = {**number, "until": until}
    assert ("citizens.other-text", "/text_sha256") == await refusal(
        following.repair(here.home, me, of, CAF, **agreed, text_sha256="00" * 32)
    )
    for late in (here.clock(), Instant(until + 2 * DAY)):
        found = following.repair(here.home, me, of, CAF, **number, until=late, text_sha256=shown["text_sha256"])
        assert ("repair.until", "/until") == await refusal(found)
    done = await following.repair(here.home, me, of, CAF, **agreed, text_sha256=shown["text_sha256"])

    assert (1, 2) == (done["number"], done["left"])
    for _ in range(2):  # handed in, and then on its way
        line = await at_caf(here, of)
        assert (False, True, "administration") == (line["repairable"], line["repairing"], line["awaited"])
        assert not (await following.mine(here.home, me))["declarations"][0]["your_turn"]
        await here.home.router.route()
    (told,) = await here.take(CAF)
    assert "7654321" == told.record["number"]
    await here.home.repairs.step()
    line = await at_caf(here, of)
    assert (False, False, "Transmise") == (line["repairable"], line["repairing"], line["word"]["fr"])
    await here.step()

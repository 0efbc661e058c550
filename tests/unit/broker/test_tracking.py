"""Tracking: every administration that was asked has its line, in the words of a citizen."""

import pytest

from broker.flow.deliveries import DeliveryState
from broker.flow.tracking import PAGE, PROGRESS, Progress, Step, Track
from connectors.contract import Applied, Rejected
from schemas.catalogue import Catalogue
from schemas.errors import Refused
from schemas.names import DeclarationId, Reason
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MINUTE, MOVED, PORTAL, RENNES, VOICE, World

pytestmark = pytest.mark.asyncio

REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)


async def line(here: World, declaration: DeclarationId) -> Step:
    """The line of the one administration that has a grant; one, whatever happened."""
    (mine,) = [step for step in (await here.home.tracking.track(declaration)).steps if step.recipient == CAF]
    return mine


async def given(here: World) -> DeclarationId:
    """A consent and a declaration."""
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "phone"])
    return (await here.declare(MOVED, here.moved())).declaration_id


async def test_a_declaration_that_nobody_made_is_unknown(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.tracking.track(DeclarationId(bytes(16)))

    assert ("tracking.unknown", "/id") == (refused.value.code, refused.value.pointer)


async def test_what_waits_in_the_log_was_received_and_has_no_line_yet(here: World) -> None:
    accepted = await here.declare(MOVED, here.moved(), route=False)

    track = await here.home.tracking.track(accepted.declaration_id)

    waiting = Track(accepted.declaration_id, PORTAL, track.event_type, None, None, here.clock(), None, ())
    assert waiting == track


@pytest.mark.databases
async def test_what_the_router_set_aside_has_the_number_and_code_of_its_letter(here: World) -> None:
    before, catalogue = await here.declare(MOVED, here.moved(), route=False), here.home.router._catalogue
    await here.home.router.route()
    here.home.router._catalogue = Catalogue(())  # a version of before, to which the type is unknown
    stuck = [(await here.declare(MOVED, here.moved())).declaration_id for _ in range(PAGE + 1)]

    found = [await here.home.tracking.parked(one) for one in stuck]
    assert [*range(1, PAGE + 2)] == [one.letter for one in found if one is not None]
    assert {("catalogue.unknown-schema", here.clock())} == {(one.code, one.at) for one in found if one is not None}
    assert None is await here.home.tracking.parked(before.declaration_id)
    assert None is await here.home.tracking.parked(DeclarationId(bytes(16)))

    here.home.router._catalogue = catalogue
    assert None is await here.home.dead_letters.replay(1)
    assert None is await here.home.tracking.parked(stuck[0])
    assert here.clock() == (await here.home.tracking.track(stuck[0])).routed_at
    await here.step()


async def test_a_delivery_goes_from_sent_to_done_and_each_step_has_its_time(here: World) -> None:
    declaration = await given(here)
    seen = [(await line(here, declaration)).progress]
    times = [(await line(here, declaration)).since]
    here.clock.pass_(MINUTE)
    (leased,) = await here.inbox(CAF).lease(1)
    seen.append((await line(here, declaration)).progress)
    times.append((await line(here, declaration)).since)
    here.clock.pass_(MINUTE)
    await here.inbox(CAF).release([leased.id])
    seen.append((await line(here, declaration)).progress)
    times.append((await line(here, declaration)).since)
    here.clock.pass_(MINUTE)
    await here.inbox(CAF).acknowledge_all({leased.id: Applied(None)})
    done = await line(here, declaration)

    assert [Progress.SENT, Progress.RECEIVED, Progress.IN_PROGRESS, Progress.DONE] == [*seen, done.progress]
    assert [MINUTE] * 3 == [after - before for before, after in zip(times, [*times[1:], done.since], strict=True)]
    assert (("subject", "new_address"), None, 1) == (done.fields, done.reason, done.attempts)
    assert leased.id == done.delivery


async def test_a_rejection_shows_its_reason_and_code(here: World) -> None:
    declaration = await given(here)
    (leased,) = await here.inbox(CAF).lease(1)
    await here.inbox(CAF).acknowledge_all({leased.id: REFUSED})

    step = await line(here, declaration)

    assert (Progress.REFUSED, Reason.SYSTEM_REFUSED, "table.refused") == (step.progress, step.reason, step.code)


async def test_those_that_get_nothing_have_their_line_and_their_reason(here: World) -> None:
    declaration = await given(here)

    steps = (await here.home.tracking.track(declaration)).steps

    kept = {step.recipient: (step.progress, step.reason, step.fields) for step in steps if step.recipient != CAF}
    nothing = (Progress.WITHHELD, Reason.NO_GRANT, ())
    assert {CPAM: nothing, RENNES: nothing} == kept


async def test_an_administration_has_one_line_whatever_became_of_its_delivery(here: World) -> None:
    declaration = await given(here)
    (grant,) = await here.home.consents.of(here.subject())
    (leased,) = await here.inbox(CAF).lease(1)
    await here.inbox(CAF).acknowledge_all({leased.id: REFUSED})
    await here.home.consents.pause(grant.id, VOICE)
    (letter,) = await here.home.dead_letters.list()
    await here.home.dead_letters.replay(letter.id)
    assert Reason.PAUSED == (await line(here, declaration)).reason
    await here.home.consents.resume(grant.id, VOICE)
    assert Progress.SENT == (await line(here, declaration)).progress
    await here.home.consents.revoke(grant.id, VOICE)

    assert (Progress.WITHHELD, Reason.REVOKED) == ((step := await line(here, declaration)).progress, step.reason)


async def test_a_correction_names_what_it_corrects(here: World) -> None:
    first = await given(here)
    second = await here.declare(MOVED, here.moved(), corrects=first)

    track = await here.home.tracking.track(second.declaration_id)

    assert (first, MOVED, second.digest) == (track.corrects, track.event_type, track.digest)
    assert track.routed_at is not None


async def test_two_grants_show_as_two_lines_in_order(here: World) -> None:
    await here.give(CPAM, MOVED, HEALTH, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], expires_at=here.clock() + DAY)
    here.clock.pass_(1)
    await here.give(CAF, MOVED, FAMILY, ["new_address"])
    declaration = (await here.declare(MOVED, here.moved())).declaration_id

    steps = (await here.home.tracking.track(declaration)).steps

    assert sorted([CAF, CAF, CPAM, RENNES]) == [step.recipient for step in steps]
    assert [("subject",), ("new_address",)] == [step.fields for step in steps if step.recipient == CAF]


async def test_every_state_of_a_delivery_has_a_word() -> None:
    assert set(DeliveryState) == set(PROGRESS)

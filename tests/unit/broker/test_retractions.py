"""A declaration is taken back: cancelled by its citizen, recalled by its source; and who hears of it."""

from typing import Any

import pytest
from sqlalchemy import update

from broker.access import roles
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.tracking import Progress
from broker.services import retractions
from broker.store.tables import deliveries
from broker.store.tables import retractions as table
from connectors.contract import Applied, Rejected
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.hpke import Suite
from schemas.names import DeclarationId, PartyId, Reason, uuid_text
from schemas.retractions import ARTICLE, CANCELLED, RECALLED
from tests.world import BREST_ADDRESS, CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, PORTAL, VOICE, YANN, World

HOUR = 3_600_000
REGISTER = PartyId("urn:unefois:register")


async def allowed(here: World, recipient: PartyId = CAF) -> None:
    """A consent for moves."""
    purpose = FAMILY if recipient == CAF else HEALTH
    await here.give(recipient, MOVED, purpose, ("subject", "new_address"))


async def outcome(here: World, of: DeclarationId, recipient: PartyId = CAF) -> tuple[Progress, Any]:
    """How far a declaration got with one recipient."""
    track = await here.home.tracking.track(of)
    (step,) = [one for one in track.steps if one.recipient == recipient]
    return step.progress, step.reason


@pytest.mark.asyncio
async def test_who_has_not_pulled_a_cancelled_declaration_never_gets_it(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())

    done = await retractions.cancel(here.home, accepted.declaration_id, reason="changed-mind")

    assert not done.repeated
    assert (Progress.WITHHELD, Reason.CANCELLED) == await outcome(here, accepted.declaration_id)
    await here.home.router.route()
    assert [] == await here.take(CAF)
    await here.step()


@pytest.mark.asyncio
async def test_who_got_it_hears_that_it_was_cancelled_with_its_id_and_a_reason_and_no_value(here: World) -> None:
    await allowed(here)
    await allowed(here, CPAM)
    accepted = await here.declare(MOVED, here.moved())
    (got,) = await here.take(CAF)

    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")
    await here.home.router.route()

    (told,) = await here.take(CAF)
    assert CANCELLED == told.event_type
    assert {"declaration": uuid_text(got.declaration_id), "reason": "mistake"} == told.record
    assert (got.declaration_id, f"law:{ARTICLE}", FAMILY) == (told.corrects, told.basis, told.purpose)
    assert [] == await here.take(CPAM)
    await here.step()


@pytest.mark.asyncio
async def test_who_holds_it_and_has_not_answered_gets_no_keys_any_more_and_may_still_answer(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    pulled = await here.inbox(CAF).pull(1)
    of = pulled.locked[0].delivery_id

    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")

    assert () == (await here.inbox(CAF).release([of])).locked
    await here.inbox(CAF).acknowledge(of, Applied(None))
    await here.home.router.route()
    assert [CANCELLED] == [one.event_type for one in await here.take(CAF)]
    await here.step()


@pytest.mark.asyncio
async def test_what_is_cancelled_before_it_is_routed_goes_to_nobody(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved(), route=False)

    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")
    await here.home.router.route()

    assert (Progress.WITHHELD, Reason.CANCELLED) == await outcome(here, accepted.declaration_id)
    assert [] == await here.take(CAF)
    await here.step()


@pytest.mark.asyncio
async def test_cancelling_twice_changes_nothing(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)

    first = await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")
    await here.home.router.route()
    here.clock.pass_(3 * DAY)
    second = await retractions.cancel(here.home, accepted.declaration_id, reason="other")
    await here.home.router.route()

    assert (first.retraction, True) == (second.retraction, second.repeated)
    assert 1 == len(await here.entries(FactKind.RETRACTED))
    assert 1 == len(await here.take(CAF))
    await here.step()


@pytest.mark.asyncio
async def test_a_declaration_is_cancelled_with_its_corrections_whichever_is_named(here: World) -> None:
    await allowed(here)
    first = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    second = await here.declare(
        MOVED, here.moved(new_address=BREST_ADDRESS, new_commune="29019"), corrects=first.declaration_id
    )

    done = await retractions.cancel(here.home, second.declaration_id, reason="mistake")
    await here.home.router.route()

    assert first.declaration_id == done.retraction.declaration
    assert (Progress.WITHHELD, Reason.CANCELLED) == await outcome(here, second.declaration_id)
    (told,) = await here.take(CAF)
    assert uuid_text(first.declaration_id) == told.record["declaration"]
    with pytest.raises(Refused, match=r"retractions\.taken-back"):
        await here.declare(MOVED, here.moved(), corrects=first.declaration_id)
    await here.step()


@pytest.mark.asyncio
async def test_a_consent_that_goes_on_does_not_bring_a_cancelled_declaration_back(here: World) -> None:
    recorded = await here.give(CAF, MOVED, FAMILY, ("subject",))
    accepted = await here.declare(MOVED, here.moved())
    await here.home.consents.pause(recorded.grant.id, VOICE)
    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")

    await here.home.consents.resume(recorded.grant.id, VOICE)

    assert (Progress.WITHHELD, Reason.CANCELLED) == await outcome(here, accepted.declaration_id)
    assert [] == await here.take(CAF)
    await here.step()


@pytest.mark.asyncio
async def test_a_consent_given_later_does_not_reach_a_cancelled_declaration(here: World) -> None:
    accepted = await here.declare(MOVED, here.moved())
    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")

    await here.give(CAF, MOVED, FAMILY, ("subject",), include_latest=True)

    assert (Progress.WITHHELD, Reason.CANCELLED) == await outcome(here, accepted.declaration_id)
    await here.step()


@pytest.mark.asyncio
async def test_a_dead_letter_of_a_cancelled_declaration_is_not_replayed(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    pulled = await here.inbox(CAF).pull(1)
    await here.inbox(CAF).acknowledge(pulled.locked[0].delivery_id, Rejected("mapping.unknown", Reason.MAPPING))
    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")

    (letter,) = await here.home.dead_letters.list()
    assert Reason.CANCELLED is await here.home.dead_letters.replay(letter.id)

    assert (Progress.WITHHELD, Reason.CANCELLED) == await outcome(here, accepted.declaration_id)
    await here.step()


@pytest.mark.asyncio
async def test_nobody_ends_the_grant_by_which_a_recipient_hears_of_a_recall(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await retractions.recall(here.home, accepted.declaration_id, reason="wrong-person")
    await here.home.router.route()
    (notice,) = [one for one in await here.home.consents.of(here.subject()) if one.event_type == RECALLED]

    with pytest.raises(Refused, match=r"grant\.of-a-notice"):
        await here.home.consents.end_mandate(notice.id, VOICE)
    here.clock.pass_(24 * HOUR)
    assert [RECALLED] == [one.event_type for one in await here.take(CAF)]


@pytest.mark.asyncio
async def test_a_recall_reaches_who_got_it_though_the_consent_has_ended_and_after_a_day(here: World) -> None:
    recorded = await here.give(CAF, MOVED, FAMILY, ("subject",))
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.home.consents.revoke(recorded.grant.id, VOICE)
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, here.subscriptions[CAF, MOVED].id, here.clock())

    await retractions.recall(here.home, accepted.declaration_id, reason="wrong-person")
    await here.home.router.route()

    assert [] == await here.take(CAF)
    here.clock.pass_(24 * HOUR)
    (told,) = await here.take(CAF)
    assert (RECALLED, "wrong_person") == (told.event_type, told.record["reason"])
    assert [] == await here.take(CAF)
    await here.step()


@pytest.mark.asyncio
async def test_a_recall_closes_at_once_what_nobody_has_got_and_its_citizen_lets_it_stand(here: World) -> None:
    await allowed(here)
    await allowed(here, CPAM)
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await retractions.recall(here.home, accepted.declaration_id, reason="fraud")
    await here.home.router.route()
    assert [] == await here.take(CPAM)

    (held,) = await here.home.holds.of(here.subject())
    assert (accepted.declaration_id, PORTAL, False) == (held.recalls, held.source, held.stopped)
    await retractions.stop(here.home, here.subject(), held.declaration, given_by="self")
    here.clock.pass_(2 * DAY)

    assert [] == await here.take(CAF)
    assert [MOVED] == [one.event_type for one in await here.take(CPAM)]
    for by_two in (False, True):
        with pytest.raises(Refused, match=r"retractions\.let-stand") as refused:
            await retractions.recall(here.home, accepted.declaration_id, reason="fraud", for_source=by_two)
        assert "/declaration" == refused.value.pointer
    await here.step()


@pytest.mark.asyncio
async def test_what_its_citizen_has_let_stand_can_still_be_cancelled(here: World) -> None:
    """The remedy that the refusal names: everybody who got it undoes it, at once."""
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    done = await retractions.recall(here.home, accepted.declaration_id, reason="fraud")
    await retractions.stop(here.home, here.subject(), done.retraction.notice, given_by="self")

    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")
    await here.home.router.route()

    assert [CANCELLED] == [one.event_type for one in await here.take(CAF)]
    with pytest.raises(Refused, match=r"retractions\.cancelled"):
        await retractions.recall(here.home, accepted.declaration_id, reason="fraud")
    await here.step()


@pytest.mark.asyncio
async def test_a_recall_that_is_stopped_before_it_is_routed_goes_to_nobody(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    done = await retractions.recall(here.home, accepted.declaration_id, reason="fraud")

    await retractions.stop(here.home, here.subject(), done.retraction.notice, given_by="self")
    await here.home.router.route()
    here.clock.pass_(2 * DAY)

    assert [] == await here.take(CAF)
    await here.step()


@pytest.mark.asyncio
async def test_what_was_recalled_is_not_cancelled_and_the_other_way_round(here: World) -> None:
    first = await here.declare(MOVED, here.moved())
    second = await here.declare(MOVED, here.moved())
    await retractions.recall(here.home, first.declaration_id, reason="fraud")
    await retractions.cancel(here.home, second.declaration_id, reason="mistake")

    with pytest.raises(Refused, match=r"retractions\.recalled"):
        await retractions.cancel(here.home, first.declaration_id, reason="mistake")
    with pytest.raises(Refused, match=r"retractions\.cancelled"):
        await retractions.recall(here.home, second.declaration_id, reason="fraud")
    with pytest.raises(Refused, match=r"retractions\.unknown"):
        await retractions.cancel(here.home, DeclarationId(bytes(16)), reason="mistake")


@pytest.mark.asyncio
async def test_the_broker_recalls_for_a_source_where_operators_have_written_it_down(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    with pytest.raises(Refused, match=r"retractions\.not-approved"):
        await here.home.desk.retract(here.home.party, RECALLED, accepted.declaration_id, here.subject(), "fraud")

    done = await retractions.recall(here.home, accepted.declaration_id, reason="fraud", for_source=True)
    await here.home.router.route()
    here.clock.pass_(24 * HOUR)

    assert here.home.party == done.retraction.given_by
    (told,) = await here.take(CAF)
    assert (RECALLED, here.home.party) == (told.event_type, told.source)
    await here.step()


@pytest.mark.asyncio
async def test_a_stranger_takes_nothing_back_and_learns_nothing(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    await enrolled(here)

    for kind in (CANCELLED, RECALLED):
        with pytest.raises(Refused, match=r"intake\.unknown-original"):
            await here.home.desk.retract(REGISTER, kind, accepted.declaration_id, here.subject(), "other")
        with pytest.raises(Refused, match=r"intake\.unknown-original"):  # about somebody else
            await here.home.desk.retract(PORTAL, kind, accepted.declaration_id, here.subject(YANN), "other")

    assert [MOVED] == [one.event_type for one in await here.take(CAF)]
    assert [] == await here.entries(FactKind.RETRACTED)
    await here.step()


@pytest.mark.asyncio
async def test_a_notice_names_a_declaration_that_is_none_itself(here: World) -> None:
    accepted = await here.declare(MOVED, here.moved())
    done = await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")
    notice = done.retraction.notice
    assert notice is not None
    record = {"declaration": uuid_text(notice), "reason": "mistake"}

    with pytest.raises(Refused, match=r"retractions\.names-nothing at /payload/corrects"):
        await here.home.intake.accept(await here.home.desk.envelope(PORTAL, CANCELLED, record, subject=here.subject()))
    with pytest.raises(Refused, match=r"retractions\.of-a-retraction at /payload/corrects"):
        await here.home.intake.accept(
            await here.home.desk.envelope(PORTAL, CANCELLED, record, subject=here.subject(), corrects=notice)
        )
    with pytest.raises(Refused, match=r"retractions\.of-a-retraction"):
        await retractions.cancel(here.home, notice, reason="mistake")
    with pytest.raises(Refused, match=r"subscribing\.by-itself"):
        await here.subscribe(CAF, RECALLED, FAMILY, ("reason",))


@pytest.mark.asyncio
async def test_whoever_edits_rows_undoes_no_cancellation(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")
    here.clock.pass_(DAY)
    async with here.home.store.begin() as tx:
        back = {"state": "pending", "reason": None, "done_at": None, "lease_until": None, "available_at": 0}
        await tx.execute(update(deliveries).where(deliveries.c.id == leased.id).values(back))
        await tx.execute(table.delete())

    pulled = await here.inbox(CAF).pull(10)

    assert ((), [Reason.CANCELLED]) == (pulled.locked, [one.reason for one in pulled.withheld])
    await here.home.completion.finish(all_of_it=True)
    await here.step()


def test_two_persons_recall_for_a_source_and_one_for_their_own_house() -> None:
    assert roles.needs_two("recall", {"for_source": True})
    assert not roles.needs_two("recall", {"for_source": False})


@pytest.mark.asyncio
async def test_a_dead_notice_is_replayed(here: World) -> None:
    await allowed(here)
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await retractions.cancel(here.home, accepted.declaration_id, reason="mistake")
    await here.home.router.route()
    pulled = await here.inbox(CAF).pull(1)
    await here.inbox(CAF).acknowledge(pulled.locked[0].delivery_id, Rejected("runner.no-undo", Reason.MAPPING))

    (letter,) = await here.home.dead_letters.list()
    assert None is await here.home.dead_letters.replay(letter.id)

    assert [CANCELLED] == [one.event_type for one in await here.take(CAF)]
    await here.step()


async def enrolled(here: World) -> None:
    """Another source, which may declare moves."""
    told = {"address": "1 place Beauvau", "contact": "contact@example.fr", "retention": "un an"}
    party = Party(
        id=REGISTER, name="register", sector="r", kind=PartyKind.ADMINISTRATION, created_at=here.clock(), **told
    )
    await here.home.parties.enrol(Enrolment(party, 1, Suite.X25519, (MOVED,)))

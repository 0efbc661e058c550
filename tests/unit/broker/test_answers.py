"""Answers: what a recipient may say beyond applied and rejected, in which order, and what the citizen reads of it."""

from dataclasses import replace

import pytest

from broker.flow import answers
from broker.flow.answers import MOVES
from broker.flow.deliveries import Delivery, DeliveryState, load
from broker.flow.tracking import Progress, Step
from broker.store.tables import deliveries
from connectors.contract import Answered, Applied, Outcome, Partly, Rejected
from schemas.audit import violations
from schemas.errors import Refused
from schemas.facts import TO_REPAIR, FactKind, until_commitment
from schemas.names import DeclarationId, DeliveryId, Reason
from tests.world import CAF, DAY, FAMILY, MOVED, VOICE, World

pytestmark = pytest.mark.asyncio

UNKNOWN = Answered(Reason.UNKNOWN_PERSON)
SEVERAL = Answered(Reason.SEVERAL_PERSONS)
DOCUMENT = Answered(Reason.DOCUMENT_NEEDED)
HUMAN = Answered(Reason.AWAITING_HUMAN, "2026-12-24")
PARTLY = Partly(("subject",))
REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)
TECHNICAL = Rejected("table.down", Reason.TECHNICAL)
OUTCOMES: dict[str, Outcome] = {
    "applied": Applied(),
    "partly": PARTLY,
    "rejected": REFUSED,
    "unknown": UNKNOWN,
    "several": SEVERAL,
    "document": DOCUMENT,
    "human": HUMAN,
}
FINAL = {"applied", "partly"}


async def only(here: World) -> Delivery:
    """The one delivery that there is."""
    async with here.home.store.read() as tx:
        (one,) = await load(tx)
    return one


async def opened(here: World) -> tuple[DeclarationId, DeliveryId]:
    """A consent, a declaration, and its delivery in the agency's hands."""
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    declared = (await here.declare(MOVED, here.moved())).declaration_id
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    return declared, locked.delivery_id


async def said(here: World, delivery: DeliveryId, outcome: Outcome) -> str | None:
    """The code with which it is refused, or None."""
    refused = await here.inbox(CAF).acknowledge_all({delivery: outcome})
    return refused[delivery].code if refused else None


async def line(here: World, declaration: DeclarationId) -> Step:
    """The agency's line in the track."""
    (mine,) = [step for step in (await here.home.tracking.track(declaration)).steps if step.recipient == CAF]
    return mine


@pytest.mark.databases
@pytest.mark.parametrize(
    ("outcome", "state", "progress", "reason"),
    [
        (UNKNOWN, DeliveryState.ANSWERED, Progress.TO_COMPLETE, Reason.UNKNOWN_PERSON),
        (SEVERAL, DeliveryState.ANSWERED, Progress.TO_COMPLETE, Reason.SEVERAL_PERSONS),
        (DOCUMENT, DeliveryState.ANSWERED, Progress.TO_COMPLETE, Reason.DOCUMENT_NEEDED),
        (HUMAN, DeliveryState.AWAITING, Progress.IN_PROGRESS, Reason.AWAITING_HUMAN),
        (PARTLY, DeliveryState.APPLIED, Progress.DONE, Reason.PARTLY),
        (TECHNICAL, DeliveryState.REJECTED, Progress.TECHNICAL, Reason.TECHNICAL),
        (REFUSED, DeliveryState.REJECTED, Progress.REFUSED, Reason.SYSTEM_REFUSED),
    ],
)
async def test_each_answer_has_its_state_and_its_word_for_the_citizen(
    here: World, outcome: Outcome, state: DeliveryState, progress: Progress, reason: Reason
) -> None:
    declared, delivery = await opened(here)

    assert await said(here, delivery, outcome) is None

    assert (state, reason) == ((await only(here)).state, (await only(here)).reason)
    step = await line(here, declared)
    assert (progress, reason) == (step.progress, step.reason)
    await here.step()


async def test_only_what_failed_at_the_administration_is_a_dead_letter(here: World) -> None:
    _, delivery = await opened(here)
    for outcome in (UNKNOWN, DOCUMENT, HUMAN):
        await said(here, delivery, outcome)
        assert [] == await here.home.dead_letters.list()

    await said(here, delivery, TECHNICAL)

    assert [Reason.TECHNICAL] == [letter.reason for letter in await here.home.dead_letters.list()]
    await here.step()


@pytest.mark.databases
@pytest.mark.parametrize("outcome", [UNKNOWN, SEVERAL, DOCUMENT, HUMAN, PARTLY, TECHNICAL])
async def test_whatever_is_answered_the_citizens_next_one_is_due_at_once(here: World, outcome: Outcome) -> None:
    _, delivery = await opened(here)
    await here.declare(MOVED, here.moved(effective_date="2027-01-01"))
    assert () == (await here.inbox(CAF).pull(10)).locked

    await said(here, delivery, outcome)

    assert 1 == len((await here.inbox(CAF).pull(10)).locked)
    await here.step()


@pytest.mark.databases
@pytest.mark.parametrize("second", OUTCOMES)
@pytest.mark.parametrize("first", OUTCOMES)
async def test_what_may_be_said_after_what(here: World, first: str, second: str) -> None:
    _, delivery = await opened(here)
    assert await said(here, delivery, OUTCOMES[first]) is None
    before, entries = await only(here), len(await here.entries())

    code = await said(here, delivery, OUTCOMES[second])

    if first == second:
        expected = None
    elif first in FINAL:
        expected = "mailbox.already-applied"
    elif first == "rejected" and second not in FINAL:
        expected = "mailbox.other-answer"
    else:
        expected = None
    assert expected == code
    if code is not None or first == second:
        assert (before, entries) == (await only(here), len(await here.entries()))
    else:
        assert entries + 1 == len(await here.entries())
    await here.step()


async def test_every_state_has_its_row_in_the_table() -> None:
    assert set(DeliveryState) == set(MOVES)
    assert not MOVES[DeliveryState.APPLIED]


async def test_an_answer_without_a_release_is_refused(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(10)

    for outcome in (UNKNOWN, HUMAN, PARTLY):
        assert "mailbox.not-released" == await said(here, leased.id, outcome)


async def test_a_row_that_was_set_to_released_takes_no_answer(here: World) -> None:
    """The ledger says that it never was."""
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(10)
    row = deliveries.update().where(deliveries.c.id == leased.id)
    async with here.home.store.begin() as tx:
        await tx.execute(row.values(state="released", released_at=here.clock()))

    for outcome in (UNKNOWN, HUMAN, PARTLY):
        assert "mailbox.not-released" == await said(here, leased.id, outcome)

    async with here.home.store.begin() as tx:
        await tx.execute(row.values(state="handed", released_at=None))


@pytest.mark.parametrize("until", [None, "2026-11-23", "2027-11-26", "2026-12-5", "2026-13-01", "2026-02-30", "soon"])
async def test_a_human_decides_by_a_day_that_is_near_and_not_over(here: World, until: str | None) -> None:
    _, delivery = await opened(here)

    assert "mailbox.until" == await said(here, delivery, Answered(Reason.AWAITING_HUMAN, until))


async def test_another_answer_has_no_day(here: World) -> None:
    _, delivery = await opened(here)

    assert "mailbox.until" == await said(here, delivery, replace(UNKNOWN, until="2026-12-24"))


@pytest.mark.parametrize("fields", [(), ("phone",), ("subject", "phone"), ("nothing",)])
async def test_no_field_is_taken_that_was_not_delivered(here: World, fields: tuple[str, ...]) -> None:
    _, delivery = await opened(here)

    assert "mailbox.fields" == await said(here, delivery, Partly(fields))


@pytest.mark.databases
async def test_what_was_taken_stands_in_the_track_and_in_the_ledger(here: World) -> None:
    declared, delivery = await opened(here)

    await said(here, delivery, PARTLY)

    assert ("subject",) == (await line(here, declared)).taken
    (told,) = await here.entries(FactKind.APPLIED)
    assert (Reason.PARTLY, (await only(here)).taken) == (told.reason, told.fields)
    assert (await only(here)).fields != told.fields
    assert "mailbox.already-applied" == await said(here, delivery, Partly(("new_address",)))


@pytest.mark.databases
async def test_the_day_is_in_the_track_and_the_ledger_commits_to_it(here: World) -> None:
    declared, delivery = await opened(here)

    await said(here, delivery, HUMAN)
    step = await line(here, declared)
    assert ("2026-12-24", False) == (step.until, step.late)
    (told,) = await here.entries(FactKind.ANSWERED)
    assert until_commitment(delivery, "2026-12-24") == told.detail

    here.clock.pass_(40 * DAY)
    assert (await line(here, declared)).late
    assert await said(here, delivery, HUMAN) is None  # said again, after its day: it changes nothing
    assert await said(here, delivery, Applied()) is None
    assert not (await line(here, declared)).late
    await here.step()


@pytest.mark.databases
async def test_what_a_human_decides_is_withheld_when_its_consent_ends_and_may_still_be_applied(here: World) -> None:
    _, delivery = await opened(here)
    await said(here, delivery, HUMAN)
    await here.home.consents.revoke_all(here.subject(), VOICE)
    assert (DeliveryState.WITHHELD, None) == ((await only(here)).state, (await only(here)).until)

    assert "mailbox.other-answer" == await said(here, delivery, UNKNOWN)
    assert await said(here, delivery, Applied()) is None
    await here.step()


@pytest.mark.databases
async def test_what_is_answered_is_not_opened_again(here: World) -> None:
    _, delivery = await opened(here)
    for outcome in (HUMAN, UNKNOWN):
        await said(here, delivery, outcome)
        with pytest.raises(Refused) as refused:
            await here.inbox(CAF).release([delivery])
        assert "gate.ended" == refused.value.code
        assert () == (await here.inbox(CAF).pull(10)).locked


@pytest.mark.databases
@pytest.mark.parametrize("reason", sorted(TO_REPAIR, key=lambda one: one.value))
async def test_everybody_sees_that_it_was_closed_and_nobody_why(here: World, reason: Reason) -> None:
    _, delivery = await opened(here)
    await said(here, delivery, Answered(reason))

    entries = await here.sealed()
    assert "closed" == entries[-1].kind.value
    assert [] == list(violations(entries))


async def test_a_day_is_over_when_the_next_one_begins() -> None:
    noon = 1_798_113_600_000  # 2026-12-24T12:00:00Z
    assert not answers.late("2026-12-24", noon)  # type: ignore[arg-type]
    assert answers.late("2026-12-23", noon)  # type: ignore[arg-type]
    assert not answers.late(None, noon)  # type: ignore[arg-type]

"""Repairs: a person adds their number where they were not found; it reaches that administration alone, and then the
declaration is tried again, three times at most.
"""

import asyncio

import pytest
from sqlalchemy import select, update

from broker.consents.consents import GrantRequest
from broker.flow.deliveries import Delivery, DeliveryState, load
from broker.flow.repairs import PATIENCE_MS
from broker.services import repairing
from broker.services.repairing import TYPE, Repair, Repaired
from broker.store.tables import deliveries, metadata, repairs
from connectors.contract import Answered, Applied, Rejected
from consent.basis import CONSENT, law
from consent.grant import Scope
from consent.rules import Rule, RuleStatus
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, DeliveryId, EventType, Instant, PartyId, Purpose, Reason, RuleId
from tests.world import CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, PORTAL, VOICE, YANN, World

pytestmark = pytest.mark.asyncio

UNKNOWN = Answered(Reason.UNKNOWN_PERSON)
SEVERAL = Answered(Reason.SEVERAL_PERSONS)
SECRET = "7654321-CANARY"
FIELDS = ("subject", "number_kind", "number", "repairs")


def asked(declaration: DeclarationId, to: PartyId = CAF, number: str = SECRET) -> Repair:
    """What Élise says."""
    return Repair(declaration, to, ELISE, "numéro allocataire", number)


async def unknown(here: World, answer: Answered = UNKNOWN) -> tuple[DeclarationId, DeliveryId]:
    """The portal may tell numbers, the agency may hear of them, and has not found her."""
    async with here.home.store.begin() as tx:
        await here.home.registrar.allow_publishing(tx, PORTAL, TYPE, here.clock())
    await here.subscribe(CAF, TYPE, FAMILY, FIELDS)
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    declared = (await here.declare(MOVED, here.moved())).declaration_id
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    await here.inbox(CAF).acknowledge(locked.delivery_id, answer)
    return declared, locked.delivery_id


async def repaired(here: World, declaration: DeclarationId, to: PartyId = CAF) -> Repaired:
    """She adds her number; it is routed."""
    done = await repairing.repair(here.home, asked(declaration, to), VOICE)
    await here.home.router.route()
    return done


async def heard(here: World, outcome: Applied | Answered | Rejected = Applied()) -> DeliveryId:  # noqa: B008
    """The agency takes the one delivery that waits, and answers; then the machine goes on."""
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    await here.inbox(CAF).acknowledge(locked.delivery_id, outcome)
    await here.home.repairs.step()
    return locked.delivery_id


async def delivery(here: World, of: DeliveryId) -> Delivery:
    async with here.home.store.read() as tx:
        (one,) = await load(tx, deliveries.c.id == of)
    return one


async def code(here: World, declaration: DeclarationId, to: PartyId = CAF) -> str:
    """Why nothing can be added, whether it is tried or only looked at."""
    with pytest.raises(Refused) as looked:
        await repairing.explain(here.home, asked(declaration, to), VOICE)
    with pytest.raises(Refused) as refused:
        await repairing.repair(here.home, asked(declaration, to), VOICE)
    assert looked.value.code == refused.value.code
    return refused.value.code


@pytest.mark.databases
@pytest.mark.parametrize("answer", [UNKNOWN, SEVERAL])
async def test_who_was_not_found_adds_their_number_and_is_found(here: World, answer: Answered) -> None:
    declared, first = await unknown(here, answer)

    done = await repaired(here, declared)
    assert (1, 3) == (done.number, done.outlook.left)
    (told,) = await here.open(CAF, await here.inbox(CAF).pull(10))
    assert (SECRET, "numéro allocataire") == (told.record["number"], told.record["number_kind"])
    assert str(told.record["repairs"]).replace("-", "") == declared.hex()
    assert 0 == await here.home.repairs.step()  # not before the number is there
    await here.inbox(CAF).acknowledge(told.delivery_id, Applied())

    assert 1 == await here.home.repairs.step()
    assert 0 == await here.home.repairs.step()
    (again,) = await here.open(CAF, await here.inbox(CAF).pull(10))
    assert (first, declared) == (again.delivery_id, again.declaration_id)
    await here.inbox(CAF).acknowledge(first, Applied())

    assert DeliveryState.APPLIED is (await delivery(here, first)).state
    assert [answer.reason] == [one.reason for one in await here.entries(FactKind.REPLAYED)]
    await here.step()


@pytest.mark.databases
async def test_the_number_reaches_one_administration_and_lies_nowhere_in_clear(here: World) -> None:
    """Another one that may hear of numbers, and has not found her either, learns nothing of it."""
    declared, _ = await unknown(here)
    await here.subscribe(CPAM, TYPE, HEALTH, FIELDS)
    await here.give(CPAM, MOVED, HEALTH, ["subject"])
    second = (await here.declare(MOVED, here.moved())).declaration_id
    for party in (CAF, CPAM):
        for locked in (await here.inbox(party).pull(10)).locked:
            await here.inbox(party).acknowledge(locked.delivery_id, UNKNOWN)
    other = await repairing.repair(here.home, asked(second, CPAM, "of the other one"), VOICE)
    done = await repaired(here, declared)

    (mine,) = await here.open(CAF, await here.inbox(CAF).pull(10))
    (theirs,) = await here.open(CPAM, await here.inbox(CPAM).pull(10))

    assert (SECRET, "of the other one") == (mine.record["number"], theirs.record["number"])
    assert (done.reference, other.reference) == (mine.declaration_id, theirs.declaration_id)
    async with here.home.store.read() as tx:
        rows = [str(tuple(row)) for table in metadata.sorted_tables for row in await tx.execute(select(table))]
    assert not any(SECRET in row or SECRET.encode().hex() in row for row in rows)
    await here.step()


@pytest.mark.databases
async def test_three_tries_and_no_more(here: World) -> None:
    declared, first = await unknown(here)
    for number in (1, 2, 3):
        assert number == (await repaired(here, declared)).number
        await heard(here)
        assert first == await heard(here, UNKNOWN)

    assert "repair.too-many-tries" == await code(here, declared)
    await here.step()


@pytest.mark.databases
async def test_one_number_at_a_time(here: World) -> None:
    declared, _ = await unknown(here)
    done = await repairing.repair(here.home, asked(declared), VOICE)
    for _ in ("not routed", "routed"):
        with pytest.raises(Refused) as refused:
            await repairing.repair(here.home, asked(declared), VOICE)
        assert "repair.under-way" == refused.value.code
        await here.home.router.route()
        here.clock.pass_(PATIENCE_MS)

    grants = [one.id for one in await here.home.consents.of(here.subject()) if one.event_type == TYPE]
    assert [done.grant] == grants  # what was refused has left nothing


@pytest.mark.databases
async def test_a_crash_before_the_number_was_handed_in_costs_no_try(here: World) -> None:
    declared, first = await unknown(here)
    handed_in, here.home.intake.accept = here.home.intake.accept, None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        await repairing.repair(here.home, asked(declared), VOICE)
    here.home.intake.accept = handed_in  # type: ignore[method-assign]
    with pytest.raises(Refused):
        await repairing.repair(here.home, asked(declared), VOICE)
    here.clock.pass_(PATIENCE_MS)

    assert 1 == (await repaired(here, declared)).number
    lost, living = (one for one in await here.home.consents.of(here.subject()) if one.event_type == TYPE)
    assert (True, False) == (lost.status.over, living.status.over)
    await heard(here)
    assert first == await heard(here)
    await here.step()


@pytest.mark.databases
async def test_a_number_that_was_rejected_is_a_try_and_another_may_follow(here: World) -> None:
    declared, first = await unknown(here)
    await repaired(here, declared)
    await heard(here, Rejected("crm.malformed", Reason.SYSTEM_REFUSED))
    assert DeliveryState.ANSWERED is (await delivery(here, first)).state

    assert 2 == (await repaired(here, declared)).number
    async with here.home.store.read() as tx:
        told = [(row.number, row.reason) for row in await tx.execute(select(repairs).order_by(repairs.c.number))]
    assert [(1, "system-refused"), (2, None)] == told
    await here.step()


@pytest.mark.databases
async def test_the_consent_of_today_decides_whether_it_is_tried_again(here: World) -> None:
    declared, first = await unknown(here)
    await repaired(here, declared)
    (grant,) = [one for one in await here.home.consents.of(here.subject()) if one.event_type == MOVED]
    await here.home.consents.revoke(grant.id, VOICE)

    await heard(here)

    one = await delivery(here, first)
    assert (DeliveryState.WITHHELD, Reason.REVOKED) == (one.state, one.reason)
    await here.step()


@pytest.mark.databases
async def test_what_was_applied_meanwhile_is_not_tried_again(here: World) -> None:
    declared, first = await unknown(here)
    await repaired(here, declared)
    await here.inbox(CAF).acknowledge(first, Applied())

    await heard(here)

    assert DeliveryState.APPLIED is (await delivery(here, first)).state
    assert () == (await here.inbox(CAF).pull(10)).locked
    await here.step()


async def test_a_number_is_added_where_one_is_wanted(here: World) -> None:
    declared, first = await unknown(here)
    assert "repair.nothing" == await code(here, declared, CPAM)
    assert "tracking.unknown" == await code(here, DeclarationId(bytes(16)))
    with pytest.raises(Refused) as refused:  # of somebody else, it is as unknown as one that never was
        await repairing.repair(here.home, Repair(declared, CAF, YANN, "numéro", SECRET), VOICE)
    assert "tracking.unknown" == refused.value.code

    await here.inbox(CAF).acknowledge(first, Answered(Reason.DOCUMENT_NEEDED))
    assert "repair.nothing" == await code(here, declared)


@pytest.mark.parametrize("fields", [None, ("subject", "number"), ("number", "repairs")])
async def test_who_may_not_hear_of_numbers_gets_none(here: World, fields: tuple[str, ...] | None) -> None:
    """It sees whose number it is, and for what, or nothing."""
    if fields is not None:
        await here.subscribe(CAF, TYPE, FAMILY, fields)
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    declared = (await here.declare(MOVED, here.moved())).declaration_id
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    await here.inbox(CAF).acknowledge(locked.delivery_id, UNKNOWN)

    assert "repair.not-heard" == await code(here, declared)


async def test_a_number_that_no_form_takes_is_refused_before_anything_is_written(here: World) -> None:
    declared, _ = await unknown(here)
    for number in ("", " 1", "1" * 61):
        with pytest.raises(Refused) as refused:
            await repairing.repair(here.home, asked(declared, number=number), VOICE)
        assert "/number" == refused.value.pointer
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(repairs))).all()


@pytest.mark.parametrize("basis", [CONSENT, law("CSS, art. L161-32-1")])
@pytest.mark.parametrize("scope", list(Scope))
async def test_nobody_gets_every_number_by_a_consent_or_a_mandate(here: World, basis, scope) -> None:  # type: ignore[no-untyped-def]
    wish = GrantRequest(
        subject=here.subject(),
        recipient=CPAM,
        event_type=TYPE,
        purpose=HEALTH,
        fields=frozenset({"number"}),
        basis=basis,
        voice=VOICE,
        scope=scope,
    )
    with pytest.raises(Refused) as refused:
        await here.home.consents.give(wish)
    assert "consents.addressed" == refused.value.code


async def test_no_rule_by_law_gives_numbers(here: World) -> None:
    rule = Rule(
        id=RuleId(bytes(16)),
        recipient=CPAM,
        event_type=EventType(TYPE),
        purpose=Purpose(HEALTH),
        fields=frozenset({"number"}),
        article="CSS, art. L161-32-1",
        objection=False,
        status=RuleStatus.ASKED,
        asked_at=here.clock(),
        begins_at=None,
        ends_at=None,
    )
    async with here.home.store.begin() as tx:
        with pytest.raises(Refused) as refused:
            await here.home.ruling.ask(tx, rule)
    assert "rules.addressed" == refused.value.code


@pytest.mark.databases
async def test_a_row_that_the_broker_did_not_write_tries_nothing_again(here: World) -> None:
    declared, first = await unknown(here)
    await repaired(here, declared)
    async with here.home.store.begin() as tx:
        await tx.execute(update(repairs).values(asked_at=Instant(0)))
    await heard(here)
    assert DeliveryState.ANSWERED is (await delivery(here, first)).state

    async with here.home.store.begin() as tx:
        await tx.execute(update(repairs).values(asked_at=here.clock()))
    assert 1 == await here.home.repairs.step()


@pytest.mark.databases
async def test_of_two_who_say_it_at_once_one_is_heard_and_of_two_routers_one_tries_again(here: World) -> None:
    declared, first = await unknown(here)
    said = await asyncio.gather(
        *(repairing.repair(here.home, asked(declared), VOICE) for _ in range(2)), return_exceptions=True
    )
    assert ["repair.under-way"] == [one.code for one in said if isinstance(one, Refused)]
    await here.home.router.route()
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    await here.inbox(CAF).acknowledge(locked.delivery_id, Applied())

    assert 1 == sum(await asyncio.gather(*(here.home.repairs.step() for _ in range(3))))
    assert 1 == len(await here.entries(FactKind.REPLAYED))
    await here.inbox(CAF).pull(10)
    assert DeliveryState.RELEASED is (await delivery(here, first)).state
    await here.step()


@pytest.mark.databases
async def test_an_answer_of_before_does_not_end_what_was_tried_again(here: World) -> None:
    """Its acknowledgement was lost on the way, and comes a second time."""
    declared, first = await unknown(here)
    await repaired(here, declared)
    await heard(here)

    refused = await here.inbox(CAF).acknowledge_all({first: UNKNOWN})

    assert "mailbox.not-released" == refused[first].code
    assert first == await heard(here)
    assert DeliveryState.APPLIED is (await delivery(here, first)).state


@pytest.mark.databases
async def test_a_try_is_forgotten_with_its_declaration(here: World) -> None:
    declared, _ = await unknown(here)
    await repaired(here, declared)
    await heard(here)
    await heard(here)
    for passed in (400, 690):  # a new gate key, then the end of the old one
        here.clock.pass_(passed * DAY)
        await here.home.upkeep.turn()
    here.clock.pass_(here.home.settings.declaration_retention_days * DAY)

    assert 2 == (await here.home.pruning.prune()).rows["declarations"]

    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(repairs))).all()
    await here.step()


@pytest.mark.databases
async def test_a_number_reaches_nobody_by_a_grant_that_somebody_has_written_into_the_database(here: World) -> None:
    """A consent for every number is no consent: its row may say so, and the decision does not."""
    declared, _ = await unknown(here)
    await here.subscribe(CPAM, TYPE, HEALTH, FIELDS)
    with pytest.MonkeyPatch.context() as before:  # a program of before, which gave such consents
        before.setattr("broker.consents.consents.ADDRESSED", frozenset())
        for scope in Scope:
            await here.give(CPAM, TYPE, HEALTH, FIELDS, scope=scope)

    await repaired(here, declared)

    assert 1 == len((await here.inbox(CAF).pull(10)).locked)
    assert () == (await here.inbox(CPAM).pull(10)).locked
    await here.step()

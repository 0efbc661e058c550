"""The mailbox: a citizen's deliveries in their order, each until it is acknowledged or set aside, none lost."""

import pytest

from broker.flow.deliveries import Delivery, DeliveryState, load
from broker.flow.mailbox import RetryPolicy
from broker.store.tables import deliveries
from connectors.contract import Applied, Rejected
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, DeliveryId, Reason
from tests.world import BANK, CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MINUTE, MOVED, VOICE, YANN, World

pytestmark = pytest.mark.asyncio

LEASE = MINUTE
PATIENCE = RetryPolicy()
APPLIED = Applied(None)
REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)


async def acknowledge(here: World, delivery: DeliveryId, outcome: Applied | Rejected = APPLIED) -> None:
    """One end; raises what the mailbox does not take."""
    for fault in (await here.inbox(CAF).acknowledge_all({delivery: outcome})).values():
        raise fault


async def mailbox(here: World) -> list[Delivery]:
    """Every delivery, oldest first."""
    async with here.home.store.read() as tx:
        return await load(tx)


async def states(here: World) -> list[DeliveryState]:
    return [delivery.state for delivery in await mailbox(here)]


async def refusal(here: World, delivery: DeliveryId, outcome: Applied | Rejected = APPLIED) -> str:
    """The code with which an end is refused; nothing changes by it."""
    before = await mailbox(here)
    with pytest.raises(Refused) as refused:
        await acknowledge(here, delivery, outcome)
    assert before == await mailbox(here)
    return refused.value.code


async def two_moves(here: World) -> tuple[DeclarationId, DeclarationId]:
    """A consent, and two declarations of one citizen."""
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    first = await here.declare(MOVED, here.moved())
    second = await here.declare(MOVED, here.moved(effective_date="2027-01-01"))
    return first.declaration_id, second.declaration_id


async def pulled(here: World, limit: int = 10) -> list[DeclarationId]:
    """Pull, open, acknowledge nothing: the declarations that were handed out."""
    opened = await here.open(CAF, await here.inbox(CAF).pull(limit))
    return [delivery.declaration_id for delivery in opened]


async def test_the_next_one_waits_until_the_one_before_is_acknowledged(here: World) -> None:
    first, second = await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(10)

    assert first == leased.declaration_id
    assert [] == await here.inbox(CAF).lease(10)
    assert () == await here.inbox(CAF).ready(10)

    await here.inbox(CAF).release([leased.id])
    await acknowledge(here, leased.id)
    assert [second] == await pulled(here)


async def test_the_order_holds_over_types(here: World) -> None:
    await here.give(CAF, BANK, FAMILY, ["iban"])
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    sent = [
        await here.declare(kind, record, route=False)
        for kind, record in ((MOVED, here.moved()), (BANK, here.bank()), (MOVED, here.moved()), (BANK, here.bank()))
    ]
    await here.home.router.route()  # one batch, planned type by type

    got = [(await here.take(CAF))[0].declaration_id for _ in sent]

    assert [one.declaration_id for one in sent] == got


async def test_other_citizens_and_other_administrations_do_not_wait(here: World) -> None:
    await two_moves(here)
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.give(CPAM, MOVED, HEALTH, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved(YANN))

    assert 2 == len(await here.inbox(CAF).lease(10))
    assert 1 == len(await here.inbox(CPAM).lease(10))


async def test_what_is_planned_late_still_comes_before_what_was_declared_after_it(here: World) -> None:
    older = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.give(CAF, MOVED, FAMILY, ["new_address"])
    first = await here.declare(MOVED, here.moved())
    second = await here.declare(MOVED, here.moved())

    # the younger grant takes over what the older one lets go: a delivery that is planned last, of the first declaration
    await here.home.consents.narrow(older.grant.id, frozenset({"subject"}), VOICE)

    got = [(await here.take(CAF))[0] for _ in range(4)]
    assert [first.declaration_id] * 2 + [second.declaration_id] * 2 == [one.declaration_id for one in got]
    assert {("subject",), ("new_address",)} == {one.disclosed for one in got[:2]}


async def test_a_lease_that_ran_out_is_handed_out_again_and_not_a_moment_before(here: World) -> None:
    first, _ = await two_moves(here)
    assert [first] == await pulled(here)

    here.clock.pass_(LEASE - 1)
    assert [] == await pulled(here)
    here.clock.pass_(1)
    assert [first] == await pulled(here)


async def test_an_acknowledgement_after_the_lease_ran_out_still_counts(here: World) -> None:
    await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(1)
    await here.inbox(CAF).release([leased.id])
    here.clock.pass_(10 * LEASE)

    await acknowledge(here, leased.id)

    assert [DeliveryState.APPLIED, DeliveryState.PENDING] == await states(here)


async def test_what_was_tried_too_often_is_parked_and_the_next_one_flows(here: World) -> None:
    _, second = await two_moves(here)
    attempts = here.home.settings.delivery_attempts
    begun = here.clock()
    for number in range(attempts):
        assert 1 == len(await here.inbox(CAF).lease(1))
        here.clock.pass_(max(LEASE, PATIENCE.wait_ms(number + 1)))

    assert 8.5 * DAY < here.clock() - begun
    assert [] == await here.inbox(CAF).lease(1)
    assert [second] == await pulled(here)

    (letter,) = await here.home.dead_letters.list()
    assert ("mailbox.attempts-exhausted", Reason.PARKED, attempts) == (letter.code, letter.reason, letter.attempts)
    assert [Reason.PARKED] == [entry.reason for entry in await here.entries(FactKind.REJECTED)]


async def test_a_lease_that_ends_in_silence_is_followed_by_the_back_off_of_a_retry(here: World) -> None:
    await two_moves(here)
    for number in range(1, here.home.settings.delivery_attempts):
        assert 1 == len(await here.inbox(CAF).lease(1))
        waits = max(LEASE, PATIENCE.wait_ms(number))
        here.clock.pass_(waits - 1)
        assert [] == await here.inbox(CAF).lease(1)
        here.clock.pass_(1)


async def test_what_is_given_back_is_due_at_once_however_often_it_was_tried(here: World) -> None:
    await two_moves(here)
    for number in range(1, 10):
        assert 1 == len(await here.inbox(CAF).lease(1))
        here.clock.pass_(max(LEASE, PATIENCE.wait_ms(number)))
    (leased,) = await here.inbox(CAF).lease(1)
    async with here.home.store.begin() as tx:
        await here.home.mailbox.give_back(tx, CAF, [leased.id])

    assert [leased.id] == [one.id for one in await here.inbox(CAF).lease(1)]


async def test_a_retry_said_twice_is_one_retry(here: World) -> None:
    await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(1)
    await here.inbox(CAF).retry_later(leased.id, "table.away", MINUTE)
    here.clock.pass_(MINUTE - 1)
    await here.inbox(CAF).retry_later(leased.id, "table.away", MINUTE)
    here.clock.pass_(1)

    assert 1 == len(await here.inbox(CAF).lease(1))


async def test_a_retry_of_what_was_not_handed_out_is_refused(here: World) -> None:
    await two_moves(here)
    _, second = await mailbox(here)

    with pytest.raises(Refused) as refused:
        await here.inbox(CAF).retry_later(second.id, "table.away")

    assert "mailbox.not-handed" == refused.value.code


async def sizes(here: World) -> list[int]:
    """What the locked deliveries weigh, in bytes, the oldest first."""
    async with here.home.store.read() as tx:
        return [len(row.locked) for row in await tx.execute(deliveries.select().order_by(deliveries.c.seq))]


async def test_a_pull_hands_out_as_many_as_its_bytes_allow_and_at_least_one(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in (ELISE, YANN, ELISE | {"family_name": "Kerouédan"}):
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
        await here.declare(MOVED, here.moved(person))
    first, second, third = await sizes(here)

    for most, handed in ((first + second + third - 1, 2), (1, 1)):
        monkeypatch.setattr("broker.flow.mailbox.PULL_BYTES", most, raising=False)
        assert handed == len(await pulled(here))
    assert [] == await pulled(here)


async def test_the_keys_of_more_than_a_pull_gives_are_not_given_in_one_release(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in (ELISE, YANN):
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
        await here.declare(MOVED, here.moved(person))
    ids = [one.id for one in await here.inbox(CAF).lease(2)]
    monkeypatch.setattr("broker.flow.gate.PULL_BYTES", sum(await sizes(here)) - 1, raising=False)

    with pytest.raises(Refused) as refused:
        await here.inbox(CAF).release(ids)

    assert ("gate.too-large", "/deliveries") == (refused.value.code, refused.value.pointer)
    assert [1, 1] == [len((await here.inbox(CAF).release([one])).locked) for one in ids]


async def test_a_retry_waits_longer_each_time_and_then_parks_with_the_agencys_own_code(here: World) -> None:
    await two_moves(here)
    settings = here.home.settings
    waits = []
    for _ in range(settings.delivery_attempts - 1):
        (leased,) = await here.inbox(CAF).lease(1)
        await here.inbox(CAF).retry_later(leased.id, "table.away")
        async with here.home.store.read() as tx:
            row = (await tx.execute(deliveries.select().where(deliveries.c.id == leased.id))).one()
        waits.append(row.available_at - here.clock())
        assert [] == await here.inbox(CAF).lease(1)  # its citizen's next one waits, too
        here.clock.pass_(waits[-1])
    (leased,) = await here.inbox(CAF).lease(1)
    await here.inbox(CAF).retry_later(leased.id, "table.away")

    first, most = settings.retry_first_seconds * 1000, settings.retry_most_seconds * 1000
    assert [min(first * 2**n, most) for n in range(len(waits))] == waits
    assert ["table.away"] == [letter.code for letter in await here.home.dead_letters.list()]
    assert 1 == len(await here.inbox(CAF).lease(1))


async def test_a_retry_heeds_the_agencys_wish_within_the_longest_wait(here: World) -> None:
    await two_moves(here)
    most = here.home.settings.retry_most_seconds * 1000
    for asked, heeded in ((MINUTE, MINUTE), (10 * most, most)):
        (leased,) = await here.inbox(CAF).lease(1)
        await here.inbox(CAF).retry_later(leased.id, "table.away", asked)
        here.clock.pass_(heeded - 1)
        assert () == await here.inbox(CAF).ready(1)
        here.clock.pass_(1)
        assert 1 == len(await here.inbox(CAF).ready(1))


async def test_a_retry_of_what_has_ended_changes_nothing(here: World) -> None:
    await two_moves(here)
    (delivery,) = await here.take(CAF)

    await here.inbox(CAF).retry_later(delivery.delivery_id, "table.away")

    assert DeliveryState.APPLIED == (await states(here))[0]


async def test_a_retry_of_anothers_delivery_is_refused(here: World) -> None:
    await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(1)

    with pytest.raises(Refused) as refused:
        await here.inbox(CPAM).retry_later(leased.id, "table.away")

    assert "mailbox.unknown-delivery" == refused.value.code


async def test_a_rejection_sets_aside_with_code_and_reason_and_the_next_one_flows(here: World) -> None:
    _, second = await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(1)

    await acknowledge(here, leased.id, REFUSED)

    (letter,) = await here.home.dead_letters.list()
    assert ("table.refused", Reason.SYSTEM_REFUSED, leased.id) == (letter.code, letter.reason, letter.delivery)
    (entry,) = await here.entries(FactKind.REJECTED)
    assert (CAF, Reason.SYSTEM_REFUSED) == (entry.actor, entry.reason)
    assert [second] == await pulled(here)


@pytest.mark.parametrize("outcome", [Applied(None), REFUSED])
async def test_the_same_end_twice_changes_nothing(here: World, outcome: Applied | Rejected) -> None:
    await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(1)
    await here.inbox(CAF).release([leased.id])
    await acknowledge(here, leased.id, outcome)
    told, letters = await here.entries(), await here.home.dead_letters.list()

    await acknowledge(here, leased.id, outcome)

    assert (told, letters) == (await here.entries(), await here.home.dead_letters.list())


async def test_an_end_of_anothers_delivery_or_of_one_that_never_was_is_unknown_alike(here: World) -> None:
    await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(1)

    (foreign,) = (await here.inbox(CPAM).acknowledge_all({leased.id: Applied(None)})).values()

    assert "mailbox.unknown-delivery" == foreign.code == await refusal(here, DeliveryId(bytes(16)))


async def test_what_was_never_released_cannot_have_been_applied(here: World) -> None:
    await two_moves(here)
    (leased,) = await here.inbox(CAF).lease(1)

    assert "mailbox.not-released" == await refusal(here, leased.id)


async def test_what_was_applied_cannot_be_rejected(here: World) -> None:
    await two_moves(here)
    (delivery,) = await here.take(CAF)

    assert "mailbox.already-applied" == await refusal(here, delivery.delivery_id, REFUSED)


async def test_what_was_not_handed_out_cannot_be_rejected(here: World) -> None:
    await two_moves(here)
    (waiting,) = await here.inbox(CAF).ready(1)

    assert "mailbox.not-handed" == await refusal(here, waiting.delivery_id, REFUSED)


async def test_what_was_withheld_meanwhile_cannot_be_rejected(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    await here.home.consents.revoke(grant.grant.id, VOICE)

    assert "mailbox.not-handed" == await refusal(here, leased.id, REFUSED)


async def test_one_end_that_is_refused_does_not_undo_the_others(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    one, other = [delivery.id for delivery in await here.inbox(CAF).lease(10)]
    await here.inbox(CAF).release([one])

    refused = await here.inbox(CAF).acknowledge_all({other: Applied(None), one: Applied(None)})

    assert {other: "mailbox.not-released"} == {delivery: fault.code for delivery, fault in refused.items()}
    assert [DeliveryState.APPLIED, DeliveryState.HANDED] == await states(here)


async def test_an_application_told_after_parking_counts_and_the_letter_waits_no_more(here: World) -> None:
    await two_moves(here)
    (first,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    here.clock.pass_(LEASE)
    for number in range(2, here.home.settings.delivery_attempts + 1):
        await here.inbox(CAF).lease(1)
        here.clock.pass_(max(LEASE, PATIENCE.wait_ms(number)))
    await here.inbox(CAF).lease(1)
    assert DeliveryState.PARKED == (await states(here))[0]

    await acknowledge(here, first.delivery_id)

    assert DeliveryState.APPLIED == (await states(here))[0]
    assert [] == await here.home.dead_letters.list()
    assert 1 == len(await here.home.dead_letters.list(replayed=True))


async def test_a_limit_is_kept_and_those_who_wait_longest_come_first(here: World) -> None:
    people = [YANN | {"given_names": [name]} for name in ("Anna", "Berthe", "Cécile")]
    for person in people:
        await here.give(CAF, MOVED, FAMILY, ["subject"], person=person)
    sent = [(await here.declare(MOVED, here.moved(person))).declaration_id for person in people]

    assert sent[:2] == [one.declaration_id for one in await here.inbox(CAF).lease(2)]
    assert sent[2:] == [one.declaration_id for one in await here.inbox(CAF).lease(2)]


@pytest.mark.parametrize(("attempts", "wait"), [(0, 5), (1, 5), (2, 10), (3, 20), (4, 25), (64, 25), (10_000, 25)])
async def test_waits_double_up_to_the_longest(attempts: int, wait: int) -> None:
    assert wait == RetryPolicy(first_ms=5, most_ms=25).wait_ms(attempts)

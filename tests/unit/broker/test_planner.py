"""The planner: decisions become deliveries and withholdings, by one rule for whoever asks."""

import pytest
from sqlalchemy import delete, insert, select

from broker.flow.declared import known
from broker.flow.deliveries import Delivery, DeliveryState, load
from broker.store.tables import withholdings
from connectors.contract import Applied, Rejected
from consent.basis import law
from consent.policy import Deny, Permit
from consent.tables import consent_keys
from schemas.facts import FactKind
from schemas.names import DeliveryId, GrantId, Reason
from schemas.release import LockedDelivery, delivery_id_of, indices
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, RENNES, TOWN, VOICE, YANN, World

pytestmark = pytest.mark.asyncio

BOTH = ["subject", "new_address"]
REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)


async def planned(here: World) -> list[Delivery]:
    """Every delivery, oldest first."""
    async with here.home.store.read() as tx:
        return await load(tx)


async def replan(
    here: World, *, newer: GrantId | None = None, replayed: DeliveryId | None = None
) -> tuple[Permit | Deny, list[Delivery]]:
    """Plan the newest declaration again for CAF."""
    home = here.home
    async with home.store.begin() as tx:
        declaration = (await known(tx, here.home.macs))[0]
        subscription = here.subscriptions[CAF, MOVED]
        keys = home.keyring.consent_epochs()
        decision = await home.consents._planner.replan(
            tx, declaration, subscription, keys, here.clock(), newer=newer, replayed=replayed
        )
    return decision, await planned(here)


async def test_a_delivery_holds_the_permitted_sealed_fields_and_no_other(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, [*BOTH, "phone"])
    await here.declare(MOVED, here.moved(phone="+33612345678"))

    (delivery,) = await planned(here)

    locked = LockedDelivery.decode(delivery.locked)
    event = here.home.catalogue.by_type(MOVED)
    carried = [event.names[one.index] for one in locked.fields]
    assert BOTH == carried
    assert tuple(one.index for one in locked.fields) == indices(delivery.fields, len(event.fields))
    assert delivery_id_of(delivery.declaration_id, CAF, grant.grant.id) == delivery.id == locked.delivery_id


async def test_a_field_that_law_and_consent_both_give_goes_out_under_the_law(here: World) -> None:
    consent = await here.give(CAF, MOVED, FAMILY, BOTH)
    mandate = await here.give(CAF, MOVED, FAMILY, ["new_address"], basis=law("CSS, art. L583-3"))
    await here.declare(MOVED, here.moved())

    got = [one for _ in range(2) for one in await here.take(CAF)]

    assert [
        (mandate.grant.id, ("new_address",), "law:CSS, art. L583-3"),
        (consent.grant.id, ("subject",), "consent"),
    ] == [(one.grant_id, one.disclosed, one.basis) for one in got]


async def test_every_planned_delivery_and_every_withholding_of_a_consent_has_its_entry(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    held_back = await here.give(CPAM, MOVED, HEALTH, ["subject"])
    await here.home.consents.pause(held_back.grant.id, VOICE)
    await here.declare(MOVED, here.moved())

    (delivery,) = await planned(here)
    (told,) = await here.entries(FactKind.PLANNED)
    assert (delivery.id, delivery.fields, delivery.grant_version) == (told.delivery, told.fields, told.grant_version)
    kept = await here.entries(FactKind.WITHHELD)
    async with here.home.store.read() as tx:
        rows = (await tx.execute(select(withholdings))).all()
    told_of = [(entry.recipient, entry.purpose, entry.reason.value) for entry in kept if entry.reason]
    assert [(CPAM, HEALTH, Reason.PAUSED.value)] == told_of
    # that somebody asks for a purpose, and nobody has consented to it, is a row that the citizen reads and no entry
    asked = {(CPAM, HEALTH, Reason.PAUSED.value), (RENNES, TOWN, Reason.NO_GRANT.value)}
    assert asked == {(row.recipient, row.purpose, row.reason) for row in rows}


async def test_nothing_is_planned_under_a_living_consent_without_its_key_and_the_others_go_on(here: World) -> None:
    broken = await here.give(CAF, MOVED, FAMILY, BOTH)
    whole = await here.give(CPAM, MOVED, HEALTH, ["subject"])
    yann = await here.give(CAF, MOVED, FAMILY, BOTH, person=YANN)
    mine = consent_keys.c.grant_id == broken.grant.id
    async with here.home.store.begin() as tx:
        kept = (await tx.execute(select(consent_keys).where(mine))).one()
        await tx.execute(delete(consent_keys).where(mine))

    await here.declare(MOVED, here.moved(), route=False)
    await here.declare(MOVED, here.moved(YANN))

    assert {whole.grant.id, yann.grant.id} == {one.grant_id for one in await planned(here)}
    unsound = [one for one in await here.entries(FactKind.WITHHELD) if one.reason is Reason.UNSOUND]
    # whose it was cannot be read in a row that is not to be trusted: whoever has no other grant hears the same
    assert {(CAF, FAMILY), (RENNES, TOWN)} == {(one.recipient, one.purpose) for one in unsound}
    async with here.home.store.begin() as tx:
        await tx.execute(insert(consent_keys), dict(kept._mapping))
    await here.declare(MOVED, here.moved(occupants=2))
    assert broken.grant.id in {one.grant_id for one in await planned(here)}


async def test_planning_again_what_is_on_its_way_just_so_changes_nothing(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    await here.inbox(CAF).lease(1)
    before, told = await planned(here), await here.entries()

    _, after = await replan(here)

    assert (before, told) == (after, await here.entries())


async def test_planning_again_what_was_applied_changes_nothing(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    before = await planned(here)

    assert before == (await replan(here))[1]
    await here.home.consents.revoke(grant.grant.id, VOICE)
    assert before == (await replan(here))[1]


async def test_what_is_dead_is_planned_again_by_a_replay_alone(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    await here.inbox(CAF).acknowledge_all({leased.id: REFUSED})

    assert [DeliveryState.REJECTED] == [one.state for one in (await replan(here))[1]]
    assert [DeliveryState.PENDING] == [one.state for one in (await replan(here, replayed=leased.id))[1]]
    await here.take(CAF)  # or a letter would be missing


async def test_a_grant_given_later_is_asked_where_it_is_named_or_an_operator_replays(here: World) -> None:
    await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)

    assert (Deny(Reason.NO_GRANT), []) == await replan(here)
    decision, (delivery,) = await replan(here, newer=grant.grant.id)
    assert isinstance(decision, Permit)
    # it has a delivery of it now, so it is asked from now on
    assert (decision, [delivery]) == await replan(here)


async def test_a_share_that_another_grant_took_over_is_withdrawn_with_its_own_reason(here: World) -> None:
    older = await here.give(CAF, MOVED, FAMILY, BOTH, expires_at=here.clock() + DAY)
    here.clock.pass_(1)
    younger = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)

    _, (first, second) = await replan(here)

    assert (older.grant.id, DeliveryState.WITHHELD, Reason.EXPIRED) == (first.grant_id, first.state, first.reason)
    assert (younger.grant.id, DeliveryState.PENDING, None) == (second.grant_id, second.state, second.reason)


async def test_a_share_that_a_mandate_took_over_was_narrowed(here: World) -> None:
    consent = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    mandate = await here.give(CAF, MOVED, FAMILY, BOTH, basis=law("CSS, art. L583-3"))

    _, (first, second) = await replan(here, newer=mandate.grant.id)

    assert (consent.grant.id, Reason.NARROWED) == (first.grant_id, first.reason)
    assert (mandate.grant.id, DeliveryState.PENDING) == (second.grant_id, second.state)


async def test_a_withheld_delivery_gets_todays_reason_once(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH, expires_at=here.clock() + DAY)
    await here.declare(MOVED, here.moved())
    await here.home.consents.pause(grant.grant.id, VOICE)
    here.clock.pass_(DAY)

    decision, (delivery,) = await replan(here)
    assert Deny(Reason.EXPIRED) == decision
    assert (DeliveryState.WITHHELD, Reason.EXPIRED) == (delivery.state, delivery.reason)
    told = await here.entries(FactKind.WITHHELD)
    await replan(here)
    assert told == await here.entries(FactKind.WITHHELD)


async def test_an_acknowledgement_ends_what_was_planned_again_meanwhile(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)

    await here.inbox(CAF).acknowledge_all({delivery.delivery_id: Applied(None)})

    assert [DeliveryState.APPLIED] == [one.state for one in await planned(here)]

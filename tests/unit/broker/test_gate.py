"""The gate: nothing opens unless its consent stands at that moment, and every answer has its entry before it."""

import pytest

from broker.gate import MOST
from connectors.contract import Applied
from consent.grant import Scope
from schemas.delivery import WITHHELD
from schemas.entry import EntryKind
from schemas.errors import Refused
from schemas.names import DeliveryId, Reason
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, VOICE, World

pytestmark = pytest.mark.asyncio


async def test_a_release_hands_over_the_granted_fields_and_no_other(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "phone"])
    await here.declare(MOVED, here.moved(phone="+33612345678"))

    (delivery,) = await here.take(CAF)

    assert ("subject", "new_address") == delivery.disclosed
    assert "35000" == delivery.record["new_address"]["postcode"]
    assert WITHHELD is delivery.record["phone"]
    assert "consent" == delivery.basis


async def test_the_entry_that_a_statement_names_is_in_the_ledger(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())

    (delivery,) = await here.take(CAF)

    (released,) = await here.entries(EntryKind.RELEASED)
    assert released.leaf_hash() == delivery.ledger_entry
    assert (delivery.delivery_id, CAF) == (released.delivery, released.recipient)


async def test_a_consent_revoked_while_the_delivery_is_under_way_keeps_it_closed_for_ever(here: World) -> None:
    grant = await here.give(CAF, BANK, FAMILY, ["iban"])
    await here.declare(BANK, here.bank())
    (leased,) = await here.inbox(CAF).lease(10)

    await here.home.consents.revoke(grant.grant.id, VOICE)
    await here.step()
    pulled = await here.inbox(CAF).release([leased.id])

    assert () == pulled.locked
    assert [(leased.id, Reason.REVOKED)] == [(one.delivery_id, one.reason) for one in pulled.withheld]
    assert [] == await here.entries(EntryKind.RELEASED)
    assert [Reason.REVOKED] == [entry.reason for entry in await here.entries(EntryKind.WITHHELD)]


async def test_a_delivery_asked_for_again_is_released_again_while_the_consent_stands(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (first,) = await here.open(CAF, await inbox.pull(1))

    (again,) = await here.open(CAF, await inbox.release([first.delivery_id]))

    assert first.delivery_id == again.delivery_id
    assert 2 == len(await here.entries(EntryKind.RELEASED))


async def test_a_revocation_after_a_release_closes_the_delivery_when_it_is_asked_for_again(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (first,) = await here.open(CAF, await inbox.pull(1))

    await here.home.consents.revoke(grant.grant.id, VOICE)
    again = await inbox.release([first.delivery_id])

    assert [Reason.REVOKED] == [one.reason for one in again.withheld]
    await inbox.acknowledge(first.delivery_id, Applied(None))  # what was rightly released may still be acknowledged


async def test_a_delivery_whose_consent_has_ended_meanwhile_stays_closed(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"], expires_at=here.clock() + DAY)
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)

    here.clock.pass_(DAY)
    pulled = await here.inbox(CAF).release([leased.id])

    assert [Reason.EXPIRED] == [one.reason for one in pulled.withheld]


async def test_a_delivery_of_an_ended_subscription_stays_closed(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, here.subscriptions[CAF, MOVED].id, here.clock())

    pulled = await here.inbox(CAF).release([leased.id])

    assert [Reason.ENDED] == [one.reason for one in pulled.withheld]


async def test_a_delivery_of_a_destroyed_epoch_stays_closed(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    (old,) = await here.home.epochs.gate_epochs()
    await here.home.epochs.open_gate(here.home.settings.hpke_suite, 0)
    here.clock.pass_(1)
    await here.home.epochs.destroy_gate(old.kid)

    pulled = await here.inbox(CAF).release([leased.id])

    assert [Reason.EPOCH_DESTROYED] == [one.reason for one in pulled.withheld]


async def test_a_once_grant_opens_the_declaration_it_is_bound_to(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"], scope=Scope.ONCE)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(effective_date="2027-01-01"))

    assert 1 == len(await here.take(CAF))
    assert [Reason.ONCE_USED] == [
        entry.reason for entry in await here.entries(EntryKind.WITHHELD) if entry.recipient == CAF
    ]


async def test_one_closed_delivery_does_not_close_the_others_of_the_same_call(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, BANK, FAMILY, ["iban"], person=here.bank()["subject"] | {"given_names": ["Yann"]})
    await here.declare(MOVED, here.moved())
    await here.declare(BANK, here.bank(here.bank()["subject"] | {"given_names": ["Yann"]}))
    leased = await here.inbox(CAF).lease(10)
    await here.home.consents.revoke(grant.grant.id, VOICE)

    pulled = await here.inbox(CAF).release([one.id for one in leased])

    assert 1 == len(pulled.locked)
    assert [Reason.REVOKED] == [one.reason for one in pulled.withheld]
    (opened,) = await here.open(CAF, pulled)
    assert BANK == opened.event_type


async def test_another_administrations_delivery_is_unknown(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)

    with pytest.raises(Refused) as refused:
        await here.inbox(CPAM).release([leased.id])

    assert ("gate.unknown-delivery", "/deliveries/0") == (refused.value.code, refused.value.pointer)


async def test_a_delivery_that_was_not_handed_out_is_not_released(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (waiting,) = await here.inbox(CAF).ready(1)

    with pytest.raises(Refused) as refused:
        await here.inbox(CAF).release([waiting.delivery_id])

    assert "gate.not-handed" == refused.value.code


async def test_a_delivery_that_has_ended_is_not_released_again(here: World) -> None:
    await here.give(CPAM, MOVED, HEALTH, ["subject"])
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.take(CPAM)

    with pytest.raises(Refused) as refused:
        await here.inbox(CPAM).release([delivery.delivery_id])

    assert "gate.ended" == refused.value.code


async def test_the_same_delivery_twice_in_one_call_is_refused(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.inbox(CAF).release([DeliveryId(bytes(16))] * 2)

    assert "gate.repeated" == refused.value.code


async def test_too_many_deliveries_in_one_call_are_refused(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.inbox(CAF).release([DeliveryId(bytes(14) + n.to_bytes(2, "big")) for n in range(MOST + 1)])

    assert "gate.too-many" == refused.value.code

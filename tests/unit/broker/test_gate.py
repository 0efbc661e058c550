"""The gate: nothing opens unless its consent stands at that moment, and every answer has its entry before it."""

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import delete, insert, select, text, update
from structlog.testing import capture_logs

from broker.flow.deliveries import DeliveryState, load
from broker.flow.gate import MOST
from broker.ports import KeyKind
from broker.store.tables import declarations, deliveries, ledger_openings
from connectors.contract import Applied
from consent.grant import Scope
from schemas.delivery import WITHHELD
from schemas.envelope import SignedDeclaration
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import DeclarationId, DeliveryId, GrantId, Reason
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, PORTAL, VOICE, YANN, World, world

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

    ((leaf, released),) = await here.told(FactKind.RELEASED)
    assert leaf == delivery.ledger_entry
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
    assert [] == await here.entries(FactKind.RELEASED)
    assert [Reason.REVOKED] == [entry.reason for entry in await here.entries(FactKind.WITHHELD)]


async def test_a_delivery_asked_for_again_is_released_again_while_the_consent_stands(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (first,) = await here.open(CAF, await inbox.pull(1))

    here.clock.pass_(DAY)  # the lease is over, and it is a release of its own
    (again,) = await here.open(CAF, await inbox.release([first.delivery_id]))

    assert first.delivery_id == again.delivery_id
    assert [first.ledger_entry, again.ledger_entry] == [leaf for leaf, _ in await here.told(FactKind.RELEASED)]


async def test_what_is_asked_for_twice_within_its_lease_is_one_fact(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (first,) = await here.open(CAF, await inbox.pull(1))

    here.clock.pass_(1_000)
    again = [await here.open(CAF, await inbox.release([first.delivery_id])) for _ in range(2)]

    assert [[first.ledger_entry]] * 2 == [[one.ledger_entry for one in opened] for opened in again]
    assert [first.ledger_entry] == [leaf for leaf, _ in await here.told(FactKind.RELEASED)]


async def test_a_release_to_a_new_key_within_the_lease_is_a_fact_of_its_own(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (first,) = await here.open(CAF, await inbox.pull(1))
    here.clock.pass_(1)
    await here.home.parties.rotate(CAF, DAY)

    (again,) = await here.open(CAF, await inbox.release([first.delivery_id]))

    told = await here.told(FactKind.RELEASED)
    assert [first.ledger_entry, again.ledger_entry] == [leaf for leaf, _ in told]
    assert 2 == len({facts.sealed_to for _, facts in told})


async def test_a_release_of_what_was_planned_anew_within_the_lease_is_a_fact_of_its_own(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (first,) = await here.open(CAF, await inbox.pull(1))

    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)
    (again,) = await here.open(CAF, await inbox.pull(1))

    assert (first.delivery_id, ("subject",)) == (again.delivery_id, again.disclosed)
    assert [first.ledger_entry, again.ledger_entry] == [leaf for leaf, _ in await here.told(FactKind.RELEASED)]


async def test_a_release_that_is_not_opened_any_more_is_a_fact_of_its_own(here: World) -> None:
    """What the first one says was erased: nobody can say that this is the same."""
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (first,) = await here.open(CAF, await inbox.pull(1))
    of_first = ledger_openings.c.leaf == first.ledger_entry
    async with here.home.store.begin() as tx:
        kept = (await tx.execute(select(ledger_openings).where(of_first))).one()
        await tx.execute(delete(ledger_openings).where(of_first))

    (again,) = await here.open(CAF, await inbox.release([first.delivery_id]))

    assert first.ledger_entry != again.ledger_entry
    async with here.home.store.begin() as tx:
        await tx.execute(insert(ledger_openings), dict(kept._mapping))


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


async def end_and_ask_again(here: World) -> bytes:
    """CAF's subscription to moves ends, and is asked for anew, for the identity alone."""
    subscription = here.subscriptions[CAF, MOVED]
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, subscription.id, here.clock())
        again = await here.home.subscribing.ask(
            tx,
            here.home.entropy(16),
            recipient=CAF,
            event_type=MOVED,
            purpose=FAMILY,
            fields=frozenset({"subject"}),
            territories=None,
        )
    return again.id


async def test_an_end_withholds_what_is_on_its_way_and_what_a_pause_holds_back(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    await here.home.consents.pause(grant.grant.id, VOICE)
    await here.declare(MOVED, here.moved())

    again = await end_and_ask_again(here)
    async with here.home.store.begin() as tx:
        await here.home.subscribing.approve(tx, again, "CSS, art. L583-3", here.clock())
    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [] == await here.take(CAF)
    track = [await here.home.tracking.track(entry_id) for entry_id in await declared(here)]
    assert [Reason.ENDED, Reason.ENDED] == [step.reason for one in track for step in one.steps if step.recipient == CAF]


async def test_what_was_asked_for_anew_opens_nothing_before_it_is_approved(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (first,) = await here.open(CAF, await here.inbox(CAF).pull(1))

    await end_and_ask_again(here)

    assert [Reason.ENDED] == [one.reason for one in (await here.inbox(CAF).release([first.delivery_id])).withheld]


async def test_an_approval_for_less_closes_what_was_released_under_the_one_before(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    (first,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    again = await end_and_ask_again(here)
    async with here.home.store.begin() as tx:
        await here.home.subscribing.approve(tx, again, "CSS, art. L583-3", here.clock())

    pulled = await here.inbox(CAF).release([first.delivery_id])

    assert [Reason.ENDED] == [one.reason for one in pulled.withheld]


async def test_what_a_faulty_source_sealed_to_nobody_is_parked_and_closes_nothing_else(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    signed = SignedDeclaration.decode(await here.home.desk.envelope(PORTAL, MOVED, here.moved()))
    noise = bytes(len(signed.sealed_dek))
    await here.home.intake.accept(replace(signed, sealed_dek=noise).encode())
    await here.declare(MOVED, here.moved(YANN))
    await here.declare(MOVED, here.moved())

    pulled = await here.inbox(CAF).pull(10)

    assert [Reason.INVALID_ENVELOPE] == [one.reason for one in pulled.withheld]
    assert 1 == len(await here.open(CAF, pulled))
    assert 1 == len(await here.entries(FactKind.RELEASED))
    (letter,) = await here.home.dead_letters.list()
    assert ("sealing.cannot-open-dek", CAF, Reason.INVALID_ENVELOPE) == (letter.code, letter.recipient, letter.reason)
    assert 1 == len(await here.take(CAF))  # the citizen's next one flows


async def test_a_lock_that_was_damaged_is_parked_and_a_replay_makes_another(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    async with here.home.store.begin() as tx:
        locked = (await tx.execute(select(deliveries.c.locked))).scalar_one()
        await tx.execute(update(deliveries).values(locked=locked[:-1] + bytes([locked[-1] ^ 1])))

    pulled = await here.inbox(CAF).pull(10)
    assert [Reason.INVALID_ENVELOPE] == [one.reason for one in pulled.withheld]
    (letter,) = await here.home.dead_letters.list()
    assert "release.cannot-unlock" == letter.code
    await here.home.dead_letters.replay(letter.id)

    assert 1 == len(await here.take(CAF))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE deliveries SET subject = zeroblob(32) WHERE seq = 1",
        "UPDATE deliveries SET grant_id = zeroblob(16) WHERE seq = 1",
        "UPDATE deliveries SET grant_id = (SELECT grant_id FROM deliveries WHERE seq = 2) WHERE seq = 1",
        "DELETE FROM consent_keys WHERE grant_id = (SELECT grant_id FROM deliveries WHERE seq = 1)",
    ],
)
async def test_what_contradicts_its_grant_waits_where_it_is_and_everybody_else_goes_on(
    tmp_path: Path, statement: str
) -> None:
    async with world(tmp_path) as here:
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
        await here.declare(MOVED, here.moved())
        await here.declare(MOVED, here.moved(YANN))
        async with here.home.store.begin() as tx:
            await tx.conn.execute(text(statement))
        first, second = await here.inbox(CAF).due(10)

        with capture_logs() as said:
            pulled = await here.inbox(CAF).pull(10)

        assert [second.id] == [one.delivery_id for one in pulled.locked]
        assert [(first.id, Reason.UNSOUND)] == [(one.delivery_id, one.reason) for one in pulled.withheld]
        assert [second.id] == [entry.delivery for entry in await here.entries(FactKind.RELEASED)]
        async with here.home.store.read() as tx:
            waits, goes = await load(tx)
        assert (DeliveryState.PENDING, 0) == (waits.state, waits.attempts)
        assert DeliveryState.RELEASED is goes.state
        assert [("consents.unsound", "error")] == [
            (one["event"], one["log_level"]) for one in said if one["log_level"] != "info"
        ]


async def test_a_gate_without_the_key_of_a_living_epoch_stops_and_nothing_leaves(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.declare(MOVED, here.moved())
        (kid,) = await here.home.epochs.gate_epochs()
        here.home.keys.destroy(KeyKind.GATE, kid.kid.hex())

        with pytest.raises(Corrupt) as stopped:
            await here.inbox(CAF).pull(1)

        assert "gate.key-missing" == stopped.value.code
        assert [] == await here.entries(FactKind.RELEASED)


async def declared(here: World) -> list[DeclarationId]:
    """Every declaration, in order."""
    async with here.home.store.read() as tx:
        rows = await tx.execute(select(declarations.c.declaration_id).order_by(declarations.c.seq))
        return [DeclarationId(row.declaration_id) for row in rows]


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
        entry.reason for entry in await here.entries(FactKind.WITHHELD) if entry.recipient == CAF
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


async def test_nothing_is_released_under_a_grant_that_is_not_locked(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (due,) = await here.inbox(CAF).due(1)

    with pytest.raises(ValueError, match="not locked"):
        await here.home.gate.pull(CAF, [replace(due, grant_id=GrantId(bytes(16)))])

    assert [] == await here.entries(FactKind.RELEASED)
    assert (await here.home.gate.pull(CAF, [due])).locked


async def test_what_is_not_due_any_more_is_absent(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    seen = await here.inbox(CAF).due(10)
    taken = await here.inbox(CAF).pull(1)

    left = await here.home.gate.pull(CAF, seen)

    assert [seen[0].id] == [one.delivery_id for one in taken.locked]
    assert [seen[1].id] == [one.delivery_id for one in left.locked]
    assert 2 == len(await here.entries(FactKind.RELEASED))
    await here.step()


async def test_what_was_revoked_between_the_look_and_the_lock_stays_closed(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    due = await here.inbox(CAF).due(10)
    await here.home.consents.revoke(given.grant.id, VOICE)

    assert () == (await here.home.gate.pull(CAF, due)).locked

    assert [] == await here.entries(FactKind.RELEASED)
    await here.step()


def _away(*_: object) -> NoReturn:
    raise Unavailable("keys.unreadable")


async def test_what_the_gate_may_not_open_is_not_handed_out_and_no_attempt_is_spent(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    keyring = here.home.gate._keyring
    monkeypatch.setattr(keyring, "signer", _away)

    with pytest.raises(Unavailable):
        await here.inbox(CAF).pull(1)

    monkeypatch.undo()
    pulled = await here.inbox(CAF).pull(1)
    assert [0] == list(pulled.attempts.values())
    await here.step()


async def test_the_same_delivery_twice_in_one_call_is_refused(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.inbox(CAF).release([DeliveryId(bytes(16))] * 2)

    assert "gate.repeated" == refused.value.code


async def test_too_many_deliveries_in_one_call_are_refused(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.inbox(CAF).release([DeliveryId(bytes(14) + n.to_bytes(2, "big")) for n in range(MOST + 1)])

    assert "gate.too-many" == refused.value.code

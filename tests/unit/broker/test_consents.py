"""What a citizen says, and what follows for everything that is on its way."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from broker.consents import consents as consents_module
from broker.consents.consents import GrantRequest, _unless_over
from broker.flow.arrived import Accepted
from broker.flow.deliveries import DeliveryState, load
from broker.ports import KeyKind
from broker.store.tables import withholdings
from connectors.contract import Applied
from consent.basis import CONSENT, ENDLESS_SINCE, law, longest_end
from consent.grant import Scope, Status
from consent.policy import standing
from consent.tables import consent_keys, grants
from schemas.delivery import VerifiedDelivery
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import DeclarationId, GrantId, Instant, PartyId, Reason
from tests.world import BANK, BREST_ADDRESS, CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, RENNES, TOWN, VOICE, World

pytestmark = pytest.mark.asyncio

BOTH = ["subject", "new_address"]


async def state(here: World) -> list[tuple[DeliveryState, Reason | None]]:
    """Every delivery's state and reason, oldest first."""
    async with here.home.store.read() as tx:
        return [(delivery.state, delivery.reason) for delivery in await load(tx)]


async def withheld(here: World) -> list[Reason]:
    """The reasons of those that got nothing, for the one recipient that tests look at."""
    async with here.home.store.read() as tx:
        rows = await tx.execute(select(withholdings).where(withholdings.c.recipient == CAF))
        return [Reason(row.reason) for row in rows]


async def keys_of(here: World) -> int:
    """How many consent keys there are."""
    async with here.home.store.read() as tx:
        return len((await tx.execute(select(consent_keys))).all())


async def all_taken(here: World, party: PartyId = CAF) -> list[VerifiedDelivery]:
    """Everything that an agency gets, one after the other."""
    got: list[VerifiedDelivery] = []
    while one := await here.take(party):
        got += one
    return got


async def corrected(here: World, wrong: DeclarationId) -> Accepted:
    """The move was to Brest."""
    return await here.declare(MOVED, here.moved(new_commune="29019", new_address=BREST_ADDRESS), corrects=wrong)


async def test_a_revocation_destroys_the_key_and_withholds_what_is_on_its_way(here: World) -> None:
    kept = await here.give(CPAM, MOVED, HEALTH, ["subject"])
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    await here.inbox(CAF).lease(1)
    await here.declare(MOVED, here.moved())

    recorded = await here.home.consents.revoke(grant.grant.id, VOICE)

    async with here.home.store.read() as tx:
        assert [kept.grant.id] == [row.grant_id for row in await tx.execute(select(consent_keys))]
    assert Status.REVOKED is recorded.grant.status
    assert [(DeliveryState.WITHHELD, Reason.REVOKED)] * 2 == [one for one in await state(here) if one[1] is not None]
    assert [recorded.entry] == [leaf for leaf, _ in await here.told(FactKind.REVOKED)]
    assert [] == await here.take(CAF)


async def test_a_revocation_lets_what_was_released_be_acknowledged(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.open(CAF, await here.inbox(CAF).pull(1))

    await here.home.consents.revoke(grant.grant.id, VOICE)
    await here.step()

    assert {} == await here.inbox(CAF).acknowledge_all({delivery.delivery_id: Applied(None)})
    assert [(DeliveryState.APPLIED, None)] == await state(here)


async def test_a_mandate_is_not_the_citizens_to_end_but_an_operators(here: World) -> None:
    mandate = await here.give(RENNES, MOVED, TOWN, BOTH, basis=law("CGCT, art. L2121-29"))
    consents = here.home.consents
    for change in (consents.revoke, consents.pause, consents.resume):
        with pytest.raises(Refused) as refused:
            await change(mandate.grant.id, VOICE)
        assert "grant.mandate" == refused.value.code

    await here.declare(MOVED, here.moved())
    await consents.end_mandate(mandate.grant.id, VOICE)

    assert [] == await here.take(RENNES)
    assert [(DeliveryState.WITHHELD, Reason.REVOKED)] == await state(here)
    assert 0 == await keys_of(here)


async def test_a_consent_without_an_end_ends_after_24_months(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, BOTH)
    assert longest_end(given.grant.starts_at) == given.grant.expires_at
    with pytest.raises(Refused) as refused:
        await here.give(CAF, MOVED, FAMILY, BOTH, expires_at=Instant(here.clock.now + 1000 * DAY))
    assert ("grant.too-long", "/expires_at") == (refused.value.code, refused.value.pointer)


async def test_an_endless_consent_of_before_stands_no_longer_than_24_months_and_is_closed(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(consents_module, "end_of", lambda basis, starts_at, wished: wished)
        given = await here.give(CAF, MOVED, FAMILY, BOTH)
    assert None is given.grant.expires_at
    here.clock.now = Instant(longest_end(ENDLESS_SINCE) - 1)
    assert 0 == await here.home.consents.expire_due()

    here.clock.now = longest_end(ENDLESS_SINCE)
    assert Reason.EXPIRED is standing(given.grant, here.clock.now)
    assert 1 == await here.home.consents.expire_due()
    assert 0 == await here.home.consents.expire_due()
    (grant,) = await here.home.consents.of(here.subject())
    assert Status.EXPIRED is grant.status
    assert 0 == await keys_of(here)


async def test_a_consent_cannot_be_ended_as_a_mandate(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)

    with pytest.raises(Refused) as refused:
        await here.home.consents.end_mandate(grant.grant.id, VOICE)

    assert "grant.not-a-mandate" == refused.value.code


@pytest.mark.parametrize("change", ["revoke", "pause", "resume", "end_mandate", "narrow"])
async def test_a_change_of_what_nobody_gave_is_refused(here: World, change: str) -> None:
    more: list[Any] = [frozenset({"subject"})] if change == "narrow" else []

    with pytest.raises(Refused) as refused:
        await getattr(here.home.consents, change)(GrantId(bytes(16)), *more, VOICE)

    assert ("consents.unknown-grant", "/grant") == (refused.value.code, refused.value.pointer)


async def test_a_grant_to_a_party_that_nobody_knows_leaves_nothing(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.give(PartyId("urn:unefois:nobody"), MOVED, FAMILY, BOTH)

    assert "directory.unknown-party" == refused.value.code
    assert 0 == await keys_of(here)
    assert [] == await here.entries(FactKind.GRANTED)


async def test_a_grant_for_a_field_that_the_type_does_not_have_is_refused_at_its_place(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.give(CAF, MOVED, FAMILY, ["subject", "iban"])

    assert ("grant.unknown-field", "/fields/iban") == (refused.value.code, refused.value.pointer)


async def test_without_an_epoch_key_no_consent_is_taken(here: World) -> None:
    (epoch,) = here.home.keyring.consent_epochs()
    secret = here.home.keys.read(KeyKind.CONSENT_EPOCH, str(epoch))
    here.home.keys.destroy(KeyKind.CONSENT_EPOCH, str(epoch))

    with pytest.raises(Unavailable) as away:
        await here.give(CAF, MOVED, FAMILY, BOTH)

    assert "consents.no-epoch-key" == away.value.code
    here.home.keys.write(KeyKind.CONSENT_EPOCH, str(epoch), secret)


async def test_a_key_that_no_book_knows_wraps_nothing(here: World) -> None:
    # nobody knows whose it is, and one day it will be destroyed, with all that it wrapped
    here.home.keys.write(KeyKind.CONSENT_EPOCH, "99", bytes(32))

    await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.home.epochs.destroy_unknown("99")

    await here.declare(MOVED, here.moved())
    assert 1 == len(await here.take(CAF))


async def test_a_pause_holds_back_what_was_planned_and_what_comes_and_a_resume_delivers_in_order(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    sent = [await here.declare(MOVED, here.moved())]
    await here.home.consents.pause(grant.grant.id, VOICE)
    sent += [await here.declare(MOVED, here.moved()), await here.declare(MOVED, here.moved())]

    assert [] == await here.take(CAF)
    assert [(DeliveryState.WITHHELD, Reason.PAUSED)] == await state(here)
    assert [Reason.PAUSED] * 2 == await withheld(here)
    await here.step()

    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [one.declaration_id for one in sent] == [one.declaration_id for one in await all_taken(here)]
    assert [] == await withheld(here)


async def test_a_pause_between_two_pulls_closes_what_was_released_before(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    (first,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    await here.home.consents.pause(grant.grant.id, VOICE)

    assert [Reason.PAUSED] == [one.reason for one in (await here.inbox(CAF).release([first.delivery_id])).withheld]
    await here.home.consents.resume(grant.grant.id, VOICE)
    assert [first.delivery_id] == [one.delivery_id for one in await here.take(CAF)]


async def test_a_pause_holds_a_correction_back_with_what_it_corrects(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.home.consents.pause(grant.grant.id, VOICE)
    wrong = await here.declare(MOVED, here.moved())
    right = await here.declare(
        MOVED, here.moved(new_commune="29019", new_address=BREST_ADDRESS), corrects=wrong.declaration_id
    )

    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [wrong.declaration_id, right.declaration_id] == [one.declaration_id for one in await all_taken(here)]


async def test_a_pause_of_what_was_planned_holds_its_correction_back_too(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    wrong = await here.declare(MOVED, here.moved())
    await here.home.consents.pause(grant.grant.id, VOICE)
    right = await here.declare(
        MOVED, here.moved(new_commune="29019", new_address=BREST_ADDRESS), corrects=wrong.declaration_id
    )

    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [wrong.declaration_id, right.declaration_id] == [one.declaration_id for one in await all_taken(here)]


@pytest.mark.parametrize("ending", ["revoked", "expired"])
async def test_a_pause_that_ends_with_the_consent_says_so_and_nothing_comes_back(here: World, ending: str) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH, expires_at=here.clock() + DAY)
    await here.declare(MOVED, here.moved())
    await here.home.consents.pause(grant.grant.id, VOICE)
    await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)

    if ending == "revoked":
        await here.home.consents.revoke(grant.grant.id, VOICE)
    else:
        assert 1 == await here.home.consents.expire_due()

    assert [(DeliveryState.WITHHELD, Reason(ending))] == await state(here)
    assert [Reason(ending)] == await withheld(here)
    # neither a new consent nor its own pause and resume wakes them
    again = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.home.consents.pause(again.grant.id, VOICE)
    await here.home.consents.resume(again.grant.id, VOICE)
    assert [] == await here.take(CAF)


async def test_a_newer_consents_resume_does_not_bring_what_an_older_ones_pause_holds(here: World) -> None:
    older = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.home.consents.pause(older.grant.id, VOICE)
    await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)
    newer = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "household"])
    await here.home.consents.pause(newer.grant.id, VOICE)
    await here.home.consents.resume(newer.grant.id, VOICE)

    assert [] == await here.take(CAF)
    assert [Reason.PAUSED] == await withheld(here)

    await here.home.consents.resume(older.grant.id, VOICE)
    assert [tuple(BOTH)] == [one.disclosed for one in await all_taken(here)]  # and no field of the newer one's


async def test_a_narrowing_plans_anew_what_is_on_its_way(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    await here.inbox(CAF).lease(1)

    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)

    (delivery,) = await here.take(CAF)
    assert (("subject",), 2) == (delivery.disclosed, delivery.grant_version)
    assert 2 == len(await here.entries(FactKind.PLANNED))


async def test_an_acknowledgement_of_what_was_released_before_the_narrowing_counts(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)
    await here.step()

    assert {} == await here.inbox(CAF).acknowledge_all({delivery.delivery_id: Applied(None)})

    assert [(DeliveryState.APPLIED, None)] == await state(here)
    assert [] == await here.take(CAF)


async def test_a_narrowing_to_nothing_that_is_asked_for_withholds(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject", "phone"])
    await here.declare(MOVED, here.moved())

    await here.home.consents.narrow(grant.grant.id, frozenset({"phone"}), VOICE)

    assert [(DeliveryState.WITHHELD, Reason.NO_FIELDS)] == await state(here)
    assert [] == await withheld(here)  # the delivery says it, once


async def test_a_narrowing_in_a_pause_holds_when_the_pause_ends(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    await here.home.consents.pause(grant.grant.id, VOICE)
    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)
    assert [] == await here.take(CAF)

    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [("subject",)] == [one.disclosed for one in await all_taken(here)]


async def test_a_narrowing_does_not_let_a_younger_consent_reach_back(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)
    await here.give(CAF, MOVED, FAMILY, ["household", "new_address"])

    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)

    assert [("subject",)] == [one.disclosed for one in await all_taken(here)]


async def test_a_narrowing_leaves_applied_and_dead_deliveries_as_they_are(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)

    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)

    assert [(DeliveryState.APPLIED, None)] == await state(here)


async def latest_of(here: World, **more: Any) -> list[tuple[DeclarationId, tuple[str, ...]]]:
    """What a new consent with the wish for the latest declaration brings."""
    here.clock.pass_(DAY)
    await here.give(CAF, MOVED, FAMILY, BOTH, include_latest=True, **more)
    return [(one.declaration_id, one.disclosed) for one in await all_taken(here)]


async def test_a_new_consent_brings_nothing_from_before(here: World) -> None:
    await here.declare(MOVED, here.moved())
    await here.give(CAF, MOVED, FAMILY, BOTH)

    assert [] == await here.take(CAF)


async def test_a_new_consent_brings_the_latest_when_that_is_wished_and_only_it(here: World) -> None:
    await here.declare(MOVED, here.moved())
    latest = await here.declare(MOVED, here.moved())
    await here.declare(BANK, here.bank())

    assert [(latest.declaration_id, tuple(BOTH))] == await latest_of(here)


async def test_a_wish_for_the_latest_where_there_is_none_is_no_error(here: World) -> None:
    assert [] == await latest_of(here)


async def test_the_latest_is_a_correction_and_later_corrections_follow(here: World) -> None:
    wrong = await here.declare(MOVED, here.moved())
    right = await here.declare(MOVED, here.moved(), corrects=wrong.declaration_id)

    assert [(right.declaration_id, tuple(BOTH))] == await latest_of(here)
    better = await here.declare(MOVED, here.moved(), corrects=right.declaration_id)
    assert [better.declaration_id] == [one.declaration_id for one in await all_taken(here)]


async def test_the_latest_reaches_only_the_one_who_was_allowed(here: World) -> None:
    await here.declare(MOVED, here.moved())
    await latest_of(here)

    assert [] == await here.take(CPAM)
    assert [] == await here.take(RENNES)


async def test_the_latest_leaves_what_an_older_consent_has_on_its_way_as_it_is(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    here.clock.pass_(1)

    await here.give(CAF, MOVED, FAMILY, BOTH, include_latest=True)

    assert [] == await here.inbox(CAF).lease(1)  # still leased, still first in line
    await here.inbox(CAF).release([leased.id])
    await here.inbox(CAF).acknowledge_all({leased.id: Applied(None)})
    assert [("new_address",)] == [one.disclosed for one in await all_taken(here)]


async def test_the_latest_comes_again_under_a_new_consent_after_a_revocation(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    declared = await here.declare(MOVED, here.moved())
    await here.home.consents.revoke(grant.grant.id, VOICE)

    assert [(declared.declaration_id, tuple(BOTH))] == await latest_of(here)


async def test_a_once_consent_is_bound_to_the_first_declaration_and_pausing_it_keeps_that(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH, scope=Scope.ONCE)
    first = await here.declare(MOVED, here.moved())
    await here.home.consents.pause(grant.grant.id, VOICE)
    await here.declare(MOVED, here.moved())
    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [first.declaration_id] == [one.declaration_id for one in await all_taken(here)]
    (head,) = await here.home.consents.of(here.subject())
    assert (first.declaration_id, 4) == (head.once_for, head.version)


async def test_two_declarations_in_one_batch_spend_a_once_consent_once(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH, scope=Scope.ONCE)
    first = await here.declare(MOVED, here.moved(), route=False)
    await here.declare(MOVED, here.moved(), route=False)
    await here.home.router.route()

    assert [first.declaration_id] == [one.declaration_id for one in await all_taken(here)]
    assert [Reason.ONCE_USED] == await withheld(here)


async def test_a_once_consent_paused_while_unbound_is_bound_when_the_pause_ends(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH, scope=Scope.ONCE)
    await here.home.consents.pause(grant.grant.id, VOICE)
    first = await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved())

    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [first.declaration_id] == [one.declaration_id for one in await all_taken(here)]


async def test_a_grant_ends_at_its_end_date_and_not_before(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH, expires_at=here.clock() + DAY)
    await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY - 1)
    assert 0 == await here.home.consents.expire_due()
    here.clock.pass_(1)

    assert 1 == await here.home.consents.expire_due()
    assert 0 == await here.home.consents.expire_due()

    assert [(DeliveryState.WITHHELD, Reason.EXPIRED)] == await state(here)
    assert 0 == await keys_of(here)
    assert 1 == len(await here.entries(FactKind.EXPIRED))


async def test_revoking_everything_spares_mandates_and_other_people(here: World) -> None:
    mandate = await here.give(RENNES, MOVED, TOWN, BOTH, basis=law("CGCT, art. L2121-29"))
    paused = await here.give(CAF, MOVED, FAMILY, BOTH)
    await here.home.consents.pause(paused.grant.id, VOICE)
    await here.give(CPAM, MOVED, HEALTH, BOTH)
    other = await here.give(CAF, MOVED, FAMILY, BOTH, person=ELISE | {"given_names": ["Yann"]})

    ended = await here.home.consents.revoke_all(here.subject(), VOICE)

    assert 2 == len(ended)
    assert all(recorded.grant.status is Status.REVOKED for recorded in ended)
    async with here.home.store.read() as tx:
        living = {row.id for row in await tx.execute(select(grants).where(grants.c.status == "active"))}
    assert {mandate.grant.id, other.grant.id} == living
    assert [] == await here.home.consents.revoke_all(here.subject(), VOICE)


async def test_revoking_everything_goes_on_where_somebody_else_was_faster(here: World) -> None:
    for party, purpose in ((CAF, FAMILY), (CPAM, HEALTH)):
        await here.give(party, MOVED, purpose, BOTH)

    twice = await asyncio.gather(*(here.home.consents.revoke_all(here.subject(), VOICE) for _ in range(2)))

    assert 2 == sum(len(ended) for ended in twice)
    assert 0 == await keys_of(here)


async def test_two_processes_that_end_what_is_due_end_each_grant_once(here: World) -> None:
    for _ in range(3):
        await here.give(CAF, MOVED, FAMILY, BOTH, expires_at=here.clock() + 1)
    here.clock.pass_(1)

    counts = await asyncio.gather(*(here.home.consents.expire_due() for _ in range(2)))

    assert 3 == sum(counts)
    assert 3 == len(await here.entries(FactKind.EXPIRED))


async def test_a_refusal_other_than_an_end_is_not_swallowed(here: World) -> None:
    mandate = await here.give(RENNES, MOVED, TOWN, BOTH, basis=law("CGCT, art. L2121-29"))

    with pytest.raises(Refused) as refused:
        await _unless_over(here.home.consents.revoke(mandate.grant.id, VOICE))

    assert "grant.mandate" == refused.value.code


async def test_every_change_is_a_version_with_its_own_entry(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    consents = here.home.consents
    told = [
        grant,
        await consents.pause(grant.grant.id, VOICE),
        await consents.resume(grant.grant.id, VOICE),
        await consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE),
        await consents.revoke(grant.grant.id, VOICE),
    ]

    kinds = (FactKind.GRANTED, FactKind.CHANGED, FactKind.REVOKED)
    entries = await here.told(*kinds)
    assert [1, 2, 3, 4, 5] == [recorded.grant.version for recorded in told]
    assert [recorded.entry for recorded in told] == [leaf for leaf, _ in entries]
    with pytest.raises(Refused) as refused:
        await consents.revoke(grant.grant.id, VOICE)
    assert "grant.over" == refused.value.code


async def test_a_wish_may_begin_later_and_then_stands_for_what_comes_then(here: World) -> None:
    await here.home.consents.give(
        GrantRequest(
            subject=here.subject(),
            recipient=CAF,
            event_type=MOVED,
            purpose=FAMILY,
            fields=frozenset(BOTH),
            basis=CONSENT,
            voice=VOICE,
            starts_at=here.clock() + DAY,
        )
    )
    await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)
    later = await here.declare(MOVED, here.moved())

    assert [later.declaration_id] == [one.declaration_id for one in await all_taken(here)]

"""The router: offset and effects are one, what cannot be read is parked, what was not accepted has no effect."""

import pytest
from sqlalchemy import delete, select, update

from broker.flow.offsets import LostOwnership
from broker.flow.router import TOPIC
from broker.store.tables import consumed, dead_letters, declarations, deliveries, submissions, withholdings
from consent.basis import law
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Reason
from tests.world import BANK, BREST_ADDRESS, CAF, CPAM, FAMILY, HEALTH, MOVED, PORTAL, RENNES, TOWN, VOICE, YANN, World

pytestmark = pytest.mark.asyncio


async def reasons(here: World) -> dict[str, Reason]:
    """Who got nothing, and why."""
    async with here.home.store.read() as tx:
        return {row.recipient: Reason(row.reason) for row in await tx.execute(select(withholdings))}


async def test_each_recipient_gets_the_fields_of_its_own_grant(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "household"])
    await here.give(CPAM, MOVED, HEALTH, ["subject", "phone"])
    await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"], basis=law("CGCT, art. L2121-29"))
    await here.declare(MOVED, here.moved())

    disclosed = {party: (await here.take(party))[0].disclosed for party in (CAF, CPAM, RENNES)}

    assert {
        CAF: ("subject", "household"),
        CPAM: ("subject", "phone"),
        RENNES: ("subject", "new_address"),
    } == disclosed


async def test_without_a_grant_nothing_goes_out_and_the_reason_is_written_down(here: World) -> None:
    await here.declare(MOVED, here.moved())

    assert {CAF: Reason.NO_GRANT, CPAM: Reason.NO_GRANT, RENNES: Reason.NO_GRANT} == await reasons(here)
    assert [] == await here.entries(FactKind.WITHHELD)  # that somebody asks for a purpose is no fact about anybody


async def test_a_town_that_is_not_concerned_leaves_no_trace(here: World) -> None:
    await here.declare(MOVED, here.moved(new_commune="29019", new_address=BREST_ADDRESS))

    assert {CAF, CPAM} == set(await reasons(here))


async def test_a_grant_for_another_purpose_opens_nothing(here: World) -> None:
    await here.give(CAF, MOVED, HEALTH, ["subject"])
    await here.declare(MOVED, here.moved())

    assert Reason.PURPOSE == (await reasons(here))[CAF]


async def test_a_grant_for_other_fields_than_were_asked_for_opens_nothing(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["phone"])
    await here.declare(MOVED, here.moved())

    assert Reason.NO_FIELDS == (await reasons(here))[CAF]


async def test_a_grant_that_begins_later_opens_nothing_yet(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"], starts_at=here.clock() + 1)
    await here.declare(MOVED, here.moved())

    assert Reason.NOT_YET == (await reasons(here))[CAF]


async def test_a_paused_a_revoked_and_an_expired_grant_say_so(here: World) -> None:
    paused = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.consents.pause(paused.grant.id, VOICE)
    revoked = await here.give(CPAM, MOVED, HEALTH, ["subject"])
    await here.home.consents.revoke(revoked.grant.id, VOICE)
    await here.give(RENNES, MOVED, TOWN, ["subject"], expires_at=here.clock() + 1)
    here.clock.pass_(1)
    await here.declare(MOVED, here.moved())

    assert {CAF: Reason.PAUSED, CPAM: Reason.REVOKED, RENNES: Reason.EXPIRED} == await reasons(here)


async def test_a_subscription_that_was_only_asked_for_gets_nothing(here: World) -> None:
    async with here.home.store.begin() as tx:
        await here.home.subscribing.ask(
            tx, bytes(16), recipient=CPAM, event_type=BANK, purpose=HEALTH, fields=frozenset({"iban"}), territories=None
        )
    await here.give(CPAM, BANK, HEALTH, ["iban"])
    await here.declare(BANK, here.bank())

    assert Reason.NOT_APPROVED == (await reasons(here))[CPAM]


async def test_several_grants_for_one_purpose_share_the_fields_and_none_comes_twice(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    here.clock.pass_(1)
    await here.give(CAF, MOVED, FAMILY, ["new_address", "household"])
    await here.declare(MOVED, here.moved())

    first, second = [*await here.take(CAF), *await here.take(CAF)]

    assert (("subject", "new_address"), ("household",)) == (first.disclosed, second.disclosed)
    assert first.declaration_id == second.declaration_id


async def test_a_record_written_behind_the_intakes_back_is_parked_and_the_next_goes_on(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    forged = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    await here.home.log.append(TOPIC, b"anybody", forged, {})
    await here.declare(MOVED, here.moved(YANN), route=False)
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)

    assert 2 == await here.home.router.route()

    (letter,) = await here.home.dead_letters.list()
    assert ("router.not-accepted", "declarations/0/0") == (letter.code, letter.place)
    assert 1 == len(await here.take(CAF))


async def test_what_is_no_envelope_at_all_is_parked_with_its_bytes(here: World) -> None:
    await here.home.log.append(TOPIC, b"anybody", b"noise", {})
    await here.home.router.route()

    async with here.home.store.read() as tx:
        assert b"noise" == (await tx.execute(select(dead_letters.c.record))).scalar_one()


async def test_a_record_that_comes_twice_has_its_effects_once(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    raw = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    await here.home.intake.accept(raw)
    await here.home.log.append(TOPIC, b"again", raw, {})

    assert 2 == await here.home.router.route()

    assert 1 == len(await here.entries(FactKind.RECEIVED))
    assert 1 == len(await here.take(CAF))


async def test_who_lost_the_partition_writes_nothing(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(), route=False)
    read = here.home.log.read

    async def overtaken(*args: int | str) -> object:
        records = await read(*args)  # type: ignore[arg-type]
        async with here.home.store.begin() as tx:
            await tx.execute(update(consumed).values(next_offset=consumed.c.next_offset + 1))
        return records

    here.home.router._log = type("Overtaken", (), {"read": staticmethod(overtaken)})()  # type: ignore[assignment]

    with pytest.raises(LostOwnership):
        await here.home.router.route_batch(0, 1)

    async with here.home.store.begin() as tx:
        await tx.execute(update(consumed).values(next_offset=consumed.c.next_offset - 1))
    assert 1 == len(await here.entries(FactKind.RECEIVED))


async def test_a_replayed_record_is_routed_once_it_is_accepted(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    raw = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    await here.home.log.append(TOPIC, b"early", raw, {})
    await here.home.router.route()
    (letter,) = await here.home.dead_letters.list()
    with pytest.raises(Refused):
        await here.home.dead_letters.replay(letter.id)
    await here.home.intake.accept(raw)

    await here.home.dead_letters.replay(letter.id)
    await here.home.router.route()

    assert 1 == len(await here.take(CAF))
    assert [] == await here.home.dead_letters.list()


async def test_a_correction_reaches_exactly_those_who_got_the_original(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"])
    first = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.give(CPAM, MOVED, HEALTH, ["subject", "new_address"])

    await here.declare(MOVED, here.moved(new_commune="29019", new_address=BREST_ADDRESS), corrects=first.declaration_id)

    (correction,) = await here.take(CAF)
    await here.take(RENNES)
    (town,) = await here.take(RENNES)
    assert first.declaration_id == correction.corrects == town.corrects
    assert [] == await here.take(CPAM)
    assert Reason.NOT_ORIGINAL_RECIPIENT == (await here.entries(FactKind.WITHHELD))[-1].reason
    assert 1 == len(await here.entries(FactKind.CORRECTED))


async def test_a_correction_of_a_correction_reaches_those_who_got_the_first(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    first = await here.declare(MOVED, here.moved())
    second = await here.declare(MOVED, here.moved(), corrects=first.declaration_id)
    third = await here.declare(MOVED, here.moved(), corrects=second.declaration_id)

    got = [(await here.take(CAF))[0].declaration_id for _ in range(3)]

    assert [first.declaration_id, second.declaration_id, third.declaration_id] == got


async def test_a_correction_does_not_reach_whom_the_citizen_allows_no_more(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    first = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.home.consents.revoke(grant.grant.id, VOICE)

    await here.declare(MOVED, here.moved(), corrects=first.declaration_id)

    assert [] == await here.take(CAF)


async def test_fsck_finds_a_delivery_that_lost_its_submission(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    async with here.home.store.begin() as tx:
        kept = (await tx.execute(select(submissions))).one()
        await tx.execute(delete(submissions))
    await here.home.ledger.sequence_unfinished()

    found = await here.home.fsck.check()

    assert ["declarations.not-accepted"] == [finding.check for finding in found]
    async with here.home.store.begin() as tx:
        await tx.execute(submissions.insert().values(**kept._mapping))
        assert 1 == len((await tx.execute(select(deliveries))).all())


async def test_a_batch_keeps_the_order_of_the_log_and_takes_what_came_twice_once(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    envelopes = [await here.home.desk.envelope(PORTAL, MOVED, here.moved()) for _ in range(30)]
    accepted = [await here.home.intake.accept(envelope) for envelope in envelopes]
    await here.home.log.append(TOPIC, b"again", envelopes[3], {})
    first = await here.declare(MOVED, here.moved(YANN), route=False)
    again = await here.declare(MOVED, here.moved(YANN), route=False, corrects=first.declaration_id)
    await here.declare(MOVED, here.moved(YANN), route=False, corrects=again.declaration_id)

    assert 34 == await here.home.router.route()

    async with here.home.store.read() as tx:
        rows = (await tx.execute(select(declarations).order_by(declarations.c.seq))).all()
    expected = [one.declaration_id for one in accepted]
    assert expected == [row.declaration_id for row in rows[: len(expected)]]
    assert [None, first.declaration_id, first.declaration_id] == [row.root for row in rows[len(expected) :]]
    assert 31 == len(await here.entries(FactKind.RECEIVED))
    assert 2 == len(await here.entries(FactKind.CORRECTED))

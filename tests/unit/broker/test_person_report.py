"""Person report: everything that was handed over about one person, from the ledger, and the look at it too."""

from pathlib import Path
from typing import Any

import pytest

from broker.ledger.openings import period_of
from broker.ports import KeyKind
from broker.services.person_report import PersonReport, person_report
from broker.store.tables import deliveries, ledger_openings
from connectors.contract import Rejected
from consent.basis import law
from consent.tables import grants
from schemas.errors import Corrupt
from schemas.facts import FactKind
from schemas.names import Reason
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, PORTAL, RENNES, TOWN, VOICE, YANN, World, world

pytestmark = pytest.mark.asyncio
FIELDS = ["subject", "new_address"]


async def report(here: World, person: dict[str, Any] = ELISE) -> PersonReport:
    return await person_report(here.home, here.subject(person))


async def test_what_was_handed_over_is_told_with_fields_recipient_instant_and_ground(here: World) -> None:
    consent = await here.give(CAF, MOVED, FAMILY, FIELDS)
    mandate = await here.give(RENNES, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    here.clock.pass_(DAY)
    await here.take(RENNES)

    found = await report(here)
    first, second = found.handed_over
    assert [CAF, RENNES] == [one.released.facts.recipient for one in found.handed_over]
    assert (set(FIELDS), {"subject"}) == (set(first.released.fields), set(second.released.fields))
    assert ["consent", "law:CGCT, art. L2121-29"] == [one.released.facts.basis for one in (first, second)]
    assert [consent.grant.id, mandate.grant.id] == [one.released.facts.grant for one in (first, second)]
    assert [1, 1] == [one.released.facts.grant_version for one in (first, second)]
    assert DAY == second.released.facts.at - first.released.facts.at
    assert all(one.outcome and one.outcome.facts.kind is FactKind.APPLIED for one in (first, second))
    assert {accepted.declaration_id} == {one.released.declaration for one in (first, second)}
    assert [PORTAL] == [one.facts.actor for one in found.declared]
    assert [] == found.under_way


async def test_what_is_on_its_way_or_was_kept_back_was_not_handed_over(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, FIELDS)
    await here.declare(MOVED, here.moved())

    found = await report(here)
    assert ([], [CAF]) == (found.handed_over, [one.facts.recipient for one in found.under_way])
    await here.home.consents.revoke(given.grant.id, VOICE)
    after = await report(here)
    assert ([], []) == (after.handed_over, after.under_way)
    assert (CAF, Reason.REVOKED) in {(one.facts.recipient, one.facts.reason) for one in after.withheld}
    assert [FactKind.GRANTED, FactKind.REVOKED] == [one.facts.kind for one in after.consents]


async def test_what_a_recipient_refused_it_could_read_all_the_same(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    await here.declare(MOVED, here.moved())
    (opened,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    await here.inbox(CAF).acknowledge(opened.delivery_id, Rejected("table.too-long", Reason.SYSTEM_REFUSED))

    (one,) = (await report(here)).handed_over
    assert one.outcome is not None
    assert (FactKind.REJECTED, Reason.SYSTEM_REFUSED) == (one.outcome.facts.kind, one.outcome.facts.reason)


async def test_each_look_is_written_down_and_told_to_the_next(here: World) -> None:
    first = await report(here)
    second = await report(here)

    assert ([], [first.look]) == (first.looks, [one.entry for one in second.looks])
    assert [here.home.party] == [one.facts.actor for one in second.looks]
    assert 2 == len(await here.entries(FactKind.VIEWED))


async def test_nothing_of_somebody_else_is_in_it(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)

    found = await report(here, YANN)
    assert ([], [], [], [], []) == (
        found.handed_over,
        found.under_way,
        found.withheld,
        found.declared,
        found.consents,
    )


async def test_it_is_the_ledger_that_tells_and_not_what_somebody_writes_into_the_tables(tmp_path: Path) -> None:
    async with world(tmp_path, stepped=True) as here:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        await here.declare(MOVED, here.moved())
        await here.take(CAF)
        before = await report(here)
        async with here.home.store.begin() as tx:
            await tx.execute(deliveries.delete())
            await tx.execute(grants.update().values(recipient=RENNES))
        after = await report(here)

    assert before.handed_over == after.handed_over
    assert before.consents == after.consents


async def test_what_nobody_can_open_any_more_is_counted(tmp_path: Path) -> None:
    async with world(tmp_path, stepped=True) as here:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        assert 0 == (await report(here)).closed
        here.home.openings.forget(period_of(here.clock()))
        here.home.keys.destroy(KeyKind.OPENING, str(period_of(here.clock())))

        found = await report(here)
        assert (2, []) == (found.closed, found.consents)  # the consent, and the look of before


async def test_an_opening_that_somebody_wrote_stops_it(tmp_path: Path) -> None:
    async with world(tmp_path, stepped=True) as here:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        async with here.home.store.begin() as tx:
            await tx.execute(ledger_openings.update().values(sealed=bytes(64)))

        with pytest.raises(Corrupt, match=r"^openings\.damaged"):
            await report(here)


async def test_nothing_of_what_was_declared_is_in_it(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)

    said = repr(await report(here))
    assert [] == [value for value in ("Martin", "Élise", "1985-04-12", "Monnaie") if value in said]

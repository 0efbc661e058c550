"""What is over for long goes whole: nothing that anybody still needs, nothing that could be taken for new again."""

from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, update

from broker.flow import arrived, forgotten
from broker.store.tables import dead_letters, declarations, deliveries, log_record, meta, submissions, withholdings
from connectors.contract import Rejected
from consent.basis import choice
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, Instant, Reason, uuid7
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, START, VOICE, YANN, World, world

pytestmark = pytest.mark.asyncio

ENDLESS = choice("ordonnance 2005-395")
"""A consent would end before the declaration is forgotten, and what waits under it."""
TABLES = (declarations, submissions, deliveries, withholdings, dead_letters)


async def counts(here: World) -> list[int]:
    """Rows of TABLES."""
    async with here.home.store.read() as tx:
        return [(await tx.execute(select(func.count()).select_from(table))).scalar_one() for table in TABLES]


async def years(here: World, days: int | None = None) -> None:
    """Time passes, and the gate's keys with it; so many days, or as many as a declaration is kept."""
    begun = here.clock()
    for passed in (400, 690):  # a new key, then the end of the old one
        here.clock.pass_(passed * DAY)
        await here.home.upkeep.turn()
    kept = here.home.settings.declaration_retention_days if days is None else days
    here.clock.now = Instant(begun + kept * DAY)


async def pruned(here: World) -> tuple[int, int]:
    """Declarations and submissions that one pass took, as it had announced; then nothing may be wrong."""
    announced = (await here.home.pruning.look()).rows
    done = (await here.home.pruning.prune()).rows
    assert announced == done
    await here.step()
    return done["declarations"], done["submissions"]


async def moved_once(here: World) -> DeclarationId:
    """A move that CAF has applied and the others did not get."""
    await here.give(CAF, MOVED, FAMILY, ["subject"], basis=ENDLESS)
    told = await here.declare(MOVED, here.moved())
    assert 1 == len(await here.take(CAF))
    return told.declaration_id


@pytest.mark.databases
async def test_what_is_over_goes_whole_and_the_ledger_goes_on_telling_of_it(here: World) -> None:
    of = await moved_once(here)
    assert [1, 1, 1, 2, 0] == await counts(here)
    before = await here.entries(FactKind.RECEIVED, FactKind.PLANNED, FactKind.WITHHELD, FactKind.APPLIED)
    await years(here)
    here.clock.pass_(-1)
    assert (0, 0) == await pruned(here)
    here.clock.pass_(1)
    assert (1, 0) == await pruned(here)
    assert [0, 0, 0, 0, 0] == await counts(here)
    assert before == await here.entries(FactKind.RECEIVED, FactKind.PLANNED, FactKind.WITHHELD, FactKind.APPLIED)
    with pytest.raises(Refused, match=r"tracking\.unknown"):
        await here.home.tracking.track(of)
    assert (0, 0) == await pruned(here)


async def test_what_the_gate_could_still_open_stays(here: World) -> None:
    await moved_once(here)
    here.clock.pass_(3660 * DAY)
    assert (0, 0) == await pruned(here)


async def test_what_is_on_its_way_stays_until_it_has_ended(here: World) -> None:
    granted = await here.give(CAF, MOVED, FAMILY, ["subject"], basis=ENDLESS)
    await here.declare(MOVED, here.moved())
    await years(here)
    assert (0, 0) == await pruned(here)
    await here.home.consents.revoke(granted.grant.id, VOICE)  # ends what was on its way
    assert (1, 0) == await pruned(here)


@pytest.mark.databases
async def test_what_a_letter_waits_for_stays(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (one,) = await here.open(CAF, await inbox.pull(1))
    await inbox.acknowledge(one.delivery_id, Rejected("table.refused", Reason.SYSTEM_REFUSED))
    await years(here)
    assert (0, 0) == await pruned(here)
    assert [1, 1, 1, 2, 1] == await counts(here)


async def test_the_letter_that_was_replayed_goes_with_its_declaration(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (one,) = await here.open(CAF, await inbox.pull(1))
    await inbox.acknowledge(one.delivery_id, Rejected("table.refused", Reason.SYSTEM_REFUSED))
    (letter,) = await here.home.dead_letters.list()
    await here.home.dead_letters.replay(letter.id)
    await here.take(CAF)
    await years(here)
    async with here.home.store.begin() as tx:  # as if it had been replayed yesterday
        await tx.execute(update(dead_letters).values(replayed_at=here.clock() - DAY))
    assert (1, 0) == await pruned(here)
    assert [0, 0, 0, 0, 0] == await counts(here)


@pytest.mark.databases
async def test_a_chain_of_corrections_goes_together_when_its_last_one_is_over(here: World) -> None:
    first = await moved_once(here)
    here.clock.pass_(100 * DAY)
    second = await here.declare(MOVED, here.moved(occupants=2), corrects=first)
    here.clock.pass_(100 * DAY)
    await here.declare(MOVED, here.moved(occupants=3), corrects=second.declaration_id)
    assert [1, 1] == [len(await here.take(CAF)) for _ in range(2)]  # one after the other
    await years(here, here.home.settings.declaration_retention_days - 1)
    assert (0, 0) == await pruned(here)
    here.clock.pass_(DAY)
    assert (3, 0) == await pruned(here)
    assert [0, 0, 0, 0, 0] == await counts(here)


async def test_a_correction_that_is_on_its_way_holds_all_of_its_chain(here: World) -> None:
    first = await moved_once(here)
    await here.declare(MOVED, here.moved(occupants=2), corrects=first)
    await years(here)
    assert (0, 0) == await pruned(here)


async def test_a_forgotten_id_is_not_taken_again(here: World) -> None:
    await here.declare(MOVED, here.moved())
    async with here.home.store.read() as tx:
        envelope = (await tx.execute(select(declarations.c.envelope))).scalar_one()
    await years(here)
    assert (1, 0) == await pruned(here)
    with pytest.raises(Refused) as told:
        await here.home.intake.accept(envelope)
    assert ("intake.id-too-old", "/payload/declaration_id") == (told.value.code, told.value.pointer)
    await here.step()


async def test_what_corrects_a_forgotten_one_is_told_so_and_what_corrects_nothing_something_else(here: World) -> None:
    first = (await here.declare(MOVED, here.moved())).declaration_id
    await years(here)
    await pruned(here)
    for of, code in ((first, "gone"), (DeclarationId(uuid7(here.clock(), bytes(10))), "unknown-original")):
        with pytest.raises(Refused) as told:
            await here.declare(MOVED, here.moved(), corrects=of)
        assert told.value.code.endswith(code)
        assert "/payload/corrects" == told.value.pointer
    await here.step()


async def test_an_id_of_yesterday_and_one_that_is_no_uuid7_are_taken(here: World) -> None:
    kept = here.home.settings.declaration_retention_days * DAY
    assert not arrived.too_old(DeclarationId(uuid7(START, bytes(10))), Instant(START - 1))
    assert arrived.too_old(DeclarationId(uuid7(START, bytes(10))), START)
    assert not arrived.too_old(DeclarationId(bytes(16)), START)
    assert START == arrived.made_at(DeclarationId(uuid7(START, b"\xff" * 10)))
    assert kept == here.home.intake._kept_ms


@pytest.mark.databases
async def test_an_id_without_a_time_is_never_forgotten(here: World) -> None:
    """Nothing would tell it from a new one; and it keeps nobody waiting who comes after it."""
    row = {
        "source": "urn:unefois:portal",
        "event_type": MOVED,
        "subject": bytes(32),
        "received_at": here.clock(),
        "receipt": b"",
    }
    kept = {
        "timeless": bytes(16),
        "of-tomorrow": uuid7(Instant(here.clock() + 3660 * DAY), bytes(10)),
        "version-4": bytes.fromhex("00000000000040008000000000000000"),
    }
    goes = uuid7(here.clock(), bytes(10))
    async with here.home.store.begin() as tx:
        for number, of in enumerate((*kept.values(), goes)):
            await tx.execute(
                insert(submissions), {**row, "declaration_id": of, "envelope_digest": bytes([number]) * 32}
            )
    here.clock.pass_(here.home.settings.declaration_retention_days * DAY)
    assert 1 == (await here.home.pruning.prune()).rows["submissions"]
    async with here.home.store.begin() as tx:
        left = set((await tx.execute(select(submissions.c.declaration_id))).scalars())
        await tx.execute(delete(submissions))
    assert set(kept.values()) == left


@pytest.mark.databases
async def test_a_submission_of_which_nothing_came_goes_unless_a_record_waits_that_may_be_its_own(here: World) -> None:
    await here.declare(MOVED, here.moved(), route=False)
    async with here.home.store.begin() as tx:  # a crash before the log had it
        await tx.execute(delete(log_record))
    here.clock.pass_(here.home.settings.declaration_retention_days * DAY)
    parked = {"stage": "router", "reason": "invalid-envelope", "code": "avro.short", "attempts": 1, "at": here.clock()}
    async with here.home.store.begin() as tx:
        await tx.execute(insert(dead_letters), {**parked, "record": b"x"})
    assert 0 == (await here.home.pruning.prune()).rows["submissions"]
    async with here.home.store.begin() as tx:
        await tx.execute(delete(dead_letters))
    assert (0, 1) == await pruned(here)


async def test_a_pass_takes_so_many_chains_at_once_and_says_that_more_wait(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgotten, "BATCH", 1)
    first = await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(occupants=2), corrects=first.declaration_id)
    here.clock.pass_(1)  # within one millisecond, chance says which id is the older
    await here.declare(MOVED, here.moved(YANN))
    await years(here)
    one, two = await here.home.pruning.prune(batches=1), await here.home.pruning.prune(batches=2)
    assert (2, True, 1, False) == (one.rows["declarations"], one.more, two.rows["declarations"], two.more)


async def test_fsck_still_tells_what_is_gone_and_was_not_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.declare(MOVED, here.moved())
        await years(here)
        await pruned(here)
        paused = await here.give(CPAM, MOVED, HEALTH, ["subject"])
        await here.home.consents.pause(paused.grant.id, VOICE)
        await moved_once(here)
        await here.step()
        async with here.home.store.begin() as tx:
            for table in (deliveries, withholdings, declarations, submissions):
                await tx.execute(delete(table))
        found = {one.check for one in await here.home.fsck.check()}
        assert {"declarations.missing", "deliveries.missing", "withholdings.missing"} <= found


@pytest.mark.parametrize("told", ["99999999999999", "soon"])
async def test_who_moves_the_horizon_to_hide_a_loss_is_found_out(told: str, tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await moved_once(here)
        await years(here)
        await pruned(here)
        async with here.home.store.begin() as tx:
            await tx.execute(update(meta).where(meta.c.name == forgotten.HORIZON).values(value=told))
        assert {"forgotten.horizon"} <= {one.check for one in await here.home.fsck.check()}


async def test_what_stays_though_it_is_old_is_looked_at_as_before(tmp_path: Path) -> None:
    """The horizon excuses what is gone, not what is there."""
    async with world(tmp_path) as here:
        await here.declare(MOVED, here.moved(YANN))
        await here.give(CAF, MOVED, FAMILY, ["subject"], basis=ENDLESS)
        await here.declare(MOVED, here.moved())
        await years(here)
        assert (1, 0) == await pruned(here)
        async with here.home.store.begin() as tx:
            await tx.execute(update(deliveries).values(released_at=5))
        assert {"deliveries.times"} == {one.check for one in await here.home.fsck.check()}

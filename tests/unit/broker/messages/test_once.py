"""Once: each piece of news is told once, through crashes, races and closed ways; what cannot arrive is given up."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from broker.ledger.recorder import Recorder
from broker.ledger.sequencer import size_of
from broker.messages.outbox import PLANNED
from broker.messages.sending import LEASE_MS, MOST_MS
from broker.runtime.stats import take
from broker.services import channels as service
from broker.store.engine import Transaction
from broker.store.message_tables import messages
from broker.store.tables import ledger_openings, meta
from schemas.errors import Unavailable
from tests.told import (
    RECEIVED,
    Taken,
    by_mail,
    count,
    moved,
    quiet,
    tell,
)
from tests.world import CAF, DAY, FAMILY, MINUTE, MOVED, World

pytestmark = pytest.mark.asyncio


# ── exactly once ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_crash_left_between_sending_and_noting_goes_once_more_with_the_same_id(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await moved(here)
    await here.home.ledger.sequence_unfinished()
    await home.outbox.plan()
    claimed = await home.sending._claimed(set())
    row, to = claimed
    await home.sending._way(to.kind).send(home.sending._message(row, to))
    assert [] == list(await by_mail(here, taken).sending.step())  # under its lease

    here.clock.pass_(LEASE_MS)
    await by_mail(here, taken).sending.step()

    assert 2 == len(taken.taken)
    assert 1 == len({one.id for one in taken.taken})


@pytest.mark.databases
async def test_two_senders_send_each_message_once(here: World) -> None:
    taken = Taken()
    await quiet(here, taken)
    for _ in range(5):
        await here.declare(MOVED, here.moved())
    await here.home.ledger.sequence_unfinished()

    await asyncio.gather(*(by_mail(here, taken).sending.step() for _ in range(4)))
    here.clock.pass_(LEASE_MS)
    await by_mail(here, taken).sending.step()

    assert 5 == len(taken.taken) == len({one.id for one in taken.taken})


async def test_the_ledger_planned_again_from_its_beginning_tells_nothing_twice(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await moved(here)
    await tell(here, home)
    before = await count(here)
    async with here.home.store.begin() as tx:
        await tx.execute(delete(meta).where(meta.c.name == PLANNED))
    await tell(here, home)

    assert ([RECEIVED], before) == ([told for _, told in taken.heard], await count(here))


async def test_who_moves_our_place_in_the_ledger_has_nothing_passed_over(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await moved(here)
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.begin() as tx:
        skipped = f"{await size_of(tx)}:{'0' * 64}"
        await tx.execute(update(meta).where(meta.c.name == PLANNED).values(value=skipped))
    await tell(here, home)

    assert [RECEIVED] == [told for _, told in taken.heard]


@pytest.mark.parametrize("written", ["", "1", "é:é", "9" * 5000 + ":0", "x:y", "-1:" + "0" * 64, "٣:" + "0" * 64])
async def test_a_place_that_is_none_stops_nobody(here: World, written: str) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await moved(here)
    async with here.home.store.begin() as tx:
        await tx.execute(update(meta).where(meta.c.name == PLANNED).values(value=written))
    assert [] == await here.home.fsck.check()
    await tell(here, home)

    assert [RECEIVED] == [told for _, told in taken.heard]


async def test_an_opening_of_nobody_that_we_know_keeps_no_news_back(here: World) -> None:
    """By whoever writes to the database."""
    taken = Taken()
    home = await quiet(here, taken)
    await moved(here)
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.begin() as tx:
        (leaf, subject) = (
            await tx.execute(
                select(ledger_openings.c.leaf, ledger_openings.c.subject).where(ledger_openings.c.kind == "planned")
            )
        ).one()
        mine = ledger_openings.c.leaf == leaf
        await tx.execute(update(ledger_openings).where(mine).values(subject=b"short", kind="received"))
    await tell(here, home)
    assert [RECEIVED] == [told for _, told in taken.heard]
    async with here.home.store.begin() as tx:
        await tx.execute(update(ledger_openings).where(mine).values(subject=subject, kind="planned"))


async def test_a_rolled_back_effect_is_told_by_nobody(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    record = Recorder.record

    def away(self: Recorder, tx: Transaction, *args: Any, **more: Any) -> Any:
        record(self, tx, *args, **more)
        raise Unavailable("store.away", error="Lost")

    await here.declare(MOVED, here.moved(), route=False)
    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "record", away)
        with pytest.raises(Unavailable):
            await here.home.router.route()
    await tell(here, home)

    assert [] == taken.heard


# ── what does not arrive ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_closed_way_is_tried_by_one_message_in_a_step_and_everything_arrives_in_the_end(here: World) -> None:
    taken = Taken(*[Unavailable("mail.away", error="ConnectionRefusedError")] * 3)
    home = await quiet(here, Taken())
    for _ in range(3):
        await here.declare(MOVED, here.moved())
    closed = by_mail(here, taken)
    assert ["mail.away"] == [one.code for one in await tell(here, closed)]
    assert ["mail.away"] == [one.code for one in await tell(here, closed)]
    assert ["mail.away"] == [one.code for one in await tell(here, closed)]
    here.clock.pass_(MOST_MS)
    await tell(here, home)
    await tell(here, closed)

    assert 0 == len(taken.taken)
    assert 4 == await count(here)
    async with here.home.store.read() as tx:
        assert [0] == list({row.next_at or 0 for row in (await tx.execute(select(messages))).all()})


async def test_an_address_that_fails_is_tried_ever_more_seldom_given_up_and_told_in_the_citizens_list(
    here: World,
) -> None:
    await quiet(here, Taken())
    failing = Taken(*[Unavailable("mail.refused", status=550)] * 200)
    home = by_mail(here, failing)
    await moved(here)
    attempts = 0
    for _ in range(24 * 6):
        attempts += len(await tell(here, home))
        here.clock.pass_(60 * MINUTE)

    assert 15 < attempts < 35
    assert [] == failing.taken
    (shown,) = await service.of(home, here.subject())
    assert ("mail.refused", 1) == (shown.failing, shown.given_up)
    assert {"waiting": 0, "given-up": 1} == (await take(here.home)).messages


async def test_news_that_was_found_too_late_is_never_sent_and_says_so(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await moved(here)
    await here.home.ledger.sequence_unfinished()
    here.clock.pass_(6 * DAY)
    await tell(here, home)

    assert [] == taken.taken
    async with here.home.store.read() as tx:
        codes = (await tx.execute(select(messages.c.code).where(messages.c.sent_at.is_(None)))).scalars().all()
    assert ["messages.too-late"] == codes
    (shown,) = await service.of(home, here.subject())
    assert 0 == shown.given_up == (await take(here.home)).messages["given-up"]  # nobody has tried it

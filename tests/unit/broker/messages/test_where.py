"""Where: news goes to the channels that were held, whoever writes to the database."""

import pytest
from sqlalchemy import delete, insert, select, update

from broker.messages.news import News
from broker.messages.outbox import PLANNED
from broker.messages.sending import UNBELIEVED_MS
from broker.store.message_tables import channels, messages
from broker.store.tables import meta
from schemas.names import uuid_text
from tests.told import ADDED, RECEIVED, REMOVED, Taken, channels_of, held, moved, quiet, tell
from tests.world import MINUTE, MOVED, YANN, World

pytestmark = pytest.mark.asyncio


async def test_a_change_of_channel_is_told_on_those_that_were_held_before(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    here.clock.pass_(MINUTE)
    await held(here, home, "thief@example.net")
    await tell(here, home)
    here.clock.pass_(MINUTE)
    (first, _) = await channels_of(here, home)
    await home.channels.end(here.subject(), first.id)
    await tell(here, home)

    assert [("elise@example.fr", ADDED), ("thief@example.net", ADDED)] == sorted(taken.heard[:2])
    assert [("elise@example.fr", REMOVED), ("thief@example.net", REMOVED)] == sorted(taken.heard[2:])
    taken.taken.clear()
    here.clock.pass_(1)
    await here.declare(MOVED, here.moved())
    await tell(here, home)
    assert [("thief@example.net", RECEIVED)] == taken.heard


async def test_what_waits_when_a_channel_ends_is_not_sent_there_any_more(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await here.declare(MOVED, here.moved())
    await here.home.ledger.sequence_unfinished()
    await home.outbox.plan()
    here.clock.pass_(1)
    (one,) = await channels_of(here, home)
    await home.channels.end(here.subject(), one.id)
    await tell(here, home)

    assert [("elise@example.fr", REMOVED)] == taken.heard


@pytest.mark.parametrize("also_known", [True, False])
async def test_a_channel_that_was_put_back_after_its_end_hears_nothing(here: World, also_known: bool) -> None:
    """By whoever writes to the database, with the row as it was, MAC and all."""
    taken = Taken()
    home = await quiet(here, taken)
    async with here.home.store.read() as tx:
        row = dict((await tx.execute(select(channels))).one()._mapping)
    here.clock.pass_(1)
    await home.channels.end(here.subject(), row["id"])
    await home.completion.finish()
    if also_known:
        await tell(here, home)
    taken.taken.clear()
    async with here.home.store.begin() as tx:
        await tx.execute(update(channels).values(row))
    here.clock.pass_(1)
    await here.declare(MOVED, here.moved())
    await tell(here, home)

    assert RECEIVED not in [told for _, told in taken.heard]
    assert "endings.contradicted" in {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:  # as it should be
        over = home.macs.made("channels", row | {"ended_at": row["held_since"] + 1})
        await tx.execute(update(channels).values(over))


async def test_a_row_that_leads_elsewhere_is_not_believed(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await held(here, home, "thief@example.net", person=YANN)
    await tell(here, home)
    taken.taken.clear()
    mine = channels.c.subject == here.subject()
    async with here.home.store.begin() as tx:
        before = dict((await tx.execute(select(channels).where(mine))).one()._mapping)
        other = (await tx.execute(select(channels.c.sealed).where(~mine))).scalar_one()
        await tx.execute(update(channels).where(mine).values(sealed=other))
    await here.declare(MOVED, here.moved())
    await tell(here, home)

    assert [] == taken.taken
    assert {"channels.mac", "channels.untold", "channels.damaged"} == {
        one.check for one in await here.home.fsck.check()
    }
    async with here.home.store.begin() as tx:
        await tx.execute(update(channels).where(mine).values(before))
        await tx.execute(delete(meta).where(meta.c.name == PLANNED))  # what was passed over meanwhile is told now
    await tell(here, home)
    assert [RECEIVED] == [told for _, told in taken.heard]


async def test_what_waits_for_a_channel_whose_row_was_edited_goes_out_once_it_is_mended(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await here.declare(MOVED, here.moved())
    await here.home.ledger.sequence_unfinished()
    await home.outbox.plan()
    async with here.home.store.begin() as tx:
        before = (await tx.execute(select(channels.c.mac))).scalar_one()
        await tx.execute(update(channels).values(mac=bytes(32)))
    assert [] == list(await home.sending.step())
    async with here.home.store.begin() as tx:
        await tx.execute(update(channels).values(mac=before))
    assert [] == list(await home.sending.step())
    here.clock.pass_(UNBELIEVED_MS)
    await home.sending.step()

    assert [RECEIVED] == [told for _, told in taken.heard]


async def test_a_message_that_nobody_of_ours_wrote_is_not_sent_and_holds_up_no_other(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    async with here.home.store.begin() as tx:
        row = dict((await tx.execute(select(messages))).one()._mapping)
        forged = row | {"id": b"f" * 16, "news": News.HELD.value, "next_at": 1, "sent_at": None}
        await tx.execute(insert(messages).values(forged))
    await moved(here)
    await tell(here, home)

    assert [RECEIVED] == [told for _, told in taken.heard]
    assert ["messages.mac"] == [one.check for one in await here.home.fsck.check()]
    async with here.home.store.begin() as tx:
        await tx.execute(delete(messages).where(messages.c.id == b"f" * 16))


async def test_news_that_no_entry_tells_is_told_once_by_whoever_knows_it(here: World) -> None:
    """As a hold is: `tell`, in the transaction that makes it true."""
    taken = Taken()
    home = await quiet(here, taken)
    number = await moved(here)
    for _ in range(2):
        async with here.home.store.begin() as tx:
            told = {"key": b"of this hold", "declaration": number, "at": here.clock()}
            await home.outbox.tell(tx, News.HELD, here.subject(), **told)
            await home.outbox.tell(tx, News.HELD, here.subject(YANN), **told)
            assert 0 == await here.home.outbox.tell(tx, News.HELD, here.subject(), **told)  # without a way
    await tell(here, home)

    held_ = [one for one in taken.taken if one.subject == "Unefois : vérifiez que c'est bien vous"]
    assert 1 == len(held_)
    assert uuid_text(number) in held_[0].text

"""News of what a citizen can put right: a bank account to stop, an answer to complete, a declaration taken back."""

from pathlib import Path

import pytest

from broker.messages.news import News, Sender, news_of, text_of
from broker.services import retractions
from connectors.contract import Answered
from schemas.facts import FactKind
from schemas.names import Reason
from tests.told import EMAIL, Taken, by_mail, held, sentence_of, tell
from tests.world import BANK, CAF, DAY, FAMILY, MOVED, World, world

pytestmark = pytest.mark.asyncio


def heard(way: Taken) -> list[str]:
    """The sentences since the last time."""
    said = [sentence for _, sentence in way.heard]
    way.taken.clear()
    return said


def sentence(news: News) -> str:
    """As an e-mail says it in French."""
    return sentence_of(text_of(news, None, EMAIL, "fr", Sender("Unefois", "contact@unefois.example")).body)


async def test_a_new_account_is_told_as_something_to_stop_and_its_stop_by_the_citizen_is_no_news(
    tmp_path: Path,
) -> None:
    way = Taken()
    async with world(tmp_path, bank_hold_hours=72) as here:
        home = by_mail(here, way)
        await held(here, home)
        await tell(here, home)
        heard(way)
        await here.give(CAF, BANK, FAMILY, ("iban",))
        said = await here.declare(BANK, here.bank())
        await tell(here, home)
        assert ["vérifiez que c'est bien vous"] == [one.subject.partition(" : ")[2] for one in way.taken]
        assert [sentence(News.HELD)] == heard(way)

        await retractions.stop(here.home, here.subject(), said.declaration_id, given_by="self")
        await tell(here, home)
        assert [] == heard(way)


async def test_who_is_not_found_hears_that_something_is_needed_and_of_a_human_that_somebody_looks(here: World) -> None:
    way = Taken()
    home = by_mail(here, way)
    await held(here, home)
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    for answer in (Answered(Reason.UNKNOWN_PERSON), Answered(Reason.AWAITING_HUMAN, "2026-12-24")):
        await here.declare(MOVED, here.moved())
        await tell(here, home)
        heard(way)
        (locked,) = (await here.inbox(CAF).pull(10)).locked
        await here.inbox(CAF).acknowledge(locked.delivery_id, answer)
        await tell(here, home)
        news = News.TO_COMPLETE if answer.until is None else News.AWAITING
        assert [sentence(news)] == heard(way)


async def test_a_recall_is_told_at_once_and_what_a_recipient_made_of_it_afterwards(here: World) -> None:
    way = Taken()
    home = by_mail(here, way)
    await held(here, home)
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    said = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await tell(here, home)
    heard(way)

    await retractions.recall(here.home, said.declaration_id, reason="wrong-person")
    await here.home.router.route()
    await tell(here, home)
    assert [sentence(News.RECALLED)] == heard(way)
    here.clock.pass_(2 * DAY)
    await here.take(CAF)
    await tell(here, home)
    assert [sentence(News.UNDONE)] == heard(way)


async def test_what_came_and_what_was_applied_is_news_and_that_a_key_was_handed_out_is_not(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    made = {facts.kind: news_of(facts) for facts in await here.entries()}
    assert (News.RECEIVED, News.APPLIED) == (made[FactKind.RECEIVED], made[FactKind.APPLIED])
    assert None is made[FactKind.RELEASED]

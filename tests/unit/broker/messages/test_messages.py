"""Messages: a citizen who wants it hears of each step of a declaration once, and nobody hears what it says."""

from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from broker.ledger.recorder import Recorder
from broker.ledger.sequencer import size_of
from broker.maintenance.late import LOOK_MS
from broker.messages.news import ACT, News
from broker.messages.outbox import PLANNED
from broker.messages.sending import LEASE_MS, MOST_MS, UNBELIEVED_MS
from broker.store.engine import Transaction
from broker.store.message_tables import channels, messages
from broker.store.tables import deliveries, meta
from connectors.contract import Rejected
from schemas.errors import Unavailable
from schemas.names import DeclarationId, Reason, uuid_text
from tests.services.mailserver import Desk
from tests.told import FROM, Taken, by_mail, held, mailbox, sentence_of, tell
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MINUTE, MOVED, VOICE, YANN, World

pytestmark = pytest.mark.asyncio
RECEIVED = "Une déclaration a été reçue."
APPLIED = "Une administration a enregistré votre déclaration."
WITHHELD = "Votre déclaration n'est pas transmise à une administration : une décision de votre part est nécessaire."
LATE = "Une administration n'a pas encore répondu à votre déclaration."
ADDED = "Une adresse ou un numéro où vous prévenir a été ajouté. Si ce n'est pas vous, signalez-le."
REMOVED = "Une adresse ou un numéro où vous prévenir a été retiré. Si ce n'est pas vous, signalez-le."


async def moved(here: World) -> DeclarationId:
    """A declaration that one administration may have."""
    await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"))
    return (await here.declare(MOVED, here.moved())).declaration_id


async def quiet(here: World, way: Taken, **settings: Any) -> Any:
    """A home whose citizen has an address, and has heard of that."""
    home = by_mail(here, way, **settings)
    await held(here, home)
    await tell(here, home)
    way.taken.clear()
    return home


async def count(here: World) -> int:
    async with here.home.store.read() as tx:
        return (await tx.execute(select(func.count()).select_from(messages))).scalar_one()


@pytest.mark.databases
async def test_each_step_arrives_once_at_a_mail_server_in_the_citizens_language(here: World) -> None:
    desk = Desk()
    async with mailbox(here, desk) as home:
        await held(here, home)
        await held(here, home, "yann@example.fr", language="en", person=YANN)
        await tell(here, home)
        number = await moved(here)
        for _ in range(2):
            await tell(here, home)
        await here.take(CAF)
        for _ in range(2):
            await tell(here, home)

    mine = [letter for letter in desk.letters() if letter["To"] == "elise@example.fr"]
    assert [ADDED, RECEIVED, APPLIED] == [sentence_of("\n".join(letter.get_content().splitlines())) for letter in mine]
    assert ["Unefois : vérifiez que c'est bien vous", *["Unefois : il y a du nouveau"] * 2] == [
        letter["Subject"] for letter in mine
    ]
    assert 3 == len({letter["Message-ID"] for letter in mine})
    assert {"auto-generated"} == {letter["Auto-Submitted"] for letter in mine}
    assert {FROM} == {letter["From"] for letter in mine}
    for letter in mine[1:]:
        assert f"Numéro de déclaration : {uuid_text(number)}" in letter.get_content()
        assert "contact@unefois.example" in letter.get_content()
    (other,) = [letter for letter in desk.letters() if letter["To"] == "yann@example.fr"]
    assert "Unefois: check that it was you" == other["Subject"]


async def test_who_has_no_channel_is_told_nothing_and_nothing_is_written(here: World) -> None:
    taken = Taken()
    home = by_mail(here, taken)
    await moved(here)
    await tell(here, home)

    assert ([], 0) == (taken.taken, await count(here))
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(meta).where(meta.c.name == PLANNED))).all()


async def test_without_a_way_nothing_is_written(here: World) -> None:
    await quiet(here, Taken())
    before = await count(here)
    await moved(here)
    await here.home.ledger.sequence_unfinished()

    assert [] == list(await here.home.sending.step())
    assert before == await count(here)


async def test_what_was_declared_before_there_was_a_channel_is_not_told(here: World) -> None:
    await moved(here)
    here.clock.pass_(1)
    taken = Taken()
    home = by_mail(here, taken)
    await held(here, home)
    await tell(here, home)

    assert [ADDED] == [sentence for _, sentence in taken.heard]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            Rejected("table.refused", Reason.SYSTEM_REFUSED),
            "Une administration n'a pas pu prendre en compte votre déclaration.",
        ),
        (
            Rejected("table.refused", Reason.PARKED),
            "Votre déclaration n'a pas pu être remise à une administration ; un agent va s'en occuper.",
        ),
    ],
)
async def test_a_refusal_and_a_delivery_that_was_given_up_are_told(
    here: World, answer: Rejected, sentence: str
) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await moved(here)
    here.clock.pass_(1)
    (delivery,) = await here.inbox(CAF).lease(10)
    await here.inbox(CAF).acknowledge(delivery.id, answer)
    await tell(here, home)

    assert [RECEIVED, sentence] == [told for _, told in taken.heard]


async def test_a_withholding_that_the_citizen_can_mend_is_told_and_one_of_their_choice_is_not(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    await here.give(CAF, MOVED, FAMILY, ("subject",), expires_at=here.clock() + MINUTE)
    revoked = await here.give(CPAM, MOVED, HEALTH, ("subject",))
    here.clock.pass_(DAY)
    await here.home.consents.revoke(revoked.grant.id, VOICE)
    await here.declare(MOVED, here.moved())
    await tell(here, home)

    assert Reason.EXPIRED in ACT
    assert [RECEIVED, WITHHELD] == sorted(told for _, told in taken.heard)


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
    import asyncio

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
    from broker.runtime.stats import take
    from broker.services import channels as service

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


# ── where it goes ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_change_of_channel_is_told_on_those_that_were_held_before(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken)
    here.clock.pass_(MINUTE)
    await held(here, home, "thief@example.net")
    await tell(here, home)
    here.clock.pass_(MINUTE)
    (first, _) = await _channels(here, home)
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
    (one,) = await _channels(here, home)
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
    await tell(here, home)

    held_ = [one for one in taken.taken if one.subject == "Unefois : vérifiez que c'est bien vous"]
    assert 1 == len(held_)
    assert uuid_text(number) in held_[0].text


# ── nothing was heard ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.databases
async def test_a_recipient_of_whom_nothing_was_heard_is_told_once_after_some_days(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken, message_late_days=14)
    await moved(here)
    await here.declare(MOVED, here.moved(YANN))
    for _ in range(20):
        await home.late.look()
        await tell(here, home)
        here.clock.pass_(DAY)
    await here.take(CAF)
    await tell(here, home)
    here.clock.pass_(20 * DAY)
    await home.late.look()
    await tell(here, home)

    assert [RECEIVED, LATE, APPLIED] == [told for _, told in taken.heard]


async def test_a_look_comes_once_an_hour_and_none_where_the_setting_says_never(here: World) -> None:
    taken = Taken()
    home, never = await quiet(here, taken, message_late_days=1), by_mail(here, Taken(), message_late_days=0)
    await home.late.look()
    await moved(here)
    here.clock.pass_(LOOK_MS - 1)
    async with here.home.store.begin() as tx:
        await tx.execute(update(deliveries).values(planned_at=deliveries.c.planned_at - DAY))
    assert (0, 0) == (await home.late.look(), await never.late.look())
    here.clock.pass_(1)
    assert (1, 0) == (await home.late.look(), await never.late.look())


# ── nobody hears what it says ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("news", News)
@pytest.mark.parametrize("kind", ["email", "mobile"])
async def test_every_text_is_there_in_both_languages_and_an_sms_fits_into_three(
    news: News, kind: str, language: Any
) -> None:
    from broker.messages.addresses import ChannelKind
    from broker.messages.news import Sender, text_of

    sender = Sender("Unefois", "contact@unefois.example", "https://mes-demarches.unefois.example/")
    number = None if news.of_channels else DeclarationId(bytes(16))
    text = text_of(news, number, ChannelKind(kind), language, sender)

    assert "{" not in text.body + text.subject
    assert (sender.link or "") in text.body
    assert news.of_channels or uuid_text(bytes(16)) in text.body
    if kind == "mobile":
        assert ("", True, "\n" not in text.body) == (text.subject, len(text.body) <= 459, True)
    else:
        assert 1 == len(text.subject.splitlines())


async def _channels(here: World, home: Any) -> list[Any]:
    async with here.home.store.read() as tx:
        return list(await home.channels.of(tx, [here.subject()]))

"""Messages: a citizen who wants it hears of each step of a declaration, and nobody hears what it says."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from broker.maintenance.late import LOOK_MS
from broker.messages.addresses import ChannelKind
from broker.messages.mail import MailServer
from broker.messages.news import ACT, News, Sender, text_of
from broker.messages.outbox import PLANNED
from broker.messages.ways import ByMail
from broker.runtime.serving import Serving
from broker.runtime.turns import turn
from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from broker.store.tables import deliveries, meta
from connectors.contract import Rejected
from schemas.errors import Unavailable
from schemas.facts import FactKind
from schemas.names import DeclarationId, Reason, uuid_text
from tests.services import certificates
from tests.services.mailserver import Desk, serving
from tests.told import (
    ADDED,
    APPLIED,
    FROM,
    LATE,
    RECEIVED,
    WITHHELD,
    Taken,
    by_mail,
    count,
    held,
    mailbox,
    moved,
    quiet,
    sentence_of,
    tell,
)
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MINUTE, MOVED, VOICE, YANN, World

pytestmark = pytest.mark.asyncio


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


async def test_a_citizens_mail_goes_by_starttls_with_a_password_and_nothing_of_it_in_clear(
    here: World, tmp_path: Path
) -> None:
    whole, trusted = certificates.make(tmp_path)
    desk = Desk()
    async with serving(desk, whole) as port:
        login = {"ca_file": trusted, "username": "unefois", "password": "right"}
        home = by_mail(here, ByMail(MailServer("127.0.0.1", port, "starttls", FROM, **login)))
        await held(here, home)
        assert [None] == [one.code for one in await tell(here, home)]
        wrong = by_mail(here, ByMail(MailServer("127.0.0.1", port, "starttls", FROM, **{**login, "password": "no"})))
        await here.declare(MOVED, here.moved())
        assert ["mail.refused"] == [one.code for one in await tell(here, wrong)]

    (letter,) = desk.letters()
    assert ADDED == sentence_of("\n".join(letter.get_content().splitlines()))


async def test_the_role_that_tells_has_a_loop_for_citizens_where_there_is_a_way(here: World) -> None:
    def loops(home: Home, role: ProcessRole) -> int:
        return len(Serving(home, role, (), asyncio.Event(), lambda *_: None)._loops)

    told = by_mail(here, Taken())
    assert loops(told, ProcessRole.NOTIFY) == loops(here.home, ProcessRole.NOTIFY) + 1
    assert loops(told, ProcessRole.API) == loops(here.home, ProcessRole.API)


async def test_a_turn_tells_citizens_and_a_closed_way_is_no_trouble_of_the_brokers_own_work(here: World) -> None:
    taken = Taken(Unavailable("mail.away", error="Refused"))
    home = by_mail(here, taken)
    await held(here, home)
    first = await turn(home, (), only=True)
    here.clock.pass_(2 * MINUTE)
    second = await turn(home, (), only=True)

    assert (0, [(here.home.party, "mail.away")]) == (first.messages, [(one.party, one.code) for one in first.troubles])
    assert (1, []) == (second.messages, second.troubles)


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
    paused = await here.give(CPAM, MOVED, HEALTH, ("subject",))
    await here.home.consents.pause(paused.grant.id, VOICE)
    await here.declare(MOVED, here.moved())
    await tell(here, home)
    assert Reason.PAUSED in [facts.reason for facts in await here.entries(FactKind.WITHHELD)]
    assert [RECEIVED] == [told for _, told in taken.heard]

    await here.give(CAF, MOVED, FAMILY, ("subject",), expires_at=here.clock() + MINUTE)
    here.clock.pass_(DAY)
    await here.declare(MOVED, here.moved())
    await tell(here, home)
    assert Reason.EXPIRED in ACT
    assert [RECEIVED, WITHHELD] == sorted(told for _, told in taken.heard[1:])


# ── nothing was heard ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.databases
async def test_a_recipient_of_whom_nothing_was_heard_is_told_once_after_some_days(here: World) -> None:
    taken = Taken()
    home = await quiet(here, taken, message_late_days=14)
    await moved(here)
    await here.declare(MOVED, here.moved(YANN))
    for day in range(20):
        await home.late.look()
        await tell(here, home)
        assert (day >= 14) == (LATE in [told for _, told in taken.heard])
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

"""Expiry letters: each administration is warned by mail before a key or a token of its own ends, once for each end and
each of a few days, through crashes; what is renewed meanwhile is not told.
"""

import asyncio

import pytest
from sqlalchemy import select, update

from broker.access.credentials import Scope
from broker.maintenance.expiry_letters import BEFORE_DAYS, LOOK_MS
from broker.messages.mail import MailServer
from broker.store.access_tables import expiry_notices
from broker.store.tables import parties
from broker.timekeeping import Timekeeping
from broker.webhooks.notices import LEASE_MS, WAITS
from schemas.errors import Unavailable
from schemas.names import Instant, PartyId, rfc3339
from tests.endpoints import Letters, expiry_letters
from tests.services.mailserver import Desk, serving
from tests.world import CAF, CPAM, DAY, World

pytestmark = pytest.mark.asyncio


async def issued(here: World, days: int, *scopes: Scope, party: PartyId = CAF) -> Instant:
    """A token; returns its end."""
    at = here.clock()
    until = Instant(at + days * DAY)
    async with here.home.store.begin() as tx:
        await here.home.credentials.issue(tx, party, scopes or (Scope.READ,), expires_at=until, at=at)
    return until


async def somebody_writes(here: World, party: PartyId, contact: str) -> None:
    """Behind the broker's back."""
    async with here.home.store.begin() as tx:
        await tx.execute(update(parties).where(parties.c.id == party).values(contact=contact))


async def codes(here: World, letters: Letters) -> list[str | None]:
    """What comes of a step of a process that has just begun."""
    return [one.code for one in await expiry_letters(here, letters).step()]


@pytest.mark.databases
async def test_a_token_is_told_at_each_of_the_days_once_and_never_after_its_end(here: World) -> None:
    until, letters, told = await issued(here, 40, Scope.RECEIVE, Scope.READ), Letters(), []
    for _ in range(42):
        await codes(here, letters)
        await codes(here, letters)
        told += [-((here.clock() - until) // DAY)] * (len(letters.taken) - len(told))
        await here.step()
        here.clock.pass_(DAY)

    assert list(BEFORE_DAYS) == told
    assert 3 == len({letter.about for letter in letters.taken})
    letter = letters.taken[0]
    assert "contact@example.fr" == letter.to
    for part in ("read, receive", CAF, rfc3339(until)):
        assert 2 == letter.text.count(part), part  # in both languages
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(expiry_notices))).all()


async def test_the_letter_arrives_at_a_mail_server(here: World) -> None:
    await issued(here, 31)
    here.clock.pass_(DAY)
    desk = Desk()
    async with serving(desk) as port:
        letters = expiry_letters(here, MailServer("127.0.0.1", port, "none", "unefois@broker.example"))
        assert [None] == [one.code for one in await letters.step()]
        assert [] == list(await letters.step())

    (read,) = desk.letters()
    assert "your token ends soon" in read["Subject"]
    assert "contact@example.fr" == read["To"]
    assert "auto-generated" == read["Auto-Submitted"]


async def test_the_last_keys_of_a_party_are_told_and_those_that_a_rotation_ends_are_not(here: World) -> None:
    letters = Letters()
    await here.home.parties.rotate(CPAM, 20 * DAY)
    assert [] == await codes(here, letters)

    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    for key in directory.sealing:
        if key.party == CPAM and key.valid_to is None:
            async with here.home.store.begin() as tx:
                await here.home.registrar.revoke_key(tx, key.kid, here.clock)
    here.clock.pass_(LOOK_MS)
    assert [None] == await codes(here, letters)
    assert "your sealing key ends soon" in letters.taken[0].subject
    assert f"the last sealing key of {CPAM}" in letters.taken[0].text


async def test_what_lives_for_two_weeks_is_told_of_at_three_days_alone(here: World) -> None:
    await issued(here, 14)
    letters = Letters()
    for day in range(14):
        await codes(here, letters)
        assert (day >= 11) == bool(letters.taken)
        here.clock.pass_(DAY)
    assert 1 == len(letters.taken)


async def test_what_is_renewed_while_its_letter_waits_is_not_told(here: World) -> None:
    await issued(here, 31)
    here.clock.pass_(DAY)
    letters = Letters(Unavailable("mail.away"))
    assert ["mail.away"] == await codes(here, letters)

    await issued(here, 90)
    here.clock.pass_(WAITS[0])
    assert [] == await codes(here, letters)
    assert [] == letters.taken
    await here.step()


async def test_one_that_waits_when_the_next_is_due_gives_way_to_it(here: World) -> None:
    until = await issued(here, 31)
    here.clock.pass_(DAY)
    assert ["mail.away"] == await codes(here, Letters(Unavailable("mail.away")))
    here.clock.now = Instant(until - 14 * DAY)

    letters = Letters()
    assert [None] == await codes(here, letters)
    async with here.home.store.read() as tx:
        assert [14] == [row.days for row in await tx.execute(select(expiry_notices))]


async def test_a_mail_server_that_is_away_is_tried_ever_more_seldom_and_then_given_up(here: World) -> None:
    until = await issued(here, 31)
    here.clock.pass_(DAY)
    letters = Letters(*(Unavailable("mail.away") for _ in range(len(WAITS) + 1)))
    for wait in WAITS:
        assert ["mail.away"] == await codes(here, letters)
        assert [] == await codes(here, letters)
        here.clock.pass_(wait)
    assert ["mail.away"] == await codes(here, letters)
    here.clock.pass_(max(WAITS))
    assert [] == await codes(here, letters)

    here.clock.now = Instant(until - 14 * DAY)
    assert [None] == await codes(here, letters)  # the next one is a letter of its own


async def test_a_contact_without_an_address_or_in_a_row_that_does_not_count_is_not_written_to(here: World) -> None:
    await issued(here, 31)
    await issued(here, 31, party=CPAM)
    async with here.home.store.begin() as tx:
        await here.home.registrar.change_party(tx, CAF, {"contact": "01 23 45 67 89"}, here.clock())
    here.clock.pass_(DAY)
    await somebody_writes(here, CPAM, "thief@thief.example")

    letters = Letters()
    assert ["mail.no-address", "mail.no-address"] == await codes(here, letters)
    assert [] == letters.taken
    await somebody_writes(here, CPAM, "contact@example.fr")  # as it was


async def test_a_crash_after_the_sending_sends_the_same_letter_again_with_the_same_id(here: World) -> None:
    await issued(here, 31)
    here.clock.pass_(DAY)

    class Dies(Letters):
        async def send(self, letter):  # type: ignore[no-untyped-def]
            await super().send(letter)
            raise asyncio.CancelledError

    dying, letters = Dies(), Letters()
    with pytest.raises(asyncio.CancelledError):
        await expiry_letters(here, dying).step()
    assert [] == await codes(here, letters)
    here.clock.pass_(LEASE_MS)
    assert [None] == await codes(here, letters)
    assert dying.taken[0].about == letters.taken[0].about


@pytest.mark.databases
async def test_two_processes_send_one_letter(here: World) -> None:
    await issued(here, 31)
    here.clock.pass_(DAY)
    letters = Letters()
    found = await asyncio.gather(*(expiry_letters(here, letters).step() for _ in range(2)))
    assert (1, 1) == (len(letters.taken), sum(map(len, found)))


async def test_a_clock_that_is_not_believed_warns_nobody(here: World) -> None:
    await issued(here, 40)
    letters, sending = Letters(), None
    here.clock.pass_(15 * DAY)
    sending = expiry_letters(here, letters)
    sending._time = Timekeeping(here.home.store, 7, here.clock)
    assert [] == list(await sending.step())

    sending._time = here.home.timekeeping
    assert [None] == [one.code for one in await sending.step()]


async def test_without_a_mail_server_nothing_is_written(here: World) -> None:
    await issued(here, 31)
    here.clock.pass_(DAY)
    assert [] == list(await here.home.expiry_letters.step())
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(expiry_notices))).all()

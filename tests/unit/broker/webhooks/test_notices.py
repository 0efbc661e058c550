"""Notices: who has lost its webhook hears of it by mail, once, without a value of anybody; a mend makes it needless."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from broker.store.access_tables import webhook_notices
from broker.store.tables import parties
from broker.webhooks.endpoints import Status, Webhook
from broker.webhooks.notices import LEASE_MS, WAITS
from schemas.errors import Unavailable
from schemas.names import Instant
from tests.endpoints import Endpoints, Letters, notices, send, status
from tests.signed import resign
from tests.world import CAF, World

pytestmark = pytest.mark.asyncio
URL = "https://hooks.caf.example/a-secret-path?token=hidden"


async def given_up(here: World) -> Webhook:
    """One that answered its challenge with 410."""
    async with here.home.store.begin() as tx:
        hook = await here.home.webhooks.add(tx, CAF, URL, here.clock())
    await send(here, Endpoints(status(410)))
    return await now(here, hook)


async def now(here: World, hook: Webhook) -> Webhook:
    async with here.home.store.read() as tx:
        return await here.home.webhooks.one(tx, CAF, hook.id)


async def codes(here: World, letters: Letters) -> list[str | None]:
    return [one.code for one in await notices(here, letters).step()]


async def test_its_contact_is_told_once_which_endpoint_since_when_and_why(here: World) -> None:
    hook, letters = await given_up(here), Letters()

    assert [None] == await codes(here, letters)
    here.clock.pass_(max(WAITS))
    assert [] == await codes(here, letters)

    (letter,) = letters.taken
    assert "contact@example.fr" == letter.to
    for told in (str(hook.id.hex())[:8], "hooks.caf.example", "410", f"/v1/webhooks/{_uuid(hook)}:prove"):
        assert 2 <= letter.text.count(told), told  # in both languages
    assert "secret" not in letter.text
    assert "hidden" not in letter.text
    assert (Status.DISABLED, letter.at, None) == (hook.status, (await now(here, hook)).mailed_at, hook.mail_code)


async def test_a_mail_server_that_is_away_is_tried_ever_more_seldom_and_then_given_up(here: World) -> None:
    hook = await given_up(here)
    letters = Letters(*(Unavailable("mail.away") for _ in range(len(WAITS) + 1)))
    for wait in WAITS:
        assert ["mail.away"] == await codes(here, letters)
        here.clock.pass_(wait - 1)
        assert [] == await codes(here, letters)
        here.clock.pass_(1)
    assert ["mail.away"] == await codes(here, letters)
    here.clock.pass_(max(WAITS))
    assert [] == await codes(here, letters)
    seen = await now(here, hook)
    assert (None, "mail.away", []) == (seen.mailed_at, seen.mail_code, letters.taken)


async def test_a_letter_that_goes_at_the_second_try_leaves_no_code(here: World) -> None:
    hook, letters = await given_up(here), Letters(Unavailable("mail.refused"))
    assert ["mail.refused"] == await codes(here, letters)
    assert "mail.refused" == (await now(here, hook)).mail_code
    here.clock.pass_(WAITS[0])
    assert [None] == await codes(here, letters)
    assert None is (await now(here, hook)).mail_code


async def test_a_contact_without_an_address_is_not_tried_again(here: World) -> None:
    hook, letters = await given_up(here), Letters()
    async with here.home.store.begin() as tx:
        await tx.execute(update(parties).where(parties.c.id == CAF).values(contact="01 23 45 67 89"))
    await resign(here.home)
    assert ["mail.no-address"] == await codes(here, letters)
    here.clock.pass_(max(WAITS))
    assert [] == await codes(here, letters)
    assert "mail.no-address" == (await now(here, hook)).mail_code
    async with here.home.store.begin() as tx:
        await tx.execute(update(parties).where(parties.c.id == CAF).values(contact="contact@example.fr"))
    await resign(here.home)


@pytest.mark.parametrize("how", ["prove", "end"])
async def test_what_is_mended_or_ended_first_needs_no_letter(here: World, how: str) -> None:
    hook, letters = await given_up(here), Letters()
    async with here.home.store.begin() as tx:
        await getattr(here.home.webhooks, how)(tx, CAF, hook.id, here.clock())
    assert [] == await codes(here, letters)
    assert None is (await now(here, hook)).mailed_at


async def test_one_that_is_given_up_again_is_another_letter(here: World) -> None:
    hook, letters = await given_up(here), Letters()
    assert [None] == await codes(here, letters)
    here.clock.pass_(1)
    async with here.home.store.begin() as tx:
        await here.home.webhooks.prove(tx, CAF, hook.id, here.clock())
    await send(here, Endpoints(status(410)))
    assert [None] == await codes(here, letters)
    assert 2 == len({letter.about for letter in letters.taken})


async def test_without_a_mail_server_it_waits_until_there_is_one(here: World) -> None:
    await given_up(here)
    assert [] == list(await here.home.notices.step())
    here.clock.pass_(max(WAITS))
    assert [None] == await codes(here, Letters())


@pytest.mark.databases
async def test_two_senders_send_one_letter_and_who_dies_at_it_is_followed_with_the_same_id(here: World) -> None:
    await given_up(here)

    class Dies(Letters):
        async def send(self, letter: Any) -> None:
            await super().send(letter)
            raise asyncio.CancelledError

    dying, letters = Dies(), Letters()
    with pytest.raises(asyncio.CancelledError):
        await notices(here, dying).step()
    here.clock.pass_(LEASE_MS - 1)
    assert [] == await codes(here, letters)
    here.clock.pass_(1)
    both = await asyncio.gather(codes(here, letters), codes(here, letters))
    assert [[], [None]] == sorted(both, key=len)
    assert [dying.taken[0].about] == [one.about for one in letters.taken]
    async with here.home.store.read() as tx:
        (row,) = (await tx.execute(select(webhook_notices))).all()
    assert (1, None, here.clock()) == (row.attempts, row.next_at, Instant(row.mailed_at))


def _uuid(hook: Webhook) -> str:
    from broker.webhooks.telling import uuid_text

    return uuid_text(hook.id)

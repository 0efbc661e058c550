"""Two at once: a code, an attempt and a nonce let one of them in; a session that ends ends for both. What is over goes,
and nothing about signing in tells who is protected.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import pytest
from sqlalchemy import select

from broker.citizens.codes import HOURS
from broker.citizens.sessions import LONGEST_MS, TOUCH_MS
from broker.consents.protecting import Wanted
from broker.services.citizens import codes, signing_in
from broker.services.citizens.signing_in import SignedIn
from broker.store.citizen_tables import citizen_codes, citizen_sessions
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant
from tests.citizens import sign_in
from tests.franceconnect import doors
from tests.unit.broker.citizens.test_forwarded import KEY, at_portal, enter
from tests.world import ELISE, PORTAL, YANN, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]


async def both(*work: Awaitable[SignedIn]) -> Counter[str]:
    """How each of them went."""
    done = await asyncio.gather(*work, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException) and not isinstance(one, Refused):
            raise one
    return Counter(one.code if isinstance(one, Refused) else "in" for one in done)


async def test_one_code_lets_one_in(here: World) -> None:
    code = (await codes.give(here.home, ELISE)).code

    went = await both(
        *(signing_in.with_code(here.home, code, language="fr", address=f"192.0.2.{number}") for number in range(3))
    )

    assert Counter({"in": 1, "citizens.code": 2}) == went


async def test_one_answer_of_franceconnect_lets_one_in(here: World) -> None:
    them = doors(here)
    begun = await them.begun()
    answer = await them.click(begun.url, "elise")

    went = await both(*(signing_in.finish(here.home, begun.attempt, answer) for _ in range(3)))

    assert Counter({"in": 1, "franceconnect.attempt": 2}) == went


async def test_one_nonce_of_a_portal_lets_one_in(here: World) -> None:
    them = doors(here)
    nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
    tokens = at_portal(them.fc, nonce)

    assert Counter({"in": 1, "citizens.nonce": 2}) == await both(*(enter(them, nonce, tokens) for _ in range(3)))


async def test_a_session_that_is_seen_while_it_ends_stays_ended(here: World) -> None:
    token, citizen = await sign_in(here)
    here.clock.pass_(TOUCH_MS)
    async with here.home.store.read_one() as tx:
        found = await here.home.sessions.find(tx, token, here.clock())
    await signing_in.end(here.home, citizen, citizen.session)

    async with here.home.store.begin() as tx:  # the request that had found it
        await here.home.sessions.touch(tx, found, here.clock())

    with pytest.raises(Refused, match="signed-out"):
        await signing_in.current(here.home, token)
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(citizen_sessions))).all()


async def test_a_request_that_was_slow_sets_no_session_back(here: World) -> None:
    token, citizen = await sign_in(here)
    here.clock.pass_(TOUCH_MS)
    slow = here.clock()
    async with here.home.store.read_one() as tx:
        found = await here.home.sessions.find(tx, token, slow)
    here.clock.pass_(1)
    await signing_in.current(here.home, token)

    async with here.home.store.begin() as tx:
        await here.home.sessions.touch(tx, found, slow)

    assert [here.clock()] == [one.seen_at for one in await signing_in.sessions(here.home, citizen)]


async def test_two_requests_of_one_session_touch_it_once_and_keep_it_whole(here: World) -> None:
    token, citizen = await sign_in(here)
    here.clock.pass_(TOUCH_MS)

    seen = await asyncio.gather(*(signing_in.current(here.home, token) for _ in range(3)))

    assert {citizen.session} == {one.session for one in seen}
    assert [here.clock()] == [one.seen_at for one in await signing_in.sessions(here.home, citizen)]


async def test_what_is_over_is_taken_away_to_the_millisecond_and_what_stands_stays(here: World) -> None:
    async def left() -> tuple[int, int]:
        await here.home.pruning.prune()
        async with here.home.store.read() as tx:
            told = [len((await tx.execute(select(one))).all()) for one in (citizen_sessions, citizen_codes)]
        return told[0], told[1]

    await sign_in(here)
    await codes.give(here.home, YANN)
    here.clock.pass_(LONGEST_MS - 1)
    assert (1, 1) == await left()
    here.clock.pass_(1)
    assert (0, 1) == await left()
    here.clock.pass_(HOURS * 3_600_000 - LONGEST_MS - 1)
    assert (0, 1) == await left()
    here.clock.pass_(1)
    assert (0, 0) == await left()


async def test_the_journal_forgets_an_end_once_nothing_could_come_back(here: World) -> None:
    token, citizen = await sign_in(here)
    await signing_in.sign_out(here.home, token)
    await here.home.completion.finish()

    async def known() -> bool:
        await here.home.upkeep._compact(here.clock())
        return (await here.home.endings.look()).ended("citizen_sessions", citizen.session)

    await sign_in(here, YANN)
    here.clock.pass_(here.home.settings.backup_retention_days * 86_400_000)
    await signing_in.end_others(here.home, (await sign_in(here, YANN))[1])  # the newest record always stays
    assert await known()
    here.clock.pass_(1)
    assert not await known()


async def traces(here: World, person: dict[str, Any]) -> tuple[object, ...]:
    """All that coming in leaves behind, but for chance and time."""
    code = await codes.give(here.home, person)
    came = await signing_in.with_code(here.home, code.code, language="fr", address="192.0.2.1")
    shown = await signing_in.sessions(here.home, came.citizen)
    here.clock.pass_(1)
    await here.home.ledger.sequence_unfinished()
    told = [one for one in await here.entries(FactKind.CODE_GIVEN) if one.subject == came.citizen.subject]
    async with here.home.store.read() as tx:
        mine = citizen_sessions.c.subject == came.citizen.subject
        row = (await tx.execute(select(citizen_sessions).where(mine))).one()
    sizes = [len(value) for value in row if isinstance(value, bytes)]
    lasts = (row.expires_at - row.opened_at, [(one.way, one.assurance, one.helped) for one in shown])
    return lasts, sizes, [(one.kind, one.detail, one.recipient) for one in told]


async def test_nothing_about_it_tells_who_is_protected(here: World) -> None:
    until = Instant(here.clock() + 86_400_000)
    await here.home.protecting.protect(Wanted(subject=here.subject(ELISE), places=frozenset({"44109"}), until=until))

    hers = await traces(here, ELISE)
    others = await traces(here, ELISE | {"given_names": ["Marie", "Antoinette", "Josèphe", "Jeanne"]})

    assert hers == others

"""What is counted (wrong codes, what a portal may do in an hour) is counted for all processes of a home together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select

from broker.access.credentials import Credential
from broker.access.tallies import Taken, Tally
from broker.citizens import attempts
from broker.services.citizens import codes, drafts, signing_in
from broker.setup.wiring import Home
from broker.store.access_tables import tallies
from broker.store.engine import Store
from broker.web.portals.coming import FREE, HOUR_MS, cap
from schemas.errors import Refused
from schemas.names import Instant
from tests.franceconnect import doors
from tests.unit.broker.citizens.people import citizen
from tests.unit.broker.citizens.test_forwarded import KEY, at_portal
from tests.unit.broker.citizens.test_forwarded import enter as forwarded
from tests.world import DAY, ELISE, PORTAL, YANN, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]
WRONG = "ABCDEF-ABCDEF"
ADDRESS = "192.0.2.1"


@asynccontextmanager
async def another(here: World) -> AsyncIterator[Home]:
    """Another process of the same home, or the next one: with connections of its own, and nothing in its memory."""
    whole = here.home
    async with Store.open(whole.settings.database_url) as store:
        parts = {"log": whole.log, "keys": whole.keys, "endings": whole.endings}
        yield Home(whole.settings, store=store, clock=whole.clock, entropy=whole.entropy, **parts)


async def said(home: Home, code: str) -> str:
    """How somebody is let in, or why not."""
    try:
        await signing_in.with_code(home, code, language="fr", address=ADDRESS)
    except Refused as fault:
        return fault.code
    return "in"


async def test_wrong_codes_count_together_in_two_processes_and_in_the_next_one(here: World) -> None:
    code = (await codes.give(here.home, ELISE)).code
    async with another(here) as second:
        for number in range(attempts.MOST):
            assert "citizens.code" == await said((here.home, second)[number % 2], WRONG)
        assert ["citizens.too-many-attempts"] * 2 == [await said(one, code) for one in (here.home, second)]
    async with another(here) as restarted:
        assert "citizens.too-many-attempts" == await said(restarted, code)
        here.clock.pass_(attempts.WINDOW_MS)
        assert "in" == await said(restarted, code)


async def test_of_many_wrong_codes_at_the_same_moment_no_more_are_tried_than_in_turn(here: World) -> None:
    async with another(here) as second:
        told = await asyncio.gather(*(said((here.home, second)[number % 2], WRONG) for number in range(12)))

    assert attempts.MOST == told.count("citizens.code")
    assert 12 - attempts.MOST == told.count("citizens.too-many-attempts")


async def test_a_right_code_counts_for_nothing(here: World) -> None:
    assert "in" == await said(here.home, (await codes.give(here.home, ELISE)).code)
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(tallies))).all()


async def test_codes_of_drafts_count_by_address_and_by_session_wherever_they_are_tried(here: World) -> None:
    elise = citizen(here)
    async with another(here) as second:
        for number in range(attempts.MOST):
            with pytest.raises(Refused, match=r"drafts\.code"):
                await drafts.resume((here.home, second)[number % 2], elise, WRONG, address=f"192.0.2.{number}")
        with pytest.raises(Refused, match=r"citizens\.too-many-attempts"):
            await drafts.resume(second, elise, WRONG, address="192.0.2.99")


async def test_a_portal_signs_in_no_more_in_an_hour_in_two_processes_than_in_one(here: World) -> None:
    async with another(here) as second:
        them = [doors(World(home, here.clock, here.folder), per_hour=2) for home in (here.home, second)]

        async def enters(number: int) -> None:
            nonce, _ = signing_in.nonce(them[number].here.home, PORTAL, KEY)
            await forwarded(them[number], nonce, at_portal(them[number].fc, nonce))

        await enters(0)
        await enters(1)
        for number in (0, 1):
            with pytest.raises(Refused, match=r"citizens\.portal-limit"):
                await enters(number)
        here.clock.pass_(HOUR_MS)
        await enters(1)


async def test_a_portal_changes_no_more_in_an_hour_in_two_processes_than_in_one(here: World) -> None:
    at = here.clock()
    caller = Credential(KEY, PORTAL, frozenset(), at, Instant(at + DAY), None)
    here.home.settings = here.home.settings.model_copy(update={"portal_changes_per_hour": 3})
    async with another(here) as second:
        await cap(here.home, caller, 2)
        await cap(second, caller, 1)
        for home in (here.home, second):
            with pytest.raises(Refused, match=r"citizens\.portal-cap"):
                await cap(home, caller, 1)
        await cap(second, caller, FREE)
        here.clock.pass_(HOUR_MS)
        await cap(second, caller, 3)


async def test_a_window_ends_to_the_millisecond_and_a_clock_that_went_back_holds_nobody_up(here: World) -> None:
    counted = here.home.tallies
    asked = {"most": 2, "window_ms": 1000}
    assert [Taken(0, 1), Taken(0, 0)] == [await counted.take(Tally.CODES, "a", **asked) for _ in range(2)]
    assert Taken(0, 1) == await counted.take(Tally.CODES, "b", **asked)
    assert Taken(0, 1) == await counted.take(Tally.DRAFT_CODES, "a", **asked)
    here.clock.pass_(999)
    assert Taken(1, 0) == await counted.take(Tally.CODES, "a", **asked)
    here.clock.pass_(1)
    assert Taken(0, 1) == await counted.take(Tally.CODES, "a", **asked)
    here.clock.pass_(-10_000)
    assert Taken(0, 0) == await counted.take(Tally.CODES, "a", **asked, cost=7)


async def test_who_is_counted_is_in_no_row_and_what_is_over_goes(here: World) -> None:
    await said(here.home, WRONG)
    async with here.home.store.read() as tx:
        (row,) = (await tx.execute(select(tallies))).all()
    assert (32, 1, here.clock() + attempts.WINDOW_MS) == (len(row.key), row.counted, row.until)
    assert ADDRESS.encode() not in row.key
    here.clock.pass_(attempts.WINDOW_MS)
    await here.home.pruning.prune()
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(tallies))).all()


async def test_no_wrong_code_takes_longer_than_another_to_be_refused(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes time is Argon2id: it is done for a right code alone, never for one that is over, used or another's."""
    derived: list[str] = []

    def told(name: str, kept: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *words: (derived.append(name), kept(*words))[1]

    monkeypatch.setattr(here.home.draft_seals, "code_key", told("draft", here.home.draft_seals.code_key))
    monkeypatch.setattr(here.home.codes, "opened", told("code", here.home.codes.opened))
    elise, yann = citizen(here), citizen(here, YANN)
    draft = await drafts.write(here.home, elise, "move", {"a": 1})
    first = await drafts.save_as_code(here.home, elise, draft.id)
    saved = await drafts.save_as_code(here.home, elise, draft.id)
    used = (await codes.give(here.home, ELISE)).code
    assert "in" == await said(here.home, used)
    assert ["draft", "draft", "code"] == derived
    for who, code in ((yann, saved.code), (elise, first.code), (elise, WRONG)):
        with pytest.raises(Refused, match=r"drafts\.code"):
            await drafts.resume(here.home, who, code, address=ADDRESS)
    assert ["citizens.code"] * 2 == [await said(here.home, one) for one in (used, WRONG)]

    assert ["draft", "draft", "code"] == derived

"""Openings that have served their time: they go, the ledger says which, and whoever lives on goes on."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text

from broker.ledger.openings import PERIOD_MS
from broker.ports import KeyKind
from broker.services.proofs import prove
from broker.store.tables import ledger_erased, ledger_openings
from schemas import receipt
from schemas.errors import Refused
from schemas.facts import FactKind
from tests.world import CAF, DAY, FAMILY, MOVED, VOICE, World, world

pytestmark = pytest.mark.asyncio

YEARS = 1095 * DAY + 2 * PERIOD_MS


async def counted(here: World) -> tuple[int, int]:
    """Openings, and entries that nobody can open any more."""
    async with here.home.store.read() as tx:
        left = (await tx.execute(select(func.count()).select_from(ledger_openings))).scalar_one()
        gone = (await tx.execute(select(func.count()).select_from(ledger_erased))).scalar_one()
    return left, gone


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A home that keeps what opens its ledger for three years."""
    async with world(tmp_path, ledger_opening_days=1095, **home_settings) as made:
        yield made
        await made.step()


async def test_after_its_time_an_entry_is_noise_and_a_consent_that_lives_is_entered_anew(here: World) -> None:
    living = await here.give(CAF, MOVED, FAMILY, {"subject", "new_address"})
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.step()
    before, _ = await counted(here)
    here.clock.pass_(YEARS)

    await here.home.pruning.prune()

    left, gone = await counted(here)
    assert before == gone
    assert [living.grant.id] == [facts.grant for facts in await here.entries(FactKind.CARRIED)]
    assert left == 1
    assert len(await here.entries(FactKind.ERASED)) == 1
    await here.step()
    assert receipt.check(await prove(here.home, living.grant.id, None, "en"), here.home.ledger.verifier_key)


async def test_the_key_of_a_period_goes_when_nothing_is_left_under_it(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, {"subject"})
    (old,) = here.home.keys.names(KeyKind.OPENING)
    here.clock.pass_(YEARS)
    await here.home.pruning.prune()

    await here.home.pruning.prune()

    assert old not in here.home.keys.names(KeyKind.OPENING)
    await here.step()


async def test_what_was_ended_is_gone_and_what_comes_after_is_as_ever(here: World) -> None:
    ended = await here.give(CAF, MOVED, FAMILY, {"subject"})
    await here.home.consents.revoke(ended.grant.id, VOICE)
    here.clock.pass_(YEARS)
    await here.home.pruning.prune()
    with pytest.raises(Refused) as refused:
        await prove(here.home, ended.grant.id, None, "en")
    assert "proofs.no-such-fact" == refused.value.code

    await here.give(CAF, MOVED, FAMILY, {"subject", "new_address"})
    await here.step()


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM ledger_openings WHERE kind = 'granted'",
        "DELETE FROM ledger_erased WHERE leaf = (SELECT min(leaf) FROM ledger_erased)",
        "INSERT INTO ledger_erased SELECT leaf, leaf FROM ledger_openings",
    ],
)
async def test_an_opening_that_is_missing_outside_of_a_list_is_found(
    tmp_path: Path, home_settings: dict[str, Any], tampering: str
) -> None:
    async with world(tmp_path, ledger_opening_days=1095, **home_settings) as here:
        await here.give(CAF, MOVED, FAMILY, {"subject"})
        here.clock.pass_(YEARS)
        await here.home.pruning.prune()
        await here.give(CAF, MOVED, FAMILY, {"subject", "new_address"})
        await here.step()
        async with here.home.store.begin() as tx:
            await tx.conn.execute(text(tampering))

        found = {finding.check for finding in await here.home.fsck.check()}

    assert found & {"ledger.opening", "ledger.erasure"}

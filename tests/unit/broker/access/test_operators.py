"""Operators: an account counts where row and journal say the same, whatever crashed; acts go with their openings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from broker.access.operators import Account, Login, row_of
from broker.access.roles import Role
from broker.ended import FOREVER, Ending
from broker.ledger.acting import Acting, Signer, begin
from broker.ledger.openings import PERIOD_MS
from broker.store.operator_tables import operator_acts
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import EventType, Instant, OperatorName
from schemas.signing import Algorithm, PrivateKey
from tests.world import CAF, DAY, World, world

pytestmark = pytest.mark.asyncio

ANNE, BOB = OperatorName("anne.martin"), OperatorName("bob")
DIED = EventType("fr.unefois.person.died.v1")
KEY, OTHER = (PrivateKey.from_raw(Algorithm.ED25519, bytes([number]) * 32) for number in (1, 2))


async def add(here: World, name: OperatorName = ANNE, key: PrivateKey = KEY) -> Account:
    async with here.home.store.begin() as tx:
        roles = frozenset({Role.OPERATOR})
        return await here.home.operators.add(tx, name, roles, public=key.public, login=None, at=here.clock())


async def living(here: World) -> list[Account]:
    async with here.home.store.read() as tx:
        return await here.home.operators.living(tx)


async def said(here: World) -> list[FactKind]:
    return [facts.kind for facts in await here.entries()]


def acting(here: World, account: Account, act: str = "party allow") -> Acting:
    return Acting(act, Signer(account.name, account.told(), KEY.sign))


@pytest.mark.databases
async def test_an_account_is_added_changed_and_ended(here: World) -> None:
    first = await add(here)
    await add(here, BOB, OTHER)
    async with here.home.store.begin() as tx:
        login = Login("https://id.example", "bob-1")
        second = await here.home.operators.change(tx, BOB, login=login, at=here.clock())
    assert [first, second] == await living(here)
    assert (2, login, OTHER.public) == (second.version, second.login, second.public)
    async with here.home.store.begin() as tx:
        await here.home.operators.end(tx, BOB, here.clock())
    assert [first] == await living(here)
    await here.step()


async def test_what_a_crash_kept_from_the_rows_is_completed(here: World) -> None:
    """The journal was written, and the database did not commit: an addition, a change, an end."""
    at = here.clock()
    account = Account(ANNE, frozenset({Role.OPERATOR}), KEY.public, None, 1, at, at, None)

    async def written(one: Account, least: int) -> None:
        ending = Ending.of("operators", ANNE.encode(), at=at, least=least, **row_of(one))
        await here.home.endings.write([ending])
        await here.home.completion.finish()

    await written(account, 1)
    assert [account] == await living(here)
    changed = replace(account, roles=frozenset({Role.AUDITOR}), version=2)
    await written(changed, 2)
    assert [changed] == await living(here)
    await written(replace(changed, ended_at=at), FOREVER)
    assert [] == await living(here)
    kinds = [kind for kind in await said(here) if kind.value.startswith("operator")]
    assert [FactKind.OPERATOR_ADDED, FactKind.OPERATOR_CHANGED, FactKind.OPERATOR_ENDED] == kinds
    await here.step()


async def test_what_only_a_person_does_is_not_done_by_nobody_once_somebody_has_an_account(here: World) -> None:
    account = await add(here)
    with pytest.raises(Refused) as caught:
        async with here.home.store.begin() as tx:
            await here.home.registrar.allow_publishing(tx, CAF, DIED, here.clock())
    assert "operators.nobody" == caught.value.code
    assert FactKind.ACTED not in await said(here)

    with begin(acting(here, account)):
        async with here.home.store.begin() as tx:
            await here.home.registrar.allow_publishing(tx, CAF, DIED, here.clock())
    assert FactKind.ACTED in await said(here)
    await here.step()


async def test_an_act_that_fails_names_nobody(here: World) -> None:
    account = await add(here)

    async def broken() -> None:
        async with here.home.store.begin() as tx:
            await here.home.registrar.allow_publishing(tx, CAF, DIED, here.clock())
            raise RuntimeError

    with begin(acting(here, account)), pytest.raises(RuntimeError):
        await broken()
    assert FactKind.ACTED not in await said(here)
    await here.step()


async def test_who_acted_is_forgotten_with_what_opens_it(tmp_path: Path, home_settings: dict[str, Any]) -> None:
    async with world(tmp_path, ledger_opening_days=1095, **home_settings) as here:
        account = await add(here)
        with begin(acting(here, account)):
            async with here.home.store.begin() as tx:
                await here.home.registrar.allow_publishing(tx, CAF, DIED, here.clock())
        await here.step()
        here.clock.pass_(1095 * DAY + 2 * PERIOD_MS)
        while (await here.home.pruning.prune()).more:
            continue
        async with here.home.store.read() as tx:
            left = (await tx.execute(select(func.count()).select_from(operator_acts))).scalar_one()
        assert 0 == left
        assert [account] == await living(here)
        await here.step()


async def test_the_instant_of_an_account_is_the_caller_s(here: World) -> None:
    account = await add(here)
    assert Instant(here.clock()) == account.added_at

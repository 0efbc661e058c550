"""Credentials: who holds a token is let in as its party, for its scopes and its time; the database alone lets nobody
in.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from broker.access.credentials import LIFETIME_MS, Credentials, Issued, Scope
from broker.store.access_tables import api_tokens
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, PartyId
from tests.signed import resign, signer
from tests.world import CAF, CPAM, DAY, World, with_parts

pytestmark = pytest.mark.asyncio


async def issue(here: World, party: PartyId = CAF, *scopes: Scope, days: int = 1) -> Issued:
    at = here.clock()
    async with here.home.store.begin() as tx:
        return await here.home.credentials.issue(
            tx, party, scopes or (Scope.RECEIVE,), expires_at=Instant(at + days * DAY), at=at
        )


async def refusal(here: World, token: str) -> str:
    with pytest.raises(Refused) as raised:
        async with here.home.store.read() as tx:
            await here.home.credentials.verify(tx, token, here.clock())
    assert not token or token not in str(raised.value)
    return raised.value.code


@pytest.mark.databases
async def test_a_token_tells_its_party_and_its_scopes(here: World) -> None:
    issued = await issue(here, CPAM, Scope.RECEIVE, Scope.READ)
    async with here.home.store.read() as tx:
        found = await here.home.credentials.verify(tx, issued.token, here.clock())
    assert (CPAM, {Scope.RECEIVE, Scope.READ}) == (found.party, found.scopes)
    assert issued.credential == found


async def test_the_secret_is_in_no_row_and_in_no_repr(here: World) -> None:
    issued = await issue(here)
    secret = issued.token.rpartition("_")[2]
    async with here.home.store.read() as tx:
        rows = (await tx.execute(select(api_tokens))).all()
    assert secret not in repr(issued)
    assert secret not in repr(rows)


async def test_a_token_ends_with_its_time(here: World) -> None:
    issued = await issue(here)
    here.clock.pass_(DAY - 1)
    async with here.home.store.read() as tx:
        await here.home.credentials.verify(tx, issued.token, here.clock())
    here.clock.pass_(1)
    assert "credentials.expired" == await refusal(here, issued.token)


async def test_a_revoked_token_is_taken_no_more_and_is_revoked_once(here: World) -> None:
    issued = await issue(here)
    async with here.home.store.begin() as tx:
        revoked = await here.home.credentials.revoke(tx, issued.credential.id, here.clock())
    assert here.clock() == revoked.revoked_at
    assert "credentials.revoked" == await refusal(here, issued.token)
    with pytest.raises(Refused) as raised:
        async with here.home.store.begin() as tx:
            await here.home.credentials.revoke(tx, issued.credential.id, here.clock())
    assert "credentials.already-revoked" == raised.value.code


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: f"{t}A", lambda t: f" {t}", str.upper, lambda _: ""])
async def test_what_is_not_a_token_is_unknown(here: World, change: Callable[[str], str]) -> None:
    assert "credentials.unknown" == await refusal(here, change((await issue(here)).token))


async def test_the_secret_of_one_token_does_not_open_another(here: World) -> None:
    mine, other = await issue(here), await issue(here, CPAM)
    crossed = f"unefois_{mine.credential.id.hex()}_{other.token.rpartition('_')[2]}"
    nobody = f"unefois_{bytes(8).hex()}_{other.token.rpartition('_')[2]}"
    assert ["credentials.unknown"] * 2 == [await refusal(here, crossed), await refusal(here, nobody)]


async def test_issuing_and_revoking_are_in_the_ledger(here: World) -> None:
    issued = await issue(here)
    async with here.home.store.begin() as tx:
        await here.home.credentials.revoke(tx, issued.credential.id, here.clock())
    told = (await here.entries(FactKind.KEY_ADDED, FactKind.KEY_REVOKED))[-2:]
    assert [(FactKind.KEY_ADDED, CAF), (FactKind.KEY_REVOKED, CAF)] == [(one.kind, one.recipient) for one in told]
    assert told[0].detail == told[1].detail is not None


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": '["publish", "receive"]'},
        {"party": CPAM},
        {"expires_at": 2**50},
        {"digest": bytes(32)},
        {"revoked_at": 1},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_fsck_finds_a_token_that_was_changed_behind_the_ledger(here: World, change: dict[str, object]) -> None:
    issued = await issue(here)
    mine = api_tokens.c.id == issued.credential.id
    async with here.home.store.begin() as tx:
        before = (await tx.execute(select(api_tokens).where(mine))).one()
        await tx.execute(update(api_tokens).where(mine).values(**change))
    await resign(here.home)
    assert {"credentials.untold"} == {finding.check for finding in await here.home.fsck.check()} - {"ledger.checkpoint"}
    async with here.home.store.begin() as tx:
        await tx.execute(update(api_tokens).where(mine).values(**before._mapping))


async def test_no_token_without_scopes_without_an_end_or_for_a_stranger(here: World) -> None:
    at, codes = here.clock(), []
    for party, scopes, ends in (
        (CAF, (), at + 1),
        (CAF, (Scope.READ,), at),
        (CAF, (Scope.READ,), at + LIFETIME_MS + 1),
        (PartyId("urn:unefois:nobody"), (Scope.READ,), at + 1),
    ):
        with pytest.raises(Refused) as raised:
            async with here.home.store.begin() as tx:
                await here.home.credentials.issue(tx, party, scopes, expires_at=Instant(ends), at=at)
        codes.append(raised.value.code)
    assert ["credentials.no-scope", "credentials.lifetime", "credentials.lifetime", "directory.unknown-party"] == codes


async def test_where_tokens_are_forbidden_none_is_issued_and_none_is_taken(here: World) -> None:
    issued = await issue(here)
    strict = Credentials(here.home.recorder, signer(), here.home.entropy, allowed=False)
    forbidding = with_parts(here.home, credentials=strict)
    with pytest.raises(Refused) as raised:
        await issue(replace(here, home=forbidding))
    assert "credentials.forbidden" == raised.value.code
    assert "credentials.forbidden" == await refusal(replace(here, home=forbidding), issued.token)


async def test_a_party_sees_its_own_tokens(here: World) -> None:
    await issue(here)
    mine = await issue(here, CPAM)
    async with here.home.store.read() as tx:
        assert [mine.credential] == await here.home.credentials.list(tx, CPAM)
        assert 2 == len(await here.home.credentials.list(tx))

"""What an auditor is given: sealed, told in the ledger, and enough to judge by the full rules."""

from dataclasses import replace

import pytest

from broker.services.disclosing import disclose
from broker.services.proofs import audit_home
from schemas import disclosure
from schemas.disclosure import Disclosure
from schemas.entry import Opening
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.hpke import SealingKey, Suite
from schemas.names import Instant, LeafHash
from tests.world import CAF, DAY, FAMILY, MOVED, VOICE, World

pytestmark = pytest.mark.asyncio


async def opened_for(here: World, since: int, until: int) -> Disclosure:
    """Disclosed to CAF as if it were an auditor, and opened with its key."""
    done = await disclose(here.home, Instant(since), Instant(until), CAF)
    directory = await here.home.lookup.newest(here.home.store)
    kid = directory.current_sealing_key(CAF, here.clock()).kid
    return disclosure.open_sealed(done.sealed, here.home.keyring.recipient(directory, CAF)[kid])


async def story(here: World) -> None:
    """A consent, a delivery under it, its end."""
    given = await here.give(CAF, MOVED, FAMILY, {"subject", "new_address"})
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.home.consents.revoke(given.grant.id, VOICE)
    await here.step()


async def test_an_auditor_judges_by_the_full_rules_and_finds_nothing(here: World) -> None:
    await story(here)

    bundle = await opened_for(here, 0, here.clock() + DAY)

    assert () == (await audit_home(here.home, bundle)).findings
    (told,) = await here.entries(FactKind.DISCLOSED)
    assert (CAF, len(bundle.openings)) == (told.recipient, told.count)


async def test_a_period_comes_with_what_its_grants_rest_on(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, {"subject", "new_address"})
    here.clock.pass_(40 * DAY)
    begin = here.clock()
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.step()

    bundle = await opened_for(here, begin, here.clock() + DAY)

    kinds = {one.facts.kind for one in bundle.openings.values()}
    assert {FactKind.GRANTED, FactKind.RECEIVED, FactKind.PLANNED, FactKind.RELEASED, FactKind.APPLIED} == kinds
    assert () == (await audit_home(here.home, bundle)).findings


async def test_an_opening_that_is_held_back_or_changed_is_a_finding(here: World) -> None:
    await story(here)
    bundle = await opened_for(here, 0, here.clock() + DAY)
    released = next(leaf for leaf, one in bundle.openings.items() if one.facts.kind is FactKind.RELEASED)
    less = {leaf: one for leaf, one in bundle.openings.items() if leaf != released}
    other = Opening(bytes(32), bundle.openings[released].plan_blind, bundle.openings[released].facts)

    held_back = await audit_home(here.home, replace(bundle, openings=less))
    changed = await audit_home(here.home, replace(bundle, openings=less | {LeafHash(released): other}))

    assert ["opening-missing"] == [finding.details["rule"] for finding in held_back.findings]
    assert ["entry.other-opening"] == [finding.code for finding in changed.findings]


async def test_it_opens_with_the_auditors_key_alone_and_for_its_own_ledger(here: World) -> None:
    await story(here)
    done = await disclose(here.home, Instant(0), Instant(here.clock() + DAY), CAF)
    for raw, code in ((done.sealed, "disclosure.other-key"), (b"{}", "disclosure.malformed")):
        with pytest.raises(Refused) as refused:
            disclosure.open_sealed(raw, SealingKey.generate(Suite.X25519))
        assert code == refused.value.code
    bundle = replace(await opened_for(here, 0, here.clock() + DAY), origin="other.example/log")
    assert ["disclosure.other-log"] == [one.code for one in (await audit_home(here.home, bundle)).findings]


async def test_a_period_that_ends_before_it_begins_is_refused_and_told_nowhere(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await disclose(here.home, Instant(2), Instant(2), CAF)
    assert "disclosure.period" == refused.value.code
    assert [] == await here.entries(FactKind.DISCLOSED)

"""fsck says what was changed behind the broker's back, and where: one row, one column, one finding."""

from pathlib import Path

import pytest
from sqlalchemy import text

from broker.maintenance.checks.finding import Finding
from tests.signed import resign
from tests.world import CAF, FAMILY, MOVED, PORTAL, VOICE, World, world

DAMAGE = "UPDATE deliveries SET locked = CAST(substr(locked, 1, length(locked) - 1) || x'00' AS BLOB)"
"""The last byte of every lock."""
SET = {
    "a key handed to another party": (
        f"UPDATE signing_keys SET party = '{CAF}' WHERE party = '{PORTAL}'",
        ("directory.untold", "keys/"),
    ),
    "a sealing key handed to another party": (
        f"UPDATE sealing_keys SET party = '{PORTAL}' WHERE party = '{CAF}'",
        ("directory.untold", "keys/"),
    ),
    "a key revoked in the table alone": (
        f"UPDATE signing_keys SET revoked_at = 1 WHERE party = '{PORTAL}'",
        ("directory.untold", "keys/"),
    ),
    "a subscription widened": (
        'UPDATE subscriptions SET fields = \'["email", "subject"]\'',
        ("subscriptions.edited", "subscriptions/"),
    ),
    "a subscription set back to asked": (
        "UPDATE subscriptions SET status = 'asked', approved_at = NULL",
        ("subscriptions.edited", "subscriptions/"),
    ),
    "a delivery in a state that does not exist": (
        "UPDATE deliveries SET state = 'opened'",
        ("deliveries.unreadable", "deliveries/1"),
    ),
    "a declaration of a type that is no type": (
        "UPDATE declarations SET event_type = 'moved'",
        ("deliveries.unreadable", "deliveries/1"),
    ),
    "a party moved to another sector": (
        f"UPDATE parties SET sector = 'tax' WHERE id = '{CAF}'",
        ("parties.edited", "parties/"),
    ),
    "a policy that demands less": (
        f"UPDATE signature_policies SET policy = 2 WHERE party = '{PORTAL}'",
        ("policies.edited", "signature_policies/"),
    ),
    "a right that nobody granted": (
        f"UPDATE publishing_rights SET party = '{CAF}' WHERE event_type LIKE '%address%'",
        ("rights.edited", "publishing_rights/"),
    ),
    "a lock that was damaged": (
        DAMAGE,
        ("deliveries.lock", "deliveries/"),
    ),
}


async def told_and_planned(here: World) -> None:
    """One consent, and one delivery that waits."""
    await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"))
    await here.declare(MOVED, here.moved())
    await here.step()


async def changed(here: World, statement: str) -> list[Finding]:
    """What fsck finds after somebody who holds the database has run a statement; upkeep came by before."""
    await here.home.completion.finish()
    async with here.home.store.begin() as tx:
        assert (await tx.conn.execute(text(statement))).rowcount > 0
    await resign(here.home)
    return await here.home.fsck.check()


@pytest.mark.asyncio
@pytest.mark.parametrize(("statement", "expected"), SET.values(), ids=SET.keys())
async def test_a_row_changed_by_hand_is_found_and_named(
    tmp_path: Path, statement: str, expected: tuple[str, str]
) -> None:
    async with world(tmp_path) as here:
        await told_and_planned(here)
        found = await changed(here, statement)
    check, place = expected
    assert [each for each in found if each.check == check and each.place.startswith(place)]


@pytest.mark.asyncio
async def test_a_subscription_that_was_ended_does_not_live_again_with_its_old_row(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await told_and_planned(here)
        subscription = here.subscriptions[CAF, MOVED]
        async with here.home.store.begin() as tx:
            await here.home.subscribing.end(tx, subscription.id, here.home.clock())
        assert [] == await here.home.fsck.check()
        found = await changed(
            here, "UPDATE subscriptions SET status = 'approved', ended_at = NULL WHERE ended_at IS NOT NULL"
        )
    assert ["endings.contradicted"] == [each.check for each in found]


@pytest.mark.asyncio
async def test_a_key_that_was_revoked_does_not_live_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        async with here.home.store.begin() as tx:
            directory = await here.home.lookup.directory(tx)
            (kid,) = [each.kid for each in directory.signing if each.party == PORTAL]
            await here.home.registrar.revoke_key(tx, kid, here.home.clock, here.home.clock())
        assert [] == await here.home.fsck.check()
        found = await changed(here, "UPDATE signing_keys SET revoked_at = NULL WHERE revoked_at IS NOT NULL")
    assert ["endings.contradicted"] == [each.check for each in found]


@pytest.mark.asyncio
async def test_a_lock_whose_consent_is_over_is_noise_and_no_finding(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await told_and_planned(here)
        (grant,) = await here.home.consents.of(here.subject())
        await here.home.consents.revoke(grant.id, VOICE)
        found = await changed(here, DAMAGE)
    assert [] == found

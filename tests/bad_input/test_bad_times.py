"""When: a manifest that has expired, one from the future, and one that only came early."""

import pytest

from schemas.names import Reason
from schemas.signing import Algorithm, PrivateKey
from tests.bad_input.door import Door
from tests.world import DAY, MINUTE, PORTAL

AHEAD = 5 * MINUTE
"""How far a source's clock may be ahead (protocol 7, step 5)."""


@pytest.mark.asyncio
async def test_an_expired_manifest_is_refused_at_its_end(door: Door) -> None:
    envelope = await door.envelope(lifetime=MINUTE)
    door.here.clock.pass_(MINUTE + 1)

    fault = await door.refuses(envelope, "manifest.too-late", "/payload/not_after")

    assert 1 == fault.details["late_ms"]
    await door.arrives()


@pytest.mark.asyncio
async def test_a_manifest_is_taken_in_the_last_millisecond_of_its_life(door: Door) -> None:
    envelope = await door.envelope(lifetime=MINUTE)
    door.here.clock.pass_(MINUTE)

    await door.arrives(lambda: door.here.home.intake.accept(envelope))


@pytest.mark.asyncio
async def test_a_manifest_from_the_future_is_refused_and_taken_when_its_time_has_come(door: Door) -> None:
    envelope = await door.envelope(ahead=AHEAD + 1, lifetime=DAY)

    fault = await door.refuses(envelope, "manifest.ahead", "/payload/issued_at")

    assert (AHEAD + 1, AHEAD) == (fault.details["ahead_ms"], fault.details["limit_ms"])
    assert Reason.STALE == (await door.here.entries())[-1].reason
    door.here.clock.pass_(1)
    await door.arrives(lambda: door.here.home.intake.accept(envelope))


@pytest.mark.asyncio
async def test_a_key_that_is_good_from_tomorrow_does_not_sign_today(door: Door) -> None:
    home, new = door.here.home, PrivateKey.generate(Algorithm.ED25519)
    now = home.clock()
    async with home.store.begin() as tx:
        await home.registrar.add_signing_key(
            tx, PORTAL, algorithm=new.algorithm, public=new.public, valid_from=type(now)(now + DAY), at=now
        )

    await door.refuses(await door.envelope(keys=[new]), "directory.key-not-yet-valid", "/signatures/0/kid")

    door.here.clock.pass_(DAY)
    tomorrow = await door.envelope(keys=[new])
    await door.arrives(lambda: home.intake.accept(tomorrow))

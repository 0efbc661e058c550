"""Who signs: a key that nobody knows, that was revoked, that is another's; a source that may not say such a thing."""

import pytest

from schemas.directory import Directory, SigningKeyEntry
from schemas.errors import Fault
from schemas.names import Instant, Reason
from schemas.signing import Algorithm, PrivateKey
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.world import CAF, MINUTE, PORTAL


def signing_key_of(directory: Directory) -> SigningKeyEntry:
    """The portal's signing key that was listed last."""
    mine = [key for key in directory.signing if key.party == PORTAL]
    return max(mine, key=lambda key: key.valid_from)


async def revoke(door: Door, *, ago: int = 0) -> None:
    """The portal's key is trusted no more, since so many milliseconds."""
    home, clock = door.here.home, door.here.clock
    kid = signing_key_of(await door.directory()).kid
    async with home.store.begin() as tx:
        await home.registrar.revoke_key(tx, kid, clock, Instant(clock() - ago))


@pytest.mark.asyncio
async def test_a_key_that_nobody_knows_is_refused_at_its_signature(door: Door) -> None:
    stranger = PrivateKey.generate(Algorithm.ED25519)

    await door.refuses(await door.envelope(keys=[stranger]), "directory.unknown-key", "/signatures/0/kid")

    await door.arrives()


@pytest.mark.asyncio
@pytest.mark.parametrize("ago", [0, MINUTE], ids=["revoked-after-it-signed", "revoked-before-it-signed"])
async def test_a_revoked_key_is_refused_and_a_new_one_is_taken(door: Door, ago: int) -> None:
    signed = await door.envelope()
    door.here.clock.pass_(2 * MINUTE if ago == 0 else 0)
    await revoke(door, ago=ago)

    await door.refuses(signed, "directory.key-revoked", "/signatures/0/kid")

    home = door.here.home
    assert Reason.INVALID_SIGNATURE == (await door.here.entries())[-1].reason
    new = PrivateKey.generate(Algorithm.ED25519)
    async with home.store.begin() as tx:
        now = home.clock()
        await home.registrar.add_signing_key(
            tx, PORTAL, algorithm=new.algorithm, public=new.public, valid_from=now, at=now
        )
    again = await door.envelope(keys=[new])
    await door.arrives(lambda: home.intake.accept(again))


@pytest.mark.asyncio
async def test_the_key_of_another_party_is_refused(door: Door) -> None:
    thief = await door.keys(CAF)

    await door.refuses(await door.envelope(keys=thief), "directory.key-of-another-party", "/signatures/0/kid")

    await door.arrives()


@pytest.mark.asyncio
async def test_a_source_that_may_not_declare_this_type_is_refused_at_the_type(door: Door) -> None:
    await door.refuses(await door.envelope(source=CAF), "directory.not-entitled", "/payload/event_type")

    assert Reason.NOT_ENTITLED == (await door.here.entries())[-1].reason
    await door.arrives()


def test_a_person_who_declares_for_a_source_that_may_not_is_told_so(person: Person) -> None:
    words = ("declare", person.file, "--type", "address.changed", "--source", CAF)

    fault: Fault = person.is_told(words, "directory.not-entitled", "/payload/event_type", exit_code=3, notes=1)

    assert CAF == fault.details["party"]
    person.declares()


def test_a_person_who_revokes_a_key_that_nobody_has_is_told_so(person: Person) -> None:
    person.is_told(("party", "revoke-key", "0" * 64, "--yes"), "registrar.unknown-key", "/kid", exit_code=3)

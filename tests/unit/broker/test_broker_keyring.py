"""The keyring: the key that the directory means, and none that the store has destroyed."""

import pytest

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.keys.keyring import Keyring
from broker.ports import KeyKind
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.names import Instant, PartyId
from schemas.signing import Algorithm, PrivateKey
from tests.world import CAF, DAY, PORTAL, World

pytestmark = pytest.mark.asyncio


async def directory(here: World) -> Directory:
    async with here.home.store.read() as tx:
        return await here.home.lookup.directory(tx)


async def test_the_newest_valid_key_signs(here: World) -> None:
    old = here.home.keyring.signer(await directory(here), PORTAL, here.clock())
    here.clock.pass_(1)
    new_kid, *_ = await here.home.parties.rotate(PORTAL, DAY)

    pinned = await directory(here)

    assert new_kid == here.home.keyring.signer(pinned, PORTAL, here.clock()).kid
    assert old.kid != new_kid


async def test_a_policy_of_two_algorithms_gets_two_keys_lowest_first(here: World) -> None:
    async with here.home.store.begin() as tx:
        second = PrivateKey.generate(Algorithm.ML_DSA_44)
        here.home.keys.write(KeyKind.SIGNING, second.kid.hex(), second.to_raw())
        await here.home.registrar.add_signing_key(
            tx,
            PORTAL,
            algorithm=second.algorithm,
            public=second.public,
            valid_from=here.clock(),
            at=here.clock(),
        )
        await here.home.registrar.set_policy(tx, PORTAL, 4, here.clock() + 1)
    here.clock.pass_(1)

    signers = here.home.keyring.signers(await directory(here), PORTAL, here.clock())

    assert [Algorithm.ED25519, Algorithm.ML_DSA_44] == [one.algorithm for one in signers]


@pytest.mark.parametrize(
    ("policy", "first"),
    [(1, "ED25519"), (2, "ML_DSA_44"), (3, "ECDSA_P256"), (4, "ED25519"), (5, "ML_DSA_44")],
)
async def test_what_has_room_for_one_signature_is_signed_by_the_first_algorithm_of_the_policy(
    here: World, policy: int, first: str
) -> None:
    town = PartyId("urn:unefois:town")
    office = Party(town, "Ville", "commune", PartyKind.ADMINISTRATION, "1 rue X", "c@x.example", "un an", here.clock())
    await here.home.parties.enrol(Enrolment(office, policy, None))

    assert first == here.home.keyring.signer(await directory(here), town, here.clock()).algorithm.name


async def test_a_key_that_is_not_here_does_not_sign(here: World) -> None:
    pinned = await directory(here)
    kid = here.home.keyring.signer(pinned, PORTAL, here.clock()).kid
    here.home.keys.destroy(KeyKind.SIGNING, kid.hex())

    with pytest.raises(Refused) as refused:
        here.home.keyring.signer(pinned, PORTAL, here.clock())

    assert ("keyring.no-signing-key", "ED25519") == (refused.value.code, refused.value.details["algorithm"])


async def test_a_revoked_an_ended_and_a_future_key_do_not_sign(here: World) -> None:
    pinned = await directory(here)
    kid = here.home.keyring.signer(pinned, PORTAL, here.clock()).kid
    keyring = here.home.keyring

    def refused(at: Instant) -> bool:
        try:
            keyring.signer(pinned, PORTAL, at)
        except Refused as fault:
            return fault.code in {"keyring.no-signing-key", "directory.no-policy"}
        return False

    assert refused(Instant(here.clock() - 1))
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, kid, here.clock)
    pinned = await directory(here)
    assert not refused(here.clock())  # what was signed before, in this very millisecond, stays good
    assert refused(Instant(here.clock() + 1))


async def test_an_ended_key_signs_to_the_last_millisecond_of_its_life(here: World) -> None:
    old = here.home.keyring.signer(await directory(here), PORTAL, here.clock())
    start = here.clock()
    here.clock.pass_(10)
    new, *_ = await here.home.parties.rotate(PORTAL, 5)
    here.home.keys.destroy(KeyKind.SIGNING, new.hex())
    pinned = await directory(here)

    assert old.kid == here.home.keyring.signer(pinned, PORTAL, Instant(start + 15)).kid
    with pytest.raises(Refused):
        here.home.keyring.signer(pinned, PORTAL, Instant(start + 16))


async def test_a_party_without_a_policy_is_refused(here: World) -> None:
    with pytest.raises(Refused) as refused:
        here.home.keyring.signers(await directory(here), PartyId("urn:unefois:nobody"), here.clock())

    assert "directory.no-policy" == refused.value.code


async def test_a_key_that_another_process_destroyed_is_forgotten(here: World) -> None:
    pinned = await directory(here)
    (epoch,) = await here.home.epochs.gate_epochs()
    entry = pinned.sealing_key(epoch.kid)
    assert here.home.keyring.gate(entry) is not None
    secret = here.home.keys.read(KeyKind.GATE, epoch.kid.hex())

    here.home.keys.destroy(KeyKind.GATE, epoch.kid.hex())
    assert here.home.keyring.gate(entry) is None
    here.home.keys.write(KeyKind.GATE, epoch.kid.hex(), secret)

    (number,) = here.home.keyring.consent_epochs()
    key = here.home.keys.read(KeyKind.CONSENT_EPOCH, str(number))
    here.home.keys.destroy(KeyKind.CONSENT_EPOCH, str(number))
    assert {} == here.home.keyring.consent_epochs()
    here.home.keys.write(KeyKind.CONSENT_EPOCH, str(number), key)
    assert {number: key} == here.home.keyring.consent_epochs()


async def test_a_recipient_keeps_every_key_that_something_may_be_sealed_to(here: World) -> None:
    await here.home.parties.rotate(CAF, 0)
    pinned = await directory(here)

    keys = here.home.keyring.recipient(pinned, CAF)

    assert {key.kid for key in pinned.sealing if key.party == CAF} == set(keys)
    assert 2 == len(keys)


async def test_no_secret_shows_in_a_repr(here: World) -> None:
    pinned = await directory(here)
    here.home.keyring.signer(pinned, PORTAL, here.clock())

    told = repr(Keyring(here.home.keys)) + repr(here.home.keyring) + repr(here.home.keys)

    secrets = [here.home.keys.read(kind, name) for kind in KeyKind for name in here.home.keys.names(kind)]
    assert not any(secret.hex() in told or repr(secret)[2:-1] in told for secret in secrets)

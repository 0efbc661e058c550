"""Parties hosted here: fresh keys, kept before they are listed; a rotation leaves no gap and loses nothing."""

from typing import Any

import pytest

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.directory.registrar import OVERLAP_MS
from broker.ports import KeyKind
from schemas.delivery import open_release, verify_delivery
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.names import PartyId
from schemas.signing import Algorithm
from tests.world import CAF, DAY, FAMILY, MOVED, PORTAL, YANN, World

pytestmark = pytest.mark.asyncio

NEW = PartyId("urn:unefois:registry-office")


def enrolment(here: World, **more: Any) -> Enrolment:
    told = {
        "id": NEW,
        "name": "État civil",
        "sector": "registry",
        "kind": PartyKind.ADMINISTRATION,
        "address": "1 place de la République",
        "contact": "contact@example.fr",
        "retention": "un an",
        "created_at": here.clock(),
    }
    return Enrolment(Party(**told), **{"policy": 1, "suite": Suite.X25519, **more})


async def directory(here: World) -> Any:
    async with here.home.store.read() as tx:
        return await here.home.lookup.directory(tx)


@pytest.mark.parametrize(
    ("policy", "algorithms"),
    [
        (1, [Algorithm.ED25519]),
        (4, [Algorithm.ED25519, Algorithm.ML_DSA_44]),
        (5, [Algorithm.ML_DSA_44, Algorithm.ECDSA_P256]),
    ],
)
async def test_a_new_party_has_a_key_for_each_signature_it_owes(
    here: World, policy: int, algorithms: list[Algorithm]
) -> None:
    await here.home.parties.enrol(enrolment(here, policy=policy, publishes=(MOVED,)))

    pinned = await directory(here)
    assert algorithms == sorted(key.algorithm for key in pinned.signing if key.party == NEW)
    accepted = await here.home.desk.declare(NEW, MOVED, here.moved())
    await here.home.router.route()
    assert NEW == (await here.home.tracking.track(accepted.declaration_id)).source


async def test_a_party_that_only_publishes_has_no_key_to_receive_with(here: World) -> None:
    await here.home.parties.enrol(enrolment(here, suite=None))

    assert not [key for key in (await directory(here)).sealing if key.party == NEW]


async def test_a_party_is_enrolled_once_and_the_second_time_leaves_nothing_in_the_directory(here: World) -> None:
    await here.home.parties.enrol(enrolment(here))
    before = await directory(here)

    with pytest.raises(Refused) as refused:
        await here.home.parties.enrol(enrolment(here))

    assert "registrar.party-exists" == refused.value.code
    assert before == await directory(here)


async def test_a_type_that_nobody_knows_cannot_be_published_and_no_party_is_made(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.parties.enrol(enrolment(here, publishes=("fr.unefois.weather.changed.v1",)))

    assert "catalogue.unknown-type" == refused.value.code
    async with here.home.store.read() as tx:
        assert NEW not in {one.id for one in await here.home.lookup.parties(tx)}


async def test_a_rotation_makes_one_key_of_each_kind_and_ends_the_old_after_the_overlap(here: World) -> None:
    before = {key.kid for key in (await directory(here)).signing if key.party == CAF}
    here.clock.pass_(1)

    kids = await here.home.parties.rotate(CAF, DAY)

    pinned = await directory(here)
    listed = [*pinned.signing, *pinned.sealing]
    assert 2 == len(kids)
    assert {None} == {key.valid_to for key in listed if key.kid in kids}
    assert {here.clock() + DAY} == {key.valid_to for key in listed if key.party == CAF and key.kid not in kids}
    assert before.isdisjoint(kids)
    for kid in kids:
        kinds = [kind for kind in (KeyKind.SIGNING, KeyKind.SEALING) if kid.hex() in here.home.keys.names(kind)]
        assert 1 == len(kinds)


async def test_a_source_signs_with_the_new_key_and_what_the_old_one_signed_is_taken_until_the_overlap_ends(
    here: World,
) -> None:
    signed_before = [await here.home.desk.envelope(PORTAL, MOVED, here.moved()) for _ in range(2)]
    here.clock.pass_(1)
    await here.home.parties.rotate(PORTAL, 1000)
    signed_after = await here.home.desk.envelope(PORTAL, MOVED, here.moved())

    here.clock.pass_(1000)
    await here.home.intake.accept(signed_before[0])
    await here.home.intake.accept(signed_after)
    here.clock.pass_(1)
    with pytest.raises(Refused) as refused:
        await here.home.intake.accept(signed_before[1])
    assert "directory.key-expired" == refused.value.code
    assert 2 == await here.home.router.route()


async def test_what_was_released_to_the_old_key_opens_after_the_rotation(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved())
    before = await here.inbox(CAF).pull(1)
    here.clock.pass_(1)
    await here.home.parties.rotate(CAF, DAY)
    await here.declare(MOVED, here.moved(YANN))
    after = await here.inbox(CAF).pull(1)

    pinned = await directory(here)
    keys = here.home.keyring.recipient(pinned, CAF)
    assert 2 == len(keys)
    opened = []
    for pulled in (before, after):
        for key in keys.values():
            try:
                opened += open_release(pulled.locked, pulled.key_release, key)
            except Refused:
                continue
    assert 2 == len(opened)
    for one in opened:
        verify_delivery(
            one,
            recipient=CAF,
            directory=pinned,
            catalogue=here.home.catalogue,
            at=here.clock(),
            seen=lambda *_: None,
        )


async def test_a_second_rotation_renews_only_what_still_lives(here: World) -> None:
    await here.home.parties.rotate(CAF, 0)
    here.clock.pass_(1)

    assert 2 == len(await here.home.parties.rotate(CAF, 0))


async def test_nobody_is_rotated_who_is_not_here(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.parties.rotate(NEW, 0)

    assert "directory.unknown-party" == refused.value.code


async def test_an_overlap_without_end_is_refused_and_the_old_keys_go_on(here: World) -> None:
    before = await directory(here)

    with pytest.raises(Refused) as refused:
        await here.home.parties.rotate(CAF, OVERLAP_MS + 1)

    assert "registrar.overlap" == refused.value.code
    assert before == await directory(here)


async def test_the_broker_gets_new_signing_keys_and_its_gate_goes_on_opening(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    (signing,) = await here.home.parties.rotate(here.home.party, 0)
    here.clock.pass_(1)
    await here.declare(MOVED, here.moved())

    assert 1 == len(await here.take(CAF))
    pinned = await directory(here)
    assert here.home.party == pinned.signing_key(signing).party
    await here.step()

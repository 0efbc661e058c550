"""Public keys that nobody should trust: of small order, not canonical; at the registrar, in a pinned file, in a row."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import update

from broker.directory.reading import VERSION
from broker.store.tables import meta, sealing_keys, signing_keys
from schemas.directory import Directory
from schemas.errors import Corrupt, Fault, Refused
from schemas.hpke import Suite
from schemas.hpke import kid_of as sealing_kid
from schemas.signing import Algorithm, PrivateKey
from schemas.signing import kid_of as signing_kid
from tests.bad_input.door import Door
from tests.bad_input.telling import assert_told
from tests.signed import resign
from tests.world import CAF, MOVED, PORTAL

P = 2**255 - 19
ORDER_8_Y = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
ORDER_8_U = [
    int.from_bytes(bytes.fromhex(u), "little")
    for u in (
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    )
]
SMALL_Y = (0, 1, P - 1, ORDER_8_Y, P - ORDER_8_Y)
SMALL_U = (0, 1, P - 1, *ORDER_8_U)
SIGN = 1 << 255
LATTICE = bytes(1184)

WEAK_SIGNING = [
    *(("signing.small-order-key", (y | sign).to_bytes(32, "little")) for y in SMALL_Y for sign in (0, SIGN)),
    *(("signing.non-canonical-key", (P + y | sign).to_bytes(32, "little")) for y in range(19) for sign in (0, SIGN)),
]
WEAK_SEALING = [
    *(("hpke.small-order-key", u.to_bytes(32, "little")) for u in SMALL_U),
    *(("hpke.non-canonical-key", (P + u).to_bytes(32, "little")) for u in range(19)),
    *(("hpke.non-canonical-key", (u | SIGN).to_bytes(32, "little")) for u in (*SMALL_U, 9)),
]


def listing_a_signing_key(door: Door, raw: bytes) -> Callable[[], Awaitable[object]]:
    """The registrar is asked to list it for the portal."""
    home = door.here.home

    async def call() -> None:
        async with home.store.begin() as tx:
            at = home.clock()
            await home.registrar.add_signing_key(
                tx, PORTAL, algorithm=Algorithm.ED25519, public=raw, valid_from=at, at=at
            )

    return call


def listing_a_sealing_key(door: Door, suite: Suite, raw: bytes) -> Callable[[], Awaitable[object]]:
    """The registrar is asked to list it for the fund."""
    home = door.here.home

    async def call() -> None:
        async with home.store.begin() as tx:
            at = home.clock()
            await home.registrar.add_sealing_key(tx, CAF, suite=suite, public=raw, valid_from=at, at=at)

    return call


@pytest.mark.asyncio
async def test_no_weak_signing_key_is_listed(door: Door) -> None:
    for code, raw in WEAK_SIGNING:
        await door.fails(listing_a_signing_key(door, raw)(), code, "/public")

    sound = PrivateKey.generate(Algorithm.ED25519)
    await listing_a_signing_key(door, sound.public)()
    envelope = await door.envelope(keys=[sound])
    await door.arrives(lambda: door.here.home.intake.accept(envelope))


@pytest.mark.asyncio
async def test_no_weak_sealing_key_is_listed_in_either_suite(door: Door) -> None:
    for code, raw in WEAK_SEALING:
        await door.fails(listing_a_sealing_key(door, Suite.X25519, raw)(), code, "/public")
        await door.fails(listing_a_sealing_key(door, Suite.MLKEM768_X25519, LATTICE + raw)(), code, "/public")

    await door.arrives()


@pytest.mark.asyncio
async def test_keys_of_a_wrong_length_off_the_curve_or_malformed_are_not_listed(door: Door) -> None:
    async def p256(raw: bytes) -> None:
        home = door.here.home
        async with home.store.begin() as tx:
            at = home.clock()
            await home.registrar.add_signing_key(
                tx, PORTAL, algorithm=Algorithm.ECDSA_P256, public=raw, valid_from=at, at=at
            )

    await door.fails(listing_a_signing_key(door, bytes(31))(), "signing.public-key-length", "/public")
    await door.fails(listing_a_signing_key(door, (2).to_bytes(32, "little"))(), "signing.off-curve-key", "/public")
    await door.fails(p256(b"\x04" + bytes(64)), "signing.off-curve-key", "/public")
    await door.fails(listing_a_sealing_key(door, Suite.X25519, bytes(33))(), "hpke.public-key-length", "/public")
    full = b"\xff" * 1184 + (9).to_bytes(32, "little")
    await door.fails(listing_a_sealing_key(door, Suite.MLKEM768_X25519, full)(), "hpke.malformed-key", "/public")


@pytest.mark.asyncio
@pytest.mark.parametrize(("code", "raw"), [WEAK_SIGNING[0], WEAK_SIGNING[-1]], ids=["small-order", "non-canonical"])
async def test_a_pinned_directory_with_a_weak_signing_key_is_refused_at_its_entry(
    door: Door, code: str, raw: bytes
) -> None:
    pinned = json.loads((await door.directory()).to_json())
    pinned["signing"][0] |= {"algorithm": 1, "public": raw.hex(), "kid": signing_kid(Algorithm.ED25519, raw).hex()}

    assert_told(_refused(pinned), code, _place(pinned, "signing", raw))


@pytest.mark.asyncio
@pytest.mark.parametrize(("code", "raw"), [WEAK_SEALING[0], WEAK_SEALING[-1]], ids=["small-order", "non-canonical"])
async def test_a_pinned_directory_with_a_weak_sealing_key_is_refused_at_its_entry(
    door: Door, code: str, raw: bytes
) -> None:
    pinned = json.loads((await door.directory()).to_json())
    suite = Suite.X25519
    pinned["sealing"][0] |= {"suite": int(suite), "public": raw.hex(), "kid": sealing_kid(suite, raw).hex()}

    assert_told(_refused(pinned), code, _place(pinned, "sealing", raw))


@pytest.mark.asyncio
async def test_a_weak_key_written_behind_the_registrars_back_stops_whoever_reads_it(door: Door) -> None:
    """The row is not what this broker wrote: it contradicts itself, and says so instead of trusting it."""
    home = door.here.home
    for table, party, weak in ((signing_keys, PORTAL, WEAK_SIGNING[0][1]), (sealing_keys, CAF, WEAK_SEALING[0][1])):
        mine = table.c.party == party
        async with home.store.begin() as tx:
            kept = (await tx.execute(table.select().where(mine))).one().public
            await tx.execute(update(table).where(mine).values(public=weak))
            await tx.execute(update(meta).where(meta.c.name == VERSION).values(value="999"))
        await resign(home)

        with pytest.raises(Corrupt) as caught:
            await home.desk.declare(PORTAL, MOVED, door.move())
        assert "directory.unreadable" == caught.value.code
        assert_told(caught.value, "directory.unreadable", caught.value.pointer)
        async with home.store.begin() as tx:
            await tx.execute(update(table).where(mine).values(public=kept))
        await resign(home)

    await door.arrives()


def _refused(pinned: dict[str, Any]) -> Fault:
    with pytest.raises(Refused) as caught:
        Directory.from_json(json.dumps(pinned, indent=1) + "\n")
    return caught.value


def _place(pinned: dict[str, Any], name: str, raw: bytes) -> str:
    """Where the entry stands once the entries are sorted by key id."""
    entries = sorted(pinned[name], key=lambda entry: entry["kid"])
    return f"/{name}/{[entry['public'] for entry in entries].index(raw.hex())}"

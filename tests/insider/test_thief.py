"""A thief of backups: the database alone tells no value and no name, and an old one opens nothing with today's keys."""

import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from broker.flow.arrived import Accepted
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store.engine import Store
from connectors.contract import Rejected
from schemas.names import Reason
from tests.faults.test_canary import ACCOUNT, CANARIES, HOME, OF_THE_ACCOUNT, PERSON, TOLD
from tests.insider.estate import file_of
from tests.insider.hand import Hand
from tests.insider.open import IDENTITY, VALUE
from tests.insider.watch import Watch
from tests.memory import MemoryEndings
from tests.world import BANK, CAF, CPAM, FAMILY, HEALTH, MOVED, PORTAL, RENNES, TOWN, VOICE, World

pytestmark = pytest.mark.asyncio

NAMES = (PERSON["family_name"], PERSON["given_names"][0], PERSON["birthdate"])


async def lived(here: World) -> Accepted:
    """A day on which a delivery is in every state: waiting, applied, rejected, withheld, narrowed, parked."""
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=PERSON)
    await here.give(CPAM, MOVED, HEALTH, ["subject", "new_address", "phone", "email"], person=PERSON)
    await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"], person=PERSON)
    await here.give(CAF, BANK, FAMILY, ["iban", "holder"], person=PERSON)
    made = await here.declare(MOVED, here.moved(PERSON, new_address=HOME, **TOLD))
    await here.declare(BANK, here.bank(PERSON, joint=True, **ACCOUNT))
    await here.take(CPAM)
    (first, *_) = await here.open(RENNES, await here.inbox(RENNES).pull(1))
    await here.inbox(RENNES).acknowledge(first.delivery_id, Rejected("crm.no-such-file", Reason.SYSTEM_REFUSED))
    await here.home.consents.narrow(given.grant.id, frozenset({"subject"}), VOICE)
    await here.home.desk.declare(PORTAL, MOVED, here.moved(PERSON, new_address=HOME, **TOLD))
    await here.step()
    return made


def forms(told: str) -> Iterator[bytes]:
    """How a text may lie in a file; of base64 the part that does not depend on what stands before it."""
    plain = told.encode()
    yield plain
    yield told.encode("utf-16-le")
    yield plain.hex().encode()
    for before in range(3):
        whole = b64encode(bytes(before) + plain)
        yield whole[4:-4]


def found(stolen: bytes, told: tuple[str, ...]) -> set[str]:
    """Those of these texts that a thief reads, in any form and any case."""
    lower = stolen.lower()
    return {one for one in told if any(form.lower() in lower for form in forms(one))}


def written(rows: dict[str, list[Any]]) -> bytes:
    """Every row as a thief of a dump has it."""
    every = (value for table in rows.values() for row in table for value in row.values())
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in every)


@pytest.mark.databases
async def test_a_dump_of_every_table_tells_no_value_and_no_name(watch: Watch) -> None:
    await lived(watch.here)
    await watch.begins()

    stolen = written(await watch.hand.every_table())
    if found(stolen, (*CANARIES, *OF_THE_ACCOUNT)):
        watch.gained.add(VALUE)
    if found(stolen, NAMES):
        watch.gained.add(IDENTITY)

    await watch.judge("thief: a dump", openly=True)


@pytest.mark.sqlite
async def test_the_files_of_a_database_tell_no_value_and_no_name_not_even_of_what_was_deleted(watch: Watch) -> None:
    await lived(watch.here)
    await watch.begins()
    file = file_of(watch.here.home.settings)

    stolen = b"".join(each.read_bytes() for each in file.parent.glob(f"{file.name}*"))
    assert len(stolen) > 100_000
    if found(stolen, (*CANARIES, *OF_THE_ACCOUNT)):
        watch.gained.add(VALUE)
    if found(stolen, NAMES):
        watch.gained.add(IDENTITY)

    await watch.judge("thief: the files", openly=True)


@pytest.mark.parametrize("attack", ["thief: revoked since", "thief: narrowed since", "thief: rotated only"])
@pytest.mark.sqlite
async def test_an_old_copy_with_todays_keys_opens_nothing_after_a_rotation(watch: Watch, attack: str) -> None:
    """The thief runs a machine of the same code on the copy, with the key store of today."""
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    await here.step()
    copy = here.folder / "stolen.db"
    source = file_of(here.home.settings)
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(copy)) as stolen:
        live.backup(stolen)
    if "revoked" in attack:
        await here.home.consents.revoke(given.grant.id, VOICE)
    elif "narrowed" in attack:
        await here.home.consents.narrow(given.grant.id, frozenset({"subject"}), VOICE)
    await here.home.epochs.rotate_consent()
    await here.step()

    home = here.home
    async with Store.open(f"sqlite+aiosqlite:///{copy}") as store, open_log(home.settings, store, here.clock) as log:
        machine = Home(
            home.settings,
            store=store,
            log=log,
            keys=home.keys,
            endings=MemoryEndings(),  # a thief of keys and backups, and not of the journal beside them
            clock=here.clock,
            entropy=home.entropy,
        )
        thief = World(machine, here.clock, here.folder)
        elsewhere = Watch(thief, Hand.on(f"sqlite+aiosqlite:///{copy}"), watch.said)
        await elsewhere.lets(thief.home.router.route())
        await elsewhere.takes(CAF)
    watch.gained |= elsewhere.gained

    await watch.judge(attack, openly=True)

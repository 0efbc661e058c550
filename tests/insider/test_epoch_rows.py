"""Epochs: a date in a row destroys no key that lives, and brings none back that was destroyed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from sqlalchemy import select

from broker.ports import KeyKind
from consent import registry
from consent.tables import consent_keys
from schemas.errors import Unavailable
from tests.insider.open import ENDLESS, KEYS_GONE
from tests.insider.watch import Watch
from tests.world import CAF, DAY, FAMILY, MOVED, PORTAL

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]


def held(watch: Watch) -> set[tuple[KeyKind, str]]:
    """Every key that is in the key store."""
    return {(kind, name) for kind in KeyKind for name in watch.here.home.keys.names(kind)}


@asynccontextmanager
async def gate_destroyed(watch: Watch) -> AsyncIterator[None]:
    (epoch,) = await watch.hand.rows("gate_epochs")
    at = watch.here.clock()
    async with watch.hand.flipped(["gate_epochs"], {"kid": epoch["kid"]}, closed_at=at, destroyed_at=at):
        yield


@asynccontextmanager
async def consent_destroyed(watch: Watch) -> AsyncIterator[None]:
    async with watch.hand.flipped(["consent_epochs"], {"epoch": 1}, destroyed_at=watch.here.clock()):
        yield


@asynccontextmanager
async def gate_removed(watch: Watch) -> AsyncIterator[None]:
    rows = await watch.hand.rows("gate_epochs")
    await watch.hand.remove("gate_epochs")
    yield
    await watch.hand.put("gate_epochs", rows)


@asynccontextmanager
async def consent_removed(watch: Watch) -> AsyncIterator[None]:
    rows = await watch.hand.rows("consent_epochs")
    await watch.hand.remove("consent_epochs")
    yield
    await watch.hand.put("consent_epochs", rows)


@asynccontextmanager
async def gate_older(watch: Watch) -> AsyncIterator[None]:
    """As if its retention was over long ago."""
    (epoch,) = await watch.hand.rows("gate_epochs")
    long_ago = watch.here.clock() - 600 * DAY
    async with watch.hand.flipped(
        ["gate_epochs"], {"kid": epoch["kid"]}, opened_at=long_ago, closed_at=long_ago + 2 * DAY
    ):
        yield


@asynccontextmanager
async def consent_older(watch: Watch) -> AsyncIterator[None]:
    """The wraps are said to be of another epoch, so that none seems to need this one when it is rotated. Its key goes,
    as it should: what it wrapped has to lie under the newest one by then.
    """
    async with watch.hand.flipped(["consent_keys"], {}, epoch=2):
        await watch.here.home.epochs.open_consent()
        yield


@asynccontextmanager
async def gate_begun(watch: Watch) -> AsyncIterator[None]:
    """As if a crash had left the key behind before it was anybody's: its row is away, and it is said to be begun."""
    rows = await watch.hand.rows("gate_epochs")
    begun = f"begun/gate/{rows[0]['kid'].hex()}"
    await watch.hand.remove("gate_epochs")
    await watch.hand.insert("meta", {"name": begun, "value": str(watch.here.clock())})
    yield
    await watch.hand.remove("meta", name=begun)
    await watch.hand.put("gate_epochs", rows)


ATTACKS: dict[str, Callable[[Watch], AbstractAsyncContextManager[None]]] = {
    "gate epoch: destroyed by hand": gate_destroyed,
    "gate epoch: removed": gate_removed,
    "gate epoch: made older": gate_older,
    "gate epoch: said to be only begun": gate_begun,
    "consent epoch: destroyed by hand": consent_destroyed,
    "consent epoch: removed": consent_removed,
    "consent epoch: wraps said to be of another": consent_older,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_key_that_is_needed_goes_because_of_a_row(watch: Watch, attack: str) -> None:
    await watch.here.give(CAF, MOVED, FAMILY, ["subject"])
    made = await watch.here.declare(MOVED, watch.here.moved())
    watch.allow(CAF, made.declaration_id, "subject")
    await watch.here.step()
    await watch.begins()
    before = held(watch)

    async with ATTACKS[attack](watch):
        watch.restart()
        await watch.lets(watch.here.home.upkeep.turn())
    if before - held(watch):
        await watch.takes(CAF)
        if not watch.rightly:
            watch.gained.add(KEYS_GONE)

    await watch.judge(attack)


async def test_a_gate_key_whose_destruction_is_written_down_goes_though_the_row_forgets_it(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash came between the intent and the act; before the next start the intent is struck out."""
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (old,) = await here.home.epochs.gate_epochs()
    await here.home.epochs.open_gate(here.home.settings.hpke_suite, 0)
    here.clock.pass_(1)
    await here.step()
    await watch.begins()

    def away(*_: object) -> None:
        raise Unavailable("keys.away")

    with monkeypatch.context() as crash:
        crash.setattr(here.home.keys, "_destroy", away)
        await watch.lets(here.home.epochs.destroy_gate(old.kid))
    async with watch.hand.flipped(["gate_epochs"], {"kid": old.kid}, destroyed_at=None):
        watch.restart()
        await watch.lets(watch.here.home.epochs.finish())
        await watch.takes(CAF)
        if (KeyKind.GATE, old.kid.hex()) in held(watch):
            watch.gained.add(ENDLESS)

    await watch.judge("gate epoch: destruction struck out")


async def test_a_gate_key_goes_after_its_retention_though_its_row_makes_it_younger(watch: Watch) -> None:
    """Whoever stole a backup of the key store has time for as long as the key lives."""
    here = watch.here
    (old,) = await here.home.epochs.gate_epochs()
    await here.home.epochs.open_gate(here.home.settings.hpke_suite, 0)
    here.clock.pass_((here.home.settings.gate_retention_days + 1) * DAY)
    await here.step()

    async with watch.hand.flipped(["gate_epochs"], {"kid": old.kid}, opened_at=here.clock()):
        watch.restart()
        await watch.lets(watch.here.home.upkeep.turn())
        if (KeyKind.GATE, old.kid.hex()) in held(watch):
            watch.gained.add(ENDLESS)

    await watch.judge("gate epoch: made younger")


async def test_a_consent_that_is_over_keeps_no_key_because_its_row_says_that_it_is_not_due(watch: Watch) -> None:
    """The end date is put off for each moment in which expiry is looked for, for ever again: until the next rotation,
    which goes by the end that lies with the key.
    """
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, ["subject"], expires_at=here.clock() + DAY)
    here.clock.pass_(2 * DAY)
    await here.step()

    async with watch.hand.flipped(["grants"], {"id": given.grant.id}, expires_at=here.clock() + DAY):
        watch.restart()
        here.clock.pass_(here.home.settings.consent_epoch_days * DAY)
        await watch.lets(watch.here.home.upkeep.turn())
    async with watch.here.home.store.read() as tx:
        rows = await tx.execute(select(consent_keys).where(consent_keys.c.grant_id == given.grant.id))
        if any(registry._found(row, watch.here.home.keyring.consent_epochs()) for row in rows):
            watch.gained.add(ENDLESS)

    await watch.judge("consent key: its end put off")


async def test_a_source_seals_to_no_gate_key_that_was_closed(watch: Watch) -> None:
    """The old key's end is taken back and the new one hidden, so that what comes is sealed to a key that was stolen."""
    here = watch.here
    (old,) = await here.home.epochs.gate_epochs()
    here.clock.pass_(1)
    new = await here.home.epochs.open_gate(here.home.settings.hpke_suite, 0)
    here.clock.pass_(DAY)
    await here.step()

    async with (
        watch.hand.flipped(["sealing_keys"], {"kid": old.kid}, valid_to=None),
        watch.hand.flipped(["sealing_keys"], {"kid": new}, valid_to=here.clock() - 1),
    ):
        watch.restart()
        made = await watch.lets(watch.here.home.desk.envelope(PORTAL, MOVED, here.moved()))
        if made is not None and old.kid in made:
            watch.gained.add(ENDLESS)

    await watch.judge("gate key: closed, opened again")

"""Yesterday's database in the place of today's, or a replica that lags and is promoted: what had ended stays ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from broker.access.credentials import Scope
from broker.ports import KeyKind
from broker.transparency.export import export
from consent.basis import law
from schemas.errors import Refused
from schemas.hpke import SealingKey
from schemas.names import Instant
from tests.clients import Client
from tests.insider.door import knocks
from tests.insider.estate import Estate
from tests.insider.forging import forged, token_of
from tests.insider.open import FORK, KEYS_GONE, LET_IN
from tests.insider.watch import Watch, settle
from tests.world import BANK, CAF, DAY, FAMILY, MOVED, PORTAL, VOICE, YANN, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

HERS = ["subject", "new_address"]


@dataclass(frozen=True)
class Ending:
    """What there was when the backup was made, how it ended afterwards, and how it is tried once more."""

    before: Callable[[World], Awaitable[Any]]
    end: Callable[[World, Any], Awaitable[Any]]
    again: Callable[[Watch, Any], Awaitable[None]]


async def token(here: World) -> Any:
    await waits(here)
    async with here.home.store.begin() as tx:
        until = Instant(here.clock() + 9 * DAY)
        return await here.home.credentials.issue(tx, CAF, [Scope.RECEIVE], expires_at=until, at=here.clock())


async def token_ends(here: World, issued: Any) -> None:
    async with here.home.store.begin() as tx:
        await here.home.credentials.revoke(tx, issued.credential.id, here.clock())


async def token_again(watch: Watch, issued: Any) -> None:
    await knocks(watch, issued.token)


async def client(here: World) -> Any:
    await waits(here)
    made = Client(here, CAF)
    await made.pin(Scope.RECEIVE)
    return made


async def client_ends(here: World, made: Any) -> None:
    async with here.home.store.begin() as tx:
        (pinned,) = await here.home.oauth.keys(tx, CAF)
        await here.home.oauth.unpin(tx, pinned.kid, here.clock())


async def client_again(watch: Watch, made: Any) -> None:
    told = await watch.lets(Client(watch.here, CAF, made.key, 9).redeem())
    if told is not None:
        await knocks(watch, told)


async def sealing_key(here: World) -> Any:
    await waits(here)
    directory = await here.home.lookup.newest(here.home.store)
    kid = directory.current_sealing_key(CAF, here.clock()).kid
    return here.home.keyring.recipient(directory, CAF)[kid]


async def key_ends(here: World, stolen: Any) -> None:
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, stolen.kid, here.clock)


async def key_is_renewed(here: World, stolen: Any) -> None:
    """The old one ends at once; nobody has revoked it."""
    here.clock.pass_(1)
    new = SealingKey.generate(stolen.suite)
    async with here.home.store.begin() as tx:
        await here.home.registrar.rotate_sealing(
            tx, CAF, suite=new.suite, public=new.public, at=here.clock(), overlap_ms=0
        )


async def sealing_key_again(watch: Watch, stolen: Any) -> None:
    await watch.takes(CAF, stolen)


async def signing_key(here: World) -> Any:
    await here.give(CAF, MOVED, FAMILY, HERS)
    made = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    directory = await here.home.lookup.newest(here.home.store)
    return here.home.keyring.signer(directory, PORTAL, here.clock()), made.declaration_id


async def signing_key_ends(here: World, told: Any) -> None:
    await key_ends(here, told[0])


async def signing_key_again(watch: Watch, told: Any) -> None:
    stolen, declaration = told
    envelope = await forged(watch, stolen, MOVED, watch.here.moved(), await token_of(watch.hand, declaration))
    if await watch.lets(watch.here.home.intake.accept(envelope)) is not None:
        watch.gained.add(LET_IN)


async def right(here: World) -> Any:
    return await here.give(CAF, BANK, FAMILY, ["iban"])


async def right_ends(here: World, _: Any) -> None:
    async with here.home.store.begin() as tx:
        await here.home.registrar.end_publishing(tx, PORTAL, BANK, here.clock)


async def right_again(watch: Watch, _: Any) -> None:
    if await watch.lets(watch.here.declare(BANK, watch.here.bank())) is not None:
        watch.gained.add(LET_IN)


async def subscription_ends(here: World, _: Any) -> None:
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, here.subscriptions[CAF, MOVED].id, here.clock())


async def subscription_pauses(here: World, _: Any) -> None:
    async with here.home.store.begin() as tx:
        await here.home.subscribing.pause(tx, here.subscriptions[CAF, MOVED].id, here.clock())


async def waits(here: World) -> Any:
    """A consent, and a delivery under it that nobody has pulled."""
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    await here.declare(MOVED, here.moved())
    return given.grant.id


async def mandate(here: World) -> Any:
    given = await here.give(CAF, MOVED, FAMILY, HERS, basis=law("CSS, art. L583-3"))
    await here.declare(MOVED, here.moved())
    return given.grant.id


async def mandate_ends(here: World, grant: Any) -> None:
    await here.home.consents.end_mandate(grant, VOICE)


async def revoked(here: World, grant: Any) -> None:
    await here.home.consents.revoke(grant, VOICE)


async def revoked_and_rotated(here: World, grant: Any) -> None:
    await here.home.consents.revoke(grant, VOICE)
    await here.home.epochs.rotate_consent()


async def paused(here: World, grant: Any) -> None:
    await here.home.consents.pause(grant, VOICE)


async def narrowed(here: World, grant: Any) -> None:
    await here.home.consents.narrow(grant, frozenset({"subject"}), VOICE)


async def pulls(watch: Watch, _: Any) -> None:
    await watch.takes(CAF)


async def pulls_more_than_was_left(watch: Watch, _: Any) -> None:
    watch.allow(CAF, None, "subject")
    await pulls_what_is_declared_now(watch, None)


async def pulls_what_is_declared_now(watch: Watch, _: Any) -> None:
    await watch.lets(watch.here.declare(MOVED, watch.here.moved()))
    await watch.takes(CAF)


ENDINGS = {
    "restore: token": Ending(token, token_ends, token_again),
    "restore: client key": Ending(client, client_ends, client_again),
    "restore: sealing key": Ending(sealing_key, key_ends, sealing_key_again),
    "restore: sealing key renewed": Ending(sealing_key, key_is_renewed, sealing_key_again),
    "restore: signing key": Ending(signing_key, signing_key_ends, signing_key_again),
    "restore: publishing right": Ending(right, right_ends, right_again),
    "restore: subscription ended": Ending(waits, subscription_ends, pulls),
    "restore: subscription paused": Ending(waits, subscription_pauses, pulls),
    "restore: mandate ended": Ending(mandate, mandate_ends, pulls),
    "restore: revoked": Ending(waits, revoked, pulls),
    "restore: revoked, declared since": Ending(waits, revoked, pulls_what_is_declared_now),
    "restore: revoked and rotated": Ending(waits, revoked_and_rotated, pulls),
    "restore: paused": Ending(waits, paused, pulls),
    "restore: narrowed": Ending(waits, narrowed, pulls_more_than_was_left),
}


@pytest.mark.parametrize("attack", ENDINGS)
async def test_what_ended_after_the_backup_stays_ended_after_the_restore(estate: Estate, attack: str) -> None:
    ending = ENDINGS[attack]
    async with estate.open() as here:
        told = await ending.before(here)
        await here.step()
    kept = await estate.keep()
    async with estate.open() as here:
        await ending.end(here, told)
        await here.step()

    await estate.go_back(kept)
    async with estate.watched() as watch:
        if watch is None:
            settle(attack, set())
            return
        await ending.again(watch, told)
        await watch.judge(attack, openly=True)


async def test_a_restored_database_signs_no_second_history(estate: Estate) -> None:
    published = estate.folder / "published"
    kept = await estate.keep()
    async with estate.open() as here:
        await here.give(CAF, MOVED, FAMILY, HERS)
        await here.step()
        await export(here.home.store, here.home.ledger.verifier_key, published)

    await estate.go_back(kept)
    async with estate.watched() as watch:
        if watch is None:
            settle("restore: ledger", set())
            return
        await watch.lets(watch.here.give(CAF, MOVED, FAMILY, HERS, person=YANN))
        if await watch.lets(watch.here.home.ledger.sequence_unfinished()):
            try:
                await export(watch.here.home.store, watch.here.home.ledger.verifier_key, published)
            except Refused:
                watch.gained.add(FORK)
        await watch.judge("restore: ledger", openly=True)


@pytest.mark.parametrize("attack", ["restore: consent epoch since", "restore: gate epoch since"])
async def test_a_restored_database_takes_no_key_away_that_was_made_since(estate: Estate, attack: str) -> None:
    """Another backup, or the real database, may still be found: its keys have to be there then."""
    kept = await estate.keep()
    async with estate.open() as here:
        await here.give(CAF, MOVED, FAMILY, HERS)
        if "gate" in attack:
            await here.home.epochs.open_gate(here.home.settings.hpke_suite, DAY)
        else:
            await here.home.epochs.rotate_consent()
        await here.step()
        before = {(kind, name) for kind in KeyKind for name in here.home.keys.names(kind)}

    await estate.go_back(kept)
    async with estate.watched() as watch:
        if watch is None:
            settle(attack, set())
            return
        await watch.lets(watch.here.home.upkeep.turn())
        if before - {(kind, name) for kind in KeyKind for name in watch.here.home.keys.names(kind)}:
            watch.gained.add(KEYS_GONE)
        await watch.judge(attack, openly=True)

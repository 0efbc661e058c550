"""Restoring: a database is put back, and what has ended since ends in it before anything opens.

    manifest, home ──► epoch keys ──► the ledger's mark ──► in place ──► every ending again ──► fsck

Refuses: another home's backup; one whose consents' keys are destroyed; one that knows less of the ledger than was
signed, unless its loss is said (`ledger_lost`); to replace a newer database without being told to (`yes`).
Keeps: what was revoked, paused or narrowed after the backup stays so. The database that was replaced stays beside, as
`<name>.before-restore`, until the next restore. Done again after a crash it goes on where it was.
Source: docs/operate.md, "Restore".
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url, select
from sqlalchemy.exc import DBAPIError

from broker.ended import LEDGER, Ended, Ending, Endings
from broker.keys.pair import Pair
from broker.ledger import highwater
from broker.ledger.origins import first_origin
from broker.maintenance.checks.finding import Finding
from broker.maintenance.completing import COMPLETED, Completed
from broker.observability.crashpoints import mark
from broker.ports import Clock, Entropy, KeyKind, KeyStore
from broker.services import backups
from broker.services.backups import DATABASE, Manifest
from broker.settings.choices import Settings
from broker.setup.opening import catch_up, open_endings, open_keys, open_unchecked, system_clock
from broker.store import migrate
from broker.store.engine import Store
from broker.store.tables import meta
from consent import registry
from schemas.errors import Corrupt, Fault, Refused, Unavailable

BESIDE: Final = ".before-restore"
_MAKING: Final = ".restoring"
_ASIDE: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    again: Sequence[Completed]
    """What had ended since, and ended again."""
    burned: int
    """Epoch keys that were made after the backup, and are destroyed: nothing in this database was sealed to them."""
    findings: Sequence[Finding]
    needs_successor: bool
    """Whether the end of the ledger is lost: nothing is signed or released until it has a successor."""


async def restore(
    settings: Settings,
    folder: Path,
    *,
    yes: bool = False,
    ledger_lost: bool = False,
    clock: Clock = system_clock,
    entropy: Entropy = secrets.token_bytes,
) -> Restored:
    """Put a backup of this home's database back. Every process of the home is stopped; on PostgreSQL its own tools have
    put the database back before.

    Raises Refused: `backup.*`; Unavailable `backup.cannot-write`; Corrupt `endings.*`.
    """
    with closing(open_keys(settings, entropy)) as keys:
        url = make_url(settings.database_url)
        manifest = backups.read(folder, Pair.ledger(keys).verifier(first_origin(keys) or settings.ledger_origin))
        async with open_endings(settings, keys, entropy) as endings:
            _check_journal(manifest, endings, await endings.look())
            if url.get_backend_name() != manifest.database:
                raise Refused("backup.other-database", database=manifest.database)
            try:
                if manifest.database == "sqlite":
                    place = Path(str(url.database))
                    copy = _take(folder / DATABASE, _beside(place, _MAKING))
                    standing = await _checked(url.set(database=str(copy)), keys, endings, ledger_lost=ledger_lost)
                    if not yes and place.exists():  # noqa: ASYNC240 nothing else runs in this command
                        await _check_not_newer(url, url.set(database=str(copy)))
                    _put(copy, place)
                else:
                    standing = await _checked(url, keys, endings, ledger_lost=ledger_lost)
            except OSError as error:
                raise Unavailable("backup.cannot-write", error=type(error).__name__) from None
            await _stand(endings, standing, clock)
        return await replay(settings, manifest, clock, entropy)


async def replay(settings: Settings, manifest: Manifest, clock: Clock, entropy: Entropy) -> Restored:
    """What has ended, again, in the database that is there now; then what is wrong with it."""
    await migrate.upgrade(settings.database_url)
    async with open_unchecked(settings, clock, entropy) as home:
        await migrate.check(home.store)
        again = await catch_up(home, all_of_it=True)
        burned = await home.epochs.burn_unknown()
        await home.epochs.finish()
        stopped = (await home.endings.look()).ended(*LEDGER)
        if not stopped:
            await home.ledger.sequence()
        return Restored(manifest, again, burned, await home.fsck.check(), stopped)


def _check_journal(manifest: Manifest, endings: Endings, ended: Ended) -> None:
    """The journal that is here is the one of then, or what has ended since is not known."""
    if manifest.journal != endings.journal:
        raise Refused("backup.other-journal")
    if manifest.position > ended.position:
        raise Corrupt("endings.cut", position=ended.position)


async def _checked(url: URL, keys: KeyStore, endings: Endings, *, ledger_lost: bool) -> Fault | None:
    """What is wrong with this database's ledger, if that may be. Raises Refused what may not be."""
    held = set(keys.names(KeyKind.CONSENT_EPOCH))
    seen = await endings.marked()
    async with Store.open(url.render_as_string(hide_password=False)) as store:
        await migrate.known(store)
        async with store.read() as tx:
            for epoch in await registry.epochs_used(tx.conn):
                if str(epoch) not in held:
                    raise Refused("backup.no-epoch-key", epoch=epoch)
            size = await highwater.newest_size(tx)
            fault, _ = await highwater.compared(tx, size, seen)
    if fault is not None and not ledger_lost:
        raise Refused("backup.below-mark", size=size, mark=0 if seen is None else seen.size)
    return fault


async def _check_not_newer(there: URL, copy: URL) -> None:
    """Raises Refused `backup.newer-database`, also of a database that cannot be read: who knows what is in it?"""
    try:
        found = [await _reach(url) for url in (there, copy)]
    except (Fault, DBAPIError):
        raise Refused("backup.newer-database") from None
    if found[0] > found[1]:
        raise Refused("backup.newer-database")


async def _reach(url: URL) -> tuple[int, int]:
    """How far a database's ledger goes, and how far it knows the journal of endings."""
    async with Store.open(url.render_as_string(hide_password=False)) as store, store.read() as tx:
        told = (await tx.execute(select(meta.c.value).where(meta.c.name == COMPLETED))).scalar() or ":0"
        return await highwater.newest_size(tx), int(told.rpartition(":")[2])


async def _stand(endings: Endings, fault: Fault | None, clock: Clock) -> None:
    """The ledger goes on, or it stands still until it has a successor."""
    if fault is not None:
        size = int(fault.details.get("size", 0))
        await endings.write([Ending.of(*LEDGER, at=clock(), least=1, why=highwater.NEEDS_SUCCESSOR, size=size)])
    elif (await endings.look()).ended(*LEDGER):
        await endings.write([Ending.of(*LEDGER, at=clock(), least=0)])


def _take(source: Path, copy: Path) -> Path:
    """A copy of the backup beside the place where it will be; the backup itself is never opened."""
    for each in (copy, *(_beside(copy, more) for more in _ASIDE)):
        with suppress(FileNotFoundError):
            each.unlink()
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(descriptor)
    mark("restoring.copied")
    # Crash here: a copy beside the database, which nobody reads; the next restore makes another.
    return copy


def _put(copy: Path, place: Path) -> None:
    """The copy in the database's place; what was there, with its write-ahead log, stays beside."""
    for more in ("", *_ASIDE):
        with suppress(FileNotFoundError):
            os.replace(_beside(place, more), _beside(place, BESIDE + more))
    mark("restoring.aside")
    # Crash here: no database; the next restore puts one there. Nothing opens meanwhile.
    os.replace(copy, place)
    backups.sync(place.parent)
    mark("restoring.placed")
    # Crash here: it is there, and obeys the journal; the next start or restore ends in it what has ended.


def _beside(path: Path, more: str) -> Path:
    return path.with_name(path.name + more)

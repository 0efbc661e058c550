"""Upgrading: a home of an earlier version becomes one of this version: its tables, its id, its rows, its ledger.

    1 look       database and keys are one home's, and its ledger is ordered to the end
    2 tables     as this version has them; entries of the first format are set aside
    3 id         pinned on both sides
    4 ledger     what was set aside is what the broker signed last
    5 rows       those that grant power are signed, each that the ledger knows; declarations get their MAC
    6 carry      what lives goes over into a new ledger

Refuses: a home whose old ledger is not what it signed: then nothing of it is believed.
Keeps: killed anywhere, it is done again by the same call; done, it does nothing.
Source: ledger.md; docs/protocol.md, section 8, "The first format".
"""

import secrets
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import func, select

from broker.keys.pair import Pair
from broker.ledger import first_ledger, origins
from broker.ledger.openings import Openings
from broker.people.identity import Identity, ledger_secret
from broker.ports import Clock, Entropy, KeyKind, KeyStore
from broker.settings.choices import Settings
from broker.setup import belonging, carrying, parts
from broker.setup.carrying import Carried, Carrying
from broker.setup.opening import catch_up, open_endings, open_keys, open_log, system_clock
from broker.setup.roles import hand_out, handed_out
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.engine import Store
from broker.store.rows import macs
from broker.store.rows.adopting import NOTHING, Adopted, adopt, adopt_macs
from broker.store.tables import ledger_entries
from schemas import checkpoint
from schemas.entry import window_of
from schemas.errors import Corrupt, Refused
from schemas.note import Note, VerifierKey


@dataclass(frozen=True, slots=True)
class Upgraded:
    """From which revision to which (None: no tables), and whether the home had its id before.

    `rows` and `carried`: what was signed, and went over into a new ledger, where the home was of the first format.
    """

    found: str | None
    needed: str
    pinned: bool
    due: bool
    rows: Adopted = NOTHING
    carried: Carried | None = None


async def upgrade_home(
    settings: Settings, clock: Clock = system_clock, entropy: Entropy = secrets.token_bytes, *, check: bool = False
) -> Upgraded:
    """Everything of a home becomes of this version. `check`: only tell.

    Raises Refused: `keys.*`, `home.*`, `carrying.unordered`, what `migrate.upgrade` raises. Raises Unavailable; Corrupt
    `carrying.first-ledger`.
    """
    with closing(open_keys(settings, secrets.token_bytes)) as keys:
        async with Store.open(settings.database_url, parts.waits(settings)) as store:
            found = await migrate.known(store)
            pinned = await belonging.look(store, keys, settings.ledger_origin)
            due = (
                found != migrate.head() or not pinned or _lacks_macs(keys) or _lacks_halves(keys) or await _waits(store)
            )
            if found is not None and found < carrying.SINCE:
                await _check_ordered(store)
        if check or not due:
            return Upgraded(found, migrate.head(), pinned, due)
        await migrate.upgrade(settings.database_url)
        # Crash here: the tables are new, the id is not there yet; called again, it is proven again.
        async with Store.open(settings.database_url, parts.waits(settings)) as store:
            await migrate.check(store, carried=False)
            if _lacks_halves(keys):
                hand_out(keys)
            if not pinned:
                await belonging.pin(store, keys, settings.ledger_origin, secrets.token_bytes)
            if not await _waits(store):
                rows = await _adopt_macs(store, keys, entropy) if _lacks_macs(keys) else NOTHING
                return Upgraded(found, migrate.head(), pinned, due, rows)
            first = await origins.follow(store, keys)
            await _check_first(store, keys, first)
            async with store.read() as tx:
                told = await first_ledger.facts(tx)
            rows = await adopt(store, keys, told)
            more = await adopt_macs(store, keys, told, Identity(keys, entropy), entropy)
            rows = Adopted(rows.signed, rows.unsigned + more.unsigned)
            carried = await _carry(settings, store, keys, first, clock=clock, entropy=entropy)
        return Upgraded(found, migrate.head(), pinned, due, rows, carried)


async def _adopt_macs(store: Store, keys: KeyStore, entropy: Entropy) -> Adopted:
    """Of a home whose ledger is of today's format already."""
    identity = Identity(keys, entropy)
    async with store.read(patient=True) as tx:
        openings = Openings(keys, entropy, ledger_secret(keys))
        told = [facts for _, facts in await openings.all(tx)]
    return Adopted(0, (await adopt_macs(store, keys, told, identity, entropy)).unsigned)


def _lacks_macs(keys: KeyStore) -> bool:
    """Whether it is a home of before. One that was never begun has no rows, and gets its secret when it is."""
    return bool(keys.names(KeyKind.IDENTITY)) and not macs.ready(keys)


def _lacks_halves(keys: KeyStore) -> bool:
    """Whether it is a home of before, whose processes all had every secret."""
    return bool(keys.names(KeyKind.IDENTITY)) and not handed_out(keys)


async def _waits(store: Store) -> bool:
    if await migrate.current(store) is None:
        return False
    async with store.read() as tx:
        return await carrying.due(tx)


async def _check_ordered(store: Store) -> None:
    """What no checkpoint covers proves nothing, and would be left behind."""
    async with store.read() as tx:
        waiting = select(func.count()).select_from(ledger_entries).where(ledger_entries.c.position.is_(None))
        count = (await tx.execute(waiting)).scalar_one()
    if count:
        raise Refused("carrying.unordered", count=count)


async def _check_first(store: Store, keys: KeyStore, origin: str) -> None:
    """The entries that were set aside are those of the tree that the broker signed last."""
    key = Pair.ledger(keys).private
    async with store.read() as tx:
        note, tree = await first_ledger.last_note(tx), await first_ledger.tree(tx, origin)
    try:
        signed = checkpoint.verify(Note.parse(note.encode()), VerifierKey.of(origin, key)).checkpoint
    except Refused as fault:
        raise Corrupt("carrying.first-ledger", wrong=fault.code) from None
    if signed != tree:
        raise Corrupt("carrying.first-ledger", wrong="root")


async def _carry(
    settings: Settings, store: Store, keys: KeyStore, first: str, *, clock: Clock, entropy: Entropy
) -> Carried | None:
    async with open_log(settings, store, clock) as log, open_endings(settings, keys, entropy) as endings:
        home = Home(settings, store=store, log=log, keys=keys, endings=endings, clock=clock, entropy=entropy)
        done = await Carrying(
            store=store,
            keyring=home.keyring,
            recorder=home.recorder,
            party=home.party,
            origin=first,
            window=window_of(clock(), settings.ledger_window_seconds * 1_000),
            clock=clock,
            entropy=entropy,
        ).carry()
        await catch_up(home)
        await home.ledger.sequence_unfinished()
    return done

"""Belonging: whether this database and these keys are one home's. Both carry its id; whoever opens a home compares them
before anything else.

    key store   home/id (16 random bytes)    home/origin.<n> (the ledger's name: `broker.ledger.origins`)
    database    meta: home-id (hex)          meta: ledger-origin

Refuses: another home's database, an empty one beside keys that were used, keys of nobody beside a database that was; a
side that has lost its id; another name of the ledger than the one it was founded with.
Keeps: nothing is written or destroyed before the comparison. An id is made once, when a home is founded; a home of a
version that had none gets one only when its own keys prove that they made what its database holds. A name that was
pinned is changed by `broker.ledger.origins` alone.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from broker.keys.pair import Pair
from broker.ledger.origins import FIRST_NAME, NEXT, ORIGIN, pinned_origin
from broker.observability.crashpoints import mark
from broker.ports import Entropy, KeyKind, KeyStore
from broker.store import migrate
from broker.store.engine import Store, Transaction
from broker.store.tables import (
    gate_epochs,
    ledger_checkpoints,
    ledger_entries,
    meta,
    parties,
    sealing_keys,
    signing_keys,
)
from schemas import checkpoint
from schemas.errors import Fault, Refused
from schemas.hpke import SealingKey, Suite
from schemas.names import Kid
from schemas.note import Note, VerifierKey

HOME_ID: Final = "home-id"
ID_BYTES: Final = 16

_ID: Final = "id"
_USED: Final = (KeyKind.GATE, KeyKind.CONSENT_EPOCH, KeyKind.SIGNING, KeyKind.SEALING)
"""What a store holds once a database knows of it; the other secrets are made before there is one."""
_EVERYBODYS: Final = frozenset({KeyKind.HOME, KeyKind.ROWS_PUBLIC, KeyKind.ENDINGS})
"""What every role gets; the journal's key is made by whoever opens the journal first."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What one side says of the home: its id, its ledger's name, and whether anything depends on it."""

    id: bytes | None
    origin: str | None
    used: bool


async def check(store: Store, keys: KeyStore, origin: str) -> None:
    """Raises Refused unless database, keys and the setting `ledger_origin` are one home's, as `check_same`, and
    `home.other-origin`, `home.origin-differs`. Raises Unavailable.
    """
    await check_same(store, keys)
    _same_origin(await _told(store), _held(keys), origin)


async def check_same(store: Store, keys: KeyStore) -> None:
    """Raises Refused unless database and keys are one home's, whatever they call its ledger: `home.other-database`,
    `home.empty-database`, `home.no-keys`, `home.not-adopted`, and what `migrate.check` raises.
    """
    there, here = await _database(store), _held(keys)
    _compare(there, here)
    await migrate.check(store)
    if there.id is None or here.id is None or there.origin is None or here.origin is None:
        raise Refused("home.not-adopted")


async def look(store: Store, keys: KeyStore, origin: str) -> bool:
    """Whether both sides carry the id already, where a home is founded or upgraded. Changes nothing.

    Raises Refused, as `check`, and `home.unproven`: unless the ids are the same, or the keys are shown to be those of
    this database, or nothing has begun on either side.
    """
    there, here = await _database(store), _held(keys)
    _compare(there, here)
    _same_origin(there, here, origin)
    whole = None not in (there.id, here.id, there.origin, here.origin)
    if there.used and not whole:
        await _prove(store, keys, origin)
    return whole


async def pin(store: Store, keys: KeyStore, origin: str, entropy: Entropy) -> None:
    """Write what is missing of id and name, on both sides. Only after `look`, or where both were just made.

    Raises Refused `home.other-database` when another process was faster, with another id.
    """
    there, here = await _told(store), _held(keys)
    if here.id is None:
        _keep(keys, _ID, there.id or entropy(ID_BYTES))
        mark("belonging.id-kept")
        # Crash here: the keys have an id, the database has none; `look` proves them again, or finds a home not begun.
    if here.origin is None:
        _keep(keys, FIRST_NAME, (there.origin or origin).encode())
        mark("belonging.origin-kept")
        # Crash here: as above.
    here = _held(keys)
    async with store.begin() as tx:
        for name, value in ((HOME_ID, (here.id or b"").hex()), (ORIGIN, here.origin or "")):
            await tx.insert_new(meta, {"name": name, "value": value})
        mark("belonging.pinned")
        # Crash here: as above, for the transaction is gone.
    _compare(await _told(store), here)


# ── the two sides ───────────────────────────────────────────────────────────────────────────────────────────────────


# ── the two sides ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _database(store: Store) -> _Side:
    """Of any version that this one can upgrade, and of a database without tables. Raises Refused `store.*`."""
    if await migrate.known(store) is None:
        return _Side(None, None, used=False)
    return await _told(store)


async def _told(store: Store) -> _Side:
    """Of a database that has its tables."""
    async with store.read() as tx:
        told = {row.name: row.value for row in await tx.execute(select(meta))}
        used = False
        for table in (parties, ledger_entries):
            used = used or (await tx.execute(select(table.c.id).limit(1))).first() is not None
    named = told.get(HOME_ID)
    return _Side(None if named is None else _unhexed(named), told.get(ORIGIN), used)


def _held(keys: KeyStore) -> _Side:
    known = keys.read(KeyKind.HOME, _ID) if _ID in keys.names(KeyKind.HOME) else None
    # A role that has none of these looks at what it has beside what everybody gets, of which an older home has nothing.
    # Who gets no more than that cannot tell.
    shown = [kind for kind in _USED if keys.gives(kind)]
    shown = shown or [kind for kind in KeyKind if kind not in _EVERYBODYS and keys.gives(kind)]
    return _Side(known, pinned_origin(keys), any(map(keys.names, shown)) if shown else True)


def _compare(there: _Side, here: _Side) -> None:
    """Both ids, and that no side is empty beside one that is not."""
    if there.id is not None and here.id is not None:
        if there.id != here.id:
            raise Refused("home.other-database", "/database_url")
        return
    if here.used and not there.used and there.id is None:  # what these keys opened is elsewhere
        raise Refused("home.empty-database", "/database_url")
    if not here.used and (there.used or there.id is not None):  # another folder beside a database that lives
        raise Refused("home.no-keys", "/keys_folder")


def _same_origin(there: _Side, here: _Side, chosen: str) -> None:
    if there.origin is not None and here.origin is not None and there.origin != here.origin:
        raise Refused("home.origin-differs", kept=here.origin, found=there.origin)
    pinned = here.origin or there.origin
    if pinned is not None and pinned not in {chosen, f"{chosen}{NEXT}"}:
        raise Refused("home.other-origin", "/ledger_origin", kept=pinned, found=chosen)


def _keep(keys: KeyStore, name: str, secret: bytes) -> None:
    """Two that found one home at once agree on what the first of them wrote."""
    with suppress(Refused):
        keys.write(KeyKind.HOME, name, secret)
    keys.read(KeyKind.HOME, name)


def _unhexed(text: str) -> bytes:
    """What is no id is another one than ours."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


# ── the proof, for homes of a version that had no id ────────────────────────────────────────────────────────────────


async def _prove(store: Store, keys: KeyStore, origin: str) -> None:
    """Each of these that the database has must be ours, and it must have one. Raises Refused `home.unproven`,
    `home.other-origin`.
    """
    async with store.read() as tx:
        shown = [
            await _signed_checkpoint(tx, keys, origin),  # 1 another home's ledger, or one with another key
            await _gate_key(tx, keys),  # 2 the same ledger's key, copied to a store without what sources seal to
            await _signing_key(tx, keys),  # 3 of a home that a crash kept from its first checkpoint
        ]
    if not any(shown):
        raise Refused("home.unproven", what="keys")


async def _signed_checkpoint(tx: Transaction, keys: KeyStore, origin: str) -> bool:
    newest = select(ledger_checkpoints.c.note).order_by(ledger_checkpoints.c.size.desc()).limit(1)
    raw = (await tx.execute(newest)).scalar()
    if raw is None:
        return False
    try:
        note = Note.parse(raw.encode())
        named = checkpoint.Checkpoint.parse(note.text).origin
        key = Pair.ledger(keys).private
        checkpoint.verify(note, VerifierKey.of(named, key))
    except Fault:
        raise Refused("home.unproven", what="checkpoint") from None
    if named != origin:
        raise Refused("home.other-origin", "/ledger_origin", kept=named, found=origin)
    return True


async def _gate_key(tx: Transaction, keys: KeyStore) -> bool:
    """The private key of the epoch that sources seal to now."""
    living = (
        select(gate_epochs.c.kid, sealing_keys.c.suite)
        .join(sealing_keys, sealing_keys.c.kid == gate_epochs.c.kid)
        .where(gate_epochs.c.destroyed_at.is_(None))
        .order_by(gate_epochs.c.opened_at.desc())
        .limit(1)
    )
    row = (await tx.execute(living)).one_or_none()
    if row is None:
        return False
    try:
        found = SealingKey.from_raw(Suite(row.suite), keys.read(KeyKind.GATE, Kid(row.kid).hex()))
    except Fault:
        raise Refused("home.unproven", what="gate-key") from None
    if found.kid != row.kid:
        raise Refused("home.unproven", what="gate-key")
    return True


async def _signing_key(tx: Transaction, keys: KeyStore) -> bool:
    held = set(keys.names(KeyKind.SIGNING))
    return any(Kid(row.kid).hex() in held for row in await tx.execute(select(signing_keys.c.kid)))

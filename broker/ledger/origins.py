"""Origins: what the ledger of a home is called, and what the ledgers were called that it follows, and how they ended.

    key store   home/origin.<n>      the ledger's name; the highest number counts
                home/first-origin    of the first ledger, if today's follows another one
                home/ended.<n>       the last signed checkpoint of the ledger that was called origin.<n>
    database    meta: ledger-origin

Refuses: nothing; `broker.setup.belonging` compares both sides before anything opens.
Keeps: the key store is written first, and counts; each change may be interrupted anywhere and is finished by being
called again.
"""

from typing import Final

from sqlalchemy import update

from broker.observability.crashpoints import mark
from broker.ports import KeyKind, KeyStore
from broker.store.engine import Store, Transaction
from broker.store.tables import meta
from schemas.errors import Corrupt

ORIGIN: Final = "ledger-origin"
NEXT: Final = "/2"
"""What the name of a ledger that follows one of the first format ends with; the settings may still name the first."""

_ORIGINS: Final = "origin."
_FIRST: Final = "first-origin"
_ENDED: Final = "ended."
FIRST_NAME: Final = f"{_ORIGINS}1"
"""Of the secret with the name that a home is founded with."""


def pinned_origin(keys: KeyStore) -> str | None:
    """The name that the ledger of these keys has; None for a home that was never pinned. Raises Corrupt."""
    numbers = _origin_numbers(keys)
    return _text(keys.read(KeyKind.HOME, f"{_ORIGINS}{numbers[-1]}")) if numbers else None


def first_origin(keys: KeyStore) -> str | None:
    """The name of the ledger that today's follows; None where it follows none. Raises Corrupt."""
    return _text(keys.read(KeyKind.HOME, _FIRST)) if _FIRST in keys.names(KeyKind.HOME) else None


def ended(keys: KeyStore) -> dict[int, str]:
    """The last signed checkpoint of each ledger that today's follows, by its number, the oldest first: signed notes.

    Empty for a ledger that follows none, and where the first one ended before this was kept. Raises Corrupt.
    """
    numbers, kept = _origin_numbers(keys), _numbers(keys, _ENDED)
    return {one: _text(keys.read(KeyKind.HOME, f"{_ENDED}{one}")) for one in kept if numbers and one < numbers[-1]}


def name_successor(keys: KeyStore, origin: str, end: str | None, first_end: str | None = None) -> None:
    """In the key store the ledger has its next name from here on; the home stays shut until the database has it, too.

    `end`: how the ledger of the name before ended, a signed note; None: it signed nothing, so it was none. `first_end`:
    that of a first ledger which ended before such notes were kept. May be interrupted anywhere and called again.
    """
    numbers = _origin_numbers(keys)
    number = numbers[-1] if numbers else 0
    if first_origin(keys) is None:
        keys.write(KeyKind.HOME, _FIRST, (pinned_origin(keys) or "").encode())
        # Crash here: the first name is known, and the ledger still has it.
    ends = {0: first_end} if not ended(keys) else {}
    for which, note in (ends | {number: end}).items():
        if note is not None:
            _put(keys, f"{_ENDED}{which}", note.encode())
    mark("origins.end-kept")
    # Crash here: how it ended is known, and counts for nothing, for the ledger still has its name.
    keys.write(KeyKind.HOME, f"{_ORIGINS}{number + 1}", origin.encode())
    mark("origins.successor-named")
    # Crash here: the database has the old name: `home.origin-differs`, until it is done again.


async def tell_origin(tx: Transaction, origin: str) -> None:
    """The database calls the ledger so from here on."""
    if not await tx.insert_new(meta, {"name": ORIGIN, "value": origin}):
        await tx.execute(update(meta).where(meta.c.name == ORIGIN).values(value=origin))


def forget_origins(keys: KeyStore) -> None:
    """Older names, which do not count. Crash here: some are left, and count for nothing."""
    for number in _origin_numbers(keys)[:-1]:
        keys.destroy(KeyKind.HOME, f"{_ORIGINS}{number}")


async def change_origin(store: Store, keys: KeyStore, origin: str) -> None:
    """Give the ledger another name, as for the one that follows it; `ledger_origin` in the settings has to say the same
    from then on. Stop every process of the home first.

    May be interrupted anywhere and called again with the same name; until then the home refuses to be opened.
    """
    numbers = _origin_numbers(keys)
    if pinned_origin(keys) != origin:
        numbers.append((numbers[-1] if numbers else 0) + 1)
        keys.write(KeyKind.HOME, f"{_ORIGINS}{numbers[-1]}", origin.encode())
        mark("origins.changed")
        # Crash here: the key store has the new name, the database the old one: `home.origin-differs`.
    async with store.begin() as tx:
        await tell_origin(tx, origin)
        mark("origins.told")
        # Crash here: as above, for the transaction is gone.
    forget_origins(keys)


async def follow(store: Store, keys: KeyStore) -> str:
    """The ledger of this home is followed by another one, whose name is new. Returns the name of the first.

    Called again it changes nothing more. Only for a home that is pinned.
    """
    first = first_origin(keys) or pinned_origin(keys) or ""
    if first_origin(keys) is None:
        keys.write(KeyKind.HOME, _FIRST, first.encode())
    mark("origins.first-kept")
    # Crash here: the first name is known, and the ledger still has it; called again, it goes on.
    await change_origin(store, keys, f"{first}{NEXT}")
    return first


def _put(keys: KeyStore, name: str, secret: bytes) -> None:
    """Write it in the place of what may lie there. Crash in between: nothing lies there; called again, it does."""
    if name in keys.names(KeyKind.HOME):
        if keys.read(KeyKind.HOME, name) == secret:
            return
        keys.destroy(KeyKind.HOME, name)
    keys.write(KeyKind.HOME, name, secret)


def _origin_numbers(keys: KeyStore) -> list[int]:
    return _numbers(keys, _ORIGINS)


def _numbers(keys: KeyStore, prefix: str) -> list[int]:
    found = (name.removeprefix(prefix) for name in keys.names(KeyKind.HOME) if name.startswith(prefix))
    return sorted(int(number) for number in found if number.isdecimal())


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Corrupt("keys.damaged", kind=KeyKind.HOME.value) from None

"""Seals: who acts signs the row that grants power, in the act's own transaction; who reads believes no row without.

    RowSigner   holds the private key: inserts a row, and changes one that counts
    RowVerifier holds the public key alone: says which rows count
    Unchecked    believes every row: for fsck and migrate, which compare each with the ledger instead

Refuses: to sign a change of a row that does not count: an edited row would be made good by the next who touches it.
Keeps: a row that was inserted, edited or copied from another table by whoever writes to the database is as absent, and
is told in the log by its table and key, never by its content; the other rows go on counting.
Source: RFC 8032 (Ed25519).

    seal   u8 format | Ed25519 signature of `layouts.canonical`, 64 bytes
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import ColumnElement, Row, Table, and_, select, update

from broker.observability.crashpoints import mark
from broker.observability.observe import RowName, logger
from broker.ports import KeyKind, KeyStore
from broker.store.engine import Transaction
from broker.store.rows.layouts import LAYOUTS, canonical, covered, format_of, key_of
from schemas.errors import Corrupt, Refused, Unavailable

NAME: Final = "1"
"""Of the pair in the key store."""
REMEMBERED: Final = 262_144
"""Seals that one process has verified and need not verify again: 32 bytes each."""
_SEAL_BYTES: Final = 65
_VERSIONS: Final = 2**31 - 1


class RowReader(Protocol):
    """Says which rows count."""

    checks: bool
    """Whether one can fail to count: then what stands under it fails with it."""

    def valid(self, table: str, rows: Iterable[Row[Any]]) -> list[Row[Any]]:
        """Those of these rows of the table that count, in their order."""

    def one(self, table: str, row: Row[Any] | None) -> Row[Any] | None:
        """The row, or None where there is none that counts."""


class Unchecked:
    """Believes every row. Nobody may be let in by what was read so."""

    checks = False

    def valid(self, table: str, rows: Iterable[Row[Any]]) -> list[Row[Any]]:
        """All of them."""
        return list(rows)

    def one(self, table: str, row: Row[Any] | None) -> Row[Any] | None:
        """The row as it is."""
        return row


class RowVerifier:
    """Checks seals with the public key, 32 bytes; None where a home has none yet: then no row counts.

    What was verified once is remembered by its digest, so a request pays a hash and no signature. `ended` is asked each
    time: it is what changes.
    """

    checks = True

    def __init__(self, public: bytes | None) -> None:
        self._public = None if public is None else Ed25519PublicKey.from_public_bytes(public)
        self._known: dict[bytes, None] = {}

    def valid(self, table: str, rows: Iterable[Row[Any]]) -> list[Row[Any]]:
        """Those of these rows that count, in their order. Each of the others is an alarm in the log."""
        found = []
        for row in rows:
            if self.holds(table, row._mapping):
                found.append(row)
            else:
                logger().error("rows.unsigned", row=_written(table, row))
        return found

    def one(self, table: str, row: Row[Any] | None) -> Row[Any] | None:
        """As `valid`, of the one row that a key named."""
        found = [] if row is None else self.valid(table, (row,))
        return found[0] if found else None

    def holds(self, table: str, row: Mapping[Any, Any]) -> bool:
        """Whether this row counts: signed as it is, in this version of itself, which has not ended. Says nothing."""
        version, seal = row["row_version"], row["seal"]
        if not isinstance(version, int) or not isinstance(seal, bytes) or len(seal) != _SEAL_BYTES:
            return False
        if version < 1 or seal[0] != format_of(table, row):
            return False
        try:
            return self._signed(canonical(table, row, version), seal)
        except ValueError:
            return False

    def _signed(self, told: bytes, seal: bytes) -> bool:
        if self._public is None:
            return False
        digest = sha256(told + seal).digest()
        if digest in self._known:
            return True
        try:
            self._public.verify(seal[1:], told)
        except InvalidSignature:
            return False
        if len(self._known) >= REMEMBERED:
            self._known.pop(next(iter(self._known)), None)
        self._known[digest] = None
        return True


class RowSigner:
    """Writes rows that count, inside the caller's transaction."""

    def __init__(self, seed: Callable[[], bytes | None], verifier: RowVerifier) -> None:
        """`seed`: asked when a row is signed, for 32 secret bytes; None: nothing can be signed."""
        self.verifier = verifier
        self._seed = seed

    @cached_property
    def _key(self) -> Ed25519PrivateKey | None:
        seed = self._seed()
        return None if seed is None else Ed25519PrivateKey.from_private_bytes(seed)

    def sealed(self, table: str, row: Mapping[str, Any], version: int = 1) -> dict[str, Any]:
        """The row with its version and its seal. Raises Refused `rows.not-signed` where the home has no key yet."""
        if self._key is None:
            raise Refused("rows.not-signed")
        seal = bytes((format_of(table, row),)) + self._key.sign(canonical(table, row, version))
        return {**row, "row_version": version, "seal": seal}

    async def insert(self, tx: Transaction, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert a new row; False, and nothing changed, when one that counts has one of its unique keys.

        One under the same primary key that does not count is written over: whoever put it there stops nobody.
        """
        new = self.sealed(table.name, row)
        if await tx.insert_new(table, new):
            return True
        there = (await tx.execute(select(table).where(_named(table, row)))).one_or_none()
        if there is None or self.verifier.one(table.name, there) is not None:
            return False
        await self.renew(tx, table, there, row)
        return True

    async def change(self, tx: Transaction, table: Table, before: Row[Any], values: Mapping[str, Any]) -> None:
        """Change a row that counts, and sign it in its next version.

        Raises Corrupt `rows.unsigned` for a row that does not count; Unavailable `rows.changed` when another was
        faster: then it is read again.
        """
        if self.verifier.one(table.name, before) is None:
            raise Corrupt("rows.unsigned", table=table.name)
        await self.renew(tx, table, before, covered(table.name, before._mapping) | dict(values))

    async def renew(self, tx: Transaction, table: Table, there: Row[Any], row: Mapping[str, Any]) -> None:
        """Give the place of a row, whether it counts or not, to one that the caller vouches for in every column.

        Raises Unavailable `rows.changed` when the row is not what it was.
        """
        same = table.c.row_version.is_not_distinct_from(there.row_version)
        counted = isinstance(there.row_version, int) and 0 < there.row_version < _VERSIONS
        version = there.row_version if counted else 0
        new = self.sealed(table.name, row, version + 1)
        changed = await tx.execute(update(table).where(_named(table, there._mapping), same).values(**new))
        if changed.rowcount != 1:
            raise Unavailable("rows.changed", table=table.name)
        mark("rows.written")
        # Crash here: the transaction is gone, and the row is as it was before; its act is done again.


def signer_of(keys: KeyStore, verifier: RowVerifier) -> RowSigner:
    """The signer of a home; one that signs nothing where its rows were not adopted yet (`verifier_of`), or where the
    role of this process has no such key (`keys.not-of-role`).
    """
    ready = NAME in keys.names(KeyKind.ROWS_PUBLIC)
    return RowSigner(lambda: keys.read(KeyKind.ROWS, NAME) if ready else None, verifier)


def verifier_of(keys: KeyStore) -> RowVerifier:
    """The verifier of a home, from the public key alone. Raises Corrupt `keys.damaged`."""
    ready = NAME in keys.names(KeyKind.ROWS_PUBLIC)
    return RowVerifier(keys.read(KeyKind.ROWS_PUBLIC, NAME) if ready else None)


def check_ready(keys: KeyStore) -> None:
    """Raises Refused `rows.not-signed` for a home of before: `unefois migrate` compares its rows and signs them."""
    if NAME not in keys.names(KeyKind.ROWS_PUBLIC):
        raise Refused("rows.not-signed")


def make_private(keys: KeyStore) -> bytes:
    """The home's private key, made where there is none, 32 bytes; it counts once `publish` was called."""
    if NAME not in keys.names(KeyKind.ROWS):
        keys.write(KeyKind.ROWS, NAME, Ed25519PrivateKey.generate().private_bytes_raw())
    return keys.read(KeyKind.ROWS, NAME)


def publish(keys: KeyStore) -> None:
    """From now on rows count by their seals alone. Call it once those that stand are signed and committed."""
    if NAME not in keys.names(KeyKind.ROWS_PUBLIC):
        keys.write(KeyKind.ROWS_PUBLIC, NAME, public_of(keys.read(KeyKind.ROWS, NAME)))


def public_of(seed: bytes) -> bytes:
    """The public half of a private key, 32 bytes each."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _written(table: str, row: Row[Any]) -> RowName:
    try:
        return RowName.of(table, key_of(table, row._mapping))
    except ValueError:
        return RowName.of(table, b"")


def _named(table: Table, row: Mapping[Any, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == row[name] for name in LAYOUTS[table.name].key))

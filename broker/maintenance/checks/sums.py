"""Sums: a digest of every part, in one passage over each table, row after row as they lie there.

    page of rows ──► each with its citizen ──► a keyed hash of the row ──► added to the sum of the citizen's part

Refuses: to keep a row; memory is a page and two numbers for each part. To tell a sum: a mark holds its hash, sealed.
Keeps: a row that is edited, inserted, deleted or moved changes the sum of each part that it lay in or lies in now. What
a part holds is what `parts` reads for it, but for the ledger's entries that have their place, which `ledger` holds.
Source: Clarke, Devadas, van Dijk, Gassend, Suh, "Incremental Multiset Hash Functions" (Asiacrypt 2003), MSet-Add-Hash:
the sum of keyed hashes, modulo a large number. Whoever writes the rows has not the key, sees no sum and may try only by
having us check: a forgery succeeds once in 2^128 tries, and is noticed else. Without a key it would be broken (Wagner,
"A Generalized Birthday Problem", Crypto 2002). The hash is BLAKE2b with its key (RFC 7693). Decision 38 says more.
"""

import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, LargeBinary, Row, Select, Table, case, cast, or_, select, type_coerce
from sqlalchemy.types import NullType

from broker.ledger.openings import NOBODY
from broker.maintenance.checks import sizes
from broker.maintenance.checks.ground import Asked
from broker.maintenance.checks.marks import DIGEST_BYTES, SPELLING
from broker.maintenance.checks.parts import NOBODYS, OF_DECLARATION, SUBMITTED, number_of, numbers
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.engine import Transaction
from broker.store.message_tables import channels, messages
from broker.store.tables import (
    acted_for,
    dead_letters,
    declarations,
    deliveries,
    households,
    ledger_entries,
    ledger_erased,
    ledger_openings,
    objections,
    reference_links,
    repairs,
    representations,
    retractions,
    submissions,
    withholdings,
)
from consent import keyring
from consent.tables import consent_keys, grant_versions, grants
from schemas.errors import Corrupt

_HASH_BYTES: Final = 32
_MODULUS: Final = 1 << 8 * _HASH_BYTES


def _of(table: Table, subject: ColumnElement[Any], source: FromClause | None = None) -> Select[*tuple[Any, ...]]:
    """The citizen, then the table's columns, as the driver gives them."""
    bare = (type_coerce(one, NullType()).label(f"c{number}") for number, one in enumerate((subject, *table.columns)))
    return select(*bare).select_from(table if source is None else source)


@dataclass(frozen=True, slots=True)
class _Passage:
    """Over one table: its rows, each after its citizen."""

    rows: Select[*tuple[Any, ...]]
    in_a_part: bool = False
    """Whether each row has to lie in some part."""
    names: int | None = None
    """Where a row names a subscription: what that asks for is hashed with it."""
    about: int | None = None
    """Where it has what the first ledger calls it."""
    wraps: bool = False
    """Whether each row is a wrapped consent key: what it wraps is hashed, and not under which epoch."""


def _column(table: Table, name: str) -> int:
    return 1 + list(table.columns.keys()).index(name)


_SUBJECT: Final = declarations.c.subject
_ALLOWED: Final = case((declarations.c.seq.is_not(None), deliveries.c.subject))
"""Whose consent allows a delivery; nobody's, where its declaration is not there."""
_PASSAGES: Final[Mapping[Table, Sequence[_Passage]]] = {
    grants: [_Passage(_of(grants, grants.c.subject), True, about=_column(grants, "id"))],
    grant_versions: [
        _Passage(
            _of(grant_versions, grants.c.subject, grant_versions.outerjoin(grants, grants.c.id == grant_versions.c.id)),
            True,
        )
    ],
    consent_keys: [
        _Passage(
            _of(consent_keys, grants.c.subject, consent_keys.outerjoin(grants, grants.c.id == consent_keys.c.grant_id)),
            True,
            wraps=True,
        )
    ],
    reference_links: [
        _Passage(_of(reference_links, reference_links.c.alias), True),
        _Passage(_of(reference_links, reference_links.c.kept), True),
    ],
    objections: [_Passage(_of(objections, objections.c.subject), True)],
    retractions: [_Passage(_of(retractions, retractions.c.subject), True)],
    representations: [_Passage(_of(representations, representations.c.subject), True)],
    acted_for: [_Passage(_of(acted_for, acted_for.c.subject), True)],
    households: [_Passage(_of(households, households.c.subject), True)],
    channels: [_Passage(_of(channels, channels.c.subject), True)],
    messages: [
        _Passage(_of(messages, channels.c.subject, messages.outerjoin(channels, channels.c.id == messages.c.channel)))
    ],
    declarations: [_Passage(_of(declarations, _SUBJECT), True, about=_column(declarations, "manifest_digest"))],
    submissions: [_Passage(_of(submissions, _SUBJECT, submissions.outerjoin(declarations, SUBMITTED)))],
    deliveries: [
        _Passage(
            _of(deliveries, _ALLOWED, deliveries.outerjoin(declarations, OF_DECLARATION)),
            True,
            names=_column(deliveries, "subscription"),
        )
    ],
    withholdings: [
        _Passage(
            _of(
                withholdings,
                _SUBJECT,
                withholdings.outerjoin(declarations, declarations.c.seq == withholdings.c.declaration),
            ),
            True,
            names=_column(withholdings, "subscription"),
        )
    ],
    dead_letters: [
        _Passage(
            _of(
                dead_letters,
                deliveries.c.subject,
                dead_letters.join(deliveries, deliveries.c.id == dead_letters.c.delivery).join(
                    declarations, OF_DECLARATION
                ),
            )
        ),
        _Passage(_of(dead_letters, cast(NOBODY, LargeBinary)).where(dead_letters.c.record.is_not(None))),
    ],
    repairs: [
        _Passage(
            _of(
                repairs,
                deliveries.c.subject,
                repairs.join(deliveries, deliveries.c.id == repairs.c.delivery).join(declarations, OF_DECLARATION),
            )
        )
    ],
    ledger_openings: [_Passage(_of(ledger_openings, ledger_openings.c.subject), True)],
    ledger_entries: [
        _Passage(
            _of(
                ledger_entries,
                ledger_openings.c.subject,
                ledger_entries.join(ledger_openings, ledger_openings.c.leaf == ledger_entries.c.leaf),
            ).where(ledger_entries.c.position.is_(None))
        )
    ],
}
"""Each table by itself; of the ledger's entries those that wait."""
_OF_NOBODY: Final = {ledger_openings, ledger_entries, dead_letters}
"""What may be about no citizen."""


class Sums:
    """The sums of all parts, of one passage; filled by `taken`."""

    def __init__(self, key: bytes, bits: int, asked: Asked, living: Mapping[int, bytes] | None = None) -> None:
        """`key`: 32 bytes that no database holds. `asked`: what each subscription asks for. `living`: the keys of the
        consent epochs under which something may lie.
        """
        self.strays: dict[Table, int] = {}
        """How many rows lie in no part that should; tables without any are absent."""
        self._sums = [0] * len(numbers(bits))
        self._declared = [0] * len(numbers(bits))
        self._key = key
        self._bits = bits
        self._asked = asked
        self._living = living or {}

    def digest(self, number: int) -> bytes:
        """Of a part: 16 bytes."""
        told = self._sums[number - NOBODYS] % _MODULUS
        return sha256(told.to_bytes(_HASH_BYTES)).digest()[:DIGEST_BYTES]

    def declared(self, number: int) -> int:
        """How many declarations a part has."""
        return self._declared[number - NOBODYS]

    def add(
        self, table: Table, rows: Iterable[Row[Any]], names: int | None = None, *, wraps: bool = False
    ) -> list[Row[Any]]:
        """Rows of a table, each after its citizen; those of no part are not added, but returned."""
        empty = blake2b(key=self._key, digest_size=_HASH_BYTES, person=table.name.encode())
        asked, sums, outside, last, at = self._asked, self._sums, [], None, None
        counted = self._declared if table is declarations else None
        for row in rows:
            subject, *told = row
            if at is None or subject != last:  # the same citizen's rows often lie side by side
                last, at = subject, self._place(table, subject)
            if at is None:
                outside.append(row)
                continue
            if names is not None:
                told.append(asked.get(row[names]))
            if wraps:
                told = self._unwrapped(told)
            hashed = empty.copy()
            hashed.update(marshal.dumps(told, SPELLING))
            sums[at] += int.from_bytes(hashed.digest())
            if counted is not None:
                counted[at] += 1
        return outside

    def _unwrapped(self, row: list[Any]) -> list[Any]:
        """What a wrapped key's row holds, whichever epoch it lies under: a rotation changes no verdict. One that does
        not unwrap under a living epoch stays as it is, and is a finding of the consents' check: no mark has it.
        """
        try:
            grant_id, epoch, digest, wrapped = row
            kept = keyring.unwrap(wrapped, keyring.Bound(grant_id, digest, epoch), self._living[epoch])
        except (Corrupt, KeyError, ValueError, TypeError, AttributeError):
            return row
        return ["kept", grant_id, digest, kept.key, kept.until, kept.dated]

    def _place(self, table: Table, subject: Any) -> int | None:
        """Of whose sum a citizen's rows are; None: of no part's."""
        number = NOBODYS if table in _OF_NOBODY and subject == NOBODY else number_of(subject, self._bits)
        return None if number is None else number - NOBODYS


async def taken(tx: Snapshot, sums: Sums, seen: Callable[[Iterable[bytes]], None]) -> Sums:
    """One passage over everything, added to `sums`, which are new. `seen`: hears what each declaration and grant is
    called in the first ledger.
    """
    for table, passages in _PASSAGES.items():
        for one in () if tx.empty(table) else passages:
            async with aclosing(tx.pages(one.rows, sizes.ROWS)) as pages:
                async for rows in pages:
                    outside = sums.add(table, rows, one.names, wraps=one.wraps)
                    if outside and one.in_a_part:
                        sums.strays[table] = sums.strays.get(table, 0) + len(outside)
                    if one.about is not None:
                        seen(row[one.about] for row in rows if row not in outside)
    return sums


_ENTRY: Final = ledger_entries.c.leaf == ledger_openings.c.leaf
_NEWER: Final = select(ledger_openings.c.subject).join(ledger_entries, _ENTRY)
_ERASED: Final = select(ledger_openings.c.subject).select_from(
    ledger_erased.join(ledger_openings, ledger_openings.c.leaf == ledger_erased.c.leaf)
)


async def touched(tx: Transaction, size: int, bits: int) -> set[int]:
    """The parts of whose entries some came to their place after a ledger of this size, or to one that there is not, or
    are said to be erased.
    """
    place = ledger_entries.c.position
    found: set[int] = set()
    for statement in (_NEWER.where(or_(place >= size, place < 0)), _ERASED):
        async with aclosing(tx.pages(statement, sizes.ROWS)) as pages:
            async for rows in pages:
                numbered = (NOBODYS if subject == NOBODY else number_of(subject, bits) for (subject,) in rows)
                found.update(number for number in numbered if number is not None)
    return found

"""Parts: all that is about citizens, divided by their references into parts of some hundred each: read, and hashed.

    subject ──► grants, versions, keys │ declarations, deliveries and what hangs on them │ openings with their entries

Refuses: to judge; the checks of a part do.
Keeps: whatever the ledger says of somebody lies in that citizen's part, with every row that it is said of: so a part is
judged by itself, memory is that of one part, and a part that has the same bytes has the same verdict. A row that lies
in no part is found by counting (`Counts`).
"""

import marshal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    Column,
    LargeBinary,
    Row,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    select,
    type_coerce,
)
from sqlalchemy.types import NullType

from broker.ledger.openings import NOBODY
from broker.maintenance.checks import sizes
from broker.maintenance.checks.finding import Finding
from broker.store.engine import Transaction
from broker.store.tables import (
    dead_letters,
    declarations,
    deliveries,
    ledger_entries,
    ledger_erased,
    ledger_openings,
    submissions,
    withholdings,
)
from consent.tables import consent_keys, grant_versions, grants

MOST_BITS: Final = 24
NOBODYS: Final = -1
"""The number of the part of what is about no citizen."""
_SPELLING: Final = 2
"""The version of marshal that writes equal values alike, whatever refers to them. Nothing is ever read in it."""
_FIRST: Final = b"\x00"
_LAST: Final = b"\xff" * 33


def _mine(subject: Column[bytes]) -> Any:
    return and_(subject >= bindparam("low", type_=LargeBinary), subject < bindparam("high", type_=LargeBinary))


SUBMITTED: Final = and_(
    submissions.c.source == declarations.c.source, submissions.c.declaration_id == declarations.c.declaration_id
)
_OF_DECLARATION: Final = declarations.c.seq == deliveries.c.declaration
_HELD: Final = _mine(declarations.c.subject)
TOLD: Final = (
    select(
        ledger_openings.c.leaf.label("opens"),
        ledger_openings.c.subject,
        ledger_openings.c.period,
        ledger_openings.c.kind,
        ledger_openings.c.reason,
        ledger_openings.c.sealed,
        *ledger_entries.c,
        ledger_erased.c.by,
    )
    .outerjoin(ledger_entries, ledger_entries.c.leaf == ledger_openings.c.leaf)
    .outerjoin(ledger_erased, ledger_erased.c.leaf == ledger_openings.c.leaf)
    .order_by(ledger_entries.c.id, ledger_openings.c.leaf)
)
"""Openings with the entry that each opens."""

_ROWS: Final[Mapping[str, Select[Any]]] = {
    "grants": select(grants).where(_mine(grants.c.subject)).order_by(grants.c.id),
    "versions": select(grant_versions)
    .join(grants, grants.c.id == grant_versions.c.id)
    .where(_mine(grants.c.subject))
    .order_by(grant_versions.c.id, grant_versions.c.version),
    "keys": select(consent_keys)
    .join(grants, grants.c.id == consent_keys.c.grant_id)
    .where(_mine(grants.c.subject))
    .order_by(consent_keys.c.grant_id),
    "declarations": select(declarations).where(_HELD).order_by(declarations.c.seq),
    "submissions": select(submissions)
    .join(declarations, SUBMITTED)
    .where(_HELD)
    .order_by(submissions.c.source, submissions.c.declaration_id),
    "deliveries": select(deliveries).join(declarations, _OF_DECLARATION).where(_HELD).order_by(deliveries.c.seq),
    "withholdings": select(withholdings)
    .join(declarations, declarations.c.seq == withholdings.c.declaration)
    .where(_HELD)
    .order_by(withholdings.c.declaration, withholdings.c.subscription),
    "letters": select(dead_letters)
    .where(dead_letters.c.delivery.in_(select(deliveries.c.id).join(declarations, _OF_DECLARATION).where(_HELD)))
    .order_by(dead_letters.c.id),
    "told": TOLD.where(_mine(ledger_openings.c.subject)),
}
_OF_NOBODY: Final[Mapping[str, Select[Any]]] = {
    "told": TOLD.where(ledger_openings.c.subject == NOBODY),
    "records": select(dead_letters).where(dead_letters.c.record.is_not(None)).order_by(dead_letters.c.id),
}
"""What is about no citizen, and the records that nobody could read."""


def _bare(statement: Select[Any]) -> Select[*tuple[Any, ...]]:
    """The same rows to be hashed alone, as the driver gives them. Of an entry that has its place, the tree has the
    bytes.
    """
    waiting = ledger_entries.c.position.is_(None)
    columns = [
        case((waiting, column)).label("waiting") if column is ledger_entries.c.entry else column
        for column in statement.selected_columns
    ]
    return statement.with_only_columns(*(type_coerce(one, NullType()).label(one.name) for one in columns))


_TO_HASH: Final = {name: _bare(one) for name, one in _ROWS.items()}
_TO_HASH_OF_NOBODY: Final = {name: _bare(one) for name, one in _OF_NOBODY.items()}


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one part by their names, each list in an order of its own; a name that has none is absent."""

    number: int
    rows: Mapping[str, Sequence[Row[Any]]]

    def of(self, name: str) -> Sequence[Row[Any]]:
        """The rows of this name."""
        return self.rows.get(name, ())

    def digest(self, asked: Mapping[bytes, tuple[str, str, str]]) -> bytes:
        """Of all rows, column by column, and of the subscriptions that they name: 16 bytes."""
        named = {row.subscription for name in ("deliveries", "withholdings") for row in self.of(name)}
        told = sha256(marshal.dumps([(one, *asked.get(one, ())) for one in sorted(named, key=repr)], _SPELLING))
        for name in sorted(self.rows):
            told.update(marshal.dumps((name, list(map(tuple, self.rows[name]))), _SPELLING))
        return told.digest()[:16]


async def bits_for(tx: Transaction, before: int | None) -> int:
    """Into how many parts (2 to this power) everything is divided; as before, while parts have a fitting size."""
    count: int = (await tx.execute(select(func.count()).select_from(declarations))).scalar_one()
    consents: int = (await tx.execute(select(func.count()).select_from(grants))).scalar_one()
    count = max(count, consents // sizes.GRANTS)
    if before is not None and sizes.PART >> 2 <= count >> before <= sizes.PART << 1:
        return before
    return min(MOST_BITS, (count // sizes.PART).bit_length())


def numbers(bits: int) -> range:
    """Of every part, the nobody's first."""
    return range(NOBODYS, 2**bits)


async def bare(tx: Transaction, number: int, bits: int) -> Part:
    """A part to be hashed."""
    return await _read(tx, number, bits, _TO_HASH if number >= 0 else _TO_HASH_OF_NOBODY)


async def whole(tx: Transaction, number: int, bits: int) -> Part:
    """A part to be judged."""
    return await _read(tx, number, bits, _ROWS if number >= 0 else _OF_NOBODY)


async def _read(tx: Transaction, number: int, bits: int, statements: Mapping[str, Select[*tuple[Any, ...]]]) -> Part:
    between = None
    if number >= 0:
        between = {"low": _edge(number, bits) or _FIRST, "high": _edge(number + 1, bits) or _LAST}
    return Part(number, {name: (await tx.execute(one, between)).all() for name, one in statements.items()})


def _edge(number: int, bits: int) -> bytes | None:
    """Where a part begins; None at both ends of all."""
    return None if number in (0, 2**bits) else (number << (32 - bits)).to_bytes(4, "big")


# ── what lies in no part ────────────────────────────────────────────────────────────────────────────────────────────

_KEPT: Final = {
    "grants": grants,
    "versions": grant_versions,
    "keys": consent_keys,
    "declarations": declarations,
    "deliveries": deliveries,
    "withholdings": withholdings,
    "openings": ledger_openings,
}
_LOST_VERSIONS: Final = select(grant_versions).where(~exists().where(grants.c.id == grant_versions.c.id))
_LOST_KEYS: Final = select(consent_keys).where(~exists().where(grants.c.id == consent_keys.c.grant_id))
_LOST_DELIVERIES: Final = select(deliveries.c.id).where(~exists().where(_OF_DECLARATION))
_NO_PART: Final = "it belongs to nothing that is there"


class Counts:
    """How many rows of each table lay in some part."""

    def __init__(self) -> None:
        self._seen = dict.fromkeys(_KEPT, 0)

    def add(self, part: Part) -> None:
        """Count its rows."""
        for name in self._seen:
            self._seen[name] += len(part.of(name))
        self._seen["openings"] += len({row.opens for row in part.of("told")})

    async def check(self, tx: Transaction) -> AsyncIterator[Finding]:
        """Rows that lie in no part: what they belong to is not there, or nobody writes such a reference."""
        for name, table in _KEPT.items():
            there = (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            if there != self._seen[name]:
                yield Finding("fsck.stopped", table.name, f"{there - self._seen[name]} rows belong to nobody")
                async for finding in _strays(tx, name):
                    yield finding


async def _strays(tx: Transaction, name: str) -> AsyncIterator[Finding]:
    if name == "versions":
        for row in await tx.execute(_LOST_VERSIONS):
            yield Finding("grants.untold", f"grant_versions/{bytes(row.id).hex()}/{row.version}", _NO_PART)
    if name == "keys":
        for row in await tx.execute(_LOST_KEYS):
            yield Finding("consent-keys.outlived", f"consent_keys/{bytes(row.grant_id).hex()}", _NO_PART)
    if name == "deliveries":
        for row in await tx.execute(_LOST_DELIVERIES):
            yield Finding("deliveries.orphan", f"deliveries/{bytes(row.id).hex()}", _NO_PART)


UNROUTED: Final = select(submissions).where(~exists().where(SUBMITTED))
LOST_LETTERS: Final = select(dead_letters.c.id).where(
    dead_letters.c.delivery.is_not(None), ~exists().where(deliveries.c.id == dead_letters.c.delivery)
)

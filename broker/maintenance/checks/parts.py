"""Parts: all that is about citizens, divided by their references into parts of some hundred each.

    subject ──► grants, versions, keys, objections │ declarations, deliveries and what hangs on them │ openings
                channels and their messages, links with other references

Refuses: to judge; the checks of a part do.
Keeps: whatever the ledger says of somebody lies in that citizen's part, with every row that it is said of: so a part is
judged by itself, memory is that of one part, and a part that has the same bytes has the same verdict (`sums` has its
bytes). A delivery lies with the consent that allows it. Where its declaration is of a linked reference, that one is
`beside`; `away` are such deliveries of a part's own declarations. What lies in no part is found there, and told here
(`strays`).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    LargeBinary,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
)

from broker.ledger.openings import NOBODY
from broker.maintenance.checks import sizes
from broker.maintenance.checks.finding import Finding
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
from consent.tables import consent_keys, grant_versions, grants

MOST_BITS: Final = 24
NOBODYS: Final = -1
"""The number of the part of what is about no citizen."""
_FIRST: Final = b"\x00"
_LAST: Final = b"\xff" * 33


def _mine(subject: Column[bytes]) -> Any:
    return and_(subject >= bindparam("low", type_=LargeBinary), subject < bindparam("high", type_=LargeBinary))


SUBMITTED: Final = and_(
    submissions.c.source == declarations.c.source, submissions.c.declaration_id == declarations.c.declaration_id
)
OF_DECLARATION: Final = declarations.c.seq == deliveries.c.declaration
_HELD: Final = _mine(declarations.c.subject)
_ALLOWED: Final = _mine(deliveries.c.subject)
_LINKED: Final = deliveries.c.subject != declarations.c.subject
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

OF_CITIZENS: Final[Mapping[str, Select[Any]]] = {
    "grants": select(grants).where(_mine(grants.c.subject)).order_by(grants.c.id),
    "versions": select(grant_versions)
    .join(grants, grants.c.id == grant_versions.c.id)
    .where(_mine(grants.c.subject))
    .order_by(grant_versions.c.id, grant_versions.c.version),
    "keys": select(consent_keys)
    .join(grants, grants.c.id == consent_keys.c.grant_id)
    .where(_mine(grants.c.subject))
    .order_by(consent_keys.c.grant_id),
    "objections": select(objections)
    .where(_mine(objections.c.subject))
    .order_by(objections.c.subject, objections.c.rule),
    "retractions": select(retractions).where(_mine(retractions.c.subject)).order_by(retractions.c.declaration),
    "representations": select(representations).where(_mine(representations.c.subject)).order_by(representations.c.id),
    "acted_for": select(acted_for).where(_mine(acted_for.c.subject)).order_by(acted_for.c.declaration),
    "households": select(households)
    .where(_mine(households.c.subject))
    .order_by(households.c.household, households.c.number),
    "channels": select(channels).where(_mine(channels.c.subject)).order_by(channels.c.id),
    "messages": select(messages)
    .join(channels, channels.c.id == messages.c.channel)
    .where(_mine(channels.c.subject))
    .order_by(messages.c.id),
    "declarations": select(declarations).where(_HELD).order_by(declarations.c.seq),
    "submissions": select(submissions)
    .join(declarations, SUBMITTED)
    .where(_HELD)
    .order_by(submissions.c.source, submissions.c.declaration_id),
    "deliveries": select(deliveries).join(declarations, OF_DECLARATION).where(_ALLOWED).order_by(deliveries.c.seq),
    "beside": select(declarations)
    .where(declarations.c.seq.in_(select(deliveries.c.declaration).where(_ALLOWED)), ~_HELD)
    .order_by(declarations.c.seq),
    "away": select(deliveries).join(declarations, OF_DECLARATION).where(_HELD, _LINKED).order_by(deliveries.c.seq),
    "links": select(reference_links)
    .where(or_(_mine(reference_links.c.alias), _mine(reference_links.c.kept)))
    .order_by(reference_links.c.id),
    "withholdings": select(withholdings)
    .join(declarations, declarations.c.seq == withholdings.c.declaration)
    .where(_HELD)
    .order_by(withholdings.c.declaration, withholdings.c.subscription),
    "letters": select(dead_letters)
    .where(dead_letters.c.delivery.in_(select(deliveries.c.id).join(declarations, OF_DECLARATION).where(_ALLOWED)))
    .order_by(dead_letters.c.id),
    "repairs": select(repairs)
    .where(repairs.c.delivery.in_(select(deliveries.c.id).join(declarations, OF_DECLARATION).where(_ALLOWED)))
    .order_by(repairs.c.delivery, repairs.c.number),
    "told": TOLD.where(_mine(ledger_openings.c.subject)),
}
_OF_NOBODY: Final[Mapping[str, Select[Any]]] = {
    "told": TOLD.where(ledger_openings.c.subject == NOBODY),
    "records": select(dead_letters).where(dead_letters.c.record.is_not(None)).order_by(dead_letters.c.id),
}
"""What is about no citizen, and the records that nobody could read."""


def _first(statement: Select[Any]) -> Table:
    """The table whose rows a statement asks for, whatever it joins to them: without a row of it there is none."""
    first = statement.columns_clause_froms[0]
    if not isinstance(first, Table):
        raise TypeError("a statement about a part begins with the columns of a table")
    return first


FIRST_OF: Final[Mapping[Select[Any], Table]] = {
    one: _first(one) for one in (*OF_CITIZENS.values(), *_OF_NOBODY.values())
}


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one part by their names, each list in an order of its own; a name that has none is absent."""

    number: int
    rows: Mapping[str, Sequence[Row[Any]]]
    bits: int = 0
    """Of how many parts it is one: 2 to this power."""

    def of(self, name: str) -> Sequence[Row[Any]]:
        """The rows of this name."""
        return self.rows.get(name, ())

    def holds(self, subject: bytes) -> bool:
        """Whether this citizen lies in it."""
        return number_of(subject, self.bits) == self.number


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


async def whole(tx: Snapshot, number: int, bits: int) -> Part:
    """A part to be judged."""
    between = None
    if number >= 0:
        between = {"low": _edge(number, bits) or _FIRST, "high": _edge(number + 1, bits) or _LAST}
    statements = OF_CITIZENS if number >= 0 else _OF_NOBODY
    filled = {name: one for name, one in statements.items() if not tx.empty(FIRST_OF[one])}
    return Part(number, {name: (await tx.execute(one, between)).all() for name, one in filled.items()}, bits)


def number_of(subject: Any, bits: int) -> int | None:
    """In which part a citizen lies; None where this is no reference that any part holds, as `whole` asks for them."""
    if not isinstance(subject, bytes) or not subject or subject >= _LAST:
        return None
    first = int.from_bytes(subject[:4])
    if len(subject) < 4:  # comes before what it begins, and after all that is less
        first = max((first << 8 * (4 - len(subject))) - 1, 0)
    return first >> (32 - bits)


def _edge(number: int, bits: int) -> bytes | None:
    """Where a part begins; None at both ends of all."""
    return None if number in (0, 2**bits) else (number << (32 - bits)).to_bytes(4, "big")


# ── what lies in no part ────────────────────────────────────────────────────────────────────────────────────────────

_LOST_VERSIONS: Final = select(grant_versions).where(~exists().where(grants.c.id == grant_versions.c.id))
_LOST_KEYS: Final = select(consent_keys).where(~exists().where(grants.c.id == consent_keys.c.grant_id))
_LOST_DELIVERIES: Final = select(deliveries.c.id).where(~exists().where(OF_DECLARATION))
_NO_PART: Final = "it belongs to nothing that is there"


async def strays(tx: Transaction, counted: Mapping[Table, int]) -> AsyncIterator[Finding]:
    """Rows that lie in no part, by how many each table has of them: what they belong to is not there, or nobody writes
    such a reference.
    """
    for table, count in counted.items():
        yield Finding("fsck.stopped", table.name, f"{count} rows belong to nobody")
        async for finding in _strays(tx, table):
            yield finding


async def _strays(tx: Transaction, table: Table) -> AsyncIterator[Finding]:
    if table is grant_versions:
        for row in await tx.execute(_LOST_VERSIONS):
            yield Finding("grants.untold", f"grant_versions/{bytes(row.id).hex()}/{row.version}", _NO_PART)
    if table is consent_keys:
        for row in await tx.execute(_LOST_KEYS):
            yield Finding("consent-keys.outlived", f"consent_keys/{bytes(row.grant_id).hex()}", _NO_PART)
    if table is deliveries:
        for row in await tx.execute(_LOST_DELIVERIES):
            yield Finding("deliveries.orphan", f"deliveries/{bytes(row.id).hex()}", _NO_PART)


UNROUTED: Final = select(submissions).where(~exists().where(SUBMITTED))
LOST_REPAIRS: Final = select(repairs).where(~exists().where(deliveries.c.id == repairs.c.delivery))
LOST_LETTERS: Final = select(dead_letters.c.id).where(
    dead_letters.c.delivery.is_not(None), ~exists().where(deliveries.c.id == dead_letters.c.delivery)
)

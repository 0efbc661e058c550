"""Ledger checks: one walk over the entries in the order of positions: the tree, and what stands in them in clear.

    page of rows ──► each leaf hashed: tree │ what no opening lies there for: decoded ──► public facts, erased, lost

Refuses: to open anything; an entry with its opening is its citizen's part's business (`parts`).
Keeps: memory is that of a page, beside what is public by right, and the erased stretches of the ledger.
"""

import marshal
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, Select, exists, func, or_, select, type_coerce
from sqlalchemy.types import NullType

from broker.maintenance.checks import sizes
from broker.maintenance.checks.aside import Aside
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.marks import SPELLING
from broker.maintenance.checks.rows import placed
from broker.maintenance.checks.told import Told, unopened
from broker.maintenance.checks.tree import Tree, check_cosignatures
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import ledger_entries, ledger_erased, ledger_erasures, ledger_openings
from schemas.audit import Auditor
from schemas.entry import Entry, EntryKind, erasing
from schemas.facts import FactKind, Facts
from schemas.names import Instant
from schemas.note import VerifierKey

LONGEST_WINDOW_MS: Final = 86_400_000
"""What `ledger_window_seconds` may be at most."""
_UNOPENED: Final = ~exists().where(ledger_openings.c.leaf == ledger_entries.c.leaf)
_BESIDE: Final = [one for one in ledger_entries.c if one.name not in ("position", "entry")]
_PLACED: Final = select(
    *(type_coerce(one, NullType()) for one in (ledger_entries.c.position, ledger_entries.c.entry)),
    *(type_coerce(one, NullType()) for one in _BESIDE),
).order_by(ledger_entries.c.position)
_BARE: Final = (
    select(ledger_entries, ledger_erased.c.by)
    .outerjoin(ledger_erased, ledger_erased.c.leaf == ledger_entries.c.leaf)
    .where(_UNOPENED)
)
"""Entries for which no opening lies there."""
_BARE_IDS: Final = select(ledger_entries.c.id).where(_UNOPENED)
"""Their numbers alone: both databases find them by two indexes of leaves, side by side."""


class Ledger:
    """One walk; afterwards `public`, `erased` and `erased_until` are what it gave, and `tree` stands at its end."""

    def __init__(self, tx: Transaction, key: VerifierKey, macs: RowMacs, aside: Aside, known: int = 0) -> None:
        """`known`: a size of which the root is wanted."""
        self.tree = Tree(tx, key, known)
        self.public: list[Told] = []
        """What is told in clear, in the order of positions."""
        self.erased: list[Told] = []
        """The first of each stretch of facts that nothing opens, in the order of positions."""
        self.erased_until = Instant(-1)
        """Of what was said up to this instant, the openings may say no more, by their age; before 1970: of nothing."""
        self._until: dict[bytes, Instant] = {}
        """The same of each erasure, by the leaf of its entry."""
        self.readable = True
        """Whether each row without an opening is an entry."""
        self.rows = sha256()
        """Of all rows that have their place, page after page, but for the entries themselves, which the tree has."""
        self.known_rows: str | None = None if known else self.rows.hexdigest()
        """The same up to the size of which the root is wanted; None where there are not so many."""
        self._known = known
        self._tx = tx
        self._key = key
        self._macs = macs
        self._aside = aside
        self._last = -2
        self._in_stretch = False
        """Whether no opened entry lies between the newest of `erased` and here: how many they were makes no odds."""

    def facts(self) -> list[Facts]:
        """What is public by right, in the order of writing."""
        told = sorted((one.id, one.facts) for one in self.public if one.facts is not None)
        return [facts for _, facts in told]

    async def check(self) -> AsyncIterator[Finding]:
        """Every check of the ledger that needs no opening."""
        for part in (self._placed(), self._others(), check_cosignatures(self._tx, self._key), self._erasures()):
            async for finding in part:
                yield finding

    async def _placed(self) -> AsyncIterator[Finding]:
        after, whole = -1, True
        bare = await self._pages_with_bare()
        while True:
            later = _PLACED.where(ledger_entries.c.position > after).limit(sizes.PAGE)
            rows: Sequence[Any] = (await self._tx.execute(later)).all()
            if not rows:
                break
            first, after = after + 1, rows[-1][0]
            dense = after == first + len(rows) - 1
            if whole and not dense:
                whole = False
                yield _gap([row[0] for row in rows], first)
            async for finding in self.tree.take([sha256(b"\x00" + row[1]).digest() for row in rows]):
                yield finding
            self._hash(rows, self._known - first)
            if dense and bare.isdisjoint((first // sizes.PAGE, after // sizes.PAGE)):
                continue
            mine = _BARE.where(ledger_entries.c.position.between(first, after)).order_by(ledger_entries.c.position)
            for finding in self._bare((await self._tx.execute(mine)).all()):
                yield finding
        async for finding in self.tree.end():
            yield finding

    async def _pages_with_bare(self) -> set[int]:
        """The pages, by number, in which some entry has no opening."""
        place = ledger_entries.c.position
        mine = select(func.min(place)).where(ledger_entries.c.id.in_(_BARE_IDS), place >= 0)
        found = await self._tx.execute(mine.group_by(place.op("/")(sizes.PAGE)))
        return {place // sizes.PAGE for place in found.scalars() if isinstance(place, int)}  # else the walk says so

    def _hash(self, rows: Sequence[Any], known: int) -> None:
        """A page's rows, where so many of them were there before."""
        if 0 < known <= len(rows):
            before = self.rows.copy()
            before.update(_columns(rows[:known]))
            self.known_rows = before.hexdigest()
        self.rows.update(_columns(rows))

    async def _others(self) -> AsyncIterator[Finding]:
        """What has no position yet, and what was put aside."""
        waiting = ledger_entries.c.position.is_(None)
        async for rows in self._pages(_BARE.where(or_(waiting, ledger_entries.c.position < 0))):
            for finding in self._bare(rows):
                yield finding
        async for rows in self._pages(select(ledger_entries).where(waiting)):
            for row in rows:
                if not self._macs.holds(ledger_entries.name, row._mapping):
                    place = f"ledger_entries/{row.id}"
                    yield Finding("ledger.mac", place, "it waits, and the broker did not write it as it is")

    async def _pages(self, statement: Select[Any]) -> AsyncIterator[Sequence[Row[Any]]]:
        after = None
        while True:
            later = statement if after is None else statement.where(ledger_entries.c.id > after)
            rows = (await self._tx.execute(later.order_by(ledger_entries.c.id).limit(sizes.PAGE))).all()
            if not rows:
                return
            yield rows
            after = rows[-1].id

    def _bare(self, rows: Sequence[Row[Any]]) -> Iterator[Finding]:
        yield from placed(rows, self._macs)
        for row in rows:
            told = unopened(row)
            yield from told.wrong
            self._take(row, told)

    def _take(self, row: Row[Any], told: Told) -> None:
        if told.aside:
            return
        goes_on, self._last = self._last + 1 == told.order[0], told.order[0]
        if told.entry is None:
            self.readable = False
            return
        if told.facts is not None:
            self._in_stretch = self._in_stretch and goes_on
            self.public.append(told)
            return
        if row.by is not None:
            until = Instant(told.entry.window + LONGEST_WINDOW_MS)
            self._until[bytes(row.by)] = max(self._until.get(bytes(row.by), Instant(-1)), until)
        if told.entry.tag is not None:
            self._aside.add(told.entry.tag, *told.order, row.entry)
        elif told.entry.kind is EntryKind.FACT and not (goes_on and self._in_stretch):
            self.erased.append(told)
        self._in_stretch = (goes_on and self._in_stretch) or told.entry.kind is EntryKind.FACT

    # ── what went ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _erasures(self) -> AsyncIterator[Finding]:
        """Each erasure is of just the entries that it says; what nothing opens was erased by an entry that is there."""
        by = select(ledger_erased.c.by).distinct()
        lists = {bytes(one) for one in (await self._tx.execute(by)).scalars()}
        for one in self.public:
            if one.facts is not None and one.facts.kind is FactKind.ERASED:
                lists.discard(bytes(one.leaf))
                if one.facts.count is not None:
                    self._until.pop(bytes(one.leaf), None)  # by one person's right: of the others all is still told
                if one.facts.detail != await self._erasure(one.leaf):
                    yield Finding("ledger.erasure", one.place, "it is not of the entries that lie under it")
        for leaf in lists:
            yield Finding("ledger.erasure", f"ledger_erased/{leaf.hex()}", "no entry of the ledger says so")
        self.erased_until = max([self.erased_until, *self._until.values()])

    async def _erasure(self, leaf: bytes) -> bytes | None:
        """The commitment to what lies under it; None where nobody can tell."""
        asked = select(ledger_erasures.c.blind).where(ledger_erasures.c.leaf == leaf)
        blind = (await self._tx.execute(asked)).scalar()
        if blind is None:
            return None
        commitment, after = erasing(bytes(blind)), b""
        under = select(ledger_erased.c.leaf).where(ledger_erased.c.by == leaf).order_by(ledger_erased.c.leaf)
        while True:
            page = under.where(ledger_erased.c.leaf > after).limit(sizes.PAGE)
            leaves = (await self._tx.execute(page)).scalars().all()
            if not leaves:
                return commitment.digest()
            commitment.update(b"".join(leaves))
            after = leaves[-1]


def left(aside: Aside) -> Iterator[Finding]:
    """The public rules of a delivery's way, of those deliveries of which nothing at all can be opened any more."""
    tag, auditor = None, Auditor()
    for _, number, raw in aside.left():
        entry = Entry.decode(raw)
        if entry.tag != tag:
            tag, auditor = entry.tag, Auditor()
        for broken in auditor.take(entry):
            yield Finding("ledger.invariant", f"ledger_entries/{number}", broken.invariant)


def _columns(rows: Sequence[Any]) -> bytes:
    """What is beside the entries."""
    place, _, *beside = zip(*rows, strict=True)
    return marshal.dumps((place, *beside), SPELLING)


def _gap(positions: Sequence[int], first: int) -> Finding:
    """Ids and positions need not rise together: a later id may have been committed first. For one grant they do."""
    position, expected = next((each, at) for at, each in enumerate(positions, first) if each != at)
    return Finding("ledger.gap", f"ledger_entries/@{position}", f"position {position}, {expected} is missing")

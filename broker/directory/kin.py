"""Kin: which references are one citizen's.

    spelling   an older reference, of the same facts: one citizen from the first moment on
    event      an entitled source has declared that one identity became another
    operators  two operators have seen the act that says so

Refuses: nothing; `broker.flow.contact` and `broker.consents.linking` write.
Keeps: a row without the broker's seal links nobody. A link that has ended by the journal of endings has ended, whatever
its row says; before `acts_from` it links nobody. Rows about citizens stay under the reference that they were written
under, so that the end of a link gives each their own back: what is asked here is whose they are.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, select, union

from broker.ended import Ended
from broker.observability.observe import RowName, logger
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowReader
from broker.store.tables import reference_links
from consent.asking import one_of
from schemas.errors import Corrupt
from schemas.names import Instant, LinkId, SubjectRef, instant_of

MOST: Final = 64
"""References of one citizen."""
_CHUNK: Final = 500
_LABEL: Final = b"unefois/reference-link/v1\x00"
_TOUCHING: Final = union(
    select(reference_links).where(one_of(reference_links.c.alias, "refs")),
    select(reference_links).where(one_of(reference_links.c.kept, "refs")),
)
"""In two parts, each of which an index answers."""


class Ground(Enum):
    """Why two references are one citizen's."""

    SPELLING = "spelling"
    EVENT = "event"
    OPERATORS = "operators"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """`alias` is the reference of the new facts, `kept` that of the old ones, under which recipients know the citizen.

    `evidence`: the reference of the act; `asked_by`: a source or `operators`; `acts_from`: None until it is confirmed.
    `ended_by`: which side refused or ended it.
    """

    id: LinkId
    alias: SubjectRef
    kept: SubjectRef
    ground: Ground
    evidence: str | None
    asked_by: str
    asked_at: Instant
    confirmed_at: Instant | None = None
    acts_from: Instant | None = None
    ended_at: Instant | None = None
    ended_by: str | None = None

    def acts(self, at: Instant) -> bool:
        """Whether the two are one citizen's at this instant."""
        return self.ended_at is None and self.acts_from is not None and self.acts_from <= at

    @property
    def status(self) -> str:
        """`asked`, `confirmed` or `ended`."""
        if self.ended_at is not None:
            return "ended"
        return "asked" if self.confirmed_at is None else "confirmed"

    @property
    def living(self) -> bool:
        """Whether it acts, will act, or waits for a confirmation."""
        return self.ended_at is None

    def row(self) -> dict[str, Any]:
        """As the table has it, without its seal."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"ground": self.ground.value}

    def told(self, side: SubjectRef) -> bytes:
        """What the ledger's entry about one of the two commits to, 32 bytes: another one for each of them."""
        return sha256(_LABEL + row_digest(reference_links.name, self.row()) + side).digest()


def link_of(row: Row[Any]) -> Link:
    """The link of a row. Raises Refused, ValueError, TypeError for one that nobody of ours wrote."""
    return Link(
        id=LinkId(row.id),
        alias=SubjectRef(row.alias),
        kept=SubjectRef(row.kept),
        ground=Ground(row.ground),
        evidence=row.evidence,
        asked_by=row.asked_by,
        asked_at=Instant(row.asked_at),
        confirmed_at=instant_of(row.confirmed_at),
        acts_from=instant_of(row.acts_from),
        ended_at=instant_of(row.ended_at),
        ended_by=row.ended_by,
    )


@dataclass(frozen=True, slots=True)
class Kin:
    """Of some references, all that are the same citizen's, and the one that was there first."""

    groups: Mapping[SubjectRef, tuple[SubjectRef, ...]]

    def of(self, subject: SubjectRef) -> tuple[SubjectRef, ...]:
        """All of a citizen's references, the one that was kept first; itself alone where nothing is known."""
        return self.groups.get(subject, (subject,))

    def first(self, subject: SubjectRef) -> SubjectRef:
        """The one reference by which a citizen is ordered and locked."""
        return self.of(subject)[0]

    def all(self) -> frozenset[SubjectRef]:
        """Every reference in it."""
        return frozenset(one for group in self.groups.values() for one in group)


ALONE: Final = Kin({})
"""Nobody has another reference."""


async def touching(tx: Transaction, rows: RowReader, subjects: Collection[SubjectRef]) -> list[Link]:
    """Every link that one of these references is in, ended ones too, as the journal of endings has them."""
    found: dict[bytes, Link] = {}
    ordered = sorted(set(subjects))
    for start in range(0, len(ordered), _CHUNK):
        there = await tx.execute(_TOUCHING, {"refs": ordered[start : start + _CHUNK]})
        found |= {row.id: link_of(row) for row in rows.valid(reference_links.name, there)}
    if not found:
        return []
    ended = await tx.endings()
    return sorted((obeyed(one, ended) for one in found.values()), key=lambda one: (one.asked_at, one.id))


async def kin_of(tx: Transaction, rows: RowReader, subjects: Collection[SubjectRef], at: Instant) -> Kin:
    """Whose these references are at an instant: one question for up to 500 of them, and more only where there are
    links. Raises Corrupt `links.too-many`.
    """
    seen, asked = set(subjects), set(subjects)
    links: dict[bytes, Link] = {}
    while asked:
        new = [one for one in await touching(tx, rows, asked) if one.acts(at)]
        links |= {one.id: one for one in new}
        asked = {side for one in new for side in (one.alias, one.kept)} - seen
        seen |= asked
    return Kin(groups_of(links.values()))


def groups_of(links: Iterable[Link]) -> dict[SubjectRef, tuple[SubjectRef, ...]]:
    """The citizens that these links make, each reference with all of its own. Raises Corrupt `links.too-many`."""
    of: dict[SubjectRef, set[SubjectRef]] = {}
    aliases = set()
    for one in links:
        joined = of.get(one.alias, {one.alias}) | of.get(one.kept, {one.kept})
        of |= dict.fromkeys(joined, joined)
        aliases.add(one.alias)
        if len(joined) > MOST:
            raise Corrupt("links.too-many", limit=MOST)
    return {each: tuple(sorted(group, key=lambda one: (one in aliases, one))) for each, group in of.items()}


def obeyed(one: Link, ended: Ended) -> Link:
    """As the journal tells it, where it tells of it: whoever puts an older row back joins nobody by that."""
    told = ended.newest(reference_links.name, one.id)
    if told is None or one.ended_at is not None:
        return one
    logger().error("endings.row-contradicts", _ended_at=told.at, row=RowName.of(reference_links.name, one.id))
    return ended_as(one, Instant(told.told["ended_at"]), str(told.told["ended_by"]))


def ended_as(one: Link, at: Instant, by: str) -> Link:
    """The link, ended."""
    told = {each.name: getattr(one, each.name) for each in fields(one)}
    return Link(**told | {"ended_at": at, "ended_by": by})

"""Link checks: two references are one citizen's because the ledger says so, of each of them, and as the row has it.

Refuses: to judge whether an act was genuine; nobody here has seen it.
Keeps: who joins two citizens by a row, signed or not, or takes a link away, shows: the ledger tells of another one, or
of none. Whose delivery rests on another's consent was linked with them once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from broker.directory import kin
from broker.directory.kin import Ground, Link
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import Part
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.tables import reference_links
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.names import Instant, SubjectRef

_JOINS: Final = frozenset({FactKind.REFERENCE_RENEWED, FactKind.LINK_CONFIRMED})


def check(part: Part, entries: Sequence[Facts], erased: Instant) -> Iterator[Finding]:
    """Each link of a part's citizens is told as it is, and none is told of that is not there."""
    said = {(entry.kind, entry.detail) for entry in entries}
    there = 0
    for row in part.of("links"):
        there += sum(row.confirmed_at is not None and part.holds(side) for side in (row.alias, row.kept))
        try:
            link = kin.link_of(row)
        except (Refused, ValueError, TypeError):
            yield Finding("links.unreadable", f"reference_links/{bytes(row.id).hex()}", "the row cannot be read")
            continue
        for side in (link.alias, link.kept):
            if not part.holds(side):
                continue
            if any((kind, detail) not in said and at > erased for kind, detail, at in _told(link, side)):
                place = f"reference_links/{link.id.hex()}"
                yield Finding("links.untold", place, "the ledger does not tell of this link as it is")
    if sum(kind in _JOINS for kind, _ in said) > there:
        yield Finding("links.lost", "reference_links", "the ledger tells of a link that is not there")


def _told(link: Link, side: SubjectRef) -> list[tuple[FactKind, bytes, Instant]]:
    """What the ledger must say of one side, and when it was said."""
    if link.ground is Ground.SPELLING:
        return [(FactKind.REFERENCE_RENEWED, link.told(side), link.asked_at)]
    found = []
    living = replace(link, ended_at=None, ended_by=None)
    if link.confirmed_at is not None:
        found.append((FactKind.LINK_CONFIRMED, living.told(side), link.confirmed_at))
    elif link.living:
        found.append((FactKind.LINK_ASKED, living.told(side), link.asked_at))
    if link.ended_at is not None:
        found.append((FactKind.LINK_ENDED, link.told(side), link.ended_at))
    return found


async def ever(tx: Snapshot) -> Mapping[SubjectRef, Sequence[SubjectRef]]:
    """Who was one citizen at any time, links that have ended too; `rows` and this check say which rows count."""
    found = []
    for row in await tx.rows(reference_links):
        try:
            found.append(kin.link_of(row))
        except (Refused, ValueError, TypeError):
            continue  # told by `check`
    return kin.groups_of(found)

"""Ended grants: each change of a consent as the journal of endings tells it, and what the journal says over rows.

Refuses: a record that is no grant (`endings.unreadable`).
Keeps: a grant's row counts as it is when it is newer than the journal's last word about it, or the very same; else that
word counts, and a line tells that somebody has put an older row back, or that a change is still to be completed
(`broker.maintenance.completing`). Nothing is planned under a version whose row is not there yet: it is completed first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from broker.ended import Ended, Ending
from broker.observability.observe import logger
from broker.store.tables import representations
from consent.grant import Grant, Status
from consent.representation import of_voice
from consent.rows import grant_in, row_of
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import GrantId

TABLE: Final = "grants"
_BYTES: Final = ("id", "subject", "schema", "once_for", "text_hash", "rule")
_KINDS: Final = {Status.REVOKED: FactKind.REVOKED, Status.EXPIRED: FactKind.EXPIRED}

K = TypeVar("K")


class RowsBehind(Unavailable):
    """These grants are to be completed first (`Consents.complete`), and then it goes on."""

    def __init__(self, code: str, grants: Sequence[GrantId], count: int) -> None:
        super().__init__(code, count=count)
        self.grants = tuple(grants)


def ending_of(grant: Grant) -> Ending:
    """The record of one version: no older one is acceptable from now on, and this one only as it is here."""
    row: dict[str, Any] = row_of(grant)
    return Ending.of(TABLE, grant.id, at=grant.changed_at, least=grant.version, actor=grant.given_by[:200], **row)


def grant_of(ending: Ending) -> Grant:
    """The version that a record tells of. Raises Corrupt `endings.unreadable`."""
    try:
        row = ending.told
        told = {name: bytes.fromhex(row[name]) for name in _BYTES if row.get(name) is not None}
        return grant_in(row | told)
    except (Refused, ValueError, TypeError, KeyError):
        raise Corrupt("endings.unreadable", table=ending.table) from None


def entry_kind(grant: Grant) -> FactKind:
    """Of the entry that tells of a version which is completed."""
    return _KINDS.get(grant.status, FactKind.CHANGED)


def last_word(ended: Ended, grant: Grant) -> Grant | None:
    """The journal's version of a grant where its row may not count; None where the row is as it should be."""
    told = ended.newest(TABLE, grant.id)
    if told is None or grant.version > told.least:
        return None
    journals = grant_of(told)
    return None if journals == grant else journals


def lost(ended: Ended, head: Grant) -> list[Grant]:
    """The versions after this one that the journal knows, oldest first: those that a database has lost. Of what was
    compacted only the last is there.
    """
    return [grant_of(ending) for ending in ended.versions(head.id) if ending.least > head.version]


def caught_up(ended: Ended, grants: Sequence[Grant]) -> list[Grant]:
    """The grants as they count. Raises RowsBehind for those that have to be completed before anything is planned."""
    there = obeyed(ended, {grant.id: grant for grant in grants})
    behind = [grant.id for grant in grants if there[grant.id].version > grant.version]
    if behind:
        raise RowsBehind("endings.behind", behind, count=len(behind))
    return list(there.values())


def obeyed(ended: Ended, grants: Mapping[K, Grant]) -> dict[K, Grant]:
    """The grants as they count: the journal's version where a row contradicts it, which is told."""
    found = dict(grants)
    for key, grant in grants.items():
        journals = last_word(ended, grant)
        if journals is not None:
            logger().error(
                "endings.row-contradicts", _ended_at=journals.changed_at, grant=GrantId(grant.id), version=grant.version
            )
            found[key] = journals
    return {key: _represented(ended, grant) for key, grant in found.items()}


def _represented(ended: Ended, grant: Grant) -> Grant:
    """What a representative allowed has ended with the representation, whether or not its row says so yet."""
    rests_on = None if grant.status.over else of_voice(grant.given_by)
    over = rests_on is not None and ended.ended(representations.name, rests_on)
    return replace(grant, status=Status.REVOKED) if over else grant

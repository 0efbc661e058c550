"""Fingerprints: whether a citizen has declared the same before, known again without keeping what it was.

    fingerprint = HMAC-SHA-256(secret, person | type | content), content = the record in one spelling, without the date
    from which it counts

Refuses: nothing; a content that was never declared has no row.
Keeps: no value. Without the secret of the key store nobody can try a content against a row, not even all of them. A row
lives as long as its declaration: it goes when that one is forgotten or erased (`broker.flow.forgotten`, `erased`). It
is a hint and decides nothing: an insider who takes rows away makes the broker forgetful at most.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from broker.citizens.draft_seals import DraftSeals
from broker.store.citizen_tables import told_already
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from schemas.names import DeclarationId, EventType, Instant, SubjectRef

DATES: Final = frozenset({"effective_date"})
"""Fields that are another each time somebody says the same."""
_MOST: Final = 5
"""How many earlier ones are told."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A declaration of the same content, and when it was made."""

    declaration: DeclarationId
    at: Instant


class Fingerprints:
    """The only writer of the fingerprints."""

    def __init__(self, *, seals: DraftSeals, macs: RowMacs) -> None:
        self._seals = seals
        self._macs = macs

    async def keep(
        self,
        tx: Transaction,
        subject: SubjectRef,
        event_type: EventType,
        record: Mapping[str, Any],
        *,
        of: DeclarationId,
        at: Instant,
    ) -> None:
        """Remember that `subject` declared this. Again for the same declaration, it changes nothing."""
        row = {"declaration": of, "fingerprint": self._made(subject, event_type, record), "at": at}
        await tx.insert_new(told_already, self._macs.made(told_already.name, row))

    async def find(
        self, tx: Transaction, subject: SubjectRef, event_type: EventType, record: Mapping[str, Any]
    ) -> list[Earlier]:
        """What the same person declared before in the same words, the newest first."""
        mine = told_already.c.fingerprint == self._made(subject, event_type, record)
        asked = select(told_already).where(mine).order_by(told_already.c.at.desc(), told_already.c.declaration)
        rows = self._macs.valid(told_already.name, await tx.execute(asked.limit(_MOST)))
        return [Earlier(DeclarationId(row.declaration), Instant(row.at)) for row in rows]

    def _made(self, subject: SubjectRef, event_type: EventType, record: Mapping[str, Any]) -> bytes:
        return self._seals.fingerprint(subject, event_type, content_of(record))


def content_of(record: Mapping[str, Any]) -> bytes:
    """A record in one spelling: letters without case and accents' two ways of being written, spaces once, fields in
    order; without what is null, and without DATES.
    """
    told = {name: _spelled(value) for name, value in record.items() if name not in DATES and value is not None}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), default=str).encode("ascii")


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if isinstance(value, Mapping):
        return {name: _spelled(one) for name, one in value.items() if one is not None}
    if isinstance(value, (list, tuple)):
        return [_spelled(one) for one in value]
    return value

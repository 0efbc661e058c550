"""Purposes that an operator adds, as the tables hold them: asked for, approved, and from then on for ever as they are.

    add      a new text of a purpose becomes its next version, with an id of its own; it may be put right until
    approve  a second person has said yes; from then on consents, subscriptions and rules can name it

Refuses: a text in one language, or too long; an id that ends like a version; to change what was approved.
Keeps: an approved text never changes: its row is signed, and an open entry of the ledger commits to every word of it
(`purpose_approved`). A row without the broker's seal counts for nothing: its purpose can be named by nobody, and
consents that were given for it go on, for they name the purpose by its id and the text by its SHA-256.
Source: `consent/purposes.py`; docs/adr/0055.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Row, select

from broker.directory.registrar import changing
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowReader, RowSigner
from broker.store.tables import purposes
from consent.purposes import CATALOGUE, LegalFamily, PurposeEntry, base_of, check_added, next_version, versioned
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.names import Instant, Purpose, instant_of

_BASE: Final = re.compile(r"[a-z][a-z0-9-]{1,54}")
_LIKE_A_VERSION: Final = re.compile(r".*-v[0-9]+")


@dataclass(frozen=True, slots=True)
class Added:
    """One version that an operator has added. Until it is approved, nothing can name it."""

    entry: PurposeEntry
    asked_at: Instant
    approved_at: Instant | None = None


async def added(tx: Transaction, rows: RowReader) -> tuple[Added, ...]:
    """Every version that was added, approved or not, by id. Raises Corrupt `directory.unreadable`."""
    found = rows.valid(purposes.name, await tx.execute(select(purposes).order_by(purposes.c.id)))
    try:
        return tuple(map(added_of, found))
    except (Refused, ValueError, TypeError) as fault:
        raise Corrupt("directory.unreadable", wrong=getattr(fault, "code", type(fault).__name__)) from None


async def every(tx: Transaction, rows: RowReader) -> Mapping[Purpose, PurposeEntry]:
    """Every purpose that can be named: the program's own, and what was approved."""
    approved = {one.entry.id: one.entry for one in await added(tx, rows) if one.approved_at is not None}
    return MappingProxyType({**approved, **CATALOGUE})


def added_of(row: Row[Any]) -> Added:
    """The purpose of a row."""

    def texts(name: str) -> Mapping[Any, str]:
        return MappingProxyType({one: getattr(row, f"{name}_{one}") for one in ("fr", "en")})

    entry = PurposeEntry(
        id=Purpose(row.id),
        label=texts("label"),
        sentence=texts("sentence"),
        families=frozenset(LegalFamily(word) for word in json.loads(row.families)),
        legal=texts("legal"),
        retention=texts("retention"),
        contact=row.contact,
    )
    return Added(entry, Instant(row.asked_at), instant_of(row.approved_at))


def row_of(one: Added) -> dict[str, Any]:
    """The row of a purpose; equal purposes have equal rows."""
    entry = one.entry
    texts = {"label": entry.label, "sentence": entry.sentence, "legal": entry.legal, "retention": entry.retention}
    return {
        "id": entry.id,
        "version": entry.version,
        "families": json.dumps(sorted(family.value for family in entry.families)),
        **{f"{name}_{word}": text for name, each in texts.items() for word, text in each.items()},
        "contact": entry.contact,
        "asked_at": one.asked_at,
        "approved_at": one.approved_at,
    }


def digest_of(one: Added) -> bytes:
    """SHA-256 of the row, 32 bytes: what its entry commits to and `fsck` compares."""
    return row_digest(purposes.name, row_of(one))


class Purposing:
    """The only writer of the purposes."""

    def __init__(self, recorder: Recorder, signer: RowSigner) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier

    async def add(self, tx: Transaction, wanted: PurposeEntry, at: Instant) -> Added:
        """Write down a new purpose, or a new text of one, as its next version; `wanted.id`: without a version. What was
        added before and is not approved yet is replaced.

        Raises Refused: `purposes.id`, `purposes.text`, `purposes.families`.
        """
        if not _BASE.fullmatch(wanted.id) or _LIKE_A_VERSION.fullmatch(wanted.id):
            raise Refused("purposes.id", "/id")
        check_added(wanted)
        await changing(tx)
        there = await added(tx, self._rows)
        waiting = [one for one in there if one.approved_at is None and one.entry.base == wanted.id]
        if waiting:
            made = Added(replace(wanted, id=waiting[0].entry.id), at)
            await self._signer.change(tx, purposes, await self._row(tx, made.entry.id), row_of(made))
        else:
            # Also of a row that lost its seal the number is taken: nobody gets another text under an id that was named.
            taken = [Purpose(row.id) for row in await tx.execute(select(purposes.c.id))]
            version = next_version(base_of(wanted.id)[0], [*CATALOGUE, *taken])
            made = Added(replace(wanted, id=versioned(wanted.id, version)), at)
            await self._signer.insert(tx, purposes, row_of(made))
        mark("purposes.added")
        # Crash here: the transaction is gone, and the operator adds it again; so too for the approval.
        return made

    async def approve(self, tx: Transaction, purpose: Purpose, at: Instant) -> Added:
        """From now on it can be named. Raises Refused: `purposes.unknown`, `purposes.approved`."""
        await changing(tx)
        row = await self._row(tx, purpose)
        before = added_of(row)
        if before.approved_at is not None:
            raise Refused("purposes.approved", "/purpose", purpose=purpose)
        approved = replace(before, approved_at=at)
        await self._signer.change(tx, purposes, row, {"approved_at": at})
        mark("purposes.approved")
        self._recorder.record(tx, FactKind.PURPOSE_APPROVED, at, purpose=purpose, detail=digest_of(approved))
        return approved

    async def _row(self, tx: Transaction, purpose: Purpose) -> Row[Any]:
        there = (await tx.execute(select(purposes).where(purposes.c.id == purpose))).one_or_none()
        row = self._rows.one(purposes.name, there)
        if row is None:
            raise Refused("purposes.unknown", "/purpose", purpose=purpose)
        return row

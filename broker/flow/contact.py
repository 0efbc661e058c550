"""Contact: somebody's facts are at hand, and with them the one reference under which the citizen stands.

    facts ──version 2──► a reference ──is an older one known, does anything stand under it?──► the citizen's

Refuses: what is no identity (`broker.people.pivot`).
Keeps: who has records under a reference of an older version is found, and goes on under it: the newer one becomes its
alias, at the first contact, in a signed row and with an entry in the ledger. Of somebody whom nobody knows nothing is
written. It costs one question, answered by indexes.
"""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, bindparam, exists, literal, or_, select

from broker.directory.kin import Ground, Link
from broker.flow.deliveries import citizen_lock
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.people.identity import Identity
from broker.people.pivot import PivotIdentity
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.seals import RowSigner
from broker.store.tables import declarations, ledger_openings, objections, reference_links
from consent.tables import grants
from schemas.facts import FactKind
from schemas.names import LinkId, SubjectRef

Renew = Callable[[PivotIdentity], Awaitable[SubjectRef]]
ASKED_BY: Final = "broker"
_ID: Final = b"unefois/spelling/v1\x00"
_ONE: Final = select(literal(1).label("one")).subquery()
_ALIASES: Final = or_(reference_links.c.alias == bindparam("ref"), reference_links.c.alias == bindparam("first"))


def _lives(named: str) -> Any:
    """Whether anything stands under a reference; each is answered by an index."""
    return or_(*(exists().where(one.c.subject == bindparam(named)) for one in _TABLES))


_TABLES: Final = (grants, declarations, objections, ledger_openings)
_LIVE: Final = (_lives("ref").label("ref_lives"), _lives("first").label("first_lives"))
_ASKED: Final = select(*_LIVE, reference_links).select_from(_ONE.outerjoin(reference_links, _ALIASES))


class Contact:
    """Knows citizens by their facts. It may be called concurrently."""

    def __init__(
        self,
        *,
        store: Store,
        identity: Identity,
        signer: RowSigner,
        recorder: Recorder,
        clock: Clock,
        renew: Renew | None = None,
    ) -> None:
        """`renew`: asks another process for a reference whose older spelling is to be written down; None: it is written
        here.
        """
        self._renew = renew
        self._store = store
        self._identity = identity
        self._signer = signer
        self._rows = signer.verifier
        self._recorder = recorder
        self._clock = clock

    async def reference(self, person: PivotIdentity) -> SubjectRef:
        """The one reference of these facts. Raises Refused `identity.*` with the field's pointer; Unavailable."""
        ref, first = self._identity.reference(person), self._identity.first_reference(person) or NOBODY
        async with self._store.read_one() as tx:
            found, alias = await self._ask(tx, ref, first)
        if alias is None:
            return found
        if self._renew is not None:
            return await self._renew(person)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(ref)])
            found, alias = await self._ask(tx, ref, first)
            if alias is not None:
                await self._write(tx, alias, found)
        return found

    async def _ask(self, tx: Transaction, ref: SubjectRef, first: SubjectRef) -> tuple[SubjectRef, SubjectRef | None]:
        """Under which reference the citizen stands, and which one is to become its alias, if any."""
        rows = (await tx.execute(_ASKED, {"ref": ref, "first": first})).all()
        ref_lives, first_lives = rows[0].ref_lives, rows[0].first_lives
        kept_of = self._kept(rows)
        kept = kept_of.get(ref, ref)
        if first in (NOBODY, kept) or first in kept_of or not first_lives:
            return kept, None
        if kept != ref or ref_lives:
            return kept, first
        return first, ref

    def _kept(self, rows: Sequence[Row[Any]]) -> dict[SubjectRef, SubjectRef]:
        there = self._rows.valid(reference_links.name, (row for row in rows if row.id is not None))
        spelled = (row for row in there if row.ground == Ground.SPELLING.value)
        return {SubjectRef(row.alias): SubjectRef(row.kept) for row in spelled}

    async def _write(self, tx: Transaction, alias: SubjectRef, kept: SubjectRef) -> None:
        at = self._clock()
        made = Link(
            id=LinkId(sha256(_ID + alias).digest()[:16]),
            alias=alias,
            kept=kept,
            ground=Ground.SPELLING,
            evidence=None,
            asked_by=ASKED_BY,
            asked_at=at,
            confirmed_at=at,
            acts_from=at,
        )
        await self._signer.insert(tx, reference_links, made.row())
        for side in (alias, kept):
            self._recorder.record(tx, FactKind.REFERENCE_RENEWED, at, about=side, detail=made.told(side))
        mark("contact.renewed")
        # Crash here: nothing was written; the next contact does it again.


NOBODY: Final = SubjectRef(bytes(32))
"""For who had no reference in version 1."""

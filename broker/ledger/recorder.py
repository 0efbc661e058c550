"""Recorder: every fact that can be proven, written in the transaction that makes it a fact.

Refuses: an entry outside a transaction; what only a person does, by nobody, once anybody has an account.
Keeps: an entry, its opening and its effect are committed together or not at all. Whoever reads the entry alone learns
nothing: what it says is sealed under a fresh blind, but for what is public by right. Each carries the house's MAC, for
the sequencer, which signs no other's word. What somebody with an account does is told with their name (`acting`).
Between its commit and its place in the tree an entry is a row, which whoever writes to the database can take away
together with all that it tells of; then nobody would know. Who wrote it does (`Said`), for as long as it runs.
Source: docs/protocol.md, section 8.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy import select

from broker.ledger.acting import ACTING, MOST, NAMED, Act, Acting, anybody, digest, message
from broker.ledger.openings import Openings
from broker.observability.observe import RowName, logger
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.operator_tables import operator_acts
from broker.store.rows.macs import NONCE_BYTES, RowMacs
from broker.store.tables import ledger_entries, ledger_openings
from consent.asking import one_of
from consent.grant import Grant, Status
from consent.rows import digest_of
from schemas import merkle
from schemas.catalogue import Catalogue
from schemas.entry import OPEN_FACTS, Entry, EntryKind, Opening, kind_of, opened, window_of
from schemas.errors import Refused
from schemas.facts import BLIND_BYTES, FactKind, Facts
from schemas.names import (
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    LeafHash,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SubjectRef,
)
from schemas.release import bitmap

BARRIER: Final = b""
"""The chain of what everything keeps its order to: the beginning of a ledger that follows another, and its end."""
FIRST: Final = b"first"
LAST: Final = b"last"
"""The chains of the other open entries: what begins comes before everything else of its window, what ends comes after.

A chain of its own place for each would part its window in two, in which the acts before and after could be told apart;
and an administration can have open entries made when it likes.
"""
AGAIN: Final = b"again"
"""As FIRST, for what only an operator begins, and may have ended before: it comes after what ended in its window."""
_PLACES: Final[Mapping[FactKind, bytes]] = {
    FactKind.LEDGER_OPENED: BARRIER,
    FactKind.MIGRATED: BARRIER,
    FactKind.SUBSCRIPTION_APPROVED: AGAIN,
    FactKind.RIGHT_GRANTED: AGAIN,
    FactKind.RULE_APPROVED: AGAIN,
    FactKind.KEY_REVOKED: LAST,
    FactKind.SUBSCRIPTION_ENDED: LAST,
    FactKind.RIGHT_ENDED: LAST,
    FactKind.RULE_ENDED: LAST,
    FactKind.RULE_NARROWED: LAST,
    FactKind.EPOCH_DESTROYED: LAST,
    FactKind.ERASED: LAST,
    FactKind.DISCLOSED: LAST,
}
REMEMBERED: Final = 262_144
"""Entries: 100 MB at most, of a process whose sequencer stands still."""
_AT_ONCE: Final = 1_000
_PLACED: Final = select(ledger_entries.c.leaf, ledger_entries.c.position).where(one_of(ledger_entries.c.leaf, "leaves"))


class Said:
    """The entries of one process that were committed and not seen in their places."""

    def __init__(self) -> None:
        self._waiting: dict[LeafHash, Instant] = {}

    def add(self, leaf: LeafHash, window: Instant) -> None:
        """It is committed now."""
        if len(self._waiting) >= REMEMBERED:
            self._waiting.pop(next(iter(self._waiting)))
        self._waiting[leaf] = window

    async def look(self, store: Store, before: int | None) -> int:
        """Look for those of windows before this one, or for all. Returns how many are gone: each is an alarm, once."""
        wanted = [leaf for leaf, window in self._waiting.items() if before is None or window < before]
        gone = 0
        for first in range(0, len(wanted), _AT_ONCE):
            gone += await self._look(store, wanted[first : first + _AT_ONCE])
        return gone

    async def _look(self, store: Store, leaves: Sequence[LeafHash]) -> int:
        async with store.read_one() as tx:
            found = {row.leaf: row.position for row in await tx.execute(_PLACED, {"leaves": list(leaves)})}
        lost = [leaf for leaf in leaves if leaf not in found]
        for leaf in leaves:
            if leaf not in found or found[leaf] is not None:
                self._waiting.pop(leaf, None)
        for leaf in lost:
            logger().error("ledger.entry-lost", row=RowName.of(ledger_entries.name, leaf))
        return len(lost)


@dataclass(slots=True)
class Noted:
    """What one transaction has recorded so far; called before it is committed."""

    finish: "Callable[[Noted], Awaitable[None]]"
    first: list[LeafHash] = field(default_factory=list)
    """Of the kinds in NAMED."""
    leaves: list[LeafHash] = field(default_factory=list)
    more: int = 0

    def add(self, leaf: LeafHash, kind: FactKind) -> None:
        """One more entry."""
        if kind in NAMED:
            self.first.append(leaf)
        elif len(self.leaves) < MOST:
            self.leaves.append(leaf)
        else:
            self.more += 1

    async def __call__(self) -> None:
        """Say who it was."""
        await self.finish(self)


class Recorder:
    """Writes entries in the broker's name."""

    def __init__(
        self,
        party: PartyId,
        catalogue: Catalogue,
        *,
        openings: Openings,
        macs: RowMacs,
        said: Said,
        window_ms: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`window_ms`: how long a window is, at least 1."""
        self._party = party
        self._catalogue = catalogue
        self._entropy = entropy
        self._openings = openings
        self._macs = macs
        self._said = said
        self._window_ms = window_ms
        self._clock = clock

    def record(
        self,
        tx: Transaction,
        kind: FactKind,
        at: Instant,
        *,
        about: SubjectRef | None = None,
        actor: PartyId | None = None,
        recipient: PartyId | None = None,
        event_type: EventType | None = None,
        purpose: Purpose | None = None,
        declaration: ManifestDigest | None = None,
        delivery: DeliveryId | None = None,
        grant: GrantId | None = None,
        grant_version: int | None = None,
        fields: bytes | None = None,
        reason: Reason | None = None,
        basis: str | None = None,
        sealed_to: Kid | None = None,
        count: int | None = None,
        detail: bytes | None = None,
        tag: bytes | None = None,
        plan_blind: bytes | None = None,
        plan: bytes | None = None,
        written: Instant | None = None,
    ) -> LeafHash:
        """One entry in the caller's transaction. Returns the leaf hash.

        `about` is committed to under a salt; `tag` and `plan_blind` are the delivery's, where its kind has them;
        `plan`: the commitment that they have to come to. Raises Refused `gate.not-as-planned` where they do not.
        `written`: now, where the fact is older: its entry must not tell when that was.
        """
        blind = self._entropy(BLIND_BYTES)
        subject = None if about is None else self._openings.commitment(about, grant or declaration or blind)
        facts = Facts(
            at=at,
            kind=kind,
            actor=actor or self._party,
            recipient=recipient,
            event_type=event_type,
            purpose=purpose,
            declaration=declaration,
            delivery=delivery,
            grant=grant,
            grant_version=grant_version,
            fields=fields,
            reason=reason,
            basis=basis,
            sealed_to=sealed_to,
            count=count,
            subject=subject,
            detail=detail,
        )
        if written is None:
            written = min(at, self._clock())  # what holds from a later instant on is said now
        window = window_of(written, self._window_ms)
        if kind in OPEN_FACTS:
            return self.tell(tx, window, facts)
        with_plan = kind_of(facts) in {EntryKind.PLANNED, EntryKind.RELEASED}
        opening = Opening(blind, plan_blind if with_plan else None, facts)
        entry = opening.seal(window, tag)
        if plan is not None and entry.content != plan:
            raise Refused("gate.not-as-planned", "/plan")
        leaf = self._write(tx, entry, grant)
        self._note(tx, leaf, kind)
        tx.add(ledger_openings, self._openings.row(leaf, opening, about, written))
        return leaf

    def tell(self, tx: Transaction, window: Instant, facts: Facts, chain: bytes | None = None) -> LeafHash:
        """An open entry, in clear, at the place of its kind, or in this chain. Returns its leaf hash."""
        chain = _PLACES.get(facts.kind, FIRST) if chain is None else chain
        leaf = self._write(tx, opened(window, facts), chain, self._entropy(NONCE_BYTES))
        self._note(tx, leaf, facts.kind)
        return leaf

    def _note(self, tx: Transaction, leaf: LeafHash, kind: FactKind) -> None:
        """Before this transaction is committed, the ledger says whose doing it was, where somebody has an account."""
        if kind is FactKind.ACTED:
            return
        noted = tx.finishing.get("acting")
        if not isinstance(noted, Noted):
            noted = tx.finishing["acting"] = Noted(partial(self._finish, tx))
        noted.add(leaf, kind)

    async def _finish(self, tx: Transaction, noted: Noted) -> None:
        """As the transaction ends. Raises Refused `operators.nobody`: only a person does that, and nobody was asked."""
        one = ACTING.get()
        if one is not None:
            await self.act(tx, one, noted)
        elif noted.first and await anybody(tx):
            raise Refused("operators.nobody")

    async def act(self, tx: Transaction, one: Acting, noted: Noted | None = None) -> None:
        """The entry that says who acts, with its document; `noted`: what was recorded, if anything.

        Raises what `one.use` raises.
        """
        if one.use is not None and not one.told:
            await one.use(tx)
        one.told = True
        listed = () if noted is None else (*noted.first, *noted.leaves)
        more = 0 if noted is None else noted.more
        at, by = self._clock(), one.by
        made = Act(
            act=one.act,
            at=at,
            operator=None if by is None else by.name,
            account=None if by is None else by.account,
            entries=listed,
            more=more,
            request=one.request,
            session=None if by is None else by.session,
        ).encode()
        leaf = self.record(tx, FactKind.ACTED, at, count=len(listed) + more or None, detail=digest(made))
        signature = None if by is None else by.sign(message(made))
        tx.add(operator_acts, {"leaf": leaf, "at": at, "act": made, "signature": signature})

    def _write(self, tx: Transaction, entry: Entry, chain: bytes | None, nonce: bytes = b"") -> LeafHash:
        """`chain`: entries of one chain stay in the order of their writing, and in that order to every BARRIER; FIRST,
        AGAIN and LAST have their places in their window.
        """
        encoded = entry.encode()
        leaf = merkle.leaf_hash(encoded)
        row = {"leaf": leaf, "window": entry.window, "chain": chain}
        mac = self._macs.of(ledger_entries.name, row, nonce)
        tx.add(ledger_entries, {**row, "tag": entry.tag, "entry": encoded, "mac": mac})
        tx.after(partial(self._said.add, leaf, entry.window))
        # Crash here: the entry is gone together with what it tells of, for both are one transaction.
        return leaf

    def grant(
        self,
        tx: Transaction,
        kind: FactKind,
        grant: Grant,
        at: Instant,
        *,
        reason: Reason | None = None,
        digest: bytes | None = None,
        written: Instant | None = None,
    ) -> LeafHash:
        """The entry of one version of a grant; `detail` commits to the whole version, so that no row can be edited.

        `reason`: that of a pause says so by itself, while it lasts. `digest`: the version's, where it is at hand.
        `written`: as for `record`.
        """
        return self.record(
            tx,
            kind,
            at,
            about=grant.subject,
            recipient=grant.recipient,
            event_type=grant.event_type,
            purpose=grant.purpose,
            grant=grant.id,
            grant_version=grant.version,
            reason=reason or (Reason.PAUSED if grant.status is Status.PAUSED else None),
            fields=self._fields(grant),
            basis=grant.basis.text,
            detail=digest_of(grant) if digest is None else digest,
            written=written,
        )

    def _fields(self, grant: Grant) -> bytes:
        """The fields that a version allows, as a bitmap over its type's fields."""
        event = self._catalogue.by_id(grant.schema)
        return bitmap(len(event.fields), (event.field(name).index for name in sorted(grant.fields)))

    async def tells_of(self, tx: Transaction, grant: Grant) -> bool:
        """Whether the ledger tells of this version already; asked only where a version is completed."""
        same = (grant.id, grant.version, digest_of(grant))
        told = await self._openings.of_subject(tx, grant.subject)
        return any((one.facts.grant, one.facts.grant_version, one.facts.detail) == same for one in told)

    async def told_by(self, tx: Transaction, grant: Grant, leaf: LeafHash) -> bool:
        """Whether this entry of the ledger tells of this version."""
        found = await self._openings.of_leaf(tx, leaf)
        told = None if found is None else found.facts
        same = (grant.id, grant.version, digest_of(grant))
        return told is not None and (told.grant, told.grant_version, told.detail) == same

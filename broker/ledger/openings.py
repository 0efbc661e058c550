"""Openings: what opens the ledger's sealed entries, kept encrypted for each person under the key of a period; and what
the ledger says became of deliveries, whatever their rows say.

    deliveries.tag ──► ledger_entries.tag ──► planned, released, applied, closed, in the order of writing

Refuses: to give an opening that does not open its entry. A step that the broker did not write, and a tag that is
another delivery's: either has the broker's MAC, or an opening that opens.
Keeps: an opening lies in the database as ciphertext, under a key that is made of a period's key and of the person. A
period's key lives in the key store; destroyed, every opening of that period is noise, in every copy. A person's
openings go by deleting their rows. A row of the mailbox releases nothing that the ledger does not call planned, and has
nothing acknowledged that the ledger does not call released. An entry that somebody deleted is missing here, too; of
that fsck, the ledger's mark and everybody who mirrors the ledger tell.
Source: docs/protocol.md, section 8; ledger.md, R3 and R4. AES-256-GCM is NIST SP 800-38D.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Row, select

from broker.observability.observe import RowName, logger
from broker.ports import Entropy, KeyKind, KeyStore
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import deliveries, ledger_entries, ledger_openings
from consent.asking import one_of
from schemas import merkle
from schemas.entry import Entry, EntryKind, Head, Opening
from schemas.errors import Corrupt, Refused
from schemas.facts import Facts, subject_commitment
from schemas.names import DeliveryId, Instant, LeafHash, SubjectRef

PERIOD_MS: Final = 90 * 86_400_000
"""One key opens a quarter of a year, more or less."""
NOBODY: Final = b""
"""Whose openings those are that are about no citizen."""

_LABEL: Final = b"unefois/opening/v2\x00"
_SALT_LABEL: Final = b"unefois/ledger-salt/v2\x00"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


def period_of(at: Instant) -> int:
    """The number of the period that an instant lies in."""
    return at // PERIOD_MS


@dataclass(frozen=True, slots=True)
class Opened:
    """An entry with its opening, proven to belong together."""

    leaf: LeafHash
    entry: Entry
    opening: Opening

    @property
    def facts(self) -> Facts:
        """What the entry says."""
        return self.opening.facts


class Openings:
    """Seals and opens. Calls are local; a period's key is made when it is first needed."""

    def __init__(self, keys: KeyStore, entropy: Entropy, secret: bytes | Callable[[], bytes]) -> None:
        """`secret`: 32 bytes that salts are made of, or what reads them when a salt is first needed."""
        self._keys = keys
        self._entropy = entropy
        self._salts = secret
        self._periods: dict[int, bytes] = {}

    @cached_property
    def _secret(self) -> bytes:
        return self._salts() if callable(self._salts) else self._salts

    def commitment(self, subject: SubjectRef, scope: bytes) -> bytes:
        """What facts say of whom they are about, 32 bytes: equal for equal scopes (a grant, a declaration) alone."""
        return subject_commitment(self.salt(subject, scope), subject)

    def salt(self, subject: SubjectRef, scope: bytes) -> bytes:
        """The salt of that commitment, 16 bytes; who knows it and the reference sees whom the facts are about."""
        return hmac.digest(self._secret, _SALT_LABEL + subject + scope, sha256)[:16]

    def row(self, leaf: LeafHash, opening: Opening, subject: SubjectRef | None, at: Instant) -> dict[str, Any]:
        """The opening as its table has it; `at`: when the entry was written."""
        facts, whose = opening.facts, subject or NOBODY
        period, nonce = period_of(at), self._entropy(_NONCE_BYTES)
        sealed = self._cipher(self._period(period), whose).encrypt(nonce, opening.encode(), leaf)
        return {
            "leaf": leaf,
            "subject": whose,
            "period": period,
            "kind": facts.kind.value,
            "reason": None if facts.reason is None else facts.reason.value,
            "sealed": nonce + sealed,
        }

    def open(self, leaf: bytes, entry: Entry, row: Row[Any]) -> Opened:
        """The opening of a row, checked against its entry.

        Raises Corrupt `openings.damaged`: not what was sealed here for this entry and person; Refused `keys.missing`:
        the period's key was destroyed.
        """
        nonce, sealed = row.sealed[:_NONCE_BYTES], row.sealed[_NONCE_BYTES:]
        try:
            cipher = self._cipher(self._known(row.period), row.subject)
            opening = Opening.decode(cipher.decrypt(nonce, sealed, leaf))
            opening.check(entry)
        except (InvalidTag, ValueError):
            raise Corrupt("openings.damaged", leaf=leaf.hex()) from None
        except Refused as fault:
            if fault.code == "keys.missing":
                raise
            raise Corrupt("openings.damaged", leaf=leaf.hex()) from None
        return Opened(LeafHash(leaf), entry, opening)

    async def of_subject(self, tx: Transaction, subject: SubjectRef, *kinds: str) -> list[Opened]:
        """Every sealed entry about a citizen that can still be opened, the newest first; of these kinds, if any."""
        query = _JOINED.where(ledger_openings.c.subject == subject).order_by(ledger_entries.c.id.desc())
        if kinds:
            query = query.where(ledger_openings.c.kind.in_(kinds))
        return list(self._all(await tx.execute(query)))

    async def of_leaf(self, tx: Transaction, leaf: LeafHash) -> Opened | None:
        """The entry of this leaf with its opening; None: it is open, or its opening is gone."""
        row = (await tx.execute(_JOINED.where(ledger_openings.c.leaf == leaf).limit(1))).one_or_none()
        return None if row is None else next(self._all([row]), None)

    async def of_leaves(self, tx: Transaction, leaves: Mapping[bytes, Entry]) -> dict[bytes, Opened]:
        """The openings that there are of these entries. Raises as `open`."""
        rows = await tx.execute(_OF_LEAVES, {"leaves": list(leaves)})
        return {row.leaf: self.open(row.leaf, leaves[row.leaf], row) for row in rows}

    async def all(self, tx: Transaction) -> list[tuple[LeafHash, Facts]]:
        """What the ledger says, in the order of writing, without what was erased: much memory, for trials and tests."""
        query = select(ledger_entries.c.leaf, ledger_entries.c.entry, ledger_openings)
        joined = query.outerjoin(ledger_openings, ledger_openings.c.leaf == ledger_entries.c.leaf)
        found = []
        for row in await tx.execute(joined.order_by(ledger_entries.c.id)):
            entry = Entry.decode(row.entry)
            if entry.open is not None:
                found.append((LeafHash(row.leaf), entry.open))
            elif row.sealed is not None:
                found.append((LeafHash(row.leaf), self.open(row.leaf, entry, row).facts))
        return found

    def prepare(self, at: Instant) -> None:
        """Make the key of the period that an instant lies in, where it is missing."""
        self._period(period_of(at))

    def forget(self, period: int) -> None:
        """The period's key was destroyed: no copy of it stays here."""
        self._periods.pop(period, None)

    def _all(self, rows: Iterable[Row[Any]]) -> Iterator[Opened]:
        for row in rows:
            try:
                yield self.open(row.leaf, Entry.decode(row.entry), row)
            except Refused as fault:
                if fault.code != "keys.missing":
                    raise

    def _period(self, number: int) -> bytes:
        """The key to seal under, made where it is missing. Crash after it: a key that opens nothing."""
        try:
            return self._known(number)
        except Refused as fault:
            if fault.code != "keys.missing":
                raise
        try:
            self._keys.write(KeyKind.OPENING, str(number), self._entropy(_KEY_BYTES))
        except Refused as fault:
            if fault.code != "keys.exists":  # another process was faster
                raise
        return self._known(number)

    def _known(self, number: int) -> bytes:
        if number not in self._periods:
            self._periods[number] = self._keys.read(KeyKind.OPENING, str(number))
        return self._periods[number]

    def _cipher(self, period: bytes, whose: bytes) -> AESGCM:
        return AESGCM(hmac.digest(period, _LABEL + whose, sha256))


_JOINED: Final = select(ledger_openings, ledger_entries.c.entry).join(
    ledger_entries, ledger_entries.c.leaf == ledger_openings.c.leaf
)
_OF_LEAVES: Final = select(ledger_openings).where(one_of(ledger_openings.c.leaf, "leaves"))


# ── the steps of a delivery ─────────────────────────────────────────────────────────────────────────────────────────

_STANDS: Final = frozenset({EntryKind.PLANNED, EntryKind.RELEASED})


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a delivery."""

    leaf: LeafHash
    head: Head
    raw: bytes = field(repr=False)

    @property
    def entry(self) -> Entry:
        """All of it."""
        return Entry.decode(self.raw)


@dataclass(frozen=True, slots=True)
class Steps:
    """The entries of one delivery, in the order of writing."""

    all: tuple[Step, ...] = ()

    @property
    def plan(self) -> bytes | None:
        """The commitment to the plan that stands, 32 bytes; None: nothing was planned, or it has ended since."""
        return self.all[-1].head.content if self.all and self.all[-1].head.kind in _STANDS else None

    @property
    def released(self) -> Step | None:
        """The release of the plan that stands."""
        return self.all[-1] if self.all and self.all[-1].head.kind is EntryKind.RELEASED else None

    @property
    def left(self) -> bool:
        """Whether it was ever released."""
        return any(step.head.kind is EntryKind.RELEASED for step in self.all)


NONE: Final = Steps()


class Tagged(Protocol):
    """A delivery, as far as the ledger knows it."""

    @property
    def id(self) -> DeliveryId:
        """Its id."""

    @property
    def tag(self) -> bytes:
        """By which anyone sees that entries are of one delivery."""

    @property
    def mac(self) -> bytes | None:
        """Of id and tag (`broker.store.rows.macs`); None in a home from before."""


class StepReader:
    """What the ledger says became of deliveries, whatever their rows say; asked under the mailbox's lock."""

    def __init__(self, macs: RowMacs, openings: Openings) -> None:
        self._macs = macs
        self._openings = openings

    async def of(self, tx: Transaction, wanted: Sequence[Tagged]) -> dict[DeliveryId, Steps]:
        """The steps of each of these; what is absent has none that count."""
        if not wanted:
            return {}
        rows: dict[bytes, list[Row[Any]]] = {}
        for row in await tx.execute(_OF_TAGS, {"tags": [one.tag for one in wanted]}):
            rows.setdefault(row.tag, []).append(row)
        return {one.id: await self._steps(tx, one, rows.get(one.tag, ())) for one in wanted}

    async def _steps(self, tx: Transaction, delivery: Tagged, rows: Sequence[Row[Any]]) -> Steps:
        own = self._macs.holds(deliveries.name, {"id": delivery.id, "tag": delivery.tag, "mac": delivery.mac})
        found = []
        for row in rows:
            step = _read(row)
            if step is None or not await self._counts(tx, row, step, delivery, own=own):
                logger().error("steps.not-ours", row=RowName.of(ledger_entries.name, row.leaf), delivery=delivery.id)
                continue
            found.append(step)
        return Steps(tuple(found))

    async def _counts(self, tx: Transaction, row: Row[Any], step: Step, delivery: Tagged, *, own: bool) -> bool:
        """Whether the broker wrote it, of this delivery; `own`: whether the tag is known to be this one's."""
        if step.head.tag != delivery.tag:
            return False
        if own and self._macs.holds(ledger_entries.name, row._mapping):
            return True
        return await self._opens(tx, step, delivery)  # of a home from before, whose rows have no MACs

    async def _opens(self, tx: Transaction, step: Step, delivery: Tagged) -> bool:
        try:
            opened = await self._openings.of_leaves(tx, {step.leaf: step.entry})
        except (Corrupt, Refused):
            return False
        return step.leaf in opened and opened[step.leaf].facts.delivery == delivery.id


def _read(row: Row[Any]) -> Step | None:
    """None where the row holds no entry, or another than its leaf's."""
    try:
        return Step(row.leaf, Head.of(row.entry), row.entry) if merkle.leaf_hash(row.entry) == row.leaf else None
    except Refused:
        return None


_OF_TAGS: Final = select(ledger_entries).where(one_of(ledger_entries.c.tag, "tags")).order_by(ledger_entries.c.id)

"""Ground: what the verdict about a part rests on beside its own rows, and whether a mark rests on the same.

Refuses: nothing.
Keeps: what grows without touching what was (a key that begins later, a subscription more, a later end of the ledger)
leaves a verdict as it is; anything else makes it a new question.
"""

import hmac
import marshal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import func, select

from broker.directory import reading
from broker.keys.keyring import Keyring
from broker.maintenance.checks import links
from broker.maintenance.checks.ledger import Ledger
from broker.maintenance.checks.marks import Changed, Mark
from broker.maintenance.checks.snapshot import Snapshot
from broker.ports import KeyKind, KeyStore
from broker.store.engine import Transaction
from broker.store.rows import macs
from broker.store.rows.seals import Unchecked
from broker.store.tables import consent_epochs, declarations, first_ledger, subscriptions
from schemas.catalogue import Catalogue
from schemas.directory import Directory, SealingKeyEntry, SigningKeyEntry
from schemas.errors import Corrupt, Fault
from schemas.names import Instant, SubjectRef

Asked = Mapping[bytes, tuple[str, str, str]]
"""Recipient, type and purpose of each subscription."""
_LABEL: Final = b"unefois/fsck-key/v1\x00"


@dataclass(frozen=True, slots=True)
class Ground:
    """As it is now."""

    asked: Asked
    directory: Directory | None
    """None where it cannot be read, which its own check says: no signature can be judged without."""
    catalogue: Catalogue
    epoch_keys: Mapping[int, bytes]
    """The consent epoch keys that are alive."""
    destroyed: frozenset[int]
    """The consent epochs that are."""
    horizon: Instant | None
    kin: Mapping[SubjectRef, Sequence[SubjectRef]]
    """Who was one citizen at any time."""

    @property
    def living(self) -> dict[int, bytes]:
        """The keys of the consent epochs that something may lie under: each that is alive, and not destroyed. A verdict
        does not rest on them: `sums` hashes what they open.
        """
        return {epoch: key for epoch, key in self.epoch_keys.items() if epoch not in self.destroyed}

    @classmethod
    async def of(cls, tx: Snapshot, keys: KeyStore, catalogue: Catalogue, horizon: Instant | None) -> "Ground":
        """Read it."""
        asked = {row.id: (row.recipient, row.event_type, row.purpose) for row in await tx.rows(subscriptions)}
        destroyed = frozenset(row.epoch for row in await tx.rows(consent_epochs) if row.destroyed_at is not None)
        try:
            directory = await reading.snapshot(tx, Unchecked())  # each row is compared with the ledger
        except (Corrupt, ValueError):
            directory = None
        return cls(
            asked, directory, catalogue, Keyring(keys).consent_epochs(), destroyed, horizon, await links.ever(tx)
        )

    async def unmarked(self, tx: Transaction, keys: KeyStore, names: str, ledger: Ledger) -> Mark:
        """A mark of no part yet. `names`: of the log's keys; `ledger`: after its walk."""
        until = (await tx.execute(select(func.max(declarations.c.received_at)))).scalar()
        mark = Mark(
            rests_on=await self._rests_on(tx, keys, names),
            periods={name: _named(keys, KeyKind.OPENING, name) for name in keys.names(KeyKind.OPENING)},
            until=until if isinstance(until, int) else -1,  # what is no instant is told by the instants' check
            erased=ledger.erased_until,
            forgotten=-1 if self.horizon is None else self.horizon,
            size=ledger.tree.size,
            root=ledger.tree.root.hex(),
            rows=ledger.rows.hexdigest(),
        )
        mark.trust = self._trust(mark.until)
        return mark

    def check(self, before: Mark, now: Mark, ledger: Ledger) -> None:
        """Raises Changed where a verdict of the mark may be another one today."""
        root = ledger.tree.known_root if before.size else bytes.fromhex(before.root)
        same = (
            before.rests_on == now.rests_on
            and before.periods.items() <= now.periods.items()
            and before.erased <= now.erased
            and before.forgotten <= now.forgotten
            and before.trust == self._trust(before.until)
            and root is not None
            and before.root == root.hex()
            and before.rows == ledger.known_rows
        )
        if not same:
            raise Changed

    async def _rests_on(self, tx: Transaction, keys: KeyStore, names: str) -> str:
        first = sha256()
        for raw in (await tx.execute(select(first_ledger.c.entry).order_by(first_ledger.c.position))).scalars():
            first.update(marshal.dumps(raw, 2))
        told = [
            names,
            first.digest(),
            [bytes(one.schema.id) for one in self.catalogue],
            _named(keys, KeyKind.ROWS, macs.NAME),
        ]
        return _digest(told)

    def _trust(self, until: int) -> str:
        """What the directory says up to an instant: what begins later is not there yet, an end after it is none."""
        if self.directory is None:
            return ""

        def ended(at: int | None) -> int | None:
            return at if at is not None and at <= until else None

        keys: list[SigningKeyEntry | SealingKeyEntry] = [*self.directory.signing, *self.directory.sealing]
        told: list[tuple[Any, ...]] = [
            (
                one.valid_from,
                str(one.party),
                bytes(one.kid),
                bytes(one.public),
                *map(ended, (one.valid_to, one.revoked_at)),
            )
            for one in keys
        ]
        told += [(one.valid_from, str(one.party), one.policy) for one in self.directory.policies]
        told += [
            (one.valid_from, str(one.party), str(one.event_type), ended(one.valid_to)) for one in self.directory.rights
        ]
        begun = sorted((one for one in told if one[0] <= until), key=repr)
        return _digest([str(self.directory.broker), *begun])


def _named(keys: KeyStore, kind: KeyKind, name: str) -> str:
    """A digest of a secret; empty where it cannot be read, which the keys' own check says."""
    try:
        return _hashed(keys.read(kind, name))
    except Fault:
        return ""


def _hashed(secret: bytes) -> str:
    return hmac.digest(secret, _LABEL, sha256).hex()


def _digest(told: Any) -> str:
    return sha256(marshal.dumps(told, 2)).hexdigest()

"""Endpoints: where administrations hear that deliveries wait; each is proven to be theirs before it is told anything.

    proving ──challenge echoed──► active ──410, or too many failures──► disabled ──prove──► proving ...    ──► ended

Refuses: an address that `broker.outbound` would not call; more than LIVING at a time for one administration; to show a
shared secret but when it is new.
Keeps: no key is in the database: those of a webhook are made from the broker's secret, its id and their version, so no
message to one can be passed off as one to another. Registering and ending have their ledger entries; `detail` is
SHA-256 of what never changes in the row, and the same is signed (`broker.store.rows`): to an address that was slipped
in nothing is told. A webhook that ended has no seal any more: nobody brings it back with the row that it has.
"""

import base64
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, delete, select, update

from broker.directory import reading
from broker.flow.untold import LOCK
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.outbound import Outbound
from broker.ports import Entropy
from broker.store.access_tables import webhook_attempts, webhook_notices, webhooks
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowSigner
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, PartyId, instant_of
from schemas.webhooks import public_key_of

ID_BYTES: Final = 16
LIVING: Final = 5
OVERLAP_MS: Final = 7 * 86_400_000
"""The longest that the old keys sign beside the new ones."""


class Status(Enum):
    """What a webhook is told."""

    PROVING = "proving"
    """A challenge, until it is echoed."""
    ACTIVE = "active"
    DISABLED = "disabled"
    """Nothing, until somebody proves it anew; `reason` says why."""
    ENDED = "ended"


class Kind(Enum):
    """What a message is about."""

    CHALLENGE = "webhook.challenge"
    READY = "deliveries.ready"


@dataclass(frozen=True, slots=True)
class Webhook:
    """One endpoint as the table knows it; nothing of it is secret."""

    id: bytes
    party: PartyId
    url: str
    symmetric: bool
    created_at: Instant
    status: Status
    reason: str | None
    changed_at: Instant
    version: int
    previous_until: Instant | None
    attempts: int
    next_at: Instant | None
    mailed_at: Instant | None = None
    """When its administration's contact was told by mail that it is disabled; `mail_code`: why not."""
    mail_code: str | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """What whoever listens verifies with. `secret` is shown where it is new, and to nobody later."""

    public: tuple[str, ...]
    """The current one first; while keys rotate, the one before, too."""
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One message, sent once. `status` is None where no answer came, `code` None where it was heard."""

    seq: int
    message: bytes
    kind: Kind
    at: Instant
    duration_ms: int
    status: int | None
    code: str | None


class Webhooks:
    """The only writer of the webhooks but for what `telling` notes; inside the caller's transaction."""

    def __init__(
        self, recorder: Recorder, signer: RowSigner, entropy: Entropy, outbound: Outbound, secret: Callable[[], bytes]
    ) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier
        self._entropy = entropy
        self._outbound = outbound
        self._secret = secret

    async def add(self, tx: Transaction, party: PartyId, url: str, at: Instant, *, symmetric: bool = False) -> Webhook:
        """Register an endpoint; it is challenged next. `symmetric`: sign with a shared secret as well.

        Raises Refused: `outbound.url`, `directory.unknown-party`, `webhooks.too-many`, `webhooks.url-twice`.
        """
        self._outbound.check(url)
        await reading.party(tx, self._rows, party)
        await tx.lock_exclusive([LOCK])
        living = [one for one in await self.list(tx, party) if one.status is not Status.ENDED]
        if len(living) >= LIVING:
            raise Refused("webhooks.too-many", limit=LIVING)
        if any(one.url == url for one in living):
            raise Refused("webhooks.url-twice", "/url")
        row = {
            "id": self._entropy(ID_BYTES),
            "party": party,
            "url": url,
            "symmetric": int(symmetric),
            "created_at": at,
            "version": 1,
            "previous_until": None,
            **self._unproven(at),
        }
        await self._signer.insert(tx, webhooks, row)
        mark("webhooks.added")
        # Crash here: the transaction is gone; the agency registers it again. So too for every change below.
        self._recorder.record(tx, FactKind.KEY_ADDED, at, recipient=party, detail=row_digest("webhooks", row))
        return await self.one(tx, party, row["id"])

    async def prove(self, tx: Transaction, party: PartyId, of: bytes, at: Instant) -> Webhook:
        """Challenge it anew; until it echoes, it is told nothing else. Raises Refused: `webhooks.unknown`,
        `webhooks.ended`.
        """
        await self._living(tx, party, of)
        await self._change(tx, of, self._unproven(at))
        await tx.execute(delete(webhook_notices).where(webhook_notices.c.webhook == of))
        return await self.one(tx, party, of)

    async def rotate(self, tx: Transaction, party: PartyId, of: bytes, at: Instant, overlap_ms: int) -> Webhook:
        """New keys from now on; the old ones sign beside them for `overlap_ms`, and those before them no more.

        Raises Refused: `webhooks.unknown`, `webhooks.ended`, `webhooks.overlap`.
        """
        if not 0 <= overlap_ms <= OVERLAP_MS:
            raise Refused("webhooks.overlap", "/overlap_hours", hours=OVERLAP_MS // 3_600_000)
        before = await self._living(tx, party, of)
        await self._change(tx, of, {"version": before.version + 1, "previous_until": at + overlap_ms})
        return replace(before, version=before.version + 1, previous_until=Instant(at + overlap_ms))

    async def end(self, tx: Transaction, party: PartyId, of: bytes, at: Instant) -> Webhook:
        """Tell it nothing more; what was noted of its attempts is forgotten. Raises Refused: `webhooks.unknown`,
        `webhooks.ended`.
        """
        await self._living(tx, party, of)
        over = {"status": Status.ENDED.value, "reason": None, "changed_at": at, "row_version": None, "seal": None}
        await self._change(tx, of, {**_NOTHING, **over})
        await tx.execute(delete(webhook_attempts).where(webhook_attempts.c.webhook == of))
        await tx.execute(delete(webhook_notices).where(webhook_notices.c.webhook == of))
        row = (await tx.execute(select(webhooks).where(webhooks.c.id == of))).one()
        digest = row_digest("webhooks", row._mapping)
        self._recorder.record(tx, FactKind.KEY_REVOKED, at, recipient=party, detail=digest)
        return webhook_of(row)

    async def one(self, tx: Transaction, party: PartyId, of: bytes) -> Webhook:
        """One of a party's. Raises Refused `webhooks.unknown`: another's is as unknown as one that never was."""
        mine = (webhooks.c.id == of, webhooks.c.party == party)
        found = self._standing(await tx.execute(_SEEN.where(*mine)))
        if not found:
            raise Refused("webhooks.unknown", "/webhook")
        return _seen(found[0])

    async def list(self, tx: Transaction, party: PartyId | None = None) -> list[Webhook]:
        """Every webhook, or a party's, oldest first; ended ones too."""
        mine = [] if party is None else [webhooks.c.party == party]
        rows = await tx.execute(_SEEN.where(*mine).order_by(webhooks.c.created_at, webhooks.c.id))
        return [_seen(row) for row in self._standing(rows)]

    def _standing(self, rows: Iterable[Row[Any]]) -> Sequence[Row[Any]]:
        """Those that count, and those that are over: they are shown, and told nothing."""
        found = list(rows)
        living = [row for row in found if row.status != Status.ENDED.value]
        counting = {bytes(row.id) for row in self._rows.valid(webhooks.name, living)}
        return [row for row in found if row.status == Status.ENDED.value or bytes(row.id) in counting]

    async def attempts(
        self, tx: Transaction, party: PartyId, of: bytes, *, before: int | None = None, limit: int = 50
    ) -> Sequence[Attempt]:
        """What was sent to one of a party's, newest first, older than attempt `before`. Raises Refused
        `webhooks.unknown`.
        """
        await self.one(tx, party, of)
        table = webhook_attempts
        older = [] if before is None else [table.c.seq < before]
        rows = await tx.execute(
            select(table).where(table.c.webhook == of, *older).order_by(table.c.seq.desc()).limit(limit)
        )
        return [
            Attempt(row.seq, row.message, Kind(row.kind), Instant(row.at), row.duration_ms, row.status, row.code)
            for row in rows
        ]

    def keys(self, of: Webhook, at: Instant, *, show_secret: bool = False) -> Keys:
        """What an endpoint verifies with now."""
        public = tuple(public_key_of(key) for key in self.signing(of, at) if key.startswith("whsk_"))
        return Keys(public, self._made(of.id, of.version, b"whsec_") if of.symmetric and show_secret else None)

    def signing(self, of: Webhook, at: Instant) -> Sequence[str]:
        """Every key that signs now, for `schemas.webhooks.signer_of`; secret."""
        overlap = of.previous_until is not None and at < of.previous_until
        versions = (of.version, of.version - 1) if overlap else (of.version,)
        prefixes = (b"whsk_", b"whsec_") if of.symmetric else (b"whsk_",)
        return [self._made(of.id, version, prefix) for version in versions for prefix in prefixes]

    def challenge(self, of: bytes, message: bytes) -> str:
        """What an endpoint has to echo to this message: nobody knows it before the message came."""
        made = hmac.digest(self._secret(), b"unefois/webhook-challenge/v1\x00" + of + message, sha256)
        return base64.urlsafe_b64encode(made).decode().rstrip("=")

    def _made(self, of: bytes, version: int, prefix: bytes) -> str:
        """A key from the broker's secret: no crash leaves a key that is half there."""
        told = b"unefois/webhook-key/v1\x00" + of + version.to_bytes(4, "big") + prefix
        return (prefix + base64.b64encode(hmac.digest(self._secret(), told, sha256))).decode()

    def _unproven(self, at: Instant) -> dict[str, Any]:
        """A challenge, due at once."""
        message = {"message": self._entropy(ID_BYTES), "message_at": at, "next_at": at}
        fresh = {"told_seq": 0}  # what waits already is news to it
        return {**_NOTHING, **fresh, **message, "status": Status.PROVING.value, "reason": None, "changed_at": at}

    async def _living(self, tx: Transaction, party: PartyId, of: bytes) -> Webhook:
        await tx.lock_exclusive([LOCK])
        found = await self.one(tx, party, of)
        if found.status is Status.ENDED:
            raise Refused("webhooks.ended", "/webhook")
        return found

    async def _change(self, tx: Transaction, of: bytes, values: Mapping[str, Any]) -> None:
        await tx.execute(update(webhooks).where(webhooks.c.id == of).values(**values))
        mark("webhooks.changed")


_NOTHING: Final[Mapping[str, Any]] = {
    "message": None,
    "message_at": None,
    "waiting": 0,
    "attempts": 0,
    "next_at": None,
    "remind_at": None,
    "reminders": 0,
    "lease_until": None,
}
"""No message on its way. Whoever sends one at this moment finds its lease gone, and notes the attempt alone."""


_SEEN: Final = select(webhooks, webhook_notices.c.mailed_at, webhook_notices.c.code.label("mail_code")).outerjoin_from(
    webhooks, webhook_notices
)


def _seen(row: Row[Any]) -> Webhook:
    mailed_at = instant_of(row.mailed_at)
    return replace(webhook_of(row), mailed_at=mailed_at, mail_code=row.mail_code)


def webhook_of(row: Row[Any]) -> Webhook:
    """The webhook of a row."""
    return Webhook(
        id=bytes(row.id),
        party=PartyId(row.party),
        url=row.url,
        symmetric=bool(row.symmetric),
        created_at=Instant(row.created_at),
        status=Status(row.status),
        reason=row.reason,
        changed_at=Instant(row.changed_at),
        version=row.version,
        previous_until=instant_of(row.previous_until),
        attempts=row.attempts,
        next_at=instant_of(row.next_at),
    )

"""Telling: sends webhooks what is theirs: a challenge, or that deliveries wait; never a delivery, never a citizen.

    {"type":"webhook.challenge","timestamp":"...","data":{"webhook":"...","challenge":"..."}}
    {"type":"deliveries.ready","timestamp":"...","data":{"webhook":"...","waiting":3}}

Refuses: to send twice at once to one webhook, however many processes send; to follow a redirect; to try for ever; to
tell of what cannot be taken, for its recipient pauses it.
Keeps: what is sent is written down before it is sent, with a lease: a message that a crash interrupts comes again, with
the same id, when the lease is over. News that come meanwhile are one more message, not one each. What still waits after
it was told is told again, after five minutes and then ever more seldom.
Source: Standard Webhooks 1.0.0, "Delivery success and failure": its schedule, 410, Retry-After.
"""

import asyncio
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, func, insert, or_, select, update

from broker.flow.deliveries import DeliveryState
from broker.flow.untold import LOCK
from broker.observability.crashpoints import mark
from broker.observability.measures import WEBHOOK_ATTEMPTS
from broker.outbound import Outbound, Reply
from broker.ports import Clock, Entropy
from broker.store.access_tables import webhook_attempts, webhook_notices, webhooks
from broker.store.engine import Store, Transaction
from broker.store.rows.seals import RowReader
from broker.store.tables import deliveries, paused_subscriptions
from broker.webhooks.endpoints import ID_BYTES, Kind, Status, Webhook, Webhooks, webhook_of
from schemas.errors import Fault
from schemas.names import Instant, rfc3339
from schemas.retry import retry_after_ms
from schemas.webhooks import headers, signer_of

_MINUTE, _HOUR = 60_000, 3_600_000
SCHEDULE: Final = (5_000, *(5 * _MINUTE, 30 * _MINUTE), *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)))
"""Milliseconds between one attempt and the next, as the standard has them: ten attempts in three days."""
CHALLENGES: Final = 5
"""Attempts of a challenge: within three hours somebody has mended the endpoint, or looks at what went wrong."""
REMINDERS: Final = SCHEDULE[1:]
CALL_SECONDS: Final = 15
LEASE_MS: Final = 60_000
"""Longer than a call and its bookkeeping: whoever takes over finds nobody at it."""
AT_ONCE: Final = 512
"""Messages under way in one process."""
KEPT: Final = 500
"""Attempts kept of one webhook."""
ECHO_BYTES: Final = 4096
UNSIGNED_MS: Final = 3_600_000
"""How long a webhook whose row does not count (`broker.store.rows`) is left alone before it is looked at again."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one webhook, under the lease that its sender holds."""

    to: Webhook
    kind: Kind
    id: bytes
    made_at: Instant
    waiting: int
    reminders: int
    lease_until: Instant


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. `code` is None where it was heard; `after_ms`: what the endpoint asked for."""

    message: Message
    at: Instant
    duration_ms: int
    status: int | None
    code: str | None
    after_ms: int | None


class Telling:
    """The sender of one process. `step` is called again and again, by one task."""

    def __init__(
        self, *, store: Store, rows: RowReader, hooks: Webhooks, outbound: Outbound, clock: Clock, entropy: Entropy
    ) -> None:
        self._store = store
        self._rows = rows
        self._hooks = hooks
        self._outbound = outbound
        self._clock = clock
        self._entropy = entropy
        self._under_way: set[asyncio.Task[Outcome]] = set()

    async def step(self) -> tuple[Sequence[Outcome], bool]:
        """Begin to send what is due, note what came back. Returns what came back, and whether anything began.

        What is slow does not hold up the others: it is noted at a later step. Raises Unavailable.
        """
        due = await self._claim(AT_ONCE - len(self._under_way))
        self._under_way |= {asyncio.create_task(self._send(message)) for message in due}
        if not self._under_way:
            return (), False
        done, self._under_way = await asyncio.wait(
            self._under_way, timeout=0 if due else 0.05, return_when=asyncio.FIRST_COMPLETED
        )
        return await self._note(done), bool(due)

    async def finish(self) -> Sequence[Outcome]:
        """Wait for what is under way, and note it. Raises Unavailable."""
        if not self._under_way:
            return ()
        done, self._under_way = await asyncio.wait(self._under_way)
        return await self._note(done)

    # ── what is due ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _claim(self, limit: int) -> list[Message]:
        """Messages that are due, each under a lease. Nothing is written where nothing is due."""
        at = self._clock()
        due = select(webhooks.c.id).where(_due(at)).limit(max(0, limit))
        async with self._store.read() as tx:
            if (await tx.execute(due)).first() is None:
                return []
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])  # two senders see the same ones due; the second finds the first's leases
            rows = (await tx.execute(select(webhooks).where(webhooks.c.id.in_(due)).order_by(webhooks.c.id))).all()
            if not rows:
                return []
            counting = self._rows.valid(webhooks.name, rows)
            if silent := {bytes(row.id) for row in rows} - {bytes(row.id) for row in counting}:
                # Else a row that was slipped in would be due again and again, in the place of others.
                await tx.execute(_CHANGE, [{"of": one, "lease_until": at + UNSIGNED_MS} for one in silent])
            waiting = await _waiting(tx, [row.party for row in counting if row.message is None], at)
            claimed = [self._claimed(row, waiting.get(row.party, (0, 0)), at) for row in counting]
            if claimed:
                await tx.execute(_CHANGE, [told for _, told in claimed])
            mark("telling.claimed")
            # Crash here: nothing was sent; the message is there or not, and is due when its lease is over.
        return [message for message, _ in claimed]

    def _claimed(self, row: Any, waiting: tuple[int, int], at: Instant) -> tuple[Message, dict[str, Any]]:
        """What is going to be sent, and how it is written down: a message on its way already, or a new one."""
        told = {name: row._mapping[name] for name in ("message", "message_at", "waiting", "told_seq", "reminders")}
        if row.message is None:
            newest, count = waiting
            told |= {"message": self._entropy(ID_BYTES), "message_at": at, "waiting": count}
            told |= {"reminders": 0 if newest > row.told_seq else row.reminders + 1}
            told |= {"told_seq": max(newest, row.told_seq)}
        lease = Instant(at + LEASE_MS)
        kind = Kind.CHALLENGE if row.status == Status.PROVING.value else Kind.READY
        message = Message(
            webhook_of(row),
            kind,
            bytes(told["message"]),
            Instant(told["message_at"]),
            waiting=told["waiting"],
            reminders=told["reminders"],
            lease_until=lease,
        )
        return message, {"of": row.id, **told, "lease_until": lease, "next_at": at}

    # ── one attempt ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send(self, message: Message) -> Outcome:
        """Never raises: whatever happens is an outcome, for a task that dies would hold its lease for nothing."""
        at = self._clock()
        body = self.body(message)
        signers = [signer_of(key) for key in self._hooks.signing(message.to, at)]
        told = headers(uuid_text(message.id), at, body, signers)
        try:
            reply = await self._outbound.call(
                "POST",
                message.to.url,
                headers={"content-type": "application/json", "user-agent": "unefois-webhook/1", **told},
                body=body,
                limit=ECHO_BYTES,
                seconds=CALL_SECONDS,
            )
        except Fault as fault:
            return Outcome(message, at, self._clock() - at, None, fault.code, None)
        now = self._clock()
        asked = retry_after_ms(reply.headers.get("retry-after"), now)
        return Outcome(message, at, now - at, reply.status, self._judged(message, reply), asked)

    def body(self, message: Message) -> bytes:
        """The exact bytes that are signed and sent, the same at every attempt."""
        told: dict[str, Any] = {"webhook": uuid_text(message.to.id)}
        if message.kind is Kind.CHALLENGE:
            told["challenge"] = self._hooks.challenge(message.to.id, message.id)
        else:
            told["waiting"] = message.waiting
        whole = {"type": message.kind.value, "timestamp": rfc3339(message.made_at), "data": told}
        return json.dumps(whole, separators=(",", ":")).encode()

    def _judged(self, message: Message, reply: Reply) -> str | None:
        """The code of what was wrong with an answer, or None."""
        if reply.status == 410:
            return "webhooks.gone"
        if not 200 <= reply.status < 300:
            return "webhooks.answer"
        if message.kind is Kind.READY:
            return None
        expected = self._hooks.challenge(message.to.id, message.id)
        return None if reply.whole and hmac.compare_digest(_echoed(reply.body), expected.encode()) else "webhooks.echo"

    # ── what came of it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _note(self, done: Iterable[asyncio.Task[Outcome]]) -> Sequence[Outcome]:
        """All of them in one transaction: five hundred agencies that answer at once are one write."""
        outcomes = [task.result() for task in done]
        if not outcomes:
            return ()
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            held = await self._held(tx, outcomes)
            if held:
                changes = [self._changed(one) for one in held]
                await tx.execute(_CHANGE, changes)
                if given_up := [_notice(one) for one in changes if one["status"] == Status.DISABLED.value]:
                    await tx.execute(insert(webhook_notices), given_up)
                await tx.execute(insert(webhook_attempts), [_row(one) for one in held])
                await tx.execute(_PRUNE, [{"of": one.message.to.id} for one in held])
            mark("telling.noted")
            # Crash here, or above it: sent and not noted; the same message comes again when its lease is over.
        for one in outcomes:
            WEBHOOK_ATTEMPTS.labels("heard" if one.code is None else "failed").inc()
        return outcomes

    async def _held(self, tx: Transaction, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Those whose lease is still this process's. The others were ended, or proven anew meanwhile, or another has
        taken over: what became of them is not ours to say.
        """
        mine = webhooks.c.id.in_([one.message.to.id for one in outcomes])
        rows = await tx.execute(select(webhooks.c.id, webhooks.c.lease_until).where(mine))
        leases = {bytes(row.id): row.lease_until for row in rows}
        return [one for one in outcomes if leases.get(one.message.to.id) == one.message.lease_until]

    def _changed(self, outcome: Outcome) -> dict[str, Any]:
        """What follows from an attempt."""
        to = outcome.message.to
        before = {"status": to.status.value, "reason": to.reason, "changed_at": to.changed_at}
        silence = {"message": None, "message_at": None, "next_at": None, "remind_at": None, "lease_until": None}
        follows = self._heard(outcome) if outcome.code is None else self._failed(outcome)
        return {"of": to.id, **before, **silence, **follows}

    def _heard(self, outcome: Outcome) -> dict[str, Any]:
        if outcome.message.kind is Kind.CHALLENGE:
            return {"attempts": 0, "status": Status.ACTIVE.value, "changed_at": outcome.at}
        wait = REMINDERS[min(outcome.message.reminders, len(REMINDERS) - 1)]
        return {"attempts": 0, "remind_at": outcome.at + wait}

    def _failed(self, outcome: Outcome) -> dict[str, Any]:
        """Tried again later, or given up: then somebody has to look, and prove it anew."""
        message = outcome.message
        failures = message.to.attempts + 1
        most = CHALLENGES if message.kind is Kind.CHALLENGE else len(SCHEDULE) + 1
        if outcome.code == "webhooks.gone" or failures >= most:
            reason = "webhooks.gone" if outcome.code == "webhooks.gone" else "webhooks.failed"
            ended = {"status": Status.DISABLED.value, "reason": reason, "changed_at": outcome.at}
            return ended | {"attempts": failures}
        wait = max(SCHEDULE[failures - 1], outcome.after_ms or 0)
        # Up to a tenth more by chance: those who lost the same server do not all come back to it at once.
        wait += wait // 10 * self._entropy(1)[0] // 256
        later = {"attempts": failures, "next_at": outcome.at + wait}
        return later | {"message": message.id, "message_at": message.made_at}


_CHANGE: Final = update(webhooks).where(webhooks.c.id == bindparam("of"))
_OLDEST: Final = (
    select(webhook_attempts.c.seq)
    .where(webhook_attempts.c.webhook == bindparam("of"))
    .order_by(webhook_attempts.c.seq.desc())
    .offset(KEPT - 1)
    .limit(1)
    .scalar_subquery()
)
_PRUNE: Final = delete(webhook_attempts).where(
    webhook_attempts.c.webhook == bindparam("of"), webhook_attempts.c.seq < _OLDEST
)
"""Made once: five hundred webhooks are three statements, each run for all of them."""


def _row(outcome: Outcome) -> dict[str, Any]:
    message = outcome.message
    return {
        "webhook": message.to.id,
        "message": message.id,
        "kind": message.kind.value,
        "at": outcome.at,
        "duration_ms": outcome.duration_ms,
        "status": outcome.status,
        "code": outcome.code,
    }


def _notice(change: dict[str, Any]) -> dict[str, Any]:
    """What `notices` sends: it cannot be told by the webhook itself."""
    of, at = change["of"], change["changed_at"]
    told = {"disabled_at": at, "reason": change["reason"], "next_at": at}
    return {"webhook": of, "attempts": 0, "mailed_at": None, "code": None, **told}


def uuid_text(raw: bytes) -> str:
    """16 bytes as a UUID."""
    return str(UUID(bytes=raw))


def _waits(at: Instant) -> tuple[ColumnElement[bool], ...]:
    """Was never handed out, and may be."""
    return (
        deliveries.c.state == DeliveryState.PENDING.value,
        deliveries.c.subscription.not_in(select(paused_subscriptions.c.subscription)),
        or_(deliveries.c.held_until.is_(None), deliveries.c.held_until <= at),
    )


def _due(at: Instant) -> ColumnElement[bool]:
    """A message that is on its way and due; or news, or what still waits, for an active one without a message. While
    nothing waits that may be taken, nothing is told: neither what was taken meanwhile nor what is paused.
    """
    free = or_(webhooks.c.lease_until.is_(None), webhooks.c.lease_until <= at)
    waits = exists().where(deliveries.c.recipient == webhooks.c.party, *_waits(at))
    on_its_way = and_(webhooks.c.next_at <= at, or_(webhooks.c.status == Status.PROVING.value, waits))
    news = waits.where(deliveries.c.seq > webhooks.c.told_seq)
    idle = and_(webhooks.c.status == Status.ACTIVE.value, webhooks.c.message.is_(None))
    return and_(free, or_(on_its_way, and_(idle, or_(news, and_(webhooks.c.remind_at <= at, waits)))))


async def _waiting(tx: Transaction, parties: Sequence[str], at: Instant) -> dict[str, tuple[int, int]]:
    """By party, the number of the newest delivery that was never handed out and is not paused, and how many there
    are.
    """
    waits = (deliveries.c.recipient.in_(parties), *_waits(at))
    counted = select(deliveries.c.recipient, func.max(deliveries.c.seq).label("newest"), func.count().label("number"))
    rows = await tx.execute(counted.where(*waits).group_by(deliveries.c.recipient)) if parties else ()
    return {row.recipient: (row.newest, row.number) for row in rows}


def _echoed(body: bytes) -> bytes:
    """The challenge in an answer: the JSON member `challenge`, or the whole text."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return body.strip()
    echoed = told.get("challenge") if isinstance(told, dict) else told
    return echoed.encode("utf-8", "replace") if isinstance(echoed, str) else b""

"""Cosigning: the ledger asks the witnesses of the settings to cosign its newest checkpoint, and keeps what they signed.

    `witnesses`        "<vkey> <address>", several separated by commas
    `witness_quorum`   how many of them make a checkpoint a witnessed one

Refuses: an answer that does not verify under the witness's pinned key; to open keys while checkpoints stay unwitnessed
for longer than `witness_minutes`, where that is set. A witness that is away is asked again, ever more seldom, and holds
nothing up. One that knows a larger tree than ours, or another of the same size, is the one thing that nobody may wait
away: the ledger was rolled back or forked, or somebody has its key.
Keeps: what is sent to a witness begins where its last cosignature here ended, or where it says itself that it is.
Source: c2sp.org/tlog-witness, `add-checkpoint`; c2sp.org/tlog-cosignature.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, delete, func, select

from broker.ledger.sequencer import files_of, newest_checkpoint
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.outbound import Outbound, Reply
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import cosignatures, ledger_checkpoints
from schemas import checkpoint, merkle, tiles, witnessing
from schemas.checkpoint import from_decimal
from schemas.errors import Fault, Refused, Unavailable
from schemas.names import Instant
from schemas.note import Note, SignatureLine, VerifierKey
from schemas.retry import doubled_ms, spread_ms
from schemas.witnessing import Known, Submission

FIRST_MS: Final = 2_000
MOST_MS: Final = 15 * 60_000
"""The wait after a witness did not answer: it doubles from the first to the second."""
KEPT: Final = 100
"""Cosignatures kept of one witness, besides those of the newest witnessed checkpoint."""
ANSWER_BYTES: Final = 16_384
_ADD: Final = "/add-checkpoint"


@dataclass(slots=True)
class _Patience:
    """How one witness has answered this process lately."""

    failures: int = 0
    next_at: int = 0
    known: int | None = None
    """The size that it said it is at."""
    fault: Fault | None = None


class Cosigning:
    """Asks the witnesses, one process for itself; several do no harm, for a witness signs the same tree again."""

    def __init__(
        self,
        *,
        store: Store,
        outbound: Outbound,
        macs: RowMacs,
        log: VerifierKey,
        witnesses: Sequence[Known],
        quorum: int,
        stale_ms: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`stale_ms`: keys stay closed while a checkpoint waits for its witnesses for longer; 0: never.

        Raises Refused: `checkpoint.witness-repeated`, `checkpoint.quorum-impossible`.
        """
        checkpoint.check_quorum(log, [one.key for one in witnesses], quorum)
        self._store = store
        self._outbound = outbound
        self._log = log
        self._witnesses = tuple(witnesses)
        self._quorum = quorum
        self._stale_ms = stale_ms
        self._clock = clock
        self._entropy = entropy
        self._patience = {one.key.text: _Patience() for one in witnesses}
        self._macs = macs
        self._proven: tuple[int, str] = (0, "")
        """The newest checkpoint whose cosignatures this process has verified."""
        self._seen = 0
        """The size of the newest checkpoint that this process has seen: one that is gone still waits."""

    async def step(self) -> int:
        """Ask each witness that has not signed the newest checkpoint and may be asked now. Returns how many signed.

        What is wrong with one is in `faults`, and in the log when it is another than before. Raises Unavailable when
        the database is away.
        """
        return sum(await asyncio.gather(*map(self._one, self._witnesses)))

    async def _one(self, one: Known) -> bool:
        patience = self._patience[one.key.text]
        if self._clock() < patience.next_at:
            return False
        try:
            signed = await self._ask(one, patience)
        except (Refused, Unavailable) as fault:
            if fault.code.startswith("store."):
                raise
            if patience.fault is None or patience.fault.code != fault.code:
                logger().error("cosigning.refused", code=fault.code)
            patience.failures, patience.fault = patience.failures + 1, fault
            wait = doubled_ms(FIRST_MS, MOST_MS, patience.failures)
            patience.next_at = self._clock() + spread_ms(wait, self._entropy)
            return False
        patience.failures, patience.fault = 0, None
        return signed

    def faults(self) -> dict[str, Fault | None]:
        """By witness's name, what was wrong when this process asked it last."""
        return {one.key.name: self._patience[one.key.text].fault for one in self._witnesses}

    async def check(self, tx: Transaction, at: Instant) -> None:
        """Whether keys may be opened. Raises Unavailable `cosigning.stale`."""
        if not self._stale_ms:
            return
        size, _ = await self._newest_witnessed(tx)
        after = select(ledger_checkpoints).where(ledger_checkpoints.c.size > size)
        first = (await tx.execute(after.order_by(ledger_checkpoints.c.size).limit(1))).one_or_none()
        newest = (await tx.execute(select(func.max(ledger_checkpoints.c.size)))).scalar() or 0
        gone, self._seen = newest < self._seen, max(newest, self._seen)
        if gone or (first is not None and at - self._since(first) > self._stale_ms):
            raise Unavailable("cosigning.stale", minutes=self._stale_ms // 60_000)

    def _since(self, row: Row[Any]) -> Instant:
        """Since when a checkpoint waits: for ever, where its row is not as the sequencer wrote it."""
        return Instant(row.at if self._macs.valid(ledger_checkpoints.name, [row]) else 0)

    async def witnessed(self, tx: Transaction) -> tuple[int, Note]:
        """The newest checkpoint that a quorum cosigned, with every cosignature there is. Raises Refused
        `cosigning.none`, `ledger.empty`.
        """
        if not self._quorum:
            size, text = await newest_checkpoint(tx)
        else:
            size, text = await self._newest_witnessed(tx)
            if not size:
                raise Refused("cosigning.none", quorum=self._quorum)
        return size, await self.cosigned(tx, size, text)

    async def cosigned(self, tx: Transaction, size: int, text: str) -> Note:
        """A checkpoint's note with the cosignatures of our witnesses that there are."""
        mine = (cosignatures.c.size == size, cosignatures.c.witness.in_(list(self._patience)))
        rows = await tx.execute(select(cosignatures.c.line).where(*mine).order_by(cosignatures.c.witness))
        return Note.parse(text.encode()).plus([SignatureLine.parse(row.line) for row in rows])

    async def seen(self, tx: Transaction) -> dict[str, tuple[int, Instant]]:
        """By witness's name, the size and the instant of its newest cosignature."""
        found = {}
        for one in self._witnesses:
            row = (await tx.execute(_last_of(one.key).limit(1))).one_or_none()
            if row is not None:
                found[one.key.name] = (row.size, Instant(row.at))
        return found

    async def _newest_witnessed(self, tx: Transaction) -> tuple[int, str]:
        """Size and note; (0, "") where there is none."""
        counted = (
            select(cosignatures.c.size)
            .where(cosignatures.c.witness.in_(list(self._patience)))
            .group_by(cosignatures.c.size)
            .having(func.count() >= max(1, self._quorum))
        )
        query = select(ledger_checkpoints.c.size, ledger_checkpoints.c.note).where(
            ledger_checkpoints.c.size.in_(counted)
        )
        ordered, below = query.order_by(ledger_checkpoints.c.size.desc()).limit(1), 2**63 - 1
        while (row := (await tx.execute(ordered.where(ledger_checkpoints.c.size < below))).one_or_none()) is not None:
            if await self._is_witnessed(tx, row.size, row.note):
                return row.size, row.note
            below = row.size
        return 0, ""

    async def _is_witnessed(self, tx: Transaction, size: int, text: str) -> bool:
        """Whether what the rows say verifies; asked once of the newest one."""
        if self._proven == (size, text):
            return True
        keys = [one.key for one in self._witnesses]
        try:
            signed = await self.cosigned(tx, size, text)
            told = checkpoint.verify(signed, self._log, keys, max(1, self._quorum)).checkpoint
        except Refused as fault:
            logger().error("cosigning.made-up", code=fault.code)
            return False
        if told.size == size:
            self._proven = (size, text)
        return told.size == size

    # ── one witness ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, one: Known, patience: _Patience) -> bool:
        """One submission, and one more where the witness says that it is elsewhere. False: nothing is new to it."""
        async with self._store.read() as tx:
            last = (await tx.execute(_last_of(one.key).limit(1))).one_or_none()
            try:
                size, text = await newest_checkpoint(tx)
            except Refused:
                return False
        had = 0 if last is None else last.size
        if had >= size and patience.fault is None:
            return False
        old = had if patience.known is None else patience.known
        for again in (True, False):
            reply = await self._submit(one, min(old, size), size, text)
            if reply.status == 200 and reply.whole:
                break
            known = self._judge(one, reply, old, size)
            if not again:
                raise Unavailable("cosigning.answer", witness=one.key.name, status=reply.status)
            old = patience.known = known
        await self._keep(one, size, text, reply)
        patience.known = size
        return True

    async def _submit(self, one: Known, old: int, size: int, text: str) -> Reply:
        async with self._store.read() as tx:
            proof = await tx.conn.run_sync(
                lambda conn: merkle.consistency_proof(old, size, tiles.hash_reader(size, files_of(conn)))
            )
        body = Submission(old, proof, Note.parse(text.encode())).encode()
        try:
            return await self._outbound.call("POST", f"{one.url}{_ADD}", body=body, limit=ANSWER_BYTES)
        except Unavailable as fault:
            raise Unavailable("cosigning.away", witness=one.key.name, error=fault.code) from None

    def _judge(self, one: Known, reply: Reply, old: int, size: int) -> int:
        """The size that the witness is at. One at the size that it was asked from has seen another tree of it.

        Refused and not Corrupt: a witness is somebody else, and must not be able to stop us by what it says.
        """
        known = size if reply.status == 422 else _told_size(reply)
        if known is None:
            raise Unavailable("cosigning.answer", witness=one.key.name, status=reply.status)
        if known > size:
            raise Refused("cosigning.ahead", witness=one.key.name, size=size, seen=known)
        if known == old or reply.status == 422:
            raise Refused("cosigning.fork", witness=one.key.name, size=size)
        return known

    async def _keep(self, one: Known, size: int, text: str, reply: Reply) -> None:
        """Believe its lines, and write down those that are its own."""
        lines = [line for line in witnessing.cosignatures(reply.body) if line.names(one.key)]
        signed = Note.parse(text.encode()).plus(lines)
        checkpoint.verify(signed, self._log, (one.key,), 1)
        async with self._store.begin() as tx:
            row = {"size": size, "witness": one.key.text, "line": lines[0].text.rstrip("\n"), "at": self._clock()}
            await tx.insert_new(cosignatures, row)
            kept, _ = await self._newest_witnessed(tx)
            oldest = _last_of(one.key).with_only_columns(cosignatures.c.size).offset(KEPT - 1).limit(1)
            table = cosignatures.c
            gone = (table.witness == one.key.text, table.size < oldest.scalar_subquery(), table.size != kept)
            await tx.execute(delete(cosignatures).where(*gone))
            mark("cosigning.kept")
            # Crash here: the witness has signed, and we do not know it; it signs the same tree again when it is asked.


def _last_of(key: VerifierKey) -> Select[int, int]:
    mine = select(cosignatures.c.size, cosignatures.c.at).where(cosignatures.c.witness == key.text)
    return mine.order_by(cosignatures.c.size.desc())


def _told_size(reply: Reply) -> int | None:
    """The size in a 409, or None."""
    if reply.status != 409 or not reply.whole:
        return None
    return from_decimal(reply.body.decode("ascii", "replace").removesuffix("\n"))

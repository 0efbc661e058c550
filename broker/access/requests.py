"""Requests: acts that take two persons: who asks for what, who else said yes or no, until when, and that it was done.

    ask ──► asked ──approve (signed by another)──► approved ──use──► done
                 └──refuse──► refused

Refuses: a yes by whoever asked, to something else than what was asked, after its time; to be used twice.
Keeps: the yes is signed by the key of whoever gave it, over the whole act, word for word. A row that was slipped in has
no seal; one that was put back after its use is known by the journal of endings.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, select

from broker.ended import Ended, Ending
from broker.ports import Entropy
from broker.store.engine import Transaction
from broker.store.operator_tables import approval_requests
from broker.store.rows.seals import RowSigner
from schemas.errors import Refused
from schemas.names import Instant, OperatorName, instant_of

TABLE: Final = approval_requests.name
ID_BYTES: Final = 16
_LABEL: Final = b"unefois/approval/v1\x00"


class State(Enum):
    """How far a request got."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `act`: as `canonical` gives it."""

    id: bytes
    act: str
    asked_by: OperatorName
    asked_at: Instant
    expires_at: Instant
    state: State
    decided_by: OperatorName | None
    decided_at: Instant | None
    signature: bytes | None = field(repr=False)

    @property
    def told(self) -> dict[str, Any]:
        """The act and its arguments."""
        found: dict[str, Any] = json.loads(self.act)
        return found


def name_of(request_id: bytes) -> str:
    """An id as it is told: a UUID."""
    return str(UUID(bytes=request_id))


def canonical(act: str, arguments: Mapping[str, Any]) -> str:
    """What is asked for, word for word: JSON, keys sorted, without spaces."""
    told = {"act": act, "arguments": dict(arguments)}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def message(request_id: bytes, act: str, asked_by: str, expires_at: int) -> bytes:
    """What whoever approves signs."""
    told = {"act": act, "asked_by": asked_by, "expires_at": expires_at, "id": name_of(request_id)}
    return _LABEL + json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def request_of(row: Row[Any]) -> Request:
    """Of a row."""
    return Request(
        id=bytes(row.id),
        act=row.act,
        asked_by=OperatorName(row.asked_by),
        asked_at=Instant(row.asked_at),
        expires_at=Instant(row.expires_at),
        state=State(row.state),
        decided_by=None if row.decided_by is None else OperatorName(row.decided_by),
        decided_at=instant_of(row.decided_at),
        signature=None if row.signature is None else bytes(row.signature),
    )


class Requests:
    """The only writer of the requests, inside the caller's transaction."""

    def __init__(self, signer: RowSigner, entropy: Entropy) -> None:
        self._signer = signer
        self._rows = signer.verifier
        self._entropy = entropy

    async def ask(self, tx: Transaction, name: OperatorName, act: str, at: Instant, lasts_ms: int) -> Request:
        """A new request; the one that stands, where the same person has asked for the same before."""
        before = await self.standing(tx, name, act, at)
        if before is not None:
            return before
        row = {
            "id": self._entropy(ID_BYTES),
            "act": act,
            "asked_by": name,
            "asked_at": at,
            "expires_at": at + lasts_ms,
            "state": State.ASKED.value,
            "decided_by": None,
            "decided_at": None,
            "signature": None,
        }
        if not await self._signer.insert(tx, approval_requests, row):
            raise Refused("approvals.id-taken")
        # Crash here: nothing was asked; the same command asks again.
        return request_of((await tx.execute(_BY_ID.where(approval_requests.c.id == row["id"]))).one())

    async def standing(self, tx: Transaction, name: OperatorName, act: str, at: Instant) -> Request | None:
        """What this person has asked for in these words, and may still be approved, or used."""
        mine = _BY_ID.where(approval_requests.c.asked_by == name, approval_requests.c.act == act)
        found = await self._all(tx, mine.where(approval_requests.c.expires_at > at))
        living = [one for one in found if one.state in (State.ASKED, State.APPROVED)]
        return max(living, key=lambda one: (one.state is State.APPROVED, one.asked_at), default=None)

    async def all(self, tx: Transaction) -> list[Request]:
        """Every request, oldest first."""
        return await self._all(tx, _BY_ID)

    async def approve(
        self, tx: Transaction, request_id: bytes, name: OperatorName, sign: Callable[[bytes], bytes], at: Instant
    ) -> Request:
        """Say yes. Raises Refused: `approvals.unknown`, `approvals.own`, `approvals.decided`, `approvals.expired`."""
        row, found = await self._asked(tx, request_id, name, at)
        signature = sign(message(found.id, found.act, found.asked_by, found.expires_at))
        decided = {"state": State.APPROVED.value, "signature": signature}
        return await self._decide(tx, row, decided | {"decided_by": name, "decided_at": at})

    async def refuse(self, tx: Transaction, request_id: bytes, name: OperatorName, at: Instant) -> Request:
        """Say no. Raises as `approve`."""
        row, _ = await self._asked(tx, request_id, name, at)
        decided = {"state": State.REFUSED.value, "decided_by": name, "decided_at": at}
        return await self._decide(tx, row, decided)

    async def use(self, tx: Transaction, request_id: bytes, at: Instant) -> None:
        """It is being done, in this transaction. Raises Refused `approvals.used`, `approvals.expired`."""
        await tx.lock_exclusive([request_id])
        row = await self._row(tx, request_id)
        found = None if row is None else request_of(row)
        if row is None or found is None or found.state is not State.APPROVED or await _over(tx, found):
            raise Refused("approvals.used")
        if found.expires_at <= at:
            raise Refused("approvals.expired")
        tx.end(Ending.of(TABLE, found.id, at=at))
        await self._signer.change(tx, approval_requests, row, {"state": State.DONE.value})
        # Crash here, and after the journal: it was not done, and counts as used; it is asked for again.

    async def _asked(
        self, tx: Transaction, request_id: bytes, name: OperatorName, at: Instant
    ) -> tuple[Row[Any], Request]:
        await tx.lock_exclusive([request_id])
        row = await self._row(tx, request_id)
        if row is None:
            raise Refused("approvals.unknown", "/id")
        found = request_of(row)
        if found.asked_by == name:
            raise Refused("approvals.own", "/id")
        if found.state is not State.ASKED or await _over(tx, found):
            raise Refused("approvals.decided", "/id", state=found.state.value)
        if found.expires_at <= at:
            raise Refused("approvals.expired", "/id")
        return row, found

    async def _decide(self, tx: Transaction, row: Row[Any], decided: Mapping[str, Any]) -> Request:
        await self._signer.change(tx, approval_requests, row, decided)
        # Crash here: nothing was decided; it is decided again.
        return request_of((await tx.execute(_BY_ID.where(approval_requests.c.id == row.id))).one())

    async def _row(self, tx: Transaction, request_id: bytes) -> Row[Any] | None:
        there = (await tx.execute(_BY_ID.where(approval_requests.c.id == request_id))).one_or_none()
        return self._rows.one(TABLE, there)

    async def _all(self, tx: Transaction, asked: Any) -> list[Request]:
        ended = await tx.endings()
        rows = self._rows.valid(TABLE, await tx.execute(asked.order_by(approval_requests.c.asked_at)))
        return [_as_known(request_of(row), ended) for row in rows]


async def _over(tx: Transaction, request: Request) -> bool:
    return (await tx.endings()).ended(TABLE, request.id)


def _as_known(request: Request, ended: Ended) -> Request:
    """A request that was used is done, whatever its row says."""
    if request.state is State.DONE or not ended.ended(TABLE, request.id):
        return request
    return Request(
        id=request.id,
        act=request.act,
        asked_by=request.asked_by,
        asked_at=request.asked_at,
        expires_at=request.expires_at,
        state=State.DONE,
        decided_by=request.decided_by,
        decided_at=request.decided_at,
        signature=request.signature,
    )


_BY_ID: Final = select(approval_requests)

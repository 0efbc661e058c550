"""Acts: what somebody asked for under an id is done once, however often it is asked, and answered as the first time.

    under(act) ──► the change, and its answer beside it in the same transaction ──► asked again: that answer

Refuses: another question under the same id: `acts.reused`.
Keeps: there is no moment in which the change is there and its answer is not, so a process that dies between its commit
and its answer loses nothing: whoever asks again under the id gets the answer of before. What is refused is not kept: it
has changed nothing. An act of several transactions keeps an answer for each. They are kept for the hours of
`broker.access.idempotency`, in its table, as answers to the broker itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import select

from broker.access.typed_json import of_json, parsed, written
from broker.observability.crashpoints import mark
from broker.store.access_tables import kept_answers
from broker.store.engine import Transaction
from schemas.errors import Refused
from schemas.names import Instant, PartyId

ID_BYTES: Final = 16
_LABEL: Final = b"unefois/act/v1\x00"


@dataclass(slots=True)
class Act:
    """What is asked for: `id`, 16 bytes that the asker drew; `asked`: a digest of all of it, 32 bytes; `party`: the
    broker itself. `parts`: how many of its transactions have an answer.
    """

    id: bytes
    asked: bytes
    party: PartyId
    at: Instant
    parts: int = field(default=0)

    def key(self, part: int) -> bytes:
        """Under which a part's answer is kept."""
        return sha256(_LABEL + self.id + part.to_bytes(4, "big")).digest()


class DoneBefore(Exception):
    """Somebody has done this act meanwhile, and its answer is kept: this transaction is undone."""


_ACT: ContextVar[Act | None] = ContextVar("act", default=None)


@contextmanager
def under(act: Act) -> Iterator[Act]:
    """What is changed in this block is changed by this act."""
    token = _ACT.set(act)
    try:
        yield act
    finally:
        _ACT.reset(token)


async def keep(tx: Transaction, told: object) -> None:
    """Keep an answer in the transaction that changes what it tells; nothing where nobody acts under an id.

    Raises DoneBefore, which undoes the transaction.
    """
    act = _ACT.get()
    if act is None:
        return
    row = {
        "party": act.party,
        "key": act.key(act.parts),
        "request": act.asked,
        "at": act.at,
        "lease_until": None,
        "status": 200,
        "headers": "{}",
        "answer": written(told),
    }
    if not await tx.insert_new(kept_answers, row):
        raise DoneBefore
    act.parts += 1
    mark("acts.kept")
    # Crash here: neither the change nor its answer is there; or, where it ends something, the journal of endings has it
    # and the next start completes it: then whoever asks again is told that it is over.


async def answers(tx: Transaction, act: Act, kind: Any) -> list[Any]:
    """What was answered to this act so far, each a value of `kind`; `act.parts` is their number then.

    Raises Refused `acts.reused`; `typed-json.malformed` for a row that nobody of ours wrote.
    """
    found: list[Any] = []
    while True:
        same = (kept_answers.c.party == act.party, kept_answers.c.key == act.key(len(found)))
        row = (await tx.execute(select(kept_answers).where(*same))).one_or_none()
        if row is None:
            act.parts = len(found)
            return found
        if row.request != act.asked:
            raise Refused("acts.reused")
        found.append(of_json(kind, parsed(row.answer)))

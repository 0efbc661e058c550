"""Answers: what a recipient may say of a delivery, and what it may still say after it said something else.

                      applied   partly   rejected   to repair   awaiting a human
    on its way           ●         ●         ●           ○              ○           ○ where it was opened this time
    awaiting             ●         ●         ●           ●              ●
    answered             ●         ●         ●           ●              ●
    rejected             ●         ●
    parked               ●         ●
    withheld             ●         ●         ●                                      where it was opened before
    applied                                                                         final

To repair: nobody is known there by these data, or several are, or a document is missing. Nobody refuses, and nothing
waits for an operator: the person mends it, and the delivery is planned again.

Refuses: an answer that the table does not have, a day that is over or further than a year, a field that was not
delivered.
Keeps: the same answer again changes nothing. An answer tells its code, a day, and which fields; nothing of the person.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final

from broker.flow.deliveries import OPEN, Delivery, DeliveryState
from schemas.errors import Refused
from schemas.facts import TO_REPAIR
from schemas.names import Instant, Reason, SchemaId, rfc3339
from schemas.release import bitmap

LONGEST_DAYS: Final = 366
"""How far ahead the day may be until which a human decides."""
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an agency, or the mailbox itself, gives a delivery up: a code for the operator, a reason for the citizen."""

    code: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Later:
    """The agency's system is away: a code for the operator; `after_ms`, where it names one, is the least to wait."""

    code: str
    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """Not applied, and not refused: one of `schemas.facts.ANSWERS`; `until` for AWAITING_HUMAN alone: the day by which
    somebody decides, as `2026-12-31`.
    """

    reason: Reason
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Partly:
    """Applied, but only these fields, by their names."""

    fields: tuple[str, ...]


End = Rejection | Later | Answered | Partly | None
"""What an agency says of a delivery; None: applied."""


class _Word(Enum):
    APPLIED = "applied"
    REJECTED = "rejected"
    TO_REPAIR = "to-repair"
    AWAITING = "awaiting"


_ALL: Final = frozenset(_Word)
MOVES: Final[Mapping[DeliveryState, frozenset[_Word]]] = {
    DeliveryState.PENDING: _ALL,
    DeliveryState.HANDED: _ALL,
    DeliveryState.RELEASED: _ALL,
    DeliveryState.AWAITING: _ALL,
    DeliveryState.ANSWERED: _ALL,
    DeliveryState.REJECTED: frozenset({_Word.APPLIED}),
    DeliveryState.PARKED: frozenset({_Word.APPLIED}),
    DeliveryState.WITHHELD: frozenset({_Word.APPLIED, _Word.REJECTED}),
    DeliveryState.APPLIED: frozenset(),
}
"""What may be said next, by the state that the delivery is in."""


def taken(end: End, delivery: Delivery, names: Callable[[SchemaId], Sequence[str]]) -> bytes | None:
    """The bitmap of what was taken, of an answer `partly`; None of every other. `names`: the fields of a schema.

    Raises Refused `mailbox.fields`.
    """
    if not isinstance(end, Partly):
        return None
    delivered = int.from_bytes(delivery.fields, "big")
    try:
        known = names(delivery.schema)
        some = bitmap(len(known), sorted({known.index(name) for name in end.fields}))
    except ValueError:
        raise Refused("mailbox.fields", "/fields") from None
    if not any(some) or int.from_bytes(some, "big") & ~delivered:
        raise Refused("mailbox.fields", "/fields")
    return some


def repeated(end: End, delivery: Delivery, some: bytes | None) -> bool:
    """Whether it was answered just so already. `some`: of an answer `partly`, what it says was taken."""
    state, reason = delivery.state, delivery.reason
    if isinstance(end, Later):
        return False
    if isinstance(end, Rejection):
        return state is DeliveryState.REJECTED  # a rejection stands as it was said first: its dead letter waits
    if isinstance(end, Answered):
        if end.reason in TO_REPAIR:
            return (state, reason) == (DeliveryState.ANSWERED, end.reason)
        return (state, delivery.until) == (DeliveryState.AWAITING, end.until)
    return state is DeliveryState.APPLIED and delivery.taken == some


def check(end: End, delivery: Delivery, at: Instant) -> None:
    """Raises Refused where an answer that says something new cannot be taken."""
    state = delivery.state
    if isinstance(end, Later | Rejection) and state in OPEN and delivery.handed_at is None:
        raise Refused("mailbox.not-handed", "/delivery")
    if isinstance(end, Later):
        return
    if state is DeliveryState.APPLIED:
        raise Refused("mailbox.already-applied", "/delivery")
    if isinstance(end, Rejection):
        if _Word.REJECTED not in MOVES[state] or (state is DeliveryState.WITHHELD and delivery.released_at is None):
            raise Refused("mailbox.not-handed", "/delivery")
        return
    # Planned anew since, and not opened again: only what was applied is told of the time before.
    now = isinstance(end, Answered) and state in (DeliveryState.PENDING, DeliveryState.HANDED)
    if delivery.released_at is None or now:
        raise Refused("mailbox.not-released", "/delivery")
    if _word(end) not in MOVES[state]:
        raise Refused("mailbox.other-answer", "/outcome", state=state.value)
    if isinstance(end, Answered):
        _check_until(end, at)


def late(until: str | None, at: Instant) -> bool:
    """Whether the day until which a human decides is over (UTC)."""
    return until is not None and until < rfc3339(at)[:10]


def _word(end: End) -> _Word:
    if isinstance(end, Answered):
        return _Word.TO_REPAIR if end.reason in TO_REPAIR else _Word.AWAITING
    return _Word.REJECTED if isinstance(end, Rejection) else _Word.APPLIED


def _check_until(end: Answered, at: Instant) -> None:
    day = None
    with suppress(ValueError):
        day = date.fromisoformat(end.until) if end.until is not None and _DAY.fullmatch(end.until) else None
    if end.reason is Reason.AWAITING_HUMAN:
        good = day is not None and 0 <= (day - date.fromisoformat(rfc3339(at)[:10])).days <= LONGEST_DAYS
    else:
        good = end.until is None
    if not good:
        raise Refused("mailbox.until", "/until", days=LONGEST_DAYS)

"""Mischief: what can be switched on so that the sandbox answers as a broker in trouble, or an attacker, would.

Refuses: a mischief that does not exist; more of it than would ever end.
Keeps: each is done so many times and is over then; `slow` lasts until it is switched off.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from schemas.errors import Refused

MOST: Final = 10_000


class Mischief(Enum):
    """The number that goes with each is how many times; with `slow`, how many milliseconds."""

    SLOW = "slow"
    """Every answer of the API comes so many milliseconds later."""
    SERVER_ERROR = "server-error"
    """Answers of 500; nothing was done."""
    UNAVAILABLE = "unavailable"
    """Answers of 503 with Retry-After; nothing was done."""
    LOST_ANSWER = "lost-answer"
    """What a POST asked for is done, and the connection ends in the middle of the answer."""
    DUPLICATE = "duplicate"
    """A pull answers what the last one with deliveries answered, once more."""
    EXPIRED_LEASE = "expired-lease"
    """An acknowledgement is answered 503, and the leases end: what was handed out comes again."""
    BAD_SIGNATURE = "bad-signature"
    """Deliveries whose source's signature does not fit."""
    WRONG_STATEMENT = "wrong-statement"
    """Deliveries whose statement the broker has signed for somebody else."""
    FORGED_STATEMENT = "forged-statement"
    """Deliveries whose statement is signed by a stranger."""
    FORGED_DIRECTORY = "forged-directory"
    """Answers with the signed directory, and with its notes, whose notes are signed by a stranger."""
    BAD_RECEIPT = "bad-receipt"
    """A declaration is taken, and its receipt has a signature that does not fit."""


class Mischiefs:
    """What is switched on now."""

    def __init__(self) -> None:
        self._left: dict[Mischief, int] = {}

    def set(self, wanted: Mapping[str, int]) -> None:
        """Switch on, or off with 0. Raises Refused `sandbox.mischief`, before anything is changed."""
        known = {one.value: one for one in Mischief}
        for name, count in wanted.items():
            if name not in known or not 0 <= count <= MOST:
                raise Refused("sandbox.mischief", "/faults", known=", ".join(sorted(known)), limit=MOST)
        for name, count in wanted.items():
            self._left[known[name]] = count

    def clear(self) -> None:
        """Be good."""
        self._left.clear()

    @property
    def slow_ms(self) -> int:
        """How long each answer is kept back."""
        return self._left.get(Mischief.SLOW, 0)

    def wanted(self, which: Mischief) -> bool:
        """Whether it is to be done now."""
        return self._left.get(which, 0) > 0

    def take(self, which: Mischief) -> bool:
        """Whether it is to be done now; if so, it is once less to be done."""
        if not self.wanted(which):
            return False
        self._left[which] -= 1
        return True

    def told(self) -> dict[str, int]:
        """All of them, and how often each will be done yet."""
        return {one.value: self._left.get(one, 0) for one in Mischief}

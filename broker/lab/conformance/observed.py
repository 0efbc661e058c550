"""Observed: what an administration's own system says that it did, as the kit asks for it.

    {"applied": ["<delivery id>", ...], "held": [{"name": "...", "street": "...", ...}, ...]}

`applied` names a delivery once for each time that it had an effect; `held` is what the system holds now about each
person, in any words of its own, one object a person. The kit finds people and values by words that it made up.

Refuses: anything else; what it says is then no evidence.
Keeps: upper and lower case do not count, nor how a value is cut into columns.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import Refused

BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen at one moment."""

    applied: Counter[str] = field(default_factory=Counter)
    held: tuple[str, ...] = field(default=(), repr=False)
    """Each person's object as text, in small letters."""

    def times(self, delivery: str) -> int:
        """How often this delivery had an effect."""
        return self.applied[delivery]

    def shows(self, person: str, word: str) -> bool:
        """Whether something that the system holds about the person has the word in it."""
        return any(person in one and word in one for one in self.held)


def read(content: bytes) -> Observed:
    """What was told. Raises Refused `conformance.observed`."""
    try:
        told = json.loads(content if len(content) <= BYTES else b"")
        applied, held = told["applied"], told["held"]
        good = all(isinstance(one, str) for one in applied) and all(isinstance(one, dict) for one in held)
    except (ValueError, TypeError, KeyError):
        good = False
    if not good:
        raise Refused("conformance.observed")
    texts = (json.dumps(one, ensure_ascii=False).lower() for one in held)
    return Observed(Counter(one.lower() for one in applied), tuple(texts))

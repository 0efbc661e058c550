"""Finding: one thing that a case found wrong.

Refuses: nothing; it is data.
Keeps: a key of the words and what fills its sentence: counts, states, codes, names of fields; never a value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was wrong: its key in the words, and what fills the sentence."""

    key: str
    details: Mapping[str, object] = field(default_factory=dict)

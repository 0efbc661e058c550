"""Claims: what the demo says is true, each with the verdict of the code that checked it.

Refuses: nothing. A claim that does not hold stays in the book, is shown as such, and decides the exit code.
Keeps: there is no way to tell a claim without a verdict: the sentence and the check are one call.
"""

from dataclasses import dataclass, field


def marks(encoding: str | None) -> tuple[str, str]:
    """How a claim that holds is marked, and one that does not, in an encoding that may lack the signs."""
    try:
        "✓✗".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "OK", "NO"
    return "✓", "✗"


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of the demo: its key in `words.toml`, whether it holds, and what was looked at to know."""

    key: str
    sentence: str
    held: bool
    evidence: str


@dataclass(slots=True)
class Book:
    """Every claim of one telling, in order."""

    claims: list[Claim] = field(default_factory=list)

    def add(self, claim: Claim) -> None:
        """Write a claim down; nothing is ever taken out."""
        self.claims.append(claim)

    @property
    def failing(self) -> tuple[Claim, ...]:
        """The claims that turned out false."""
        return tuple(claim for claim in self.claims if not claim.held)

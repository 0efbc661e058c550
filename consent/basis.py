"""Bases: what a grant rests on: the citizen's consent, their choice where a text lets them choose, or the law; and how
long a consent lasts.

Refuses: a choice or a law without its article, a consent with one; a consent for longer than 24 months.
Keeps: a consent that was given without an end, before December 2026, has one all the same.
Source: docs/protocol.md, section 6; docs/adr/0050-a-consent-ends-after-24-months.md; GDPR articles 6 and 7.
"""

from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from enum import Enum
from typing import Final, Self

from schemas.errors import Refused
from schemas.names import INSTANT_MAX, Instant, rfc3339
from schemas.text import is_plain

MAX_ARTICLE = 200
"""Bytes of a law's article."""


class BasisKind(Enum):
    """Whose word it is: the citizen's alone, the citizen's where a text of law lets them choose, or the law's."""

    CONSENT = "consent"
    CHOICE = "choice"
    LAW = "law"


_BASES = frozenset(kind.value for kind in BasisKind)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a grant rests on; a choice and a law always come with their article. Raises Refused `grant.article`."""

    kind: BasisKind
    article: str | None = None

    def __post_init__(self) -> None:
        if (self.kind is not BasisKind.CONSENT) != (self.article is not None) or not _is_article(self.article):
            raise Refused("grant.article", "/basis", limit=MAX_ARTICLE)

    @property
    def text(self) -> str:
        """The form that travels: `consent`, or `choice:` or `law:` and the article (docs/protocol.md, section 6)."""
        return self.kind.value if self.article is None else f"{self.kind.value}:{self.article}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `text`. Raises Refused `grant.basis` or `grant.article`."""
        kind, colon, article = text.partition(":")
        if kind not in _BASES:
            raise Refused("grant.basis", "/basis")
        return cls(BasisKind(kind), article if colon else None)


def _is_article(article: str | None) -> bool:
    if article is None:
        return True
    return is_plain(article, MAX_ARTICLE) and article == article.strip()


CONSENT = Basis(BasisKind.CONSENT)


def law(article: str) -> Basis:
    """The basis of a mandate: `law("CSS, art. L161-32-1")`. Raises Refused `grant.article`."""
    return Basis(BasisKind.LAW, article)


def choice(article: str) -> Basis:
    """The basis where a text lets citizens choose who hears, as ordinance 2005-395 does for changes of address (to be
    confirmed by counsel). Raises Refused `grant.article`.
    """
    return Basis(BasisKind.CHOICE, article)


LONGEST_YEARS: Final = 2
"""A consent ends after 24 months at the latest: whoever still wants it says so again."""
ENDLESS_SINCE: Final = Instant(1_796_083_200_000)
"""1 December 2026, 00:00 UTC. Consents without an end could be given before; theirs is counted from here, if later."""


def longest_end(starts_at: Instant) -> Instant:
    """24 months after this instant, UTC; 28 February after a 29th. Never after INSTANT_MAX."""
    day = datetime.fromtimestamp(starts_at / 1000, UTC)
    if day.year + LONGEST_YEARS > MAXYEAR:
        return INSTANT_MAX
    leap = (day.month, day.day) == (2, 29)
    later = day.replace(year=day.year + LONGEST_YEARS, day=28 if leap else day.day)
    return Instant(starts_at + (later - day) // timedelta(milliseconds=1))


def end_of(basis: Basis, starts_at: Instant, wished: Instant | None) -> Instant | None:
    """When a new grant ends: as wished; a consent after 24 months where nothing is wished. None: it has no end.

    Raises Refused `grant.too-long`.
    """
    if basis.kind is not BasisKind.CONSENT:
        return wished
    longest = longest_end(starts_at)
    if wished is not None and wished > longest:
        raise Refused("grant.too-long", "/expires_at", longest=rfc3339(longest))
    return longest if wished is None else wished

"""DPO letters: whoever answers for data protection hears by mail that there is something to look at about protected
persons: somebody has looked at a file, a protection is to be lifted, or ends soon.

Refuses: a name, a number, a count: the letter says where to look, and no more.
Keeps: nothing. No row says what was told, for it would say that somebody is protected; a process that starts anew sends
the letter of these days once more, under the same `Message-ID`. Without an address or a mail server nothing is asked.
"""

from collections.abc import Collection, Iterator
from typing import Final

from sqlalchemy import select

from broker.ledger.openings import Openings
from broker.messages.mail import Letter, Mail
from broker.people import protection
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.tables import ledger_entries, ledger_openings
from consent.asking import one_of
from schemas.entry import Entry
from schemas.errors import Fault
from schemas.facts import FactKind
from schemas.messages import Language
from schemas.names import Instant, LeafHash, SubjectRef

DAY_MS: Final = 86_400_000
LOOK_MS: Final = 3_600_000
"""How long a process waits from one look to the next."""
BEFORE_MS: Final = 7 * DAY_MS
"""So long before its end a protection is told of."""
_CHUNK: Final = 500
_VIEWED: Final = (
    select(ledger_openings, ledger_entries.c.entry)
    .join(ledger_entries, ledger_entries.c.leaf == ledger_openings.c.leaf)
    .where(one_of(ledger_openings.c.subject, "subjects"), ledger_openings.c.kind == FactKind.VIEWED.value)
)
_WORDS: Final[dict[Language, tuple[str, str]]] = {
    "fr": (
        "Personnes protégées : à regarder",
        "Il y a du nouveau : une consultation, une fin demandée ou une fin prochaine.\n\n"
        "`unefois protect looks` et `unefois protect list` le montrent.\n",
    ),
    "en": (
        "Protected persons: something to look at",
        "There is news: a look, an end that was asked for, or one that is near.\n\n"
        "`unefois protect looks` and `unefois protect list` show it.\n",
    ),
}


async def looks_at(
    tx: Transaction, openings: Openings, subjects: Collection[SubjectRef], since: Instant
) -> list[tuple[SubjectRef, LeafHash, Instant]]:
    """Who of these was looked at since then: whose file, the entry, when."""
    found = []
    for some in _chunks(sorted(subjects)):
        for row in await tx.execute(_VIEWED, {"subjects": some}):
            opened = openings.open(row.leaf, Entry.decode(row.entry), row)
            if opened.facts.at >= since:
                found.append((SubjectRef(row.subject), opened.leaf, opened.facts.at))
    return found


class DpoLetters:
    """Sends at most one letter for each day on which there is something."""

    def __init__(
        self,
        *,
        store: Store,
        openings: Openings,
        mail: Mail | None,
        to: str | None,
        name: str,
        language: Language,
        clock: Clock,
    ) -> None:
        self._store = store
        self._openings = openings
        self._mail = mail
        self._to = to
        self._name = name
        self._language: Language = language
        self._clock = clock
        self._looked_at: Instant | None = None
        self._told: set[int] = set()

    async def step(self) -> str | None:
        """Look, once in LOOK_MS, and write if there is something of yesterday or today. Returns the code of what was
        wrong with the letter; then it is tried at the next look. Raises Unavailable for the database alone.
        """
        at = self._clock()
        if self._mail is None or self._to is None:
            return None
        if self._looked_at is not None and at - self._looked_at < LOOK_MS:
            return None
        self._looked_at = at
        for day in sorted(await self._days(at) - self._told):
            try:
                await self._mail.send(self._letter(self._to, day, at))
            except Fault as fault:
                return fault.code
            self._told.add(day)
        return None

    async def _days(self, at: Instant) -> set[int]:
        """On which days since yesterday there was something, counted from 1970."""
        since = Instant(at - DAY_MS)
        async with self._store.read() as tx:
            standing = [one for one in protection.every(await tx.endings()) if one.stands(at)]
            seen = await looks_at(tx, self._openings, [one.subject for one in standing], since)
        days = {when // DAY_MS for _, _, when in seen}
        ending = any(one.until is not None and one.until - at < BEFORE_MS for one in standing)
        if ending or any(one.lifts_at is not None for one in standing):
            days.add(at // DAY_MS)
        return days

    def _letter(self, to: str, day: int, at: Instant) -> Letter:
        subject, text = _WORDS[self._language]
        return Letter(to, subject, f"{text}\n-- \n{self._name}\n", f"protected-{day}", at)


def _chunks(some: list[SubjectRef]) -> Iterator[list[SubjectRef]]:
    return (some[start : start + _CHUNK] for start in range(0, len(some), _CHUNK))

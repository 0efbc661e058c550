"""Rules: the ledger's rules, those that anyone can check and those that need what opens the entries, over one part.

    public, erased ─┐
    a part's own   ─┴──► in the order of positions ──► Auditor, FullAuditor

Refuses: to judge where something is no entry: that was said, and what follows cannot be judged.
Keeps: a rule is about one delivery, one declaration or one grant, and what is public by right; all of it is there, in
the order of the whole ledger. What breaks a rule in public is told once, whatever the number of parts.
"""

from collections.abc import Iterator, Mapping, Sequence

from broker.maintenance.checks.aside import Aside
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.ledger import Ledger
from broker.maintenance.checks.told import UNPLACED, Told, tags_of
from schemas.audit import Auditor
from schemas.audit_full import FullAuditor
from schemas.entry import Entry


class Rules:
    """The rules over part after part."""

    def __init__(self, ledger: Ledger, aside: Aside) -> None:
        """`ledger`: after its walk."""
        self._aside = aside
        self._readable = ledger.readable
        self._shared = [*ledger.public, *ledger.erased]
        self._said: set[tuple[int, str]] = set()

    def check(self, mine: Sequence[Told], *, whole: bool) -> Iterator[Finding]:
        """What these break. `whole`: all parts come here, so that tags of two deliveries can be told across them."""
        if not self._readable or any(one.entry is None and not one.aside for one in mine):
            return
        tags = tags_of(mine)
        own = [one for one in mine if not one.aside]
        every = sorted((*self._shared, *own, *self._without_opening(tags)), key=lambda one: one.order)
        public, full = Auditor(), FullAuditor()
        for one in every:
            if one.entry is None:
                continue
            for broken in (*public.take(one.entry), *full.take(one.entry, one.facts, erased=True)):
                if (one.id, broken.invariant) not in self._said:
                    yield Finding("ledger.invariant", one.place, broken.invariant)
                self._said.add((one.id, broken.invariant))
        if whole:
            for tag in self._aside.strangers(tags):
                yield Finding("ledger.invariant", f"tags/{tag.hex()}", "tag-of-another-delivery")

    def _without_opening(self, tags: Mapping[bytes, bytes]) -> Iterator[Told]:
        """Entries about the same deliveries that nothing opens any more."""
        for tag in tags:
            for position, number, raw in self._aside.take(tag):
                entry = Entry.decode(raw)
                yield Told(number, b"", None if position == UNPLACED else position, entry, None)

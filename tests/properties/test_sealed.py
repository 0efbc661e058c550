"""What a good broker writes breaks no rule, however windows and chance have ordered it; and what is taken away shows.

The broker here is a few lines of bookkeeping: it gives, pauses, narrows and ends consents, plans, releases, applies and
closes as docs/protocol.md, section 8, says. `broker.ledger.windows` orders what it wrote.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ledger.recorder import BARRIER
from broker.ledger.windows import Waiting, arrange
from schemas.audit import Auditor, Violation
from schemas.audit_full import FullAuditor
from schemas.entry import OPEN_FACTS, Entry, Opening, opened, window_of
from schemas.facts import FactKind, Facts
from schemas.names import (
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
)
from tests.examples import examples

WINDOW_MS = 1_000
BROKER = PartyId("urn:unefois:broker")
AGENCIES = [PartyId(f"urn:unefois:agency-{number}") for number in range(3)]
MOVED = EventType("fr.unefois.address.changed.v1")
FAMILY = Purpose("family-benefits")
STEPS = (
    "give",
    "declare",
    "release",
    "release",
    "apply",
    "reject",
    "pause",
    "resume",
    "narrow",
    "end",
    "rekey",
    "wait",
)


@dataclass
class Line:
    """One entry as it was written, what opens it, and the chain that it keeps to."""

    entry: Entry
    facts: Facts
    chain: bytes | None


@dataclass
class Consent:
    """One grant and the deliveries under it."""

    id: GrantId
    agency: PartyId
    subject: bytes
    version: int = 1
    state: str = "active"
    fields: int = 0xF0
    open: dict[DeliveryId, ManifestDigest] = field(default_factory=dict)
    """Planned, and neither applied nor closed."""
    held: dict[DeliveryId, ManifestDigest] = field(default_factory=dict)
    """Closed by a pause."""


class Written:
    """The broker of this page, and what it wrote so far."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 10_000
        self.lines: list[Line] = []
        self.grants: list[Consent] = []
        self.released: list[tuple[Consent, DeliveryId, ManifestDigest]] = []
        self.blinds: dict[DeliveryId, bytes] = {}
        self.keys = {agency: Kid(self.bytes(32)) for agency in AGENCIES}
        for agency, kid in self.keys.items():
            self.write(FactKind.KEY_ADDED, recipient=agency, detail=kid)

    def bytes(self, size: int) -> bytes:
        return self.random.randbytes(size)

    def write(self, kind: FactKind, **told: Any) -> None:
        self.now += self.random.randrange(400)
        facts = Facts(Instant(self.now), kind, BROKER, **told)
        window = window_of(facts.at, WINDOW_MS)
        if kind in OPEN_FACTS:
            self.lines.append(Line(opened(window, facts), facts, BARRIER))
            return
        of = facts.delivery
        with_plan = kind in {FactKind.PLANNED, FactKind.RELEASED}
        opening = Opening(self.bytes(32), self.blinds[of] if of is not None and with_plan else None, facts)
        tag = None if of is None else sha256(of).digest()[:16]
        self.lines.append(Line(opening.seal(window, tag), facts, facts.grant))

    def version(self, kind: FactKind, one: Consent, reason: Reason | None = None) -> None:
        about: dict[str, Any] = {"recipient": one.agency, "event_type": MOVED, "purpose": FAMILY, "basis": "consent"}
        told = {"subject": one.subject, "grant": one.id, "grant_version": one.version, "detail": self.bytes(32)}
        self.write(kind, **about, **told, reason=reason, fields=bytes([one.fields]))

    def step(self, kind: FactKind, one: Consent, of: DeliveryId, about: ManifestDigest, **more: Any) -> None:
        if kind is FactKind.PLANNED:
            self.blinds[of] = self.bytes(32)
        told: dict[str, Any] = {"recipient": one.agency, "event_type": MOVED, "purpose": FAMILY, "subject": one.subject}
        told |= {"declaration": about, "delivery": of, "grant": one.id, "grant_version": one.version}
        with_plan = kind in {FactKind.PLANNED, FactKind.RELEASED}
        self.write(kind, **told, fields=bytes([one.fields]), basis="consent" if with_plan else None, **more)

    def close(self, one: Consent, reason: Reason) -> None:
        for of, about in one.open.items():
            self.step(FactKind.WITHHELD, one, of, about, reason=reason)

    # What happens.

    def give(self) -> None:
        one = Consent(GrantId(self.bytes(16)), self.random.choice(AGENCIES), self.bytes(32))
        self.grants.append(one)
        self.version(FactKind.GRANTED, one)

    def declare(self) -> None:
        about = ManifestDigest(self.bytes(32))
        self.write(FactKind.RECEIVED, declaration=about)
        for one in self.grants:
            if one.state == "active" and self.random.random() < 0.5:
                of = DeliveryId(self.bytes(16))
                one.open[of] = about
                self.step(FactKind.PLANNED, one, of, about)

    def release(self) -> None:
        for one, of, about in self._open():
            self.step(FactKind.RELEASED, one, of, about, sealed_to=self.keys[one.agency])
            self.released.append((one, of, about))

    def apply(self) -> None:
        for one, of, about in self.released[:1]:  # also one that was closed since
            self.step(FactKind.APPLIED, one, of, about)
            self.released = [each for each in self.released if each[1] != of]
            one.open.pop(of, None)
            one.held.pop(of, None)

    def reject(self) -> None:
        for one, of, about in self._open():
            self.step(FactKind.REJECTED, one, of, about, reason=Reason.MAPPING)
            one.open.pop(of)

    def pause(self) -> None:
        for one in self._grants("active"):
            one.state, one.version = "paused", one.version + 1
            self.version(FactKind.CHANGED, one, Reason.PAUSED)
            self.close(one, Reason.PAUSED)
            one.held, one.open = one.held | one.open, {}

    def resume(self) -> None:
        for one in self._grants("paused"):
            one.state, one.version = "active", one.version + 1
            self.version(FactKind.CHANGED, one)
            one.open, one.held = one.held, {}
            for of, about in one.open.items():
                self.step(FactKind.PLANNED, one, of, about)

    def narrow(self) -> None:
        for one in self._grants("active"):
            if one.fields & (one.fields - 1):
                one.fields, one.version = one.fields & (one.fields - 1), one.version + 1
                self.version(FactKind.CHANGED, one)
                for of, about in one.open.items():  # a new plan, and no closing between
                    self.step(FactKind.PLANNED, one, of, about)

    def end(self) -> None:
        for one in self._grants("active", "paused"):
            one.state, one.version = "ended", one.version + 1
            self.version(self.random.choice([FactKind.REVOKED, FactKind.EXPIRED]), one)
            self.close(one, Reason.REVOKED)
            one.open, one.held = {}, {}

    def rekey(self) -> None:
        agency = self.random.choice(AGENCIES)
        old, self.keys[agency] = self.keys[agency], Kid(self.bytes(32))
        self.write(FactKind.KEY_ADDED, recipient=agency, detail=self.keys[agency])
        self.write(FactKind.KEY_REVOKED, recipient=agency, detail=old)

    def wait(self) -> None:
        self.now += 3 * WINDOW_MS
        self.write(FactKind.VIEWED, subject=self.bytes(32))

    def _grants(self, *states: str) -> list[Consent]:
        found = [one for one in self.grants if one.state in states]
        return [self.random.choice(found)] if found else []

    def _open(self) -> list[tuple[Consent, DeliveryId, ManifestDigest]]:
        found = [(one, *each) for one in self.grants for each in one.open.items()]
        return [self.random.choice(found)] if found else []


def ordered(written: Written) -> list[Line]:
    """As the ledger has it: windows one after the other, each shuffled."""
    waiting = [Waiting(number, line.entry.window, line.chain) for number, line in enumerate(written.lines)]
    batches = arrange(waiting, None, len(waiting), written.bytes)
    return [written.lines[number] for batch in batches for number in batch]


def found(lines: list[Line]) -> Iterator[Violation]:
    public, full = Auditor(), FullAuditor()
    for line in lines:
        yield from public.take(line.entry)
        yield from full.take(line.entry, line.facts)


def history(seed: int, steps: list[str]) -> Written:
    written = Written(Random(seed))
    for step in ["give", "give", *steps]:
        getattr(written, step)()
    return written


HISTORIES = st.builds(history, st.integers(0, 2**32), st.lists(st.sampled_from(STEPS), min_size=5, max_size=40))


@given(HISTORIES)
@examples(60)
def test_what_a_good_broker_writes_breaks_no_rule_in_whatever_order_chance_puts_it(written: Written) -> None:
    assert [] == list(found(ordered(written)))


@given(HISTORIES, st.data())
@examples(60)
def test_a_plan_that_is_taken_away_is_missed_where_anything_followed_from_it(
    written: Written, data: st.DataObject
) -> None:
    lines = ordered(written)
    plans = [at for at, line in enumerate(lines) if line.facts.kind is FactKind.PLANNED]
    if not plans:
        return
    at = data.draw(st.sampled_from(plans))
    tag = lines[at].entry.tag
    earlier = any(line.entry.tag == tag for line in lines[:at])
    later = [line for line in lines[at + 1 :] if line.entry.tag == tag]

    missed = list(found(lines[:at] + lines[at + 1 :]))

    if later and not earlier and later[0].facts.kind is not FactKind.PLANNED:
        assert missed


@given(HISTORIES)
@examples(60)
def test_a_broker_that_closes_nothing_and_goes_on_is_found_by_who_holds_the_openings_alone(written: Written) -> None:
    written.give()
    one, of, about = written.grants[-1], DeliveryId(bytes(16)), ManifestDigest(bytes(32))
    written.step(FactKind.PLANNED, one, of, about)
    one.version += 1
    written.version(FactKind.REVOKED, one)
    one.version -= 1  # as it was planned
    written.step(FactKind.RELEASED, one, of, about, sealed_to=written.keys[one.agency])
    lines, public = ordered(written), Auditor()

    assert [] == [broken for line in lines for broken in public.take(line.entry)]
    assert ["released-after-end"] == [one.invariant for one in found(lines)]


@pytest.mark.parametrize("barrier", [False, True], ids=["a whole window", "between open entries"])
def test_each_order_of_what_is_of_different_grants_is_as_likely_as_every_other(barrier: bool) -> None:
    """Every draw of chance once: four entries, of which the second and the last are of one grant."""
    chains = [b"a", b"b", None, b"b"]
    waiting = [Waiting(number, 0, chain) for number, chain in enumerate(chains, 1)]
    if barrier:
        waiting = [Waiting(0, 0, BARRIER), *waiting, Waiting(9, 0, BARRIER)]
    counted: Counter[tuple[int, ...]] = Counter()
    for draw in permutations(range(4)):
        drawn = b"".join(rank.to_bytes(16, "big") for rank in draw)
        (batch,) = arrange(waiting, None, 9, lambda size, drawn=drawn: drawn[:size])
        counted[tuple(batch)] += 1

    ends = ((0,), (9,)) if barrier else ((), ())
    orders = {(*ends[0], *each, *ends[1]) for each in permutations((1, 2, 3, 4)) if each.index(2) < each.index(4)}
    assert dict.fromkeys(orders, 2) == counted

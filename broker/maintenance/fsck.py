"""fsck: the one invariant checker for the whole state: hashes, signatures, ledger against tables, orphans, keys.

    the ledger, leaf after leaf ──► what is public ──► directory, credentials, keys, journal
    citizens, part after part   ──► hashed ──► as it was when it was clean │ else opened: consents, declarations, ...

Refuses: to mend anything; it reads one snapshot and says what is wrong and where.
Keeps: no finding means that everything the house promises about its stored state holds at this moment. Every row is
read, each time, and memory is that of one part. A part that was clean before, and has the same bytes, is not opened and
verified again, unless everything is asked for, or anything is found: then all of it is.
Source: docs/adr/0035-fsck-marks-what-was-clean.md.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from broker.ended import NOTHING
from broker.flow import forgotten
from broker.ledger import highwater
from broker.ledger.openings import Openings
from broker.maintenance.checks import (
    channels,
    citizens,
    consents,
    credentials,
    declarations,
    deliveries,
    directory,
    drafts,
    endings,
    families,
    instants,
    keys,
    letters,
    links,
    locks,
    operators,
    parts,
    repairs,
    retractions,
    rows,
    sums,
)
from broker.maintenance.checks import first_ledger as followed
from broker.maintenance.checks import forgotten as horizons
from broker.maintenance.checks.aside import Aside
from broker.maintenance.checks.before import Before
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.ground import Ground
from broker.maintenance.checks.ledger import Ledger, left
from broker.maintenance.checks.marks import Changed, Mark, Marks
from broker.maintenance.checks.parts import Part
from broker.maintenance.checks.rules import Rules
from broker.maintenance.checks.snapshot import Snapshot
from broker.maintenance.checks.told import Told, of_rows, tags_of
from broker.messages.outbox import Outbox
from broker.messages.sealing import ChannelSeals
from broker.ports import Clock, KeyStore, Log
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowVerifier
from broker.store.tables import submissions
from schemas.catalogue import Catalogue
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.facts import Facts
from schemas.names import DeliveryId, Instant
from schemas.note import VerifierKey

_WRONG = (Refused, Corrupt, ValueError, TypeError, KeyError, AttributeError)
"""What a check meets in a row that no broker writes."""


@dataclass(slots=True)
class Checked:
    """What was found, and how much of the state was opened and verified anew; of the rest, its digest was compared."""

    findings: list[Finding]
    parts: int = 0
    """Of the citizens; and how many of them were opened."""
    parts_anew: int = 0
    declarations: int = 0
    declarations_anew: int = 0


class Fsck:
    """Checks a home; shipped to operators and run after every step of the tests."""

    def __init__(
        self,
        *,
        store: Store,
        log: Log,
        key_store: KeyStore,
        rows: RowVerifier,
        macs: RowMacs,
        catalogue: Catalogue,
        openings: Openings,
        verifier: VerifierKey,
        attester: VerifierKey,
        channel_seals: ChannelSeals,
        outbox: Outbox,
        marks: Marks,
        clock: Clock,
    ) -> None:
        self._channel_seals = channel_seals
        self._outbox = outbox
        self._store = store
        self._log = log
        self._keys = key_store
        self._catalogue = catalogue
        self._openings = openings
        self._rows = rows
        self._macs = macs
        self._verifier = verifier
        self._attester = attester
        self._marks = marks
        self._clock = clock

    async def check(self) -> list[Finding]:
        """Everything that is wrong, all of it checked anew; empty when all is well. Raises Unavailable."""
        return (await self.look(full=True)).findings

    async def look(self, *, full: bool = False) -> Checked:
        """What is wrong. Unless `full`, what was clean when somebody looked last and has the same bytes counts as
        checked. That it ended is noted (`broker.maintenance.last`). Raises Unavailable.
        """
        checked = await self._looked(full)
        self._marks.note(self._clock(), (one.check for one in checked.findings), full=full)
        return checked

    async def _looked(self, full: bool) -> Checked:
        standing = await highwater.look(self._store)
        async with self._store.read(patient=True) as reading:
            tx = await Snapshot.of(reading)
            before = None if full else self._marks.read()
            with suppress(Changed):
                if before is not None:
                    checked = await self._look(tx, standing, before)
                    if not checked.findings:
                        return checked
            return await self._look(tx, standing, None)

    async def _look(self, tx: Snapshot, standing: Fault | None, before: Mark | None) -> Checked:
        """Against a mark, or everything. Raises Changed where that has to be everything."""
        with Aside() as aside:
            passage = _Passage(self, tx, standing, aside, before)
            checked = passage.checked
            checked.findings = [finding async for finding in passage.check()]
        if not checked.findings and passage.mark is not None:
            with suppress(Unavailable):  # without it, the next one looks at everything
                self._marks.write(passage.mark)
        return checked


class _Passage:
    """One look at everything."""

    def __init__(self, fsck: Fsck, tx: Snapshot, standing: Fault | None, aside: Aside, before: Mark | None) -> None:
        self.checked = Checked([])
        self.mark: Mark | None = None
        self._fsck = fsck
        self._tx = tx
        self._standing = standing
        self._aside = aside
        self._known = before
        known = 0 if before is None else before.size
        self._ledger = Ledger(tx, fsck._verifier, fsck._macs, aside, known)
        self._before = Before([])
        self._planned = channels.Planned(0, Instant(0))
        self._ended = NOTHING

    async def check(self) -> AsyncIterator[Finding]:
        """Everything that is wrong. Raises Changed where a mark does not hold any more."""
        async for finding in _guarded("ledger", self._ledger.check()):
            yield finding
        async for finding in _guarded("ground", self._on_ground()):
            yield finding

    async def _on_ground(self) -> AsyncIterator[Finding]:
        fsck, tx = self._fsck, self._tx
        horizon = await _horizon(tx)
        ground = await Ground.of(tx, fsck._keys, fsck._catalogue, horizon)
        self.mark = await ground.unmarked(tx, fsck._keys, f"{fsck._verifier.text} {fsck._attester.text}", self._ledger)
        if self._known is not None:
            ground.check(self._known, self.mark, self._ledger)
        self._before = Before(await followed.facts(tx))
        self._planned = channels.Planned(await fsck._outbox.planned_until(tx), fsck._clock())
        self._ended = await tx.endings()
        for name, check in self._public().items():
            async for finding in _guarded(name, check):
                yield finding
        async for finding in self._parts(ground, self.mark):
            yield finding
        async for finding in _guarded("log", self._log()):
            yield finding
        async for finding in _guarded("declarations", self._unrouted(ground)):
            yield finding

    def _public(self) -> dict[str, AsyncIterator[Finding]]:
        fsck, tx, public = self._fsck, self._tx, self._ledger.facts()
        return {
            "first-ledger": followed.check(tx, public, fsck._attester, fsck._keys),
            "keys": keys.check(tx, fsck._keys),
            "directory": directory.check(tx, public, fsck._attester),
            "credentials": credentials.check(tx, public),
            "citizens": citizens.check(tx, fsck._macs),
            "endings": endings.check(tx, self._standing),
            "rows": rows.check(tx, fsck._rows),
            "forgotten": horizons.check(tx, public),
            "instants": instants.check(tx, fsck._clock()),
            "drafts": drafts.check(tx, fsck._macs),
            "requests": operators.check_requests(tx),
            "operators": operators.check(tx, fsck._openings, self._ledger.public, self._ledger.erased_until),
        }

    # ── citizens ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _parts(self, ground: Ground, mark: Mark) -> AsyncIterator[Finding]:
        """Part after part; of one that is as it was marked, its digest."""
        known = self._known
        mark.bits = await parts.bits_for(self._tx, None if known is None else known.bits)
        if known is not None and known.bits != mark.bits:
            raise Changed
        empty = sums.Sums(self._fsck._marks.sums_key, mark.bits, ground.asked, ground.living)
        summed = await sums.taken(self._tx, empty, self._before.seen)
        touched = set() if known is None else await sums.touched(self._tx, known.size, mark.bits)
        rules = Rules(self._ledger, self._aside)
        for number in parts.numbers(mark.bits):
            declared, digest = summed.declared(number), summed.digest(number)
            mark.parts += digest
            self.checked.parts += 1
            self.checked.declarations += declared
            if known is not None and digest == known.part(number) and number not in touched:
                continue
            self.checked.parts_anew += 1
            self.checked.declarations_anew += declared
            part = await parts.whole(self._tx, number, mark.bits)
            async for finding in _guarded("ledger", self._part(part, ground, rules)):
                yield finding
        if known is None:
            for finding in left(self._aside):
                yield finding
        if self._before.left():
            left_over = self._judged(Part(-2, {}), self._before.left(), {}, ground)
            async for finding in _guarded("first-ledger", left_over):
                yield finding
        async for finding in parts.strays(self._tx, summed.strays):
            yield finding

    async def _part(self, part: Part, ground: Ground, rules: Rules) -> AsyncIterator[Finding]:
        told, wrong = of_rows(part.of("told"), self._fsck._openings)
        for finding in (*wrong, *rules.check(told, whole=self._known is None)):
            yield finding
        now = [one.facts for one in told if one.facts is not None]
        entries = [*self._before.of(part, now), *now]
        for name, check in (self._of_rows(part, entries, ground) | self._of_channels(part, told, entries)).items():
            for finding in _guarded_one(name, check):
                yield finding
        async for finding in _guarded("declarations", self._judged(part, entries, tags_of(told), ground)):
            yield finding

    def _of_rows(self, part: Part, entries: list[Facts], ground: Ground) -> dict[str, Iterator[Finding]]:
        erased, nobodys = self._ledger.erased_until, part.number == parts.NOBODYS
        return {
            "rows": rows.check_macs(part, self._fsck._macs),
            "families": chain(families.check_macs(part, self._fsck._macs), families.check(part, entries, erased)),
            "retractions": chain(
                retractions.check_macs(part, self._fsck._macs), retractions.check(part, entries, erased)
            ),
            "links": links.check(part, entries, erased),
            "locks": locks.check(part, ground.epoch_keys),
            "letters": letters.check(part, entries, erased) if nobodys else iter(()),
        }

    def _of_channels(self, part: Part, told: list[Told], entries: list[Facts]) -> dict[str, Iterator[Finding]]:
        fsck = self._fsck
        return {
            "channel-rows": channels.check_macs(part, fsck._macs),
            "channels": channels.check(part, entries, fsck._channel_seals, self._ledger.erased_until),
            "messages": channels.check_told(part, told, fsck._macs, self._ended, self._planned),
        }

    async def _judged(
        self, part: Part, entries: list[Facts], tags: Mapping[bytes, DeliveryId], ground: Ground
    ) -> AsyncIterator[Finding]:
        """A part's rows against what the ledgers say of its citizens."""
        erased, tx = self._ledger.erased_until, self._tx
        keys, destroyed = ground.epoch_keys, ground.destroyed
        check = consents.check(part, entries, epoch_keys=keys, destroyed=destroyed, erased=erased)
        for finding in _guarded_one("consents", check):
            yield finding
        if ground.directory is None:
            return
        gone = await declarations.gone(tx, part, entries, ground.horizon, erased)
        self._aside.forget(gone)
        told = declarations.Told(entries, gone, erased, tags)
        check = declarations.check(part, told, await declarations.roots(tx, part), ground)
        for finding in _guarded_one("declarations", check):
            yield finding
        check = deliveries.check(part, await deliveries.held(tx, part), told, ground)
        for finding in _guarded_one("deliveries", check):
            yield finding
        for finding in _guarded_one("repairs", repairs.check(part, told, self._fsck._macs)):
            yield finding

    # ── what belongs to no part ─────────────────────────────────────────────────────────────────────────────────────

    async def _log(self) -> AsyncIterator[Finding]:
        aside = self._aside if self._known is None else None
        async for finding in letters.check_log(self._tx, self._fsck._log, self._ledger.erased_until, aside):
            yield finding
        async for finding in repairs.orphans(self._tx):
            yield finding

    async def _unrouted(self, ground: Ground) -> AsyncIterator[Finding]:
        """Submissions of which no declaration came yet."""
        for row in () if self._tx.empty(submissions) else await self._tx.execute(parts.UNROUTED):
            for finding in rows.submitted([row], self._fsck._macs):
                yield finding
            for finding in declarations.receipt(row, ground.directory) if ground.directory is not None else ():
                yield finding


async def _guarded(name: str, findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """What a check finds; where it meets a row that no broker can have written, that is what it found."""
    try:
        async for finding in findings:
            yield finding
    except _WRONG as error:
        yield _stopped(name, error)


def _guarded_one(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from findings
    except _WRONG as error:
        yield _stopped(name, error)


def _stopped(name: str, error: Exception) -> Finding:
    return Finding("fsck.stopped", name, f"this check met a row that no broker writes: {type(error).__name__}")


async def _horizon(tx: Transaction) -> Instant | None:
    """Where it cannot be read, its own check says so, and nothing counts as forgotten."""
    try:
        return await forgotten.horizon(tx)
    except ValueError:
        return None

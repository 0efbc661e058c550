"""Epochs: the gate's HPKE keys and the keys that wrap consent keys, opened, rotated, and destroyed for good.

Refuses: to destroy the gate key that sources still seal to; to destroy a consent epoch key while a consent key needs
it; to do either by a clock that nobody trusts (`broker.timekeeping`).
Keeps: that a key is about to be made is written down before it is made, and its destruction before it happens; the next
turn finishes what a crash left of both. A private key is in the key store before its public half or its number is in
the database; a number is never used twice. A key that no book knows counts as living: a wrong database beside the right
keys destroys nothing. It is told, and destroyed by `destroy_unknown` alone.
What the journal of endings does not call destroyed is not: a row alone destroys no key.
Nothing is wrapped, closed or destroyed by a row that the broker did not sign (`broker.store.rows`): such an epoch
counts neither as living nor as destroyed.
Source: docs/architecture.md, "What destroying means".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import select

from broker.directory.registrar import Registrar
from broker.ended import Ending, key_of
from broker.epochs import books
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.ports import Clock, Entropy, KeyKind, KeyStore
from broker.store.engine import Store, Transaction
from broker.store.rows.seals import RowReader, RowSigner
from broker.store.tables import consent_epochs, gate_epochs
from broker.timekeeping import Timekeeping
from consent import registry
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.hpke import SealingKey, Suite
from schemas.names import Instant, Kid, PartyId, instant_of

LOCK = b"epochs"
"""Held exclusively by whoever opens or ends an epoch, shared by whoever wraps a key under the newest one."""
ROTATION = b"epochs/rotation"
"""Held exclusively by whoever wraps keys anew, and by whoever ends the epoch that they come from."""


@dataclass(frozen=True, slots=True)
class GateEpoch:
    """One HPKE key of the gate and its life."""

    kid: Kid
    opened_at: Instant
    closed_at: Instant | None
    destroyed_at: Instant | None


@dataclass(frozen=True, slots=True)
class ConsentEpoch:
    """One key that wraps consent keys, its life, and how many it wraps now."""

    epoch: int
    opened_at: Instant
    destroyed_at: Instant | None
    keys: int


class Epochs:
    """Opens, rotates and destroys."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyStore,
        registrar: Registrar,
        signer: RowSigner,
        recorder: Recorder,
        party: PartyId,
        clock: Clock,
        entropy: Entropy,
        time: Timekeeping,
    ) -> None:
        self._store = store
        self._keys = keys
        self._registrar = registrar
        self._signer = signer
        self._rows = signer.verifier
        self._recorder = recorder
        self._party = party
        self._clock = clock
        self._entropy = entropy
        self._time = time
        self._told: frozenset[books.Key] = frozenset()

    async def open_gate(self, suite: Suite, overlap_ms: int) -> Kid:
        """A new gate key that sources seal to from now on; the one before is accepted for `overlap_ms` more.

        Raises Refused `clock.ahead`, `clock.behind`.
        """
        await self._time.check()
        key = SealingKey.generate(suite)
        while True:
            async with self._store.begin() as tx:
                await books.begin(tx, KeyKind.GATE, key.kid.hex(), self._clock())
            if await self._open_gate(key, suite, overlap_ms):
                return key.kid

    async def _open_gate(self, key: SealingKey, suite: Suite, overlap_ms: int) -> bool:
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])  # or `finish` would take a key without its row for a leftover
            if not await books.end_begun(tx, KeyKind.GATE, key.kid.hex()):
                return False  # we stood still, and another tidied up after us
            at = self._clock()
            self._keys.write(KeyKind.GATE, key.kid.hex(), key.to_raw())
            mark("epochs.gate-key-written")
            # Crash here: a private key without its epoch, as it was written down; `finish` destroys it.
            await self._registrar.rotate_sealing(
                tx, self._party, suite=suite, public=key.public, at=at, overlap_ms=overlap_ms
            )
            still_open = await tx.execute(select(gate_epochs).where(gate_epochs.c.closed_at.is_(None)))
            for row in self._rows.valid(gate_epochs.name, still_open):
                await self._signer.change(tx, gate_epochs, row, {"closed_at": at + overlap_ms})
            opened = {"kid": key.kid, "opened_at": at, "closed_at": None, "destroyed_at": None}
            await self._signer.insert(tx, gate_epochs, opened)
            mark("epochs.gate-opened")
            # Crash here: as above, for the transaction is gone.
        await self._announce([Ending.of(gate_epochs.name, key.kid, at=at, least=0, opened_at=at)])
        return True

    async def gate_epochs(self) -> list[GateEpoch]:
        """Every epoch of the gate, oldest first."""
        async with self._store.read() as tx:
            rows = await tx.execute(select(gate_epochs).order_by(gate_epochs.c.opened_at))
            return [
                GateEpoch(Kid(row.kid), Instant(row.opened_at), instant_of(row.closed_at), instant_of(row.destroyed_at))
                for row in self._rows.valid(gate_epochs.name, rows)
            ]

    async def gates_over(self, retention_ms: int, overlap_ms: int) -> list[Kid]:
        """The gate keys that are in the key store, are closed, and were opened so long ago, oldest first. When one was
        opened says the journal of endings: whoever edits its row puts nothing off. `overlap_ms`: how long one whose row
        does not count is taken to be open beside the next.
        """
        at = self._clock()
        async with self._store.read() as tx:
            rows = await tx.execute(select(gate_epochs))
            sound = {row.kid: row for row in self._rows.valid(gate_epochs.name, rows)}
            opened = books.gates_opened(await tx.endings(), self._keys)
        closed = {kid: at - opened[later] > overlap_ms for kid, later in pairwise(opened)}
        closed |= {kid: _closed(row.closed_at, at) for kid, row in sound.items()}
        return [kid for kid, since in opened.items() if at - since >= retention_ms and closed.get(kid, False)]

    async def destroy_gate(self, kid: Kid) -> None:
        """End an epoch: everything that was sealed to its key is noise from now on, in every copy and backup. One whose
        row somebody has edited or taken away ends, too, where the journal of endings knows a later one.

        Raises Refused: `epochs.unknown`, `epochs.still-open`, `clock.ahead`, `clock.behind`.
        """
        await self._time.check()
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            there = (await tx.execute(select(gate_epochs).where(gate_epochs.c.kid == kid))).one_or_none()
            row, at, ended = self._rows.one(gate_epochs.name, there), self._clock(), await tx.endings()
            if row is None and kid not in list(books.gates_opened(ended, self._keys))[:-1]:
                raise Refused("epochs.unknown", "/kid")
            if row is not None and not _closed(row.closed_at, at):
                raise Refused("epochs.still-open", "/kid")
            said = ended.ended(gate_epochs.name, kid)
            struck = said if row is None else row.destroyed_at is not None
            if not struck or not (said or kid.hex() not in self._keys.names(KeyKind.GATE)):
                if row is not None:
                    await self._signer.change(tx, gate_epochs, row, {"destroyed_at": at})
                tx.end(Ending.of(gate_epochs.name, kid, at=at, destroyed_at=at))
                self._recorder.record(tx, FactKind.EPOCH_DESTROYED, at, detail=kid)
        mark("epochs.gate-destruction-written")
        # Crash here: the intent is written and nothing opens any more (the gate reads it); `finish` destroys the key.
        self._keys.destroy(KeyKind.GATE, kid.hex())

    async def open_consent(self) -> int:
        """A new consent epoch; new consent keys are wrapped under it from now on. Returns its number.

        Raises Refused `clock.ahead`, `clock.behind`.
        """
        await self._time.check()
        while True:
            async with self._store.begin() as tx:
                await tx.lock_exclusive([LOCK])
                epoch = await self._next_consent(tx)
                await books.begin(tx, KeyKind.CONSENT_EPOCH, str(epoch), self._clock())
            if await self._open_consent(epoch):
                return epoch

    async def _open_consent(self, epoch: int) -> bool:
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            if not await books.end_begun(tx, KeyKind.CONSENT_EPOCH, str(epoch)):
                return False  # another has opened this number meanwhile, or tidied up after us
            at = self._clock()
            opened = {"epoch": epoch, "opened_at": at, "destroyed_at": None}
            await self._signer.insert(tx, consent_epochs, opened)
            self._keys.write(KeyKind.CONSENT_EPOCH, str(epoch), self._entropy(32))
            mark("epochs.consent-key-written")
            # Crash here: a key without its row, as it was written down; nothing is wrapped under it, and `finish` ends
            # number and key.
        await self._announce([Ending.of(consent_epochs.name, key_of(epoch), at=at, least=0, opened_at=at)])
        return True

    async def _next_consent(self, tx: Transaction) -> int:
        """A number that no key and no row has, be it of a key that no book knows, and no journal."""
        alive = [int(name) for name in self._keys.names(KeyKind.CONSENT_EPOCH) if name.isdecimal()]
        alive += [int(ending.key) for ending in (await tx.endings()).of(consent_epochs.name)]
        known = [int(row.epoch) for row in await tx.execute(select(consent_epochs.c.epoch))]
        return max([*alive, *known, 0]) + 1

    async def consent_epochs(self) -> list[ConsentEpoch]:
        """Every consent epoch, oldest first."""
        async with self._store.read() as tx:
            used = await registry.epochs_in_use(tx.conn)
            rows = await tx.execute(select(consent_epochs).order_by(consent_epochs.c.epoch))
            return [
                ConsentEpoch(row.epoch, Instant(row.opened_at), instant_of(row.destroyed_at), used.get(row.epoch, 0))
                for row in self._rows.valid(consent_epochs.name, rows)
            ]

    async def living_consent(self) -> list[tuple[int, Instant]]:
        """The consent epochs that are not destroyed and when each was opened, oldest first. One, between rotations."""
        async with self._store.read() as tx:
            return await living_consent(tx, self._rows)

    async def rotate_consent(self) -> int:
        """Wrap every living consent key anew and destroy the older epoch keys: no backup from before opens any more.

        Returns how many keys were wrapped. What a crash leaves of it, `retire_consent` finishes. Raises Refused
        `clock.ahead`, `clock.behind`.
        """
        await self.open_consent()
        return await self.retire_consent()

    async def retire_consent(self) -> int:
        """Wrap what older epochs still hold under the newest one, and destroy them. Returns how many keys were wrapped.

        May be interrupted anywhere and called again. Raises Refused `clock.ahead`, `clock.behind`.
        """
        await self._time.check()
        moved, after = 0, registry.FIRST
        while True:
            async with self._store.begin() as tx:
                await tx.lock_exclusive([ROTATION])  # the books do not end an epoch whose keys are in our hands
                living = [epoch for epoch, _ in await living_consent(tx, self._rows)]
                if len(living) < 2:
                    break
                done = await registry.rewrap(
                    tx.conn,
                    living[-1],
                    epoch_keys=self._consent_keys(living),
                    at=self._clock(),
                    entropy=self._entropy,
                    after=after,
                )
                for grant in done.aside:
                    logger().error("consents.unsound", grant=grant)
                for grant in done.outlived:  # its row put its end off, or nobody looked for what is due
                    logger().error("consents.outlived", grant=grant)
                mark("epochs.rewrapped")
                # Crash here: this batch is still under the old key, which lives; the next turn takes it up.
            moved, after = moved + done.moved, done.last or registry.FIRST
            if done.last is None:
                for epoch in living[:-1]:
                    await self._destroy_consent(epoch)
        await self._store.forget()
        return moved

    def _consent_keys(self, living: Sequence[int]) -> dict[int, bytes]:
        """Those of living epochs, all of which must be there, and of any other that is there: a row may name it."""
        there = [int(name) for name in self._keys.names(KeyKind.CONSENT_EPOCH) if name.isdecimal()]
        return {each: self._keys.read(KeyKind.CONSENT_EPOCH, str(each)) for each in {*living, *there}}

    async def finish(self) -> int:
        """Destroy what was to be destroyed, or was not opened to the end, when a crash came between. Returns how many
        keys were left over. What no book knows is told in the log, once, and left as it is.
        """
        async with self._store.read() as tx:
            left, unknown = await books.sort(tx, self._keys)
            untold = await books.untold(tx, self._keys)
            begun = await books.begun(tx)
        if untold:
            await self._announce(untold)
        if not left and not unknown and not begun:
            self._tell(frozenset())
            return 0
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])  # a key whose row is about to be written is nobody's leftover
            left, unknown = await books.sort(tx, self._keys)
            for kind, name in left:
                if kind is KeyKind.CONSENT_EPOCH:  # burn the number: a process may remember it with this key
                    at = self._clock()
                    burnt = {"epoch": int(name), "opened_at": at, "destroyed_at": at}
                    await self._signer.insert(tx, consent_epochs, burnt)
                    tx.end(Ending.of(consent_epochs.name, key_of(int(name)), at=at, destroyed_at=at))
        mark("epochs.leftovers-written")
        # Crash here: they are still left over; the next call takes them up.
        for kind, name in left:
            self._keys.destroy(kind, name)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            await books.tidy(tx, self._keys)
        self._tell(frozenset(unknown))
        return len(left)

    async def unknown(self) -> list[books.Key]:
        """The keys that no book knows, by kind and name: none, unless somebody brought another database, or keys."""
        async with self._store.read() as tx:
            _, unknown = await books.sort(tx, self._keys)
        if not unknown:
            return []
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            return (await books.sort(tx, self._keys))[1]

    async def destroy_unknown(self, name: str) -> KeyKind:
        """End a key that no book knows, for good. Returns its kind. One day this will need two persons: here.

        Raises Refused `epochs.unknown` when there is none of this name, or a book knows it.
        """
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            found = [kind for kind, each in (await books.sort(tx, self._keys))[1] if each == name]
            if not found:
                raise Refused("epochs.unknown", "/name")
            at = self._clock()
            await books.begin(tx, found[0], name, at)
            tx.end(Ending.of(*books.named(found[0], name), at=at, destroyed_at=at))
        # Crash here: it is written down as one that was not opened to the end; `finish` destroys it.
        await self.finish()
        return found[0]

    def _tell(self, unknown: frozenset[books.Key]) -> None:
        if unknown - self._told:
            logger().error("epochs.unknown-keys", count=len(unknown))
        self._told = unknown

    async def burn_unknown(self) -> int:
        """Destroy the keys of epochs that the journal of endings has heard of and this database has not: it was put
        back from before, so nothing in it was sealed to them or wrapped under them. Returns how many.

        Dangerous while the right database is only away: an operator's restore alone calls it.
        """
        burned = []
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            at, ended = self._clock(), await tx.endings()
            gates = {Kid(row.kid).hex() for row in await tx.execute(select(gate_epochs.c.kid))}
            consents = {str(row.epoch) for row in await tx.execute(select(consent_epochs.c.epoch))}
            for kind, known in ((KeyKind.GATE, gates), (KeyKind.CONSENT_EPOCH, consents)):
                for name in self._keys.names(kind):
                    table, key = books.named(kind, name)
                    if name not in known and ended.newest(table, key) is not None:
                        tx.end(Ending.of(table, key, at=at, destroyed_at=at))
                        burned.append((kind, name))
        # Crash here: the journal calls them destroyed; `finish` destroys them.
        for kind, name in burned:
            self._keys.destroy(kind, name)
        return len(burned)

    async def _announce(self, untold: list[Ending]) -> None:
        """Living epochs that the journal has not heard of: from now on nobody takes their keys for leftovers.

        Once their rows are committed, for a crash before that leaves a leftover; `finish` tells what a crash kept back.
        """
        async with self._store.begin() as tx:
            for ending in untold:
                tx.end(ending)

    async def complete_gate(self, kid: Kid) -> bool:
        """Destroy again an epoch that the journal of endings calls destroyed and this database does not. Whether there
        was anything to do.
        """
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            there = (await tx.execute(select(gate_epochs).where(gate_epochs.c.kid == kid))).one_or_none()
            row = self._rows.one(gate_epochs.name, there)
            at, over = self._clock(), row is None or row.destroyed_at is not None
            if row is not None and not over:
                closed = at if row.closed_at is None else row.closed_at
                await self._signer.change(tx, gate_epochs, row, {"destroyed_at": at, "closed_at": closed})
                self._recorder.record(tx, FactKind.EPOCH_DESTROYED, at, detail=kid)
        self._keys.destroy(KeyKind.GATE, kid.hex())
        # Crash before this: `finish` destroys the key.
        return not over

    async def complete_consent(self, epoch: int) -> bool:
        """Destroy again an epoch that the journal of endings calls destroyed, and this database, with its key, does
        not: what it wraps is wrapped anew first. Whether there was anything to do.
        """
        if str(epoch) not in self._keys.names(KeyKind.CONSENT_EPOCH):
            return False
        living = [number for number, _ in await self.living_consent()]
        if epoch not in living:
            return False
        if epoch == living[-1]:
            await self.open_consent()
        await self.retire_consent()
        return True

    async def _destroy_consent(self, epoch: int) -> None:
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK, ROTATION])
            if epoch in await registry.epochs_used(tx.conn):
                raise Refused("epochs.in-use", "/epoch", epoch=epoch)
            at = self._clock()
            alive = (consent_epochs.c.epoch == epoch, consent_epochs.c.destroyed_at.is_(None))
            rows = await tx.execute(select(consent_epochs).where(*alive))
            for row in self._rows.valid(consent_epochs.name, rows):  # none: another was faster, and has said so
                await self._signer.change(tx, consent_epochs, row, {"destroyed_at": at})
                tx.end(Ending.of(consent_epochs.name, key_of(epoch), at=at, destroyed_at=at))
                self._recorder.record(tx, FactKind.EPOCH_DESTROYED, at)
        mark("epochs.consent-destruction-written")
        # Crash here: nothing is wrapped under it any more; `finish` destroys the key.
        self._keys.destroy(KeyKind.CONSENT_EPOCH, str(epoch))


async def living_consent(tx: Transaction, rows: RowReader) -> list[tuple[int, Instant]]:
    """The consent epochs that are not destroyed and when each was opened, oldest first, inside a transaction."""
    living = select(consent_epochs).where(consent_epochs.c.destroyed_at.is_(None)).order_by(consent_epochs.c.epoch)
    found = rows.valid(consent_epochs.name, await tx.execute(living))
    return [(row.epoch, Instant(row.opened_at)) for row in found]


async def newest_consent(tx: Transaction, rows: RowReader, keys: Mapping[int, bytes]) -> tuple[int, bytes]:
    """The epoch to wrap a new consent key under, and its key, by the books: one that no book knows is about to be
    destroyed. The caller holds LOCK, shared. Raises Unavailable `consents.no-epoch-key`.
    """
    living = await living_consent(tx, rows)
    newest = living[-1][0] if living else None
    if newest is None or newest not in keys:
        raise Unavailable("consents.no-epoch-key")
    return newest, keys[newest]


def _closed(closed_at: int | None, at: Instant) -> bool:
    return closed_at is not None and closed_at < at

"""Upkeep: what has to happen because time passes: grants end, epochs are opened, rotated and destroyed, what has served
its time is pruned.

Refuses: to do anything by a clock that cannot be believed (`broker.timekeeping`).
Keeps: each turn does what is due and may be interrupted anywhere, for every part of it can be called again. The bounds
that `docs/trust.md` states: how long a backup can open what was revoked, when an epoch is gone for good.
"""

from collections.abc import Collection
from dataclasses import dataclass

from broker.citizens import codes, sessions
from broker.consents.consents import Consents
from broker.consents.linking import Linking
from broker.consents.objections import Objections
from broker.consents.representing import Representing
from broker.ended import Endings
from broker.epochs.epochs import Epochs
from broker.flow.ended_grants import TABLE as GRANTS
from broker.flow.holds import HeldDeclarations
from broker.maintenance.completing import Completion
from broker.maintenance.pruning import Pruning
from broker.ports import Clock
from broker.timekeeping import Timekeeping
from consent.registry import CHUNK
from schemas.hpke import Suite
from schemas.names import Instant

DAY_MS = 86_400_000
PRUNE_MS = 3_600_000
"""From one pass of pruning to the next; sooner while more waits."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When keys are renewed and destroyed; days."""

    suite: Suite
    gate_days: int
    gate_overlap_days: int
    gate_retention_days: int
    consent_days: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did."""

    expired: int
    finished: int
    gates_opened: int
    gates_destroyed: int
    rewrapped: int | None
    """Consent keys wrapped anew; None when no rotation was due."""
    pruned: int
    completed: int = 0
    """Endings that the journal knew and the rows did not."""
    left: int = 0
    """Grants that ended, or were narrowed, because their rule by law was."""


class Upkeep:
    """Called by the ledger's process, and by `unefois run`."""

    def __init__(
        self,
        *,
        completion: Completion,
        endings: Endings,
        backups_ms: int,
        consents: Consents,
        objections: Objections,
        representing: Representing,
        linking: Linking,
        civil_status_sources: Collection[str],
        holds: HeldDeclarations,
        epochs: Epochs,
        pruning: Pruning,
        schedule: Schedule,
        clock: Clock,
        time: Timekeeping,
    ) -> None:
        self._completion = completion
        self._endings = endings
        self._backups_ms = backups_ms
        self._consents = consents
        self._objections = objections
        self._representing = representing
        self._linking = linking
        self._civil_status_sources = civil_status_sources
        self._holds = holds
        self._epochs = epochs
        self._pruning = pruning
        self._schedule = schedule
        self._clock = clock
        self._time = time
        self._pruned_at: Instant | None = None

    async def turn(self) -> Turn:
        """Do what is due. Raises Refused `clock.ahead`, `clock.behind` before anything; Unavailable, Corrupt."""
        await self._time.check()
        completed = await self._completion.finish()
        expired = await self._consents.expire_due()
        left = await self._objections.end_with_rules() + len(await self._representing.close())
        left += await self._objections.narrow_with_rules()
        await self._holds.let_go()
        finished = await self._epochs.finish()
        opened, destroyed = await self._gates()
        rewrapped = await self._consent_epoch() if expired < CHUNK else None  # what is due is ended first
        pruned = await self._prune()
        return Turn(expired, finished, opened, destroyed, rewrapped, pruned, len(completed), left)

    async def _prune(self) -> int:
        """Once an hour, and at once when this process begins; again at the next turn while more waits. With it the
        links that wait: they act days later, and every link is looked through.
        """
        at = self._clock()
        if self._pruned_at is not None and 0 <= at - self._pruned_at < PRUNE_MS:
            return 0
        await self._linking.confirm_entitled(self._civil_status_sources)
        done = await self._pruning.prune()
        await self._compact(at)
        self._pruned_at = None if done.more else at
        return done.total

    async def _compact(self, at: Instant) -> None:
        """What no epoch and no kept backup is older than need not stay in the journal of endings in every version; and
        a consent that is over needs no record, once nobody can open what it wrapped; nor a session or a code, once it
        would be over by itself.
        """
        kept = at - self._backups_ms
        oldest = min((opened for _, opened in await self._epochs.living_consent()), default=at)
        over = {
            GRANTS: Instant(min(kept, oldest)),
            sessions.TABLE: Instant(at - sessions.LONGEST_MS),
            codes.TABLE: Instant(at - codes.HOURS * 3_600_000),
        }
        await self._endings.compact(Instant(kept), over)

    async def _gates(self) -> tuple[int, int]:
        """A new gate key when the newest has served its time; the end of those whose retention is over."""
        epochs, at, opened, destroyed = await self._epochs.gate_epochs(), self._clock(), 0, 0
        if not epochs or at - epochs[-1].opened_at >= self._schedule.gate_days * DAY_MS:
            await self._epochs.open_gate(self._schedule.suite, self._schedule.gate_overlap_days * DAY_MS)
            opened = 1
        days, overlap = self._schedule.gate_retention_days, self._schedule.gate_overlap_days
        for kid in await self._epochs.gates_over(days * DAY_MS, overlap * DAY_MS):
            await self._epochs.destroy_gate(kid)
            destroyed += 1
        return opened, destroyed

    async def _consent_epoch(self) -> int | None:
        """A new consent epoch when the newest has served its time; the rest of a rotation that was interrupted."""
        living = await self._epochs.living_consent()
        if not living or self._clock() - living[-1][1] >= self._schedule.consent_days * DAY_MS:
            return await self._epochs.rotate_consent()
        return await self._epochs.retire_consent() if len(living) > 1 else None

"""Turns: each thing that the machine does once: route, tell, deliver to the agencies hosted here, order the ledger.

Refuses: to stop for one agency's trouble; only a contradiction of our own state stops everything.
Keeps: each step is one that may be killed anywhere and done again. When each comes again is said in one place,
`serving`; a `turn` is all of them, one after the other, and no more.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from broker.runtime.hosting import Hosted, pulls, tell_hosted
from broker.setup.wiring import Home
from broker.topics.served import TopicUser
from broker.webhooks.telling import Outcome
from schemas.errors import Corrupt, Detail, Fault, Unavailable
from schemas.names import PartyId

PULLS: Final = 1000
"""Pulls from one mailbox in one turn: a mailbox that never empties must not starve the others."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What did not work: for one agency, or for the broker itself when `party` is None. Nothing is lost by it.

    Told like a fault (`messages.explain`); `retriable`: the next turn tries again by itself.
    """

    party: PartyId | None
    code: str
    pointer: str
    details: Mapping[str, Detail]
    retriable: bool


@dataclass(slots=True)
class Turn:
    """What one turn moved."""

    expired: int = 0
    epochs: int = 0
    """Keys that were opened, rotated or destroyed because it was time."""
    taken: int = 0
    """Records that sources handed in by topic, refused ones too."""
    routed: int = 0
    relayed: int = 0
    """Deliveries put on their agencies' topics."""
    told: int = 0
    mailed: int = 0
    """Letters about webhooks that were given up, and about keys and tokens that end."""
    messages: int = 0
    """To citizens."""
    applied: int = 0
    rejected: int = 0
    answered: int = 0
    """Neither applied nor rejected: for their persons to repair, or for a human to decide."""
    retried: int = 0
    withheld: int = 0
    sequenced: int = 0
    cosigned: int = 0
    pruned: int = 0
    """Rows whose time was over, or that were made smaller."""
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def moved(self) -> bool:
        """Whether anything happened that the next turn may go on with."""
        ours = (self.expired, self.epochs, self.taken, self.routed, self.relayed, self.sequenced, self.pruned)
        return any(ours) or any((self.applied, self.rejected, self.answered, self.withheld))


def _never() -> bool:
    return False


async def turn(
    home: Home, agencies: Sequence[Hosted], stopping: Callable[[], bool] = _never, *, only: bool = False
) -> Turn:
    """One turn of everything; the `only` one does not wait for a window of the ledger to end. Raises Corrupt."""
    done = Turn()
    await attempt(done, None, keep(home, done))
    for user in await _served(home.inlet.served, done):
        await attempt(done, None, take(home, user.party, done))
    await attempt(done, None, _route(home, done))
    await attempt(done, None, repair(home, done))
    await attempt(done, None, tell_webhooks(home, done))
    await attempt(done, None, finish_webhooks(home, done))
    await attempt(done, None, mail(home, done))
    for user in await _served(home.relay.served, done):
        await attempt(done, None, relay(home, user.party, done))
    for hosted in agencies:
        if stopping():
            break
        await attempt(done, hosted.party, tell(home, hosted, done))
        await attempt(done, hosted.party, deliver(home, hosted, done, stopping))
    await attempt(done, None, sequence_unfinished(home, done) if only else sequence(home, done))
    await attempt(done, None, cosign(home, done))
    await attempt(done, None, tell_citizens(home, done))
    return done


async def attempt(done: Turn, party: PartyId | None, step: Coroutine[Any, Any, None]) -> None:
    """One step of a turn; a fault becomes its trouble. Raises Corrupt."""
    try:
        await step
    except Corrupt:
        raise
    except Fault as fault:
        done.troubles.append(trouble(party, fault))


def trouble(party: PartyId | None, fault: Fault) -> Trouble:
    """A fault that stops nobody, as a turn tells it."""
    return Trouble(party, fault.code, fault.pointer, fault.details, fault.retriable)


async def keep(home: Home, done: Turn) -> None:
    """What is due because time passed."""
    kept = await home.upkeep.turn()
    done.expired += kept.expired
    done.epochs += kept.finished + kept.gates_opened + kept.gates_destroyed + (kept.rewrapped is not None)
    done.pruned += kept.pruned


async def _route(home: Home, done: Turn) -> None:
    done.routed = await home.router.route()


async def repair(home: Home, done: Turn) -> None:
    """Try deliveries again whose recipient has been told the person's number."""
    done.routed += await home.repairs.step()


async def _served(who: Callable[[], Awaitable[Sequence[TopicUser]]], done: Turn) -> Sequence[TopicUser]:
    try:
        return await who()
    except Unavailable as fault:
        done.troubles.append(trouble(None, fault))
        return ()


async def take(home: Home, source: PartyId, done: Turn) -> None:
    """Take what a source has written to its topic."""
    while count := await home.inlet.take(source):
        done.taken += count


async def relay(home: Home, agency: PartyId, done: Turn) -> None:
    """Put what waits for an agency on its topic."""
    while count := await home.relay.relay(agency):
        done.relayed += count


async def tell(home: Home, hosted: Hosted, done: Turn) -> None:
    """Tell an agency that deliveries wait."""
    report = await tell_hosted(home, hosted)
    if report is not None:
        done.told += len(report.told)
        _note(done, hosted, (code for _, code in report.unheard))


async def tell_webhooks(home: Home, done: Turn, stopping: Callable[[], bool] = _never) -> None:
    """Tell administrations at their own addresses, until nothing is due; what is slow is noted at a later turn."""
    while not stopping():
        outcomes, began = await home.telling.step()
        _note_told(done, outcomes)
        if not outcomes and not began:
            return


async def finish_webhooks(home: Home, done: Turn) -> None:
    """Wait for what is being told."""
    _note_told(done, await home.telling.finish())


async def mail(home: Home, done: Turn) -> None:
    """Tell administrations by mail what their webhooks cannot tell them, and what of theirs is about to end. A mail
    server that is away is their trouble and not ours: the broker works.
    """
    found = [*await home.notices.step(), *await home.expiry_letters.step()]
    done.mailed += sum(one.code is None for one in found)
    failed = {(one.party, one.code) for one in found if one.code is not None}
    done.troubles += [Trouble(party, code, "", {}, retriable=True) for party, code in sorted(failed)]
    if (code := await home.dpo_letters.step()) is not None:
        done.troubles.append(Trouble(None, code, "", {}, retriable=True))


async def tell_citizens(home: Home, done: Turn) -> None:
    """Tell citizens that there is news. A way that is closed is told, and keeps nothing else waiting: who answers for
    the broker's own work goes on.
    """
    if not home.ways:
        return
    await home.late.look()
    found = await home.sending.step()
    done.messages += sum(one.code is None for one in found)
    failed = {one.code for one in found if one.code is not None}
    done.troubles += [Trouble(home.party, code, "", {}, retriable=True) for code in sorted(failed)]


def _note_told(done: Turn, outcomes: Sequence[Outcome]) -> None:
    done.told += sum(one.code is None for one in outcomes)
    failed = {(one.message.to.party, one.code) for one in outcomes if one.code is not None}
    done.troubles += [Trouble(party, code, "", {}, retriable=True) for party, code in sorted(failed)]


async def deliver(home: Home, hosted: Hosted, done: Turn, stopping: Callable[[], bool]) -> None:
    """Pull until the mailbox is empty: a citizen's next delivery comes only after the one before is acknowledged."""
    count = 0
    async with aclosing(pulls(home, hosted)) as reports:
        async for report in reports:
            done.applied += len(report.applied)
            done.rejected += len(report.rejected)
            done.answered += len(report.answered)
            done.retried += len(report.retried)
            done.withheld += len(report.withheld)
            _note(done, hosted, (code for _, code in report.retried))
            count += 1
            if stopping() or count >= PULLS:
                return


def _note(done: Turn, hosted: Hosted, codes: Iterable[str]) -> None:
    """What comes again later, and why."""
    done.troubles += [Trouble(hosted.party, code, "", {}, retriable=True) for code in sorted(set(codes))]


async def cosign(home: Home, done: Turn) -> None:
    """Ask the witnesses; what is wrong with one of them holds nothing up."""
    done.cosigned += await home.cosigning.step()


async def publish(home: Home, _: Turn) -> None:
    """Sign the directory where it changed, for processes that answer and have no key to sign with."""
    await home.publication.newest()


async def sequence(home: Home, done: Turn) -> None:
    """Order what the ledger's windows that are over hold."""
    done.sequenced += await home.ledger.sequence()


async def sequence_unfinished(home: Home, done: Turn) -> None:
    """Order everything, for who has no next turn."""
    done.sequenced += await home.ledger.sequence_unfinished()

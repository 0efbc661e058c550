"""Person erase: what can go of what is held about a person goes now; what stays is told, with why and until when.

    nothing on its way? ──► consents end ──► sealed declarations and deliveries are emptied ──► channels, messages,
    drafts, what opens the entries about them, sessions, codes, identifiers of providers go ──► what is left is counted

Refuses: while anything about the person is on its way (`rights.under-way`): nothing is lost, and it is asked again once
that has ended.
Keeps: each step is a transaction that leaves everything in order, and does nothing the second time: killed anywhere,
the same call goes on where the other one stopped. What a step took away, a database that is put back from a backup does
not bring back into use: the journal of endings knows the declarations and the channels. What proves that the broker
kept to the person's word stays for its time (`person_kept`).
Source: Regulation (EU) 2016/679 (GDPR), article 17; docs/adr/0054-a-persons-rights.md.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import func, select

from broker.flow import erased
from broker.observability.crashpoints import mark
from broker.services.person_kept import kept
from broker.services.person_rows import HELD
from broker.services.viewing import record_look
from broker.setup.wiring import Home
from broker.shapes import Json
from broker.store.engine import Transaction
from broker.store.message_tables import channels
from broker.store.tables import ledger_openings
from consent import registry
from consent.grant import Voice
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import LeafHash, SubjectRef

_OF_SIGNING_IN: Final = ("sessions", "accounts", "codes")
_OF_CHANNELS: Final = (FactKind.CHANNEL_ADDED.value, FactKind.CHANNEL_ENDED.value)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What would go, or went, by section; what stays, why, until when; how much is on its way, so that nothing may."""

    gone: Mapping[str, int]
    stays: list[Json] = field(default_factory=list)
    under_way: int = 0

    @property
    def nothing(self) -> bool:
        """Whether nothing is left that could go."""
        return not any(self.gone.values())


async def look(home: Home, subject: SubjectRef, *, own: bool = False) -> Erasure:
    """What would go now. Nothing does. `own`: the person looks; else the look is recorded. Raises Unavailable."""
    async with home.store.begin() as tx:
        theirs = await _references(home, tx, subject)
        due = await _due(home, tx, theirs)
        waiting = await _under_way(tx, theirs)
        stays = await _stays(home, tx, theirs, due)
        if not own:
            record_look(home, tx, subject)
    return Erasure(due, stays, waiting)


async def erase(home: Home, subject: SubjectRef, voice: Voice) -> Erasure:
    """Let it go. `voice`: whose word ends the consents. Returns what went; all 0 where nothing was left.

    Raises Refused `rights.under-way`; Corrupt `registry.unsound`; Unavailable: some of it may be gone, and the same
    call goes on.
    """
    async with home.store.read() as tx:
        theirs = await _references(home, tx, subject)
        due = await _due(home, tx, theirs)
        waiting = await _under_way(tx, theirs)
    if waiting:
        raise Refused("rights.under-way", "/person", count=waiting)
    for one in theirs:
        await home.consents.revoke_all(one, voice)
        # Crash here: some consents have ended, each with its entry; the same call ends the others.
        while await home.erased.erase(one):
            pass
        async with home.store.begin() as tx:
            await home.channels.forget(tx, one)
            await home.drafts.forget(tx, one)
            await home.sessions.end_all(tx, [one], home.clock())
            await home.codes.forget(tx, one, home.clock())
            await home.accounts.forget(tx, one)
            leaves = await _openings(tx, one)
            if leaves:
                await home.erasing.erase(tx, leaves, by_right=True)
            mark("erased.channels")
            # Crash here: where they are told is as it was, and goes with the same call; the rest is gone already.
    await home.store.forget()
    async with home.store.read() as tx:
        return Erasure(due, await _stays(home, tx, theirs, {}))


async def _references(home: Home, tx: Transaction, subject: SubjectRef) -> tuple[SubjectRef, ...]:
    """All that are this citizen's: after a change of name, what stands under the old one goes, too."""
    return (await home.lookup.kin(tx, [subject], home.clock())).of(subject)


async def _under_way(tx: Transaction, theirs: Iterable[SubjectRef]) -> int:
    return sum([await erased.under_way(tx, one) for one in theirs])


async def _due(home: Home, tx: Transaction, theirs: Iterable[SubjectRef]) -> dict[str, int]:
    told: Counter[str] = Counter()
    for one in theirs:
        told.update(await _due_of(home, tx, one))
    return dict(told)


async def _due_of(home: Home, tx: Transaction, subject: SubjectRef) -> dict[str, int]:
    living = [one for one in await registry.of_subject(tx.conn, subject) if not one.status.over and not one.by_law]
    mine = await home.erased.due(tx, subject)
    return {
        "consents": len(living),
        **mine,
        "channels": await _count(tx, select(func.count()).select_from(channels).where(channels.c.subject == subject)),
        "messages": await _count(tx, HELD["messages"].counted(subject)),
        "told_already": await _count(tx, HELD["told_already"].counted(subject)),
        "drafts": await home.drafts.count(tx, subject),
        **{name: await _count(tx, HELD[name].counted(subject)) for name in _OF_SIGNING_IN},
        "entries": len(await _openings(tx, subject)),
    }


async def _stays(home: Home, tx: Transaction, theirs: tuple[SubjectRef, ...], going: Mapping[str, int]) -> list[Json]:
    """What will be there afterwards: rows that are only emptied stay."""
    counts = {name: sum([await _count(tx, section.counted(one)) for one in theirs]) for name, section in HELD.items()}
    of_me = select(func.count()).select_from(ledger_openings).where(ledger_openings.c.subject.in_(theirs))
    counts["entries"] = await _count(tx, of_me)
    counts["drafts"] = sum([await home.drafts.count(tx, one) for one in theirs])
    for name in ("channels", "messages", "entries", "told_already", "drafts", *_OF_SIGNING_IN):
        counts[name] -= going.get(name, 0)
    return kept(counts, home.settings)


async def _openings(tx: Transaction, subject: SubjectRef) -> list[LeafHash]:
    """Of the entries that tell where the person was told."""
    mine = (ledger_openings.c.subject == subject, ledger_openings.c.kind.in_(_OF_CHANNELS))
    return [LeafHash(leaf) for leaf in (await tx.execute(select(ledger_openings.c.leaf).where(*mine))).scalars()]


async def _count(tx: Transaction, counted: Any) -> int:
    return int((await tx.execute(counted)).scalar_one())

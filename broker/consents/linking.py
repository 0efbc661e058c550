"""Linking: two references become one citizen's, slowly and in sight, and can be parted again.

    asked for ──two operators, or an entitled source──► confirmed ──link_delay_hours──► acts ──two operators──► ended
        └──────────── either account, or operators ────────────┴──► refused

Refuses: two dates of birth; a reference linked to itself, to one that it is linked to already, or in a circle; a second
link for one that has one; an event alone where both live here: who takes over a history must be seen by two persons.
Keeps: before `acts_from` nothing of one is shown to, or acts for, the other. A link moves no row, so its end gives each
their own back; what was on its way by it is closed in the same transaction. Each step has two entries in the ledger,
one about each reference, which commit to different digests: nobody tells from the ledger who became whom. An end is in
the journal of endings before it is committed.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import ColumnElement, Row, exists, or_, select

from broker.access import acts
from broker.consents.protecting import Protecting, Spread
from broker.directory import kin
from broker.directory.kin import Ground, Link, ended_as
from broker.directory.lookup import Lookup
from broker.ended import Ending
from broker.flow.declared import known
from broker.flow.deliveries import OPEN, Delivery, citizen_lock, load, mailbox_lock, withhold
from broker.flow.planner import Planner
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowSigner
from broker.store.tables import declarations, deliveries, ledger_openings, reference_links
from consent.tables import grants
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, LinkId, Reason, SubjectRef, uuid7

OPERATORS: Final = "operators"
_OF_LINKS: Final = tuple(one.value for one in (FactKind.LINK_ASKED, FactKind.LINK_CONFIRMED, FactKind.LINK_ENDED))
_LOCK: Final = b"reference-links"
"""Alone for whoever asks for a link."""
EVIDENCE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ./:-]{0,62}[A-Za-z0-9])?")
"""The number of an act, of a judgment, of a decree; no name has its place there."""


@dataclass(frozen=True, slots=True)
class Parted:
    """A link that has ended, and what recipients had got by it: to be recalled, if it was wrong."""

    link: Link
    delivered: tuple[Delivery, ...]


class Linking:
    """The only writer of links between identities."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        keyring: Keyring,
        planner: Planner,
        protecting: Protecting,
        signer: RowSigner,
        macs: RowMacs,
        recorder: Recorder,
        delay_ms: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`delay_ms`: from a confirmation to its effect."""
        self._lookup = lookup
        self._keyring = keyring
        self._planner = planner
        self._protecting = protecting
        self._macs = macs
        self._store = store
        self._signer = signer
        self._rows = signer.verifier
        self._recorder = recorder
        self._delay_ms = delay_ms
        self._clock = clock
        self._entropy = entropy

    async def ask(
        self, kept: SubjectRef, alias: SubjectRef, *, evidence: str, asked_by: str, entitled: bool = False
    ) -> Link:
        """Write down that the citizen `kept` is `alias` now; whoever calls has compared their births.

        `entitled`: an entitled source says so, in an event. Then it is confirmed by that, unless both live here, or one
        of them has refused it before. The same event once more changes nothing.
        Raises Refused: `links.evidence`, `links.itself`, `links.exists`, `links.taken`, `links.circle`,
        `links.too-many`.
        """
        if not EVIDENCE.fullmatch(evidence):
            raise Refused("links.evidence", "/evidence")
        if kept == alias:
            raise Refused("links.itself", "/new")
        at = self._clock()
        made = Link(
            id=LinkId(uuid7(at, self._entropy(10))),
            alias=alias,
            kept=kept,
            ground=Ground.EVENT if asked_by != OPERATORS else Ground.OPERATORS,
            evidence=evidence,
            asked_by=asked_by,
            asked_at=at,
        )
        spread = Spread()
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_LOCK])  # two links at once could close a circle that neither sees
            await tx.lock_exclusive([citizen_lock(one) for one in (kept, alias)])
            before = [one for one in await kin.touching(tx, self._rows, [alias]) if _pair(one) == _pair(made)]
            for one in before:
                if made.ground is Ground.EVENT and one.evidence == evidence:
                    return one  # the same declaration, once more
            await self._check(tx, made)
            await self._signer.insert(tx, reference_links, made.row())
            self._record(tx, FactKind.LINK_ASKED, made, at)
            mark("linking.asked")
            # Crash here: nothing was asked for; the same event or the same operator asks again. So too below.
            if entitled and not await self._takes_operators(tx, made):
                made, spread = await self._confirm(tx, await self._row(tx, made.id), made, at)
        await self._protecting.finish(spread, at)
        return made

    async def confirm(self, link: LinkId) -> Link:
        """Two operators have seen the act. Raises Refused: `links.unknown`, `links.ended`, `links.confirmed`."""
        async with self._store.begin() as tx:
            row, before = await self._one(tx, link)
            if before.confirmed_at is not None:
                raise Refused("links.confirmed", "/link")
            at = self._clock()
            confirmed, spread = await self._confirm(tx, row, replace(before, ground=Ground.OPERATORS), at)
        await self._protecting.finish(spread, at)
        return confirmed

    async def confirm_entitled(self, entitled: Collection[str]) -> int:
        """Confirm what entitled sources have asked for and a process without the consents' keys could not confirm.
        Whoever has to look stays for operators. Returns how many.
        """
        if not entitled:
            return 0
        waits = reference_links.c.confirmed_at.is_(None) & reference_links.c.ended_at.is_(None)
        asked = select(reference_links.c.id).where(waits, reference_links.c.ground == Ground.EVENT.value)
        async with self._store.read() as tx:
            found = (await tx.execute(asked.where(reference_links.c.asked_by.in_(entitled)))).scalars().all()
        return sum([await self._confirm_entitled(LinkId(one)) for one in found])

    async def _confirm_entitled(self, link: LinkId) -> bool:
        try:
            async with self._store.begin() as tx:
                row, before = await self._one(tx, link)
                if before.confirmed_at is not None or await self._takes_operators(tx, before):
                    return False
                at = self._clock()
                _, spread = await self._confirm(tx, row, before, at)
        except Refused:
            return False  # ended meanwhile, or a row that does not count
        await self._protecting.finish(spread, at)
        return True

    async def refuse(self, link: LinkId, whose: SubjectRef) -> Parted:
        """One of the two accounts says no, before it acts. Raises Refused: `links.unknown`, also for who is neither of
        the two; `links.ended`; `links.acts`.
        """
        async with self._store.begin() as tx:
            row, before = await self._one(tx, link, whose)
            if before.acts(self._clock()):
                raise Refused("links.acts", "/link")
            parted = await self._end(tx, row, before, "alias" if whose == before.alias else "kept")
            await acts.keep(tx, parted.link)
        return parted

    async def end(self, link: LinkId) -> Parted:
        """Part them again: two operators. Raises Refused: `links.unknown`, `links.ended`."""
        async with self._store.begin() as tx:
            row, before = await self._one(tx, link)
            return await self._end(tx, row, before, OPERATORS)

    async def complete(self, ending: Ending) -> bool:
        """Do what the journal of endings says of a link, and its row does not. Whether there was anything to do."""
        async with self._store.begin() as tx:
            row = await self._row(tx, LinkId(ending.key))
            if row is None or row.ended_at is not None:
                return False
            before = kin.link_of(row)
            await self._lock(tx, before)
            await self._end(tx, row, before, str(ending.told["ended_by"]))
        return True

    async def of(self, subject: SubjectRef | None = None) -> list[Link]:
        """The links of identities that a citizen's own reference is in, or all of them; ended ones too."""
        async with self._store.read() as tx:
            if subject is not None:
                found = await kin.touching(tx, self._rows, [subject])
            else:
                rows = self._rows.valid(reference_links.name, await tx.execute(select(reference_links)))
                ended = await tx.endings()
                found = [kin.obeyed(kin.link_of(row), ended) for row in rows]
        own = (one for one in found if one.ground is not Ground.SPELLING)
        return sorted(own, key=lambda one: (one.asked_at, one.id))

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _check(self, tx: Transaction, new: Link) -> None:
        """Whether two who are not linked yet would be, and in one way only."""
        living = await self._component(tx, {new.alias, new.kept})
        if any({one.alias, one.kept} == {new.alias, new.kept} for one in living):
            raise Refused("links.exists", "/new")
        if any(one.alias == new.alias for one in living):
            raise Refused("links.taken", "/new")
        groups = kin.groups_of(living)
        if new.kept in groups.get(new.alias, ()):
            raise Refused("links.circle", "/new")
        if len(groups.get(new.alias, (b"",))) + len(groups.get(new.kept, (b"",))) > kin.MOST:
            raise Refused("links.too-many", "/new", limit=kin.MOST)

    async def _component(self, tx: Transaction, asked: set[SubjectRef]) -> list[Link]:
        """Every living link from here on, whether it acts yet or not."""
        seen, found = set(asked), dict[bytes, Link]()
        while asked:
            new = [one for one in await kin.touching(tx, self._rows, asked) if one.living]
            found |= {one.id: one for one in new}
            asked = {side for one in new for side in (one.alias, one.kept)} - seen
            seen |= asked
        return list(found.values())

    async def _takes_operators(self, tx: Transaction, link: Link) -> bool:
        """Whether an event alone is too little: one of the two has refused it before, or both live here."""
        pair = [one for one in await kin.touching(tx, self._rows, [link.alias]) if _pair(one) == _pair(link)]
        return any(one.ended_by is not None for one in pair) or await self._both_live(tx, link)

    async def _both_live(self, tx: Transaction, link: Link) -> bool:
        """Whether something stands under either: a consent, an address, a look; links themselves do not count."""
        return all([await self._lives(tx, one) for one in (link.alias, link.kept)])

    async def _lives(self, tx: Transaction, subject: SubjectRef) -> bool:
        told = exists().where(ledger_openings.c.subject == subject, ledger_openings.c.kind.not_in(_OF_LINKS))
        found = select(or_(told, exists().where(grants.c.subject == subject)))
        return bool((await tx.execute(found)).scalar_one())

    async def _confirm(
        self, tx: Transaction, row: Row[object] | None, before: Link, at: Instant
    ) -> tuple[Link, Spread]:
        """Who of the two is protected is so under every name from this moment on, and not only once it acts."""
        if row is None:
            raise Refused("links.unknown", "/link")
        confirmed = replace(before, confirmed_at=at, acts_from=Instant(at + self._delay_ms))
        await self._signer.change(tx, reference_links, row, confirmed.row())
        self._record(tx, FactKind.LINK_CONFIRMED, confirmed, at)
        ours, theirs = await self._sides(tx, confirmed)
        spread = await self._protecting.spread(tx, {*ours, *theirs}, at)
        mark("linking.confirmed")
        return confirmed, spread

    async def _end(self, tx: Transaction, row: Row[object], before: Link, by: str) -> Parted:
        at = max(self._clock(), before.asked_at)
        over = ended_as(before, at, by)
        tx.end(Ending.of(reference_links.name, before.id, at=at, actor=by, ended_at=at, ended_by=by))
        across = await self._part(tx, before, at)
        await self._signer.change(tx, reference_links, row, over.row())
        await self._plan_again(tx, [one for one in across if one.state in OPEN], at)
        self._record(tx, FactKind.LINK_ENDED, over, at)
        mark("linking.ended")
        # Crash here: it stands as before and is ended again; or, if the journal of endings has it, it joins nobody from
        # now on, and the next start completes it.
        return Parted(over, tuple(one for one in across if one.released_at is not None))

    async def _part(self, tx: Transaction, link: Link, at: Instant) -> list[Delivery]:
        """Close what is on its way by this link, once nobody hands it over. Returns all that was planned by it, as it
        was.
        """
        ours, theirs = await self._sides(tx, link)
        across = or_(_across(ours, theirs), _across(theirs, ours))
        to = {one.recipient for one in await load(tx, across)}
        await tx.lock_exclusive([mailbox_lock(one) for one in to])
        found = await load(tx, across)
        await withhold(tx, self._recorder, [one for one in found if one.state in OPEN], Reason.NO_GRANT, at)
        return found

    async def _plan_again(self, tx: Transaction, closed: list[Delivery], at: Instant) -> None:
        """What was closed goes out under what its own citizen has allowed, if anything."""
        there, keys = await self._lookup.subscriptions_by_id(tx), self._keyring.consent_epochs()
        for seq, subscription in sorted({(one.declaration, one.subscription) for one in closed}):
            for one in await known(tx, self._macs, declarations.c.seq == seq):
                if subscription in there:
                    await self._planner.replan(tx, one, there[subscription], keys, at)

    async def _sides(self, tx: Transaction, link: Link) -> tuple[tuple[SubjectRef, ...], tuple[SubjectRef, ...]]:
        """The two citizens without this link."""
        others = [one for one in await self._component(tx, {link.alias, link.kept}) if one.id != link.id]
        groups = kin.groups_of(others)
        return groups.get(link.alias, (link.alias,)), groups.get(link.kept, (link.kept,))

    async def _lock(self, tx: Transaction, link: Link) -> None:
        """Everybody who could plan for one of the two waits."""
        ours, theirs = await self._sides(tx, link)
        await tx.lock_exclusive([citizen_lock(one) for one in sorted({*ours, *theirs})])

    async def _one(self, tx: Transaction, link: LinkId, whose: SubjectRef | None = None) -> tuple[Row[object], Link]:
        """A link that stands, under the locks of its citizens. Read again: another may have ended it meanwhile."""
        there = await self._row(tx, link)
        if there is None or (whose is not None and whose not in (there.alias, there.kept)):
            raise Refused("links.unknown", "/link")
        await self._lock(tx, kin.link_of(there))
        row = await self._row(tx, link)
        if row is None or row.ground == Ground.SPELLING.value:
            raise Refused("links.unknown", "/link")
        found = kin.obeyed(kin.link_of(row), await tx.endings())
        if not found.living:
            raise Refused("links.ended", "/link")
        return row, found

    async def _row(self, tx: Transaction, link: LinkId) -> "Row[object] | None":
        asked = select(reference_links).where(reference_links.c.id == link)
        return self._rows.one(reference_links.name, (await tx.execute(asked)).one_or_none())

    def _record(self, tx: Transaction, kind: FactKind, link: Link, at: Instant) -> None:
        for side in (link.alias, link.kept):
            self._recorder.record(tx, kind, at, about=side, detail=link.told(side))


def _pair(link: Link) -> frozenset[SubjectRef]:
    return frozenset({link.alias, link.kept})


def _across(declared: Collection[SubjectRef], allowed: Collection[SubjectRef]) -> ColumnElement[bool]:
    return declarations.c.subject.in_(declared) & deliveries.c.subject.in_(allowed)

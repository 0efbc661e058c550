"""Lookup: the directory and the subscriptions as the flows need them, read once for each version of the tables.

Refuses: to answer from what another process has changed: the version is asked once in every transaction. Whoever
changes the directory in a transaction does not ask here in the same one.
Keeps: a revoked key and an ended subscription count from the transaction after the one that said so. A row without
the broker's seal (`broker.store.rows`) is in no picture, nor is a subscription whose recipient is in none.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from broker.directory import kin, reading
from broker.directory import purposes as purpose_rows
from broker.directory import rules as rule_rows
from broker.directory.law import law_of
from broker.directory.registrar import TRUST
from broker.store.engine import Store, Transaction
from broker.store.rows.seals import RowReader
from consent.policy import Subscription, SubscriptionStatus
from consent.purposes import Catalogue
from consent.rules import Rule, RuleStatus
from schemas import areas
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.law import Law
from schemas.names import EventType, Instant, PartyId, RuleId, SubjectRef


@dataclass(frozen=True, slots=True)
class _Picture:
    """What one version of the tables says."""

    version: tuple[int, int]
    """Of the tables, and where the journal of endings was."""
    directory: Directory
    sectors: Mapping[PartyId, str]
    by_id: Mapping[bytes, Subscription]
    of_type: Mapping[EventType, Sequence[Subscription]]
    everywhere: Mapping[EventType, Sequence[Subscription]]
    by_territory: Mapping[tuple[EventType, str], Sequence[Subscription]]
    rules: Mapping[RuleId, Rule]
    rules_for: Mapping[EventType, Sequence[Rule]]
    hears: Mapping[PartyId, frozenset[str]]
    purposes: Catalogue


class Lookup:
    """Answers from a picture of the directory; a picture is made anew when the version moved."""

    def __init__(self, rows: RowReader) -> None:
        self._rows = rows
        self._picture: _Picture | None = None
        self._asked: Transaction | None = None

    async def directory(self, tx: Transaction) -> Directory:
        """Who holds which key, with which rights, as of this transaction."""
        return (await self._current(tx)).directory

    async def newest(self, store: Store) -> Directory:
        """The same for who is inside no transaction: one question, unless the version moved."""
        async with store.read_one() as tx:
            version = (await reading.version(tx), await reading.moved(tx))
        if self._picture is None or self._picture.version != version:
            async with store.read() as tx:
                return await self.directory(tx)
        return self._picture.directory

    async def at_hand(self, store: Store) -> Directory:
        """As it was when somebody asked last, and no question: for who asks for the one in force before it counts."""
        return await self.newest(store) if self._picture is None else self._picture.directory

    async def in_force(self, tx: Transaction) -> Directory:
        """As of this transaction, and nobody changes a key, a right or a policy before it has ended. Not after
        `directory`.
        """
        await tx.lock_shared([TRUST])
        return await self.directory(tx)

    async def sector(self, tx: Transaction, party: PartyId) -> str:
        """Whose pseudonyms a registered party sees. Raises Refused `directory.unknown-party`."""
        found = (await self._current(tx)).sectors.get(party)
        if found is None:
            raise Refused("directory.unknown-party", party=party)
        return found

    async def subscriptions_by_id(self, tx: Transaction) -> Mapping[bytes, Subscription]:
        """Every subscription, ended ones too."""
        return (await self._current(tx)).by_id

    async def hears(self, tx: Transaction) -> Mapping[PartyId, frozenset[str]]:
        """Every area that each recipient has a subscription for, ended ones too; who has none for an area is absent."""
        return (await self._current(tx)).hears

    async def rules(self, tx: Transaction) -> Mapping[RuleId, Rule]:
        """Every rule by law, ended ones too."""
        return (await self._current(tx)).rules

    async def rules_for(self, tx: Transaction, event_type: EventType) -> Sequence[Rule]:
        """Those for this type that were approved and have not ended, whether they act yet or not."""
        return (await self._current(tx)).rules_for.get(event_type, ())

    async def law(self, tx: Transaction) -> Law:
        """The rules and the purposes as everybody may have them, as of this transaction."""
        current = await self._current(tx)
        return law_of(current.rules.values(), await purpose_rows.added(tx, self._rows))

    async def purposes(self, tx: Transaction) -> Catalogue:
        """Every purpose that can be named: the program's own, and those that were added and approved."""
        return (await self._current(tx)).purposes

    async def candidates(
        self,
        tx: Transaction,
        event_type: EventType,
        territories: Sequence[str],
        originals: frozenset[PartyId] = frozenset(),
    ) -> list[Subscription]:
        """Who may want to hear: asked or approved for this type, for everywhere or for an area that holds one of these
        territories. Areas are looked up by their codes, so that it does not matter how many subscriptions there are.

        A commune far away is no candidate and leaves no trace: 35,000 withholdings a move would tell nobody anything.
        `originals`, who got what a correction corrects, are candidates wherever they are.
        """
        picture = await self._current(tx)
        found = list(picture.everywhere.get(event_type, ()))
        for code in areas.heard_by(territories):
            found.extend(picture.by_territory.get((event_type, code), ()))
        found.extend(one for one in picture.of_type.get(event_type, ()) if one.recipient in originals)
        return sorted({one.id: one for one in found}.values(), key=lambda one: (one.recipient, one.purpose))

    async def elsewhere(self, tx: Transaction, event_type: EventType, territories: Sequence[str]) -> list[Subscription]:
        """Who hears of this type, but not of these territories: approved for areas that hold none of them.

        For a dry run, which says so; it goes through all subscriptions of the type, and no router may.
        """
        hearing = areas.heard_by(territories)
        of_type = (await self._current(tx)).of_type.get(event_type, ())
        return [
            one
            for one in of_type
            if one.status is SubscriptionStatus.APPROVED
            and one.territories is not None
            and one.territories.isdisjoint(hearing)
        ]

    async def kin(self, tx: Transaction, subjects: Collection[SubjectRef], at: Instant) -> kin.Kin:
        """Under which other references these citizens stand at this instant. Raises Corrupt `links.too-many`."""
        return await kin.kin_of(tx, self._rows, subjects, at)

    async def parties(self, tx: Transaction) -> tuple[reading.Party, ...]:
        """Every party, by id."""
        return await reading.all_parties(tx, self._rows)

    async def party(self, tx: Transaction, party: PartyId) -> reading.Party:
        """One party's row. Raises Refused `directory.unknown-party`."""
        return await reading.party(tx, self._rows, party)

    async def _current(self, tx: Transaction) -> _Picture:
        if self._picture is None or self._asked is not tx:
            version = (await reading.version(tx), await reading.moved(tx))
            if self._picture is None or self._picture.version != version:
                self._picture = await self._draw(tx, version)
            self._asked = tx
        return self._picture

    async def _draw(self, tx: Transaction, version: tuple[int, int]) -> _Picture:
        of_type: dict[EventType, list[Subscription]] = {}
        everywhere: dict[EventType, list[Subscription]] = {}
        by_territory: dict[tuple[EventType, str], list[Subscription]] = {}
        sectors = {one.id: one.sector for one in await reading.all_parties(tx, self._rows)}
        subscriptions = [one for one in await reading.subscriptions(tx, self._rows) if one.recipient in sectors]
        for one in subscriptions:
            if one.status is SubscriptionStatus.ENDED:
                continue
            of_type.setdefault(one.event_type, []).append(one)
            if one.territories is None:
                everywhere.setdefault(one.event_type, []).append(one)
            else:
                for territory in one.territories:
                    by_territory.setdefault((one.event_type, territory), []).append(one)
        hears: dict[PartyId, frozenset[str]] = {}
        for one in subscriptions:
            if one.territories is not None:
                hears[one.recipient] = hears.get(one.recipient, frozenset()) | one.territories
        rules = {one.id: one for one in await rule_rows.every(tx, self._rows) if one.recipient in sectors}
        rules_for: dict[EventType, list[Rule]] = {}
        for rule in rules.values():
            if rule.status is RuleStatus.APPROVED:
                rules_for.setdefault(rule.event_type, []).append(rule)
        return _Picture(
            version=version,
            directory=await reading.snapshot(tx, self._rows),
            sectors=sectors,
            by_id={one.id: one for one in subscriptions},
            of_type=of_type,
            everywhere=everywhere,
            by_territory=by_territory,
            rules=rules,
            rules_for=rules_for,
            hears=hears,
            purposes=await purpose_rows.every(tx, self._rows),
        )

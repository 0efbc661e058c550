"""The game's board: a real broker with its cast, and rounds of one ledger window, each with a bit that nobody is told.

A round has two fresh citizens, A and B (`scenes`), and a third, C, who has nothing to do with the question. It is
played through consents, intake, router, gate, mailbox and sequencer; what the adversary reads is the exported log.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.tracking import Progress
from broker.ledger.openings import Opened
from broker.ledger.sequencer import size_of
from broker.transparency.audits import audit_folder, files_in
from broker.transparency.export import export
from connectors.contract import Applied
from schemas import facts_v1, merkle, tiles
from schemas.entry import Entry
from schemas.facts import FactKind, Facts
from schemas.hpke import Suite
from schemas.names import DeclarationId, Instant, LeafHash, ManifestDigest, PartyId, SubjectRef
from tests.game.scenes import EXCHANGES, FIELDS, HOUSING, MAIRIE, OTHER, VISIBLE, Table
from tests.world import CAF, CPAM, ELISE, MINUTE, MOVED, RENNES, World, world

WITHOUT_STATUS = "source that does not ask how far"
CAST = ("source", WITHOUT_STATUS, "recipient", "another recipient", "portal", "citizen")
PULLING = (CAF, CPAM, RENNES, OTHER)


@dataclass(frozen=True)
class Held:
    """All that one party lawfully has of one round."""

    digests: Mapping[str, ManifestDigest]
    """Of A's, B's, C's manifest, for who has them; `ids`: of the declarations."""
    ids: Mapping[str, DeclarationId]
    own: tuple[tuple[str, Opened], ...]
    """Entries that a receipt of its own opens, each with whom it is about: A, B or C."""
    status: tuple[Mapping[str, int], ...]
    """What the status API answered of A's declaration and of B's, before the pulls, and again after them."""


@dataclass(frozen=True)
class Round:
    """One window: what is public, what each party holds, and the bit, which is told after the guess.

    `declared`, `acted`, `pulled`: when A and B and the recipients did so, as who stood by has seen.
    """

    exchange: str
    bit: int
    declared: Mapping[str, Instant]
    acted: Mapping[str, Instant]
    pulled: Mapping[PartyId, Instant]
    entries: tuple[Entry, ...]
    checkpoints: tuple[tuple[int, Instant], ...]
    """How much each checkpoint of the round added, and when, milliseconds from the first window's start."""
    written: tuple[Facts, ...]
    """What the entries say, in the order of writing: never the adversary's, but in the first format."""
    held: Mapping[str, Held]

    @cached_property
    def first_format(self) -> list[Facts]:
        """What anyone read before entries were sealed: through the bytes of that time."""
        older = [replace(one, basis=None, sealed_to=None, count=None) for one in self.written]
        return [facts_v1.decode(facts_v1.encode(one)) for one in older]

    @cached_property
    def leaves(self) -> list[LeafHash]:
        """The leaf hash of each entry."""
        return [entry.leaf_hash() for entry in self.entries]

    @cached_property
    def lengths(self) -> list[int]:
        """How many bytes each entry has."""
        return [len(entry.encode()) for entry in self.entries]


@dataclass
class _Seen:
    """A round that was played, until the log is exported."""

    exchange: str
    table: Table
    first: int
    began: Instant
    pulled: dict[PartyId, Instant] = field(default_factory=dict)
    checkpoints: list[tuple[int, Instant]] = field(default_factory=list)
    opened: dict[str, list[Opened]] = field(default_factory=dict)
    status: list[Mapping[str, int]] = field(default_factory=list)


class Board:
    """Plays rounds. The seed decides bits, orders and pauses; the adversary never sees it."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.slow: frozenset[PartyId] = frozenset()
        """Recipients that do not come in the round's own window."""
        self.between: Any = None
        """What an adversary who acts does between A and B."""
        self._number = 0

    async def play(self, exchanges: Sequence[str], count: int, seed: int) -> list[Round]:
        """So many rounds, the exchanges in turn; then the log as the export has it, audited."""
        chance = Random(seed)
        seen = [await self._round(exchanges[number % len(exchanges)], chance) for number in range(count)]
        raws, written = await self._exported(), await self._written()
        return [_told(one, raws, written) for one in seen]

    async def _round(self, exchange: str, chance: Random) -> _Seen:
        here, clock = self.here, self.here.clock
        clock.now = Instant(clock.now - clock.now % MINUTE + MINUTE + chance.randrange(1, 2_000))
        self._number += 1
        people = {who: self._person(name) for who, name in (("A", "Anne"), ("B", "Brieuc"), ("C", "Corentin"))}
        table = Table(here, people, chance.randrange(2), chance.choice(("AB", "BA")), chance, between=self.between)
        seen = _Seen(exchange, table, await self._size(), Instant(clock.now - clock.now % MINUTE))
        table.turn = lambda: self._turn(seen, chance)
        await {**EXCHANGES, **VISIBLE}[exchange](table)
        seen.status += await self._status(table)
        for party in PULLING:
            table.wait()
            seen.pulled[party] = clock.now
            if party not in self.slow:
                await self._take(party)
        seen.status += await self._status(table)
        await self._turn(seen, chance)
        assert exchange in VISIBLE or len(seen.checkpoints) == 1
        for who, person in people.items():
            seen.opened[who] = await self._openings(here.subject(person), seen.began)
        return seen

    async def _turn(self, seen: _Seen, chance: Random) -> None:
        """The window ends, and is sequenced a while after."""
        here, clock = self.here, self.here.clock
        clock.now = Instant(clock.now - clock.now % MINUTE + MINUTE + 2_000 + chance.randrange(500))
        before = seen.first + sum(added for added, _ in seen.checkpoints)
        await here.home.ledger.sequence()
        seen.checkpoints.append((await self._size() - before, Instant(clock.now - seen.began)))

    def _person(self, given: str) -> dict[str, Any]:
        letters = "".join(chr(97 + int(digit)) for digit in str(self._number))
        return ELISE | {"family_name": f"Partie {letters}", "given_names": [given]}

    async def _take(self, party: PartyId) -> None:
        """Pull all, and acknowledge it a moment later."""
        inbox = self.here.inbox(party)
        opened = await self.here.open(party, await inbox.pull(100))
        self.here.clock.pass_(40)
        assert not await inbox.acknowledge_all({one.delivery_id: Applied(None) for one in opened})

    async def _size(self) -> int:
        async with self.here.home.store.read() as tx:
            return await size_of(tx)

    async def _openings(self, subject: SubjectRef, began: Instant) -> list[Opened]:
        """What receipts of a citizen's entries of this round would carry, the oldest first."""
        async with self.here.home.store.read() as tx:
            found = await self.here.home.openings.of_subject(tx, subject)
        return [one for one in reversed(found) if one.facts.at >= began]

    async def _status(self, table: Table) -> list[Mapping[str, int]]:
        """As `GET /v1/declarations/<id>` answers: how many, never which, and nothing of what was withheld."""
        told = []
        for who in "AB":
            track = await self.here.home.tracking.track(table.ids[who][0])
            told.append(Counter(s.progress.value for s in track.steps if s.progress is not Progress.WITHHELD))
        return told

    async def _exported(self) -> list[bytes]:
        """Every entry of the exported log, which is as anyone checks it: nothing is wrong in it."""
        home, folder = self.here.home, self.here.folder / "exported"
        await export(home.store, home.ledger.verifier_key, folder)
        audited = audit_folder(folder, home.ledger.verifier_key)
        assert audited.tree is not None
        assert audited.findings == ()
        return list(tiles.verified_entries(audited.tree.size, audited.tree.root, files_in(folder)))

    async def _written(self) -> dict[bytes, Facts]:
        async with self.here.home.store.read() as tx:
            return dict(await self.here.home.openings.all(tx))


def _told(seen: _Seen, raws: Sequence[bytes], written: Mapping[bytes, Facts]) -> Round:
    mine = raws[seen.first : seen.first + sum(added for added, _ in seen.checkpoints)]
    leaves = {merkle.leaf_hash(raw) for raw in mine}
    return Round(
        exchange=seen.exchange,
        bit=seen.table.bit,
        declared=seen.table.declared,
        acted=seen.table.acted,
        pulled=seen.pulled,
        entries=tuple(map(Entry.decode, mine)),
        checkpoints=tuple(seen.checkpoints),
        written=tuple(facts for leaf, facts in written.items() if leaf in leaves),
        held={party: _held(party, seen) for party in CAST},
    )


def _held(party: str, seen: _Seen) -> Held:
    """What a party's own receipts, statements, manifests and answers give it. A citizen opens all that is about it; a
    source that its declarations were received; a recipient the steps of its deliveries.
    """
    whose = {"source": "AB", WITHOUT_STATUS: "AB", "recipient": "AB"}.get(party, "C")
    told = {
        "source": lambda facts: facts.kind is FactKind.RECEIVED,
        WITHOUT_STATUS: lambda facts: facts.kind is FactKind.RECEIVED,
        "portal": lambda facts: facts.kind is FactKind.RECEIVED,
        "recipient": lambda facts: facts.delivery is not None and facts.recipient == RENNES,
        "another recipient": lambda facts: facts.delivery is not None and facts.recipient == OTHER,
        "citizen": lambda _: True,
    }[party]
    own = tuple((who, one) for who in whose for one in seen.opened[who] if told(one.facts))
    ids = {who: seen.table.ids[who] for who in whose}
    status = tuple(seen.status) if party == "source" else ()
    return Held(
        {who: digest for who, (_, digest) in ids.items()}, {who: of for who, (of, _) in ids.items()}, own, status
    )


@asynccontextmanager
async def board(folder: Path) -> AsyncIterator[Board]:
    """A furnished home with the cast, before the first round."""
    async with world(folder, stepped=True) as here:
        for party, publishes in ((MAIRIE, (MOVED,)), (OTHER, ())):
            told = Party(
                id=party,
                name=party.rpartition(":")[2],
                sector="town" if publishes else "housing",
                kind=PartyKind.ADMINISTRATION,
                address="1 place de la République",
                contact="contact@example.fr",
                retention="un an",
                created_at=here.home.clock(),
            )
            await here.home.parties.enrol(Enrolment(told, 1, Suite.X25519, publishes))
        await here.subscribe(OTHER, MOVED, HOUSING, FIELDS)
        await here.step()
        yield Board(here)

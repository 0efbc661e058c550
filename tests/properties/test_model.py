"""A model of consents and mailboxes, in the words of the design, against the real broker and its real database.

The model knows no SQL, no lock and no key: it is what docs/architecture.md promises, written down once more. Hypothesis
walks both through the same steps; after each, every delivery must stand where the model has it.
"""

import asyncio
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from broker.flow.deliveries import load
from broker.store.tables import declarations, withholdings
from connectors.contract import Answered, Applied, Rejected
from schemas.names import DeclarationId, DeliveryId, EventType, GrantId, PartyId, Purpose, Reason
from schemas.release import indices
from tests.examples import MORE
from tests.world import CAF, CPAM, ELISE, FAMILY, HEALTH, MOVED, VOICE, YANN, World, world

EXAMPLES = int(os.environ.get("UNEFOIS_MODEL_EXAMPLES", 12 * MORE))
STEPS = int(os.environ.get("UNEFOIS_MODEL_STEPS", "30"))
PEOPLE = (ELISE, YANN)
AGENCIES: tuple[tuple[PartyId, Purpose, tuple[str, ...]], ...] = (
    (CAF, FAMILY, ("subject", "new_address", "household")),
    (CPAM, HEALTH, ("subject", "new_address", "phone")),
)
ATTEMPTS, LEASE_MS, WAIT_MS = 3, 60_000, (5_000, 10_000)
ACTIVE, DEAD = {"pending", "handed", "released"}, {"rejected", "parked"}
TWO = st.sampled_from((0, 1))
REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)
ANSWERS = {
    "awaiting": Answered(Reason.AWAITING_HUMAN, "2026-12-24"),
    "answered": Answered(Reason.UNKNOWN_PERSON),
}


@dataclass
class Grant:
    """A consent as a citizen thinks of it."""

    id: GrantId
    person: int
    agency: int
    fields: set[str]
    at: int
    version: int = 1
    status: str = "active"


@dataclass
class Declared:
    """What was declared, and the first of its chain."""

    id: DeclarationId
    person: int
    at: int
    root: int | None


@dataclass
class Delivery:
    """One delivery as an agency thinks of it."""

    number: int
    declared: int
    grant: int
    fields: set[str]
    version: int
    state: str = "pending"
    paused: bool = False
    attempts: int = 0
    available: int = 0
    lease: int = 0
    handed: bool = False
    released: bool = False


@dataclass
class Model:
    """The promises. Indices instead of references; the agency of a delivery is that of its grant."""

    grants: list[Grant] = field(default_factory=list)
    declared: list[Declared] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    held: set[tuple[int, int]] = field(default_factory=set)
    """(declaration, agency) that a pause held back before anything was planned."""
    letters: list[int] = field(default_factory=list)

    def agency_of(self, one: Delivery) -> int:
        return self.grants[one.grant].agency

    def under(self, grant: int, states: set[str]) -> list[Delivery]:
        return [one for one in self.deliveries if one.grant == grant and one.state in states]

    def plan(self, declared: int, agency: int, *, newer: int | None = None, replayed: Delivery | None = None) -> None:
        """Decide under today's consents, oldest first, each field once; write down what changes."""
        news = self.declared[declared]
        before = [one for one in self.deliveries if one.declared == declared and self.agency_of(one) == agency]
        reached = {newer, *(one.grant for one in before)}
        asked = [
            number
            for number, grant in enumerate(self.grants)
            if (grant.person, grant.agency) == (news.person, agency)
            and (grant.at <= news.at or number in reached or replayed is not None)
        ]
        self.held.discard((declared, agency))
        told = news.root is None or newer is not None or agency in self.recipients(news.root)
        shares: dict[int, set[str]] = {}
        for number in asked if told else []:
            taken: set[str] = set().union(*shares.values())
            if self.grants[number].status == "active" and self.grants[number].fields - taken:
                shares[number] = self.grants[number].fields - taken
        paused = told and any(self.grants[number].status == "paused" for number in asked)
        if not shares and not before and paused:
            self.held.add((declared, agency))
        for one in before:
            if self.over(one, replayed) or one.grant in shares:
                continue
            one.state, one.lease = "withheld", 0
            one.paused = paused if not shares else self.grants[one.grant].status == "paused"
        for number, fields in shares.items():
            self.write(declared, number, fields, next((one for one in before if one.grant == number), None), replayed)

    def over(self, one: Delivery, replayed: Delivery | None) -> bool:
        aside = one.state in DEAD or one.state in ANSWERS
        return one.state == "applied" or (aside and one is not replayed)

    def write(
        self, declared: int, grant: int, fields: set[str], there: Delivery | None, replayed: Delivery | None
    ) -> None:
        version = self.grants[grant].version
        if there is None:
            self.deliveries.append(Delivery(len(self.deliveries), declared, grant, fields, version))
        elif not self.over(there, replayed) and not (
            there.state in ACTIVE and (there.fields, there.version) == (fields, version)
        ):
            there.fields, there.version, there.state, there.paused = fields, version, "pending", False
            there.attempts = there.available = there.lease = 0

    def recipients(self, root: int) -> set[int]:
        """Who got something of a chain, or is about to."""
        chain = {number for number, one in enumerate(self.declared) if number == root or one.root == root}
        got = {
            self.agency_of(one)
            for one in self.deliveries
            if one.declared in chain and (one.state != "withheld" or one.released or one.paused)
        }
        return got | {agency for declared, agency in self.held if declared in chain}

    def free(self, agency: int, now: int) -> list[Delivery]:
        """Due, under no lease, and nothing that the same person declared before is on its way."""
        active = [one for one in self.deliveries if self.agency_of(one) == agency and one.state in ACTIVE]
        order = {one.number: (one.declared, one.number) for one in active}
        return [
            one
            for one in active
            if one.available <= now
            and one.lease <= now
            and not any(
                self.declared[other.declared].person == self.declared[one.declared].person
                and order[other.number] < order[one.number]
                for other in active
            )
        ]

    def change(self, grant: int, status: str) -> None:
        """Pause, resume or revoke."""
        mine = self.grants[grant]
        was, mine.status, mine.version = mine.status, status, mine.version + 1
        if status != "active":
            for one in self.under(grant, ACTIVE | {"awaiting"}):
                one.state, one.paused, one.lease = "withheld", status == "paused", 0
        if was == "paused":
            pairs = {one.declared for one in self.under(grant, {"withheld"}) if one.paused}
            pairs |= {
                declared
                for declared, agency in self.held
                if agency == mine.agency and self.declared[declared].person == mine.person
            }
            for declared in sorted(pairs):
                self.plan(declared, mine.agency)

    def narrow(self, grant: int, fields: set[str]) -> None:
        mine = self.grants[grant]
        mine.fields, mine.version = fields, mine.version + 1
        if mine.status == "active":
            for declared in sorted({one.declared for one in self.under(grant, ACTIVE)}):
                self.plan(declared, mine.agency)


class Machine(RuleBasedStateMachine):
    """Both at once."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.context = world(
            Path(self.folder.name), delivery_attempts=ATTEMPTS, retry_first_seconds=5, retry_most_seconds=3600
        )
        self.here: World = self.runner.run(self.context.__aenter__())
        self.steps = 0

    def teardown(self) -> None:
        try:
            self.runner.run(self.here.step())
        finally:
            self.runner.run(self.context.__aexit__(None, None, None))
            self.runner.close()
            self.folder.cleanup()

    def run(self, awaitable: Any) -> Any:
        """In the machine's own loop; the clock moves with every step, so that before and after are told apart."""
        self.here.clock.pass_(1)
        return self.runner.run(awaitable)

    @property
    def now(self) -> int:
        return self.here.clock()

    def deliver_id(self, one: Delivery) -> DeliveryId:
        async def found() -> DeliveryId:
            async with self.here.home.store.read() as tx:
                grant, declared = self.model.grants[one.grant].id, self.model.declared[one.declared].id
                return next(
                    each.id for each in await load(tx) if (each.grant_id, each.declaration_id) == (grant, declared)
                )

        return DeliveryId(self.runner.run(found()))

    # ── the citizen ─────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(
        person=st.sampled_from((0, 1)), agency=st.sampled_from((0, 1)), chosen=st.integers(1, 7), latest=st.booleans()
    )
    def give(self, person: int, agency: int, chosen: int, latest: bool) -> None:
        party, purpose, wanted = AGENCIES[agency]
        fields = {name for bit, name in enumerate(wanted) if chosen >> bit & 1}
        given = self.run(self.here.give(party, MOVED, purpose, fields, person=PEOPLE[person], include_latest=latest))
        self.model.grants.append(Grant(given.grant.id, person, agency, fields, self.now))
        mine = [number for number, one in enumerate(self.model.declared) if one.person == person]
        if latest and mine:
            self.model.plan(mine[-1], agency, newer=len(self.model.grants) - 1)

    def _living(self, which: int, *statuses: str) -> int | None:
        living = [number for number, grant in enumerate(self.model.grants) if grant.status in statuses]
        return living[which % len(living)] if living else None

    @rule(which=st.integers(0, 9))
    def pause(self, which: int) -> None:
        grant = self._living(which, "active")
        if grant is not None:
            self.run(self.here.home.consents.pause(self.model.grants[grant].id, VOICE))
            self.model.change(grant, "paused")

    @rule(which=st.integers(0, 9))
    def resume(self, which: int) -> None:
        grant = self._living(which, "paused")
        if grant is not None:
            self.run(self.here.home.consents.resume(self.model.grants[grant].id, VOICE))
            self.model.change(grant, "active")

    @rule(which=st.integers(0, 9))
    def revoke(self, which: int) -> None:
        grant = self._living(which, "active", "paused")
        if grant is not None:
            self.run(self.here.home.consents.revoke(self.model.grants[grant].id, VOICE))
            self.model.change(grant, "revoked")

    @rule(which=st.integers(0, 9), chosen=st.integers(0, 2))
    def narrow(self, which: int, chosen: int) -> None:
        grant = self._living(which, "active", "paused")
        if grant is None or len(self.model.grants[grant].fields) < 2:
            return
        fields = set(sorted(self.model.grants[grant].fields)[chosen % 2 :][:1])
        self.run(self.here.home.consents.narrow(self.model.grants[grant].id, frozenset(fields), VOICE))
        self.model.narrow(grant, fields)

    # ── the source ──────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(person=TWO, corrects=st.integers(0, 9), correction=st.booleans())
    def declare(self, person: int, corrects: int, correction: bool) -> None:
        mine = [number for number, one in enumerate(self.model.declared) if one.person == person]
        original = mine[corrects % len(mine)] if correction and mine else None
        corrected = None if original is None else self.model.declared[original].id
        accepted = self.run(self.here.declare(MOVED, self.here.moved(PEOPLE[person]), corrects=corrected))
        root = None
        if original is not None:
            first = self.model.declared[original].root
            root = original if first is None else first
        self.model.declared.append(Declared(accepted.declaration_id, person, self.now, root))
        for agency in (0, 1):
            self.model.plan(len(self.model.declared) - 1, agency)

    # ── the agency ──────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(agency=TWO)
    def lease(self, agency: int) -> None:
        self.here.clock.pass_(1)
        leased = self.runner.run(self.here.inbox(AGENCIES[agency][0]).lease(100))
        expected = set()
        for one in self.model.free(agency, self.now):
            if one.attempts >= ATTEMPTS:
                one.state, one.lease = "parked", 0
                self.model.letters.append(one.number)
                continue
            one.attempts, one.lease, one.handed = one.attempts + 1, self.now + LEASE_MS, True
            one.available = self.now + max(LEASE_MS, WAIT_MS[one.attempts - 1])
            one.state = "handed" if one.state == "pending" else one.state
            expected.add((self.model.declared[one.declared].id, self.model.grants[one.grant].id))
        assert expected == {(each.declaration_id, each.grant_id) for each in leased}

    def _handed(self, which: int, states: set[str]) -> Delivery | None:
        handed = [one for one in self.model.deliveries if one.handed and one.state in states]
        return handed[which % len(handed)] if handed else None

    @rule(which=st.integers(0, 9))
    def release(self, which: int) -> None:
        one = self._handed(which, ACTIVE | {"withheld"})
        if one is None:
            return
        party = AGENCIES[self.model.agency_of(one)][0]
        pulled = self.run(self.here.inbox(party).release([self.deliver_id(one)]))
        status = self.model.grants[one.grant].status
        if one.state != "withheld" and status == "active":
            one.state, one.released = "released", True
            (opened,) = self.runner.run(self.here.open(party, pulled))
            assert one.fields == set(opened.disclosed)
            return
        if one.state != "withheld":
            one.state, one.paused, one.lease = "withheld", status == "paused", 0
        assert () == pulled.locked
        assert [one.paused] == [each.reason is Reason.PAUSED for each in pulled.withheld]

    @rule(which=st.integers(0, 9))
    def apply(self, which: int) -> None:
        released = [one for one in self.model.deliveries if one.released]
        if released:
            one = released[which % len(released)]
            assert {} == self._end(one, Applied(None))
            one.state, one.lease, one.paused = "applied", 0, False

    @rule(which=st.integers(0, 9))
    def refuse(self, which: int) -> None:
        one = self._handed(which, ACTIVE)
        if one is not None:
            assert {} == self._end(one, REFUSED)
            one.state, one.lease = "rejected", 0
            self.model.letters.append(one.number)

    @rule(which=st.integers(0, 9), state=st.sampled_from(sorted(ANSWERS)))
    def answer(self, which: int, state: str) -> None:
        """Only what was opened, and was not planned anew since."""
        one = self._handed(which, {"released", *ANSWERS})
        if one is not None:
            assert {} == self._end(one, ANSWERS[state])
            one.state, one.lease = state, 0

    def _end(self, one: Delivery, outcome: Applied | Rejected | Answered) -> dict[Any, Any]:
        inbox = self.here.inbox(AGENCIES[self.model.agency_of(one)][0])
        refused: dict[Any, Any] = self.run(inbox.acknowledge_all({self.deliver_id(one): outcome}))
        return refused

    @rule(which=st.integers(0, 9))
    def retry(self, which: int) -> None:
        one = self._handed(which, ACTIVE)
        if one is None:
            return
        inbox = self.here.inbox(AGENCIES[self.model.agency_of(one)][0])
        self.run(inbox.retry_later(self.deliver_id(one), "table.away"))
        if not one.lease:  # given back already
            return
        one.lease = 0
        if one.attempts >= ATTEMPTS:
            one.state = "parked"
            self.model.letters.append(one.number)
        else:
            one.available = self.now + WAIT_MS[max(one.attempts - 1, 0)]

    # ── the operator, and time ──────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.model.letters)
    @rule(which=st.integers(0, 9))
    def replay(self, which: int) -> None:
        waiting = self.run(self.here.home.dead_letters.list())
        open_ = [number for number in self.model.letters if self.model.deliveries[number].state in DEAD]
        assert len(open_) == len(waiting)
        if open_:
            number = open_[which % len(open_)]
            one = self.model.deliveries[number]
            letter = next(each.id for each in waiting if each.delivery == self.deliver_id(one))
            self.run(self.here.home.dead_letters.replay(letter))
            self.model.letters.remove(number)
            self.model.plan(one.declared, self.model.agency_of(one), replayed=one)

    @rule(milliseconds=st.sampled_from((5_000, 10_000, LEASE_MS)))
    def wait(self, milliseconds: int) -> None:
        self.here.clock.pass_(milliseconds)

    @rule()
    def rotate(self) -> None:
        """A new consent epoch changes no consent."""
        self.run(self.here.home.epochs.rotate_consent())

    @invariant()
    def the_broker_stands_where_the_model_stands(self) -> None:
        self.steps += 1
        assert self._expected() == self.runner.run(self._found())
        if self.steps % 10 == 0:
            self.runner.run(self.here.step())

    def _expected(self) -> tuple[dict[Any, Any], set[Any]]:
        model = self.model
        return (
            {
                (model.declared[one.declared].id, model.grants[one.grant].id): (
                    one.state,
                    frozenset(one.fields),
                    one.version,
                    one.paused,
                    one.released,
                    one.attempts,
                )
                for one in model.deliveries
            },
            {(model.declared[declared].id, AGENCIES[agency][0]) for declared, agency in model.held},
        )

    async def _found(self) -> tuple[dict[Any, Any], set[Any]]:
        names = self.here.home.catalogue.by_type(EventType(MOVED)).names
        async with self.here.home.store.read() as tx:
            there = {
                (one.declaration_id, one.grant_id): (
                    one.state.value,
                    frozenset(names[index] for index in indices(one.fields, len(names))),
                    one.grant_version,
                    one.reason is Reason.PAUSED,
                    one.released_at is not None,
                    one.attempts,
                )
                for one in await load(tx)
            }
            rows = await tx.execute(
                select(declarations.c.declaration_id, withholdings.c.recipient)
                .join(declarations, declarations.c.seq == withholdings.c.declaration)
                .where(withholdings.c.reason == Reason.PAUSED.value)
            )
            return there, {(row.declaration_id, row.recipient) for row in rows}


TestModel = Machine.TestCase
TestModel.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

"""The plan of every statement of the main flow: by an index, and by one that leads to what is asked for."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from sqlalchemy import Engine, event

from broker.access.credentials import Scope
from broker.access.idempotency import Answer, Claim
from broker.flow import backlog
from broker.runtime.stats import take
from broker.store.engine import Transaction
from connectors.contract import Applied
from schemas.facts import FactKind
from schemas.names import Instant
from tests.endpoints import Endpoints, send
from tests.told import Taken, by_mail, held, tell
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, VOICE, World, world

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

GROWING: Final = (
    "channels",
    "consent_keys",
    "dead_letters",
    "declarations",
    "deliveries",
    "grant_versions",
    "grants",
    "kept_answers",
    "ledger_entries",
    "ledger_openings",
    "ledger_tiles",
    "log_record",
    "messages",
    "objections",
    "reference_links",
    "submissions",
    "webhook_attempts",
    "withholdings",
)
"""Tables with a row, or several, for each declaration, consent, request or message."""

PARTIAL: Final = "(waiting|due|given_up)"
"""How an index is called that is partial."""

WIDE: Final = ("recipient=?", "event_type=?", "state=?", "source=?", "subscription=?")
"""Conditions that alone lead to a good part of a table, however little of it is wanted."""


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker."""
    async with world(tmp_path, **home_settings) as made:
        yield made


@contextmanager
def statements() -> Iterator[dict[str, Any]]:
    """Every statement that is run meanwhile, once, with parameters that it had."""
    seen: dict[str, Any] = {}

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not many and re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT)", statement):
            seen.setdefault(statement, parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def flow(here: World) -> None:
    """A day of some citizens, from consent to revocation: as many as make a planner think of another way."""
    grants = []
    for number in range(40):
        person = ELISE | {"birthdate": f"19{50 + number}-01-01"}
        grants.append(
            await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person, include_latest=True)
        )
        await here.declare(MOVED, here.moved(person), route=False)
    await here.home.router.route()
    pulled = await here.inbox(CAF).pull(100)
    opened = await here.open(CAF, pulled)
    await here.inbox(CAF).acknowledge_all({one.delivery_id: Applied() for one in opened})
    await here.home.consents.revoke(grants[0].grant.id, VOICE)
    await here.home.ledger.sequence_unfinished()


async def day_at_the_door(here: World) -> None:
    """What programs ask for from outside, and what is told to them: tokens, webhooks, topics, how far something is."""
    home, at = here.home, here.clock()
    async with home.store.begin() as tx:
        issued = await home.credentials.issue(tx, CAF, [Scope.RECEIVE], expires_at=Instant(at + DAY), at=at)
        assert (await home.credentials.verify(tx, issued.token, at)).party == CAF
        await home.webhooks.add(tx, CAF, "https://caf.example/hook", at)
        await home.topic_users.allow(tx, CAF, "caf", receives=True, declares=False, at=at)
    endpoints = Endpoints()
    await send(here, endpoints)
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    declared = await here.declare(MOVED, here.moved())
    await send(here, endpoints)
    assert 2 == len(endpoints.heard)
    await home.tracking.track(declared.declaration_id)
    claim = await home.idempotency_keys.claim(CAF, "key", bytes(32))
    assert isinstance(claim, Claim)
    await home.idempotency_keys.keep(claim, Answer(200, "{}", b""))
    await home.idempotency_keys.claim(CAF, "key", bytes(32))
    assert await home.relay.relay(CAF)
    await home.dead_letters.list()


async def citizens_told(here: World) -> None:
    """Some have a channel, most have not."""
    taken = Taken()
    home = by_mail(here, taken)
    for number in range(10):
        await held(here, home, person=ELISE | {"birthdate": f"19{50 + number}-01-01"})
    await here.declare(MOVED, here.moved(ELISE | {"birthdate": "1950-01-01"}))
    await tell(here, home)
    here.clock.pass_(15 * DAY)
    await home.late.look()
    await tell(here, home)
    assert len(taken.taken) > 10


async def plans_of(tx: Transaction, statement: str, parameters: Any) -> list[str]:
    """The lines of a statement's plan, in the database's own words."""
    if "sqlite" in tx.conn.dialect.name:
        rows = (await tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all()
        return [row[3] for row in rows]
    await tx.conn.exec_driver_sql("SET LOCAL enable_seqscan = off")  # the tables are small, where reading all is right
    return [row[0] for row in (await tx.conn.exec_driver_sql(f"EXPLAIN {statement}", parameters)).all()]


def too_wide(line: str) -> bool:
    """Whether a line of a plan reads a growing table whole, or as much of it as the agency or the type ever had."""
    line = re.sub(r"\b(\w+)_p\d\d\b", r"\1", line)  # a partition of a table
    for table in GROWING:
        if re.search(rf"(SCAN|Seq Scan on) {table}\b(?! USING (COVERING )?INDEX {table}_{PARTIAL}$)", line):
            return True  # such an index is partial: it holds what waits, not what ever was
        if re.search(rf"SEARCH {table}\b.*\((?:{'|'.join(map(re.escape, WIDE))})\)", line):
            return True
    return False


async def test_no_statement_of_the_main_flow_reads_what_only_grows(here: World) -> None:
    with statements() as seen:
        await flow(here)
        await day_at_the_door(here)
        await citizens_told(here)
    (leaf, _), *_ = await here.told(FactKind.RELEASED)
    here.clock.pass_(500 * DAY)
    with statements() as pruning:
        assert (await here.home.pruning.prune()).rows["deliveries"]
    seen |= pruning
    with statements() as proving:
        await here.home.ledger.prove(leaf)
        await take(here.home)
        async with here.home.store.read() as tx:
            await backlog.of(tx, CAF)

    seen |= proving
    assert len(seen) > 30
    wide = []
    async with here.home.store.read() as tx:
        for statement, parameters in seen.items():
            wide += [(line, statement) for line in await plans_of(tx, statement, parameters) if too_wide(line)]
    assert [] == wide


@pytest.mark.parametrize(
    "line",
    [
        "SCAN deliveries",
        "SCAN dead_letters",
        "SCAN ledger_entries USING INDEX dead_letters_waiting",
        "SEARCH deliveries USING INDEX deliveries_by_recipient (recipient=?)",
        "  ->  Seq Scan on ledger_entries  (cost=0.00..1.00 rows=1 width=8)",
        "  ->  Seq Scan on grants_p07 grants_8  (cost=0.00..1.00 rows=1 width=8)",
    ],
)
async def test_a_plan_that_reads_too_much_is_seen(line: str) -> None:
    assert too_wide(line)


async def test_a_plan_that_reads_what_waits_is_none_of_those() -> None:
    assert not too_wide("SCAN dead_letters USING INDEX dead_letters_waiting")

"""Endings checks: no row contradicts the journal of endings, and the ledger is the one that was signed last.

A row that says less than the journal was put back: by whoever can write into the database, by a restore, by a replica
that had not seen everything. It opens nothing, for the journal is obeyed, and it is told here: `endings.contradicted`.

What the journal said last may not be in the rows yet: a process was killed between the two. The records after the one
that the rows are known to hold (`completing.completed`) are therefore told apart: `endings.behind`. Whoever writes that
number down in the database changes the name of the finding, and is found all the same.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, Table, select

from broker.access.operators import account_of, of_journal
from broker.access.revoking import row_key
from broker.directory import reading
from broker.ended import FOREVER, Ended, Ending, key_of
from broker.flow import ended_grants, objected, retracted
from broker.flow.backfill import DESTROYED, REVOKED
from broker.flow.households import obeyed as decided
from broker.flow.households import of_row as of_place
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.snapshot import Snapshot
from broker.maintenance.completing import completed
from broker.store.citizen_tables import citizen_codes, citizen_sessions
from broker.store.message_tables import channels
from broker.store.operator_tables import operators
from broker.store.tables import (
    households,
    objections,
    paused_subscriptions,
    publishing_rights,
    reference_links,
    representations,
    retractions,
    rules,
    signature_policies,
    subscriptions,
)
from consent import rows
from consent.asking import one_of
from consent.grant import Grant
from consent.policy import SubscriptionStatus
from consent.rules import RuleStatus
from consent.tables import grants
from schemas.errors import Fault

_LATER: Final = "not in the row yet; the next start, or `unefois endings replay`, completes it: "
_AT_ONCE: Final = 500
_HEADS: Final = select(grants).where(one_of(grants.c.id, "ids"))


@dataclass(frozen=True, slots=True)
class _Journal:
    """What has ended, and up to which record the rows are known to hold it."""

    ended: Ended
    completed: int

    def finding(self, table: str, key: bytes, place: str, wrong: str) -> Finding:
        """What to say of a row that says less than the newest record of its object."""
        if self.ended.number(table, key) > self.completed:
            return Finding("endings.behind", place, _LATER + wrong)
        return Finding("endings.contradicted", place, wrong)


async def check(tx: Snapshot, standing: Fault | None) -> AsyncIterator[Finding]:
    """Every check of the rows against the journal. `standing`: what is wrong with the ledger's mark, if anything."""
    journal = _Journal(await tx.endings(), await completed(tx))
    if standing is not None:
        yield Finding("ledger.stands-still", "ledger_checkpoints", f"nothing is signed or released: {standing.code}")
    async for finding in _grants(tx, journal):
        yield finding
    for table in REVOKED:
        for row in await tx.rows(table):
            key = row_key(table, row)
            told = journal.ended.newest(table.name, key)
            if told is not None and not _since(row.revoked_at, told, "revoked_at"):
                wrong = "the journal says since when it is revoked"
                yield journal.finding(table.name, key, _place(table, row), wrong)
    async for finding in _directory(tx, journal):
        yield finding
    for table in DESTROYED:
        for row in await tx.rows(table):
            key = row_key(table, row)
            if row.destroyed_at is None and journal.ended.ended(table.name, key):
                yield journal.finding(table.name, key, _place(table, row), "the journal says that it was destroyed")


async def _grants(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    ids = [told.key for told in journal.ended.of(ended_grants.TABLE)]
    for at in range(0, len(ids), _AT_ONCE):
        for row in await tx.execute(_HEADS, {"ids": ids[at : at + _AT_ONCE]}):
            grant = rows.read(row)
            if isinstance(grant, Grant) and ended_grants.last_word(journal.ended, grant) is not None:
                wrong = "the journal knows a later version, or another one"
                yield journal.finding(ended_grants.TABLE, grant.id, f"grants/{grant.id.hex()}", wrong)


async def _operators(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    """Accounts stand in the journal from their beginning: none without its record, and no record without its row."""
    rows = {row.id: account_of(row._mapping) for row in await tx.rows(operators)}
    told = {one.name: one for one in of_journal(journal.ended)}
    for name in sorted(rows.keys() | told.keys()):
        if rows.get(name) != told.get(name):
            wrong = "the journal knows another account of this name, or none"
            yield journal.finding(operators.name, name.encode(), f"operators/{name}", wrong)


async def _directory(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    for check in (_operators, _rights_and_policies, _rules, _retractions, _channels, _families, _links, _citizens):
        async for finding in check(tx, journal):
            yield finding
    paused = {bytes(row.subscription) for row in await tx.rows(paused_subscriptions)}
    for row in await tx.rows(subscriptions):
        one = reading.subscription_of(row)
        if one.status is not SubscriptionStatus.APPROVED:
            continue
        if journal.ended.ended(subscriptions.name, one.id, reading.approved_since(one)):
            wrong = "the journal says that this approval has ended"
            yield journal.finding(subscriptions.name, one.id, _place(subscriptions, row), wrong)
        pause = journal.ended.newest(paused_subscriptions.name, one.id)
        if pause is not None and (pause.least > 0) is not (one.id in paused):
            place = f"paused_subscriptions/{one.id.hex()}"
            yield journal.finding(paused_subscriptions.name, one.id, place, "the journal says otherwise")


async def _rules(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    for row in await tx.rows(rules):
        if row.status != RuleStatus.ENDED.value and journal.ended.ended(rules.name, row.id, row.narrowed_at or 0):
            over = journal.ended.least(rules.name, row.id) == FOREVER
            wrong = f"the journal says that this rule {'has ended' if over else 'was narrowed'}"
            yield journal.finding(rules.name, row.id, _place(rules, row), wrong)
    there = {one.key: one for one in map(objected.of_row, await tx.rows(objections))}
    for told in journal.ended.of(objections.name):
        journals = objected.of_ending(told)
        if there.get(told.key) != journals:
            place = f"objections/{journals.rule.hex()}"
            yield journal.finding(objections.name, told.key, place, "the journal knows another objection, or none")


async def _retractions(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    there = {one.declaration: one for one in map(retracted.of_row, await tx.rows(retractions))}
    for told in journal.ended.of(retractions.name):
        journals = retracted.of_ending(told)
        if there.get(journals.declaration) != journals:
            place = f"retractions/{journals.declaration.hex()}"
            yield journal.finding(retractions.name, told.key, place, "the journal knows another retraction, or none")


async def _channels(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    for row in await tx.rows(channels):
        told = journal.ended.newest(channels.name, row.id)
        if told is not None and row.ended_at != told.told["ended_at"]:
            place = f"channels/{bytes(row.id).hex()}"
            yield journal.finding(channels.name, row.id, place, "the journal says when this channel ended")


async def _citizens(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    for table in (citizen_sessions, citizen_codes):
        if tx.empty(table):
            continue
        (key,) = table.primary_key
        for one in (await tx.execute(select(key))).scalars():
            if journal.ended.ended(table.name, one):
                place = f"{table.name}/{bytes(one).hex()}"
                yield journal.finding(table.name, one, place, "the journal says that it is over")


async def _links(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    for row in await tx.rows(reference_links):
        told = journal.ended.newest(reference_links.name, row.id)
        if told is not None and row.ended_at != told.told["ended_at"]:
            place = f"reference_links/{bytes(row.id).hex()}"
            yield journal.finding(reference_links.name, row.id, place, "the journal says when this link ended")


async def _rights_and_policies(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    for row in await tx.rows(publishing_rights):
        key = key_of(row.party, row.event_type, row.valid_from)
        told = journal.ended.newest(publishing_rights.name, key)
        if told is not None and not _since(row.valid_to, told, "valid_to"):
            place = _place(publishing_rights, row)
            yield journal.finding(publishing_rights.name, key, place, "the journal says when it ended")
    policies = {(row.party, row.valid_from): row.policy for row in await tx.rows(signature_policies)}
    for told in journal.ended.of(signature_policies.name):
        act = told.told
        if policies.get((act["party"], act["valid_from"])) != act["policy"]:
            place = f"signature_policies/{act['party']}"
            yield journal.finding(signature_policies.name, told.key, place, "the journal knows a later policy")


def _since(there: int | None, told: Ending, name: str) -> bool:
    return there is not None and there <= told.told[name]


def _place(table: Table, row: Row[tuple[object, ...]]) -> str:
    key = row_key(table, row)
    return f"{table.name}/{key.decode() if key.isascii() and key.decode().isprintable() else key.hex()}"


async def _families(tx: Snapshot, journal: _Journal) -> AsyncIterator[Finding]:
    for row in await tx.rows(representations):
        if row.ended_at is None and journal.ended.ended(representations.name, row.id):
            wrong = "the journal says that this representation has ended"
            yield journal.finding(representations.name, row.id, _place(representations, row), wrong)
    for row in await tx.rows(households):
        place = of_place(row)
        told = journal.ended.newest(households.name, place.key)
        if told is not None and decided(place, told) != place:
            where = f"households/{place.household.hex()}/{row.number}"
            yield journal.finding(households.name, place.key, where, "the journal says what this adult has decided")

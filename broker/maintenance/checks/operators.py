"""Operator checks: the ledger tells of every account as it counts, of everything that somebody with an account did, and
of nothing that only a person does without the person, from the first account on.

Refuses: nothing; it finds.
Keeps: of what was said so long ago that its opening is erased, nothing is demanded.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, select

from broker.access.operators import account_digest
from broker.access.requests import State
from broker.access.requests import message as approval_of
from broker.access.roles import RECOVER
from broker.ledger.acting import NAMED, TABLE, Act, digest, message
from broker.ledger.openings import NOBODY, Openings
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.snapshot import Snapshot
from broker.maintenance.checks.told import Told
from broker.store.operator_tables import approval_requests, operator_acts, operators
from broker.store.rows.digests import row_digest
from broker.store.tables import ledger_entries, ledger_openings
from schemas.entry import Entry
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind, Facts
from schemas.names import Instant
from schemas.signing import Algorithm, verify

_APPROVED: Final = frozenset({State.APPROVED.value, State.DONE.value})
_ACCOUNTS: Final = frozenset({FactKind.OPERATOR_ADDED, FactKind.OPERATOR_CHANGED, FactKind.OPERATOR_ENDED})
_KINDS: Final = sorted(kind.value for kind in (*_ACCOUNTS, FactKind.ACTED))
_SEALED: Final = (
    select(ledger_openings, ledger_entries.c.id, ledger_entries.c.entry)
    .join(ledger_entries, ledger_entries.c.leaf == ledger_openings.c.leaf)
    .where(ledger_openings.c.subject == NOBODY, ledger_openings.c.kind.in_(_KINDS))
    .order_by(ledger_entries.c.id)
)


@dataclass(slots=True)
class _Said:
    """What the ledger says of accounts and acts."""

    began: int | None = None
    """The number of the entry of the first account."""
    accounts: set[bytes | None] = field(default_factory=set)
    ended: set[bytes | None] = field(default_factory=set)
    acts: dict[bytes, Facts] = field(default_factory=dict)
    """By the leaf of its entry."""


async def check(
    tx: Snapshot, openings: Openings, public: Sequence[Told], erased_until: Instant
) -> AsyncIterator[Finding]:
    """Every check of accounts and acts. `public`: what is told in clear; `erased_until`: of what was said up to then,
    the openings may say no more.
    """
    said = await _said(tx, openings)
    for row in await tx.rows(operators):
        for wrong in _account(row, said, erased_until):
            yield Finding("operators.untold", f"operators/{row.id}", wrong)
    listed: set[bytes] = set()
    missing = dict(said.acts)
    for row in () if tx.empty(operator_acts) else await tx.execute(select(operator_acts).order_by(operator_acts.c.at)):
        missing.pop(bytes(row.leaf), None)
        broken = _act(row, said, listed, erased_until)
        if broken is not None:
            yield Finding("operators.act", f"operator_acts/{bytes(row.leaf).hex()}", broken)
    for leaf in missing:
        yield Finding("operators.act", f"operator_acts/{leaf.hex()}", "who acted is gone, and the ledger tells of it")
    for one in public:
        named = one.facts is not None and one.facts.kind in NAMED and one.entry is not None
        if not named or said.began is None or one.id <= said.began or one.leaf in listed:
            continue
        if one.entry is not None and one.entry.window > erased_until:
            yield Finding("operators.nobody", one.place, "only a person does this, and nobody says who it was")


async def check_requests(tx: Snapshot) -> AsyncIterator[Finding]:
    """What was approved was approved by another, who signed it."""
    accounts = {row.id: row for row in await tx.rows(operators)}
    for row in await tx.rows(approval_requests):
        if row.state not in _APPROVED:
            continue
        by = accounts.get(row.decided_by)
        alone = by is None or row.decided_by == row.asked_by
        same = by is not None and isinstance(row.decided_at, int) and by.changed_at <= row.decided_at
        if alone or (same and not _signed(row, by)):
            place = f"approval_requests/{bytes(row.id).hex()}"
            yield Finding("operators.request", place, "nobody else, whose signature it has, approved this")


def _signed(row: Row[Any], by: Any) -> bool:
    told = approval_of(bytes(row.id), row.act, row.asked_by, row.expires_at)
    return verify(Algorithm.ED25519, by.public or b"", row.signature or b"", told)


async def _said(tx: Snapshot, openings: Openings) -> _Said:
    said = _Said()
    for row in await tx.execute(_SEALED):
        try:
            facts = openings.open(row.leaf, Entry.decode(row.entry), row).facts
        except (Refused, Corrupt):
            continue  # told by its part
        if facts.kind is FactKind.ACTED:
            said.acts[bytes(row.leaf)] = facts
        elif facts.kind is FactKind.OPERATOR_ENDED:
            said.ended.add(facts.detail)
        elif facts.kind in _ACCOUNTS:
            said.accounts.add(facts.detail)
            said.began = row.id if said.began is None else said.began
    return said


def _account(row: Row[Any], said: _Said, erased_until: Instant) -> Iterator[str]:
    made = row_digest(TABLE, row._mapping)
    if made not in said.accounts and row.changed_at > erased_until:
        yield "the row is not what the ledger says"
    erased = row.ended_at is not None and row.ended_at <= erased_until
    if (made in said.ended) is not (row.ended_at is not None) and not erased:
        yield "ended in the ledger and not here, or the other way round"


def _act(row: Row[Any], said: _Said, listed: set[bytes], erased_until: Instant) -> str | None:
    """What is wrong with one document; what a good one lists is added to `listed`."""
    facts = said.acts.get(bytes(row.leaf))
    if facts is None or facts.detail != digest(row.act):
        return "it is not what the ledger commits to"
    try:
        act = Act.decode(row.act)
        public = None if act.account is None else _public(act)
        known = act.account is None or account_digest(act.account) in said.accounts
        recent = act.account is not None and act.account["changed_at"] > erased_until
    except (ValueError, KeyError, TypeError, AttributeError, Refused):
        return "it is none that the broker writes"
    unsigned = public is not None and not verify(Algorithm.ED25519, public, row.signature or b"", message(row.act))
    foreign = act.session is not None and not _same_login(act.account or {}, act.session)
    request = act.request or {}
    alone = "signature" in request and not _allowed(act, request, said, erased_until)
    wrong = {
        "nobody did it": act.account is None and act.act != RECOVER,
        "of an account that the ledger does not know": recent and not known,
        "in a session that is not this account's": foreign,
        "whoever it names has not signed it": unsigned,
        "nobody else, whom the ledger knows, approved it": alone,
    }
    broken = next((words for words, so in wrong.items() if so), None)
    if broken is None:
        listed.update(act.entries)
    return broken


def _same_login(account: Mapping[str, Any], session: Mapping[str, Any]) -> bool:
    return all(account.get(name) == session.get(name) is not None for name in ("issuer", "subject"))


def _allowed(act: Act, request: Mapping[str, Any], said: _Said, erased_until: Instant) -> bool:
    """Whether the yes that an act tells of was another's, whom the ledger knows. What it was signed over stands in its
    own row (`check_requests`), or in nobody's.
    """
    try:
        account = request["account"]
        known = account_digest(account) in said.accounts or account["changed_at"] <= erased_until
        another: bool = account["id"] == request["by"] != act.operator
    except (ValueError, KeyError, TypeError):
        return False
    return known and another


def _public(act: Act) -> bytes:
    """The key that has to have signed: the account's own, or that of the session it acted in."""
    told: Mapping[str, Any] = act.account or {}
    return bytes.fromhex(told["public"] if act.session is None else act.session["public"])

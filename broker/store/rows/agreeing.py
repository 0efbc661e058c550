"""Agreeing: whether a row is what the ledger's entries say, before the first key of a home signs it.

Refuses: a key, a right, a token, an address that no entry knows; one that an entry ended and the row did not; a row of
which the ledger says nothing more than that it was changed since.
Keeps: it takes entries, from wherever they are kept, and a row, and reads nothing. As `broker.maintenance.checks`
compares, and closer: a public key must be the one that its id commits to, and a key's revocation not later than its
entry.

Of a consent epoch the ledger names nothing, so the key store decides: one that lives has its key there, one that was
destroyed has none. `valid_from` and `valid_to` of keys stand in no entry; they are taken as they are.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.store.rows.digests import row_digest
from schemas import hpke, signing
from schemas.facts import FactKind, Facts
from schemas.names import Instant, Kid

Row = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What the ledger says, and which epoch keys are in the key store. Made by `told`."""

    facts: Mapping[tuple[FactKind, str | None, bytes | None], Instant]
    """(kind, recipient, detail) -> when it was said last."""
    rights_ended: Iterable[Facts]
    subscriptions: Mapping[tuple[str | None, str | None, str | None], Facts]
    """(recipient, type, purpose) -> the last word."""
    epoch_keys: frozenset[str]


def told(entries: Iterable[Facts], epoch_keys: Iterable[str]) -> Told:
    """Of the ledger's entries, in their order; `epoch_keys`: the names of the consent epoch keys that are there."""
    facts: dict[tuple[FactKind, str | None, bytes | None], Instant] = {}
    ended: list[Facts] = []
    last: dict[tuple[str | None, str | None, str | None], Facts] = {}
    for entry in entries:
        facts[entry.kind, entry.recipient, entry.detail] = entry.at
        if entry.kind is FactKind.RIGHT_ENDED:
            ended.append(entry)
        if entry.kind in (FactKind.SUBSCRIPTION_APPROVED, FactKind.SUBSCRIPTION_ENDED):
            last[entry.recipient, entry.event_type, entry.purpose] = entry
    return Told(facts, ended, last, frozenset(epoch_keys))


def agrees(table: str, row: Row, said: Told) -> bool:
    """Whether the row of this table (`layouts.LAYOUTS`) is what was said."""
    try:
        return _RULES[table](table, row, said)
    except (ValueError, TypeError, KeyError):  # a value that nobody of ours wrote
        return False


def _party(table: str, row: Row, said: Told) -> bool:
    return (FactKind.PARTY_ADDED, row["id"], row_digest(table, row)) in said.facts


def _key(table: str, row: Row, said: Told) -> bool:
    public, kid = bytes(row["public"]), bytes(row["kid"])
    if table == "signing_keys":
        made = signing.kid_of(signing.Algorithm(row["algorithm"]), public)
    else:
        made = hpke.kid_of(hpke.Suite(row["suite"]), public)
    revoked = said.facts.get((FactKind.KEY_REVOKED, row["party"], kid))
    if made != kid or (FactKind.KEY_ADDED, row["party"], kid) not in said.facts:
        return False
    if revoked is None or row["revoked_at"] is None:
        return revoked is None and row["revoked_at"] is None
    return bool(row["revoked_at"] <= revoked + 1)  # from the next millisecond on, or since earlier


def _right(table: str, row: Row, said: Told) -> bool:
    digest = row_digest(table, row)
    over = any(
        (entry.recipient, entry.event_type) == (row["party"], row["event_type"])
        and row["valid_from"] <= entry.at
        and (row["valid_to"] is None or row["valid_to"] > entry.at)
        for entry in said.rights_ended
    )
    kinds = (FactKind.RIGHT_GRANTED, FactKind.RIGHT_ENDED)
    return not over and any((kind, row["party"], digest) in said.facts for kind in kinds)


def _policy(table: str, row: Row, said: Told) -> bool:
    return (FactKind.POLICY_SET, row["party"], row_digest(table, row)) in said.facts


def _subscription(table: str, row: Row, said: Told) -> bool:
    """One that is asked for has no entry; what counts of the others is the last word."""
    last = said.subscriptions.get((row["recipient"], row["event_type"], row["purpose"]))
    if row["status"] == "asked":
        return last is None or last.kind is FactKind.SUBSCRIPTION_ENDED
    kinds = {"approved": FactKind.SUBSCRIPTION_APPROVED, "ended": FactKind.SUBSCRIPTION_ENDED}
    return last is not None and last.kind is kinds[row["status"]] and last.detail == row_digest(table, row)


def _gate(table: str, row: Row, said: Told) -> bool:
    kid = Kid(row["kid"])
    destroyed = (FactKind.EPOCH_DESTROYED, None, bytes(kid)) in said.facts
    added = any(kind is FactKind.KEY_ADDED and detail == kid for kind, _, detail in said.facts)
    return added and destroyed is (row["destroyed_at"] is not None)


def _consent_epoch(table: str, row: Row, said: Told) -> bool:
    return (str(row["epoch"]) in said.epoch_keys) is (row["destroyed_at"] is None)


def _credential(table: str, row: Row, said: Told) -> bool:
    """Whoever comes in, or is told something, by this row: as it was issued, and ended where an entry says so."""
    digest, party = row_digest(table, row), row["party"]
    over = {"topic_users": "ended_at", "webhooks": "status"}.get(table, "revoked_at")
    ended = row[over] == "ended" if table == "webhooks" else row[over] is not None
    issued = (FactKind.KEY_ADDED, party, digest) in said.facts
    return issued and ((FactKind.KEY_REVOKED, party, digest) in said.facts) is ended


def _nobody(table: str, row: Row, said: Told) -> bool:
    """A home from before has no accounts, and nobody there acts for another: whoever put one there is none of its
    people.
    """
    return False


_RULES: Final[Mapping[str, Callable[[str, Row, Told], bool]]] = {
    "parties": _party,
    "signing_keys": _key,
    "sealing_keys": _key,
    "publishing_rights": _right,
    "signature_policies": _policy,
    "subscriptions": _subscription,
    "gate_epochs": _gate,
    "consent_epochs": _consent_epoch,
    "api_tokens": _credential,
    "client_keys": _credential,
    "client_key_sets": _credential,
    "topic_users": _credential,
    "webhooks": _credential,
    "representations": _nobody,
    "operators": _nobody,
    "approval_requests": _nobody,
}

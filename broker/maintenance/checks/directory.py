"""Directory checks: the ledger tells of every party, key, right, policy, subscription, rule and purpose that counts,
as it counts: whose key it is, whether it was revoked, what was approved last. So none can be slipped in, handed on, or
brought back.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import asdict

from sqlalchemy import select

from broker.directory import purposes, reading, rules
from broker.directory.registrar import party_row
from broker.flow.subscribing import subscription_digest
from broker.maintenance.checks.finding import Finding
from broker.maintenance.completing import completed
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import Unchecked
from broker.store.tables import directory_notes, paused_subscriptions
from consent.policy import Subscription, SubscriptionStatus
from consent.rules import Rule, RuleStatus
from schemas import law as law_note
from schemas.directory import PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.directory_note import FIRST, Pinned, follow
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind, Facts
from schemas.note import Note, VerifierKey

_STATUS = {
    FactKind.SUBSCRIPTION_APPROVED: SubscriptionStatus.APPROVED,
    FactKind.SUBSCRIPTION_ENDED: SubscriptionStatus.ENDED,
}


async def check(tx: Transaction, entries: list[Facts], log: VerifierKey) -> AsyncIterator[Finding]:
    """Every check of keys and subscriptions. `log`: the ledger's key, which signs what is shown of them."""
    try:
        version = await reading.version(tx)
        every = Unchecked()  # signed or not (`checks.rows`): each is compared with the ledger here
        ended = (await tx.endings()).until(await completed(tx))  # the others are `checks.endings`' business
        directory = await reading.snapshot(tx, every, ended)
        subscriptions = await reading.subscriptions(tx, every, ended)
        ruled = await rules.every(tx, every, ended)
        added = await purposes.added(tx, every)
    except Corrupt as fault:
        wrong = str(fault.details.get("wrong", fault.code))
        yield Finding("directory.unreadable", fault.pointer or "directory", wrong)
        return
    async for finding in _notes(tx, log, version):
        yield finding
    for finding in _parties(await reading.all_parties(tx, every), entries):
        yield finding
    for finding in _policies(directory.policies, entries):
        yield finding
    for finding in _rights(directory.rights, entries):
        yield finding
    for finding in _keys([*directory.signing, *directory.sealing], entries):
        yield finding
    for finding in (*_subscriptions(subscriptions, entries), *_rules(ruled, entries), *_purposes(added, entries)):
        yield finding
    async for finding in _paused(tx, subscriptions):
        yield finding


async def _paused(tx: Transaction, subscriptions: Sequence[Subscription]) -> AsyncIterator[Finding]:
    ended = {one.id for one in subscriptions if one.status is SubscriptionStatus.ENDED}
    for row in await tx.execute(select(paused_subscriptions)):
        if bytes(row.subscription) in ended:
            place = f"paused_subscriptions/{row.subscription.hex()}"
            yield Finding("subscriptions.paused-ended", place, "it is paused, and has ended")


async def _notes(tx: Transaction, log: VerifierKey, version: int) -> AsyncIterator[Finding]:
    """What was shown is one chain, signed, and not ahead of what there is; and so is the law beside it."""
    last = Pinned(-1, FIRST)
    law = Pinned(-1, FIRST)
    for row in await tx.execute(select(directory_notes).order_by(directory_notes.c.version)):
        place = f"directory_notes/{row.version}"
        try:
            last = follow(Note.parse(row.note.encode()), log, last)
        except Refused as fault:
            yield Finding("directory.note", place, f"no link of the chain: {fault.code}")
            return
        if (last.version, last.digest) != (row.version, row.digest) or row.version > version:
            yield Finding("directory.note", place, "the note is of another document, or of a version that never was")
        if row.law_note is None:  # from before there was one
            continue
        try:
            law = law_note.follow(Note.parse(row.law_note.encode()), log, law)
        except Refused as fault:
            yield Finding("law.note", place, f"no link of the chain: {fault.code}")
            return
        if (law.version, law.digest) != (row.version, row.law_digest):
            yield Finding("law.note", place, "the note is of another document")


def _parties(parties: Sequence[reading.Party], entries: Sequence[Facts]) -> Iterator[Finding]:
    """Name, sector (which decides pseudonyms) and all: as they were when the party was registered, or changed last."""
    registered = {FactKind.PARTY_ADDED, FactKind.PARTY_CHANGED}
    told = {entry.recipient: entry.detail for entry in entries if entry.kind in registered}
    for party in parties:
        if told.pop(party.id, None) != row_digest("parties", party_row(party)):
            yield Finding("parties.edited", f"parties/{party.id}", "the row is not what the ledger says was registered")
    for gone in told:
        yield Finding("parties.lost", f"parties/{gone}", "the ledger tells of a party that is not there")


def _policies(policies: Sequence[PolicyEntry], entries: Sequence[Facts]) -> Iterator[Finding]:
    """A policy slipped in, or taken away, would let a source's declarations pass with fewer signatures."""
    told = {(entry.recipient, entry.detail) for entry in entries if entry.kind is FactKind.POLICY_SET}
    held = {(one.party, row_digest("signature_policies", asdict(one))) for one in policies}
    for party, _ in held ^ told:
        yield Finding("policies.edited", f"signature_policies/{party}", "the rows are not what the ledger says was set")


def _rights(rights: Sequence[PublishingRight], entries: Sequence[Facts]) -> Iterator[Finding]:
    """A right is as it was granted, or as it was ended; none lives on with the row it had before its end."""
    granted = {entry.detail for entry in entries if entry.kind is FactKind.RIGHT_GRANTED}
    ended = [entry for entry in entries if entry.kind is FactKind.RIGHT_ENDED]
    for right in rights:
        digest = row_digest("publishing_rights", asdict(right))
        over = any(
            (entry.recipient, entry.event_type) == (right.party, right.event_type)
            and right.valid_from <= entry.at
            and (right.valid_to is None or right.valid_to > entry.at)
            for entry in ended
        )
        if over or digest not in granted | {entry.detail for entry in ended}:
            place = f"publishing_rights/{right.party}/{right.event_type}"
            yield Finding("rights.edited", place, "the row is not what the ledger says was granted or ended")


def _keys(keys: Sequence[SigningKeyEntry | SealingKeyEntry], entries: Sequence[Facts]) -> Iterator[Finding]:
    told = {(entry.kind, entry.recipient, entry.detail) for entry in entries}
    for key in keys:
        place = f"keys/{key.kid.hex()}"
        if (FactKind.KEY_ADDED, key.party, bytes(key.kid)) not in told:
            yield Finding("directory.untold", place, f"the ledger knows of no such key of {key.party}")
        revoked = (FactKind.KEY_REVOKED, key.party, bytes(key.kid)) in told
        if revoked is not (key.revoked_at is not None):
            yield Finding("directory.untold", place, "revoked in the ledger and not here, or the other way round")


def _rules(some: Iterable[Rule], entries: Iterable[Facts]) -> Iterator[Finding]:
    """What counts is what the ledger says: a rule that nobody approved, or that has ended, does not act."""
    said = {(entry.kind, entry.detail) for entry in entries}
    for one in some:
        approved = FactKind.RULE_APPROVED if one.narrowed_at is None else FactKind.RULE_NARROWED
        kind = {RuleStatus.APPROVED: approved, RuleStatus.ENDED: FactKind.RULE_ENDED}.get(one.status)
        if kind is not None and one.approved_at is not None and (kind, rules.rule_digest(one)) not in said:
            place = f"rules/{one.id.hex()}"
            yield Finding("rules.edited", place, f"the row is not what the ledger says was {one.status.value}")


def _purposes(some: Iterable[purposes.Added], entries: Iterable[Facts]) -> Iterator[Finding]:
    """Every word that was approved is still there, and no purpose can be named that nobody approved."""
    said = {entry.purpose: entry.detail for entry in entries if entry.kind is FactKind.PURPOSE_APPROVED}
    for one in some:
        told = said.pop(one.entry.id, None)
        if told != (None if one.approved_at is None else purposes.digest_of(one)):
            yield Finding("purposes.edited", f"purposes/{one.entry.id}", "the row is not what the ledger says")
    for gone in said:
        yield Finding("purposes.edited", f"purposes/{gone}", "the ledger tells of a purpose that is not there")


def _subscriptions(some: Iterable[Subscription], entries: Iterable[Facts]) -> Iterator[Finding]:
    last = {(entry.recipient, entry.event_type, entry.purpose): entry for entry in entries if entry.kind in _STATUS}
    for one in some:
        yield from _subscription(one, last.get((one.recipient, one.event_type, one.purpose)))


def _subscription(one: Subscription, told: Facts | None) -> Iterator[Finding]:
    """What counts is the last word of the ledger: one that was ended does not live again with its old row."""
    place = f"subscriptions/{one.id.hex()}"
    if one.status is SubscriptionStatus.ASKED:
        if told is not None and told.kind is FactKind.SUBSCRIPTION_APPROVED:
            yield Finding("subscriptions.edited", place, "the ledger says that it was approved")
    elif told is None or _STATUS[told.kind] is not one.status or told.detail != subscription_digest(one):
        yield Finding("subscriptions.edited", place, f"the row is not what the ledger says was {one.status.value} last")

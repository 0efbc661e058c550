"""Reading: the administrations, their keys, rights, signature policies and subscriptions, as the tables hold them.

Refuses: a row whose seal is not the broker's: it counts as absent, is told in the log, and stops nobody else
(`broker.store.rows`); a sealed row that nobody here could have written (`directory.unreadable`): it stops whoever reads
it.
Keeps: a snapshot and its version are of one transaction; whoever saw a version need not read it again, unless the
journal of endings has moved (`moved`): what it says has ended counts as ended, whatever its row says. What stands
under an administration whose own row does not count (its keys, rights, policies, subscriptions) does not count either.

Changes are made by `registrar` alone, and each has its ledger entry, with which `fsck` compares. `rows` says which rows
count: `Unchecked` is for who compares with the ledger instead.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, TypeVar

from sqlalchemy import Row, Select, Table, select

from broker.ended import Ended, key_of
from broker.observability.observe import logger
from broker.store import tables
from broker.store.engine import Transaction
from broker.store.rows.seals import RowReader
from consent.policy import Subscription, SubscriptionStatus
from schemas import hpke, signing
from schemas.assurance import ANY, Least, assurance_of, quality_of
from schemas.directory import Directory, PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.errors import Corrupt, Refused
from schemas.names import EventType, Instant, Kid, PartyId, Purpose, instant_of

VERSION = "directory-version"
"""The row of `meta` that every change counts up."""
_ENDING: Final = (
    tables.signing_keys,
    tables.sealing_keys,
    tables.publishing_rights,
    tables.signature_policies,
    tables.subscriptions,
    tables.rules,
)
_VERSION: Final = select(tables.meta.c.value).where(tables.meta.c.name == VERSION)


class PartyKind(Enum):
    """What a party is to this broker."""

    BROKER = "broker"
    ADMINISTRATION = "administration"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class Party:
    """One administration, the portal, or the broker itself; nothing here is about a citizen.

    `sector` decides the pseudonyms: parties of one sector see one number for a citizen. `address` and `contact` are
    told to citizens in their receipts, with `retention`: how long the party keeps what it receives, in words.
    """

    id: PartyId
    name: str
    sector: str
    kind: PartyKind
    address: str
    contact: str
    retention: str
    created_at: Instant


async def version(tx: Transaction) -> int:
    """How often the directory has changed; 0 before its first change."""
    found = (await tx.execute(_VERSION)).scalar_one_or_none()
    return 0 if found is None else int(found)


async def moved(tx: Transaction) -> int:
    """Where the journal of endings is, as far as the directory and the subscriptions go."""
    return (await tx.endings()).moved(*(table.name for table in _ENDING))


async def all_parties(tx: Transaction, rows: RowReader) -> tuple[Party, ...]:
    """Every party, by id. Raises Corrupt `directory.unreadable`."""
    return await _all(tx, rows, tables.parties, select(tables.parties).order_by(tables.parties.c.id), _party)


async def party(tx: Transaction, rows: RowReader, party_id: PartyId) -> Party:
    """One party. Raises Refused `directory.unknown-party`; Corrupt `directory.unreadable`."""
    mine = select(tables.parties).where(tables.parties.c.id == party_id)
    found = await _all(tx, rows, tables.parties, mine, _party)
    if not found:
        raise Refused("directory.unknown-party", party=party_id)
    return found[0]


async def subscriptions(tx: Transaction, rows: RowReader, ended: Ended | None = None) -> tuple[Subscription, ...]:
    """Every subscription, ended ones too, by recipient and purpose. `ended`: as `snapshot` has it.

    Raises Corrupt `directory.unreadable`.
    """
    table = tables.subscriptions
    ordered = select(table).order_by(table.c.recipient, table.c.purpose, table.c.id)
    ended = await tx.endings() if ended is None else ended
    return tuple(_obeyed(one, ended) for one in await _all(tx, rows, table, ordered, subscription_of))


async def snapshot(tx: Transaction, rows: RowReader, ended: Ended | None = None) -> Directory:
    """Every key, right and policy, checked as whoever pins it would check.

    `ended`: what counts as ended whatever the rows say, if that is not all that the journal says by now.
    Raises Corrupt `directory.unreadable`, `directory.no-broker`.
    """
    known = await all_parties(tx, rows)
    broker = [one for one in known if one.kind is PartyKind.BROKER]
    if len(broker) != 1:
        raise Corrupt("directory.no-broker", count=len(broker))

    async def of_known(table: Table, read: Callable[[Row[Any]], _Owned]) -> tuple[_Owned, ...]:
        found = await _all(tx, rows, table, select(table), read)
        return tuple(one for one in found if one.party in ids or not rows.checks)

    ids, ended = {one.id for one in known}, await tx.endings() if ended is None else ended
    signing, sealing = tables.signing_keys, tables.sealing_keys
    try:
        return Directory.of(
            signing=[_revoked(one, signing.name, ended) for one in await of_known(signing, _signing_key)],
            sealing=[_revoked(one, sealing.name, ended) for one in await of_known(sealing, _sealing_key)],
            rights=[_ended_right(one, ended) for one in await of_known(tables.publishing_rights, _right)],
            policies=_policies(await of_known(tables.signature_policies, _policy), ended, ids),
            broker=broker[0].id,
        )
    except Refused as refused:
        raise Corrupt("directory.unreadable", refused.pointer, wrong=refused.code) from None


_Read = TypeVar("_Read")
_Owned = TypeVar("_Owned", SigningKeyEntry, SealingKeyEntry, PublishingRight, PolicyEntry)


async def _all(
    tx: Transaction, rows: RowReader, table: Table, statement: Select[Any], read: Callable[[Row[Any]], _Read]
) -> tuple[_Read, ...]:
    counting = rows.valid(table.name, (await tx.execute(statement)).all())
    try:
        return tuple(read(row) for row in counting)
    except Refused as refused:
        raise Corrupt("directory.unreadable", refused.pointer, wrong=refused.code) from None
    except (ValueError, TypeError) as error:  # no member of an enumeration, no JSON: not written by us
        raise Corrupt("directory.unreadable", wrong=type(error).__name__) from None


def _party(row: Row[Any]) -> Party:
    return Party(
        PartyId(row.id),
        row.name,
        row.sector,
        PartyKind(row.kind),
        row.address,
        row.contact,
        row.retention,
        Instant(row.created_at),
    )


def _signing_key(row: Row[Any]) -> SigningKeyEntry:
    algorithm = signing.Algorithm(row.algorithm)
    return SigningKeyEntry(Kid(row.kid), PartyId(row.party), algorithm, row.public, *_validity(row))


def _sealing_key(row: Row[Any]) -> SealingKeyEntry:
    return SealingKeyEntry(Kid(row.kid), PartyId(row.party), hpke.Suite(row.suite), row.public, *_validity(row))


def _validity(row: Row[Any]) -> tuple[Instant, Instant | None, Instant | None]:
    return Instant(row.valid_from), instant_of(row.valid_to), instant_of(row.revoked_at)


def _right(row: Row[Any]) -> PublishingRight:
    return PublishingRight(
        PartyId(row.party), EventType(row.event_type), Instant(row.valid_from), instant_of(row.valid_to)
    )


def _policy(row: Row[Any]) -> PolicyEntry:
    return PolicyEntry(PartyId(row.party), row.policy, Instant(row.valid_from))


Key = TypeVar("Key", SigningKeyEntry, SealingKeyEntry)


def _revoked(key: Key, table: str, ended: Ended) -> Key:
    """The key as it counts: a revocation that its row does not tell of counts, too."""
    told = ended.newest(table, key.kid)
    if told is None:
        return key
    at = Instant(told.told["revoked_at"])
    if key.revoked_at is not None and key.revoked_at <= at:
        return key
    logger().error("endings.row-contradicts", _ended_at=told.at, kid=key.kid)
    return replace(key, revoked_at=at)


def _ended_right(right: PublishingRight, ended: Ended) -> PublishingRight:
    told = ended.newest(tables.publishing_rights.name, key_of(right.party, right.event_type, right.valid_from))
    if told is None:
        return right
    at = Instant(told.told["valid_to"])
    if right.valid_to is not None and right.valid_to <= at:
        return right
    logger().error("endings.row-contradicts", _ended_at=told.at, party=right.party, event_type=right.event_type)
    return replace(right, valid_to=at)


def _policies(rows: Sequence[PolicyEntry], ended: Ended, known: Collection[PartyId]) -> Sequence[PolicyEntry]:
    """With the newer ones of registered parties that the rows have lost."""
    told = [one.told for one in ended.of(tables.signature_policies.name)]
    kept = {
        (one["party"], one["valid_from"]): PolicyEntry(PartyId(one["party"]), one["policy"], one["valid_from"])
        for one in told
        if one["party"] in known
    }
    there = {(one.party, one.valid_from) for one in rows}
    lost = [one for place, one in kept.items() if place not in there]
    for one in lost:
        logger().error("endings.row-contradicts", _ended_at=one.valid_from, party=one.party)
    return [*(kept.get((one.party, one.valid_from), one) for one in rows), *lost]


def approved_since(subscription: Subscription) -> int:
    """Which approval of a subscription this is, as the journal of endings counts them; 0: none."""
    return subscription.approved_at or 0


def _obeyed(one: Subscription, ended: Ended) -> Subscription:
    """An approval that has ended is over, also where a row brings it back."""
    told = ended.newest(tables.subscriptions.name, one.id)
    if told is None or one.status is not SubscriptionStatus.APPROVED or approved_since(one) >= told.least:
        return one
    logger().error("endings.row-contradicts", _ended_at=told.at, recipient=one.recipient, event_type=one.event_type)
    return replace(one, status=SubscriptionStatus.ENDED, ended_at=told.at)


def subscription_of(row: Row[Any]) -> Subscription:
    """The subscription of a row of `subscriptions`."""
    return Subscription(
        id=row.id,
        recipient=PartyId(row.recipient),
        event_type=EventType(row.event_type),
        purpose=Purpose(row.purpose),
        fields=_names(row.fields),
        territories=None if row.territories is None else _names(row.territories),
        status=SubscriptionStatus(row.status),
        approved_at=instant_of(row.approved_at),
        ended_at=instant_of(row.ended_at),
        legal_reference=row.legal_reference,
        least=_least_of(row),
    )


def _least_of(row: Row[Any]) -> Least:
    if row.least_assurance is None:
        return ANY
    return Least(assurance_of(row.least_assurance), quality_of(row.least_quality))


def row_of(subscription: Subscription) -> dict[str, Any]:
    """The row of a subscription; equal subscriptions have equal rows."""
    territories = subscription.territories
    return {
        "id": subscription.id,
        "recipient": subscription.recipient,
        "event_type": subscription.event_type,
        "purpose": subscription.purpose,
        "fields": json.dumps(sorted(subscription.fields)),
        "territories": None if territories is None else json.dumps(sorted(territories)),
        "status": subscription.status.value,
        "legal_reference": subscription.legal_reference,
        "approved_at": subscription.approved_at,
        "ended_at": subscription.ended_at,
        "least_assurance": None if subscription.least == ANY else subscription.least.assurance.value,
        "least_quality": None if subscription.least == ANY else subscription.least.quality.value,
    }


def _names(text: str) -> frozenset[str]:
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("a list of names")
    return frozenset(names)

"""Served: what each topic of the house is called, and which administrations are served by topics.

    declarations                 what the intake accepted; nobody else's
    declarations.<source>        what a source hands in          declarations.<source>.dead     what was refused of it
    receipts.<source>            the signed receipts for it      deliveries.<agency>            sealed deliveries

Refuses: a principal that means everybody, or that speaks for two administrations.
Keeps: a topic's name follows from the party's and leads back to one party only. Being served is a credential: beginning
and end have ledger entries, whose `detail` is SHA-256 of the row. Whoever is not served by topics pulls, as before.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select

from broker.directory import reading
from broker.directory.registrar import LOCK
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.store.access_tables import topic_users
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowReader, RowSigner
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, PartyId, instant_of
from schemas.topics import declarations, deliveries, receipts

_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 =,.@_+-]{0,198}[A-Za-z0-9])?")
_EVERYBODY: Final = frozenset({"anonymous", "everyone"})


@dataclass(frozen=True, slots=True)
class TopicUser:
    """One administration and how topics serve it. `principal`: as Kafka knows it, without `User:`."""

    party: PartyId
    principal: str
    receives: bool
    declares: bool
    since: Instant
    ended_at: Instant | None


def dead(source: PartyId) -> str:
    """Where what was refused of a source's topic is kept, as it came."""
    return f"{declarations(source)}.dead"


def group(agency: PartyId) -> str:
    """The consumer group of an agency's connectors: named like its topic."""
    return deliveries(agency)


def own_topics(user: TopicUser) -> tuple[str, ...]:
    """Every topic that exists for an administration."""
    mine = (declarations(user.party), dead(user.party), receipts(user.party)) if user.declares else ()
    return (*mine, deliveries(user.party)) if user.receives else mine


async def users(tx: Transaction, rows: RowReader, *, ended: bool = False) -> tuple[TopicUser, ...]:
    """Who is served by topics now, by party; with `ended` whoever was."""
    wanted = () if ended else (topic_users.c.ended_at.is_(None),)
    found = await tx.execute(select(topic_users).where(*wanted).order_by(topic_users.c.party, topic_users.c.since))
    return tuple(_user(row) for row in rows.valid(topic_users.name, found))


class TopicUsers:
    """The only writer of who is served by topics, inside the caller's transaction."""

    def __init__(self, recorder: Recorder, signer: RowSigner) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier

    async def allow(
        self, tx: Transaction, party: PartyId, principal: str, *, receives: bool, declares: bool, at: Instant
    ) -> TopicUser:
        """Serve an administration by topics from now on; what was said of it before ends.

        Raises Refused: `directory.unknown-party`, `topics.principal`, `topics.principal-taken`, `topics.nothing`.
        """
        if not _PRINCIPAL.fullmatch(principal) or principal.lower() in _EVERYBODY:
            raise Refused("topics.principal", "/principal", length=len(principal))
        if not (receives or declares):
            raise Refused("topics.nothing")
        await tx.lock_exclusive([LOCK])
        await reading.party(tx, self._rows, party)
        now = {user.party: user for user in await users(tx, self._rows)}
        if any(user.principal == principal for user in now.values() if user.party != party):
            raise Refused("topics.principal-taken", "/principal")
        known = now.get(party)
        if known is not None:
            if (known.principal, known.receives, known.declares) == (principal, receives, declares):
                return known
            await self._end(tx, known, at)
        row = {
            "party": party,
            "principal": principal,
            "receives": int(receives),
            "declares": int(declares),
            "since": at if known is None else max(at, known.since + 1),
        }
        await self._signer.insert(tx, topic_users, {**row, "ended_at": None})
        mark("topics.allowed")
        # Crash here: the transaction is gone, row and entry; the operator says it again.
        self._recorder.record(tx, FactKind.KEY_ADDED, at, recipient=party, detail=row_digest("topic_users", row))
        return TopicUser(party, principal, receives, declares, Instant(int(str(row["since"]))), None)

    async def end(self, tx: Transaction, party: PartyId, at: Instant) -> TopicUser:
        """Serve it by topics no more: its deliveries wait in its mailbox. Raises Refused `topics.not-served`."""
        await tx.lock_exclusive([LOCK])
        for user in await users(tx, self._rows):
            if user.party == party:
                return await self._end(tx, user, at)
        raise Refused("topics.not-served", "/party")

    async def _end(self, tx: Transaction, user: TopicUser, at: Instant) -> TopicUser:
        mine = (topic_users.c.party == user.party, topic_users.c.since == user.since)
        row = (await tx.execute(select(topic_users).where(*mine))).one()
        await self._signer.change(tx, topic_users, row, {"ended_at": at})
        mark("topics.ended")
        # Crash here: the transaction is gone; the operator says it again.
        digest = row_digest("topic_users", row._mapping)
        self._recorder.record(tx, FactKind.KEY_REVOKED, at, recipient=user.party, detail=digest)
        return TopicUser(user.party, user.principal, user.receives, user.declares, user.since, at)


def _user(row: Row[Any]) -> TopicUser:
    return TopicUser(
        party=PartyId(row.party),
        principal=row.principal,
        receives=bool(row.receives),
        declares=bool(row.declares),
        since=Instant(row.since),
        ended_at=instant_of(row.ended_at),
    )

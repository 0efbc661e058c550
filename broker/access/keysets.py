"""Key sets: an administration's client keys at an address of its own, where it renews them without asking anybody.

    operator ──follow──► party, URL, scopes        an assertion's kid ──key──► the key of that name, as published now

Refuses: a second address for one administration; an address that the broker may not call (`broker.outbound`).
Keeps: an address that nobody registered is never called, whatever an assertion says. A set is asked for at most once in
APART_MS, however many assertions with unknown names come; all who wait for it wait for one request, and no transaction
is open meanwhile. A key that is gone from the set counts no more after FRESH_MS. While the address is away, what it
said last counts on for STALE_MS, and then nobody is let in by it. Beginning and end have their ledger entries.
Source: RFC 7523, section 3; OpenID Connect Core 1.0, section 10.1.1 (rotation by an unknown `kid`).
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, select

from broker.access.credentials import Scope, scopes_of
from broker.access.jwks import Key, key_set
from broker.access.revoking import revoke, row_key
from broker.directory import reading
from broker.ended import Ending
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.outbound import Outbound
from broker.ports import Clock
from broker.store.access_tables import client_key_sets
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowReader, RowSigner
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import Instant, PartyId, instant_of

FRESH_MS: Final = 300_000
STALE_MS: Final = 3_600_000
APART_MS: Final = 30_000
SECONDS: Final = 5
"""For one request, from the question about the name to the last byte."""
BYTES: Final = 65_536
SETS: Final = 1_000
"""Remembered in one process; beyond it, the one that nobody has used for the longest time is asked for again."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """An address that is followed, for which scopes."""

    party: PartyId
    url: str
    scopes: frozenset[Scope]
    added_at: Instant
    revoked_at: Instant | None


@dataclass(slots=True)
class _Seen:
    """What an address said last. `read_at`: when that was; `asked_at`: when it was asked last, read or not."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    read_at: Instant | None = None
    asked_at: Instant | None = None
    asking: asyncio.Task[None] | None = None


class KeySets:
    """The only writer of what is followed, inside the caller's transaction; and what the addresses said, in memory."""

    def __init__(self, recorder: Recorder, signer: RowSigner, outbound: Outbound, clock: Clock) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier
        self._outbound = outbound
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def follow(self, tx: Transaction, party: PartyId, url: str, scopes: Iterable[Scope], at: Instant) -> KeySet:
        """Let in by the keys at this address.

        Raises Refused: `oauth.followed`, `outbound.url`, `credentials.no-scope`, `directory.unknown-party`.
        """
        wanted = frozenset(scopes)
        if not wanted:
            raise Refused("credentials.no-scope", "/scopes")
        self._outbound.check(url)
        await reading.party(tx, self._rows, party)
        row = {
            "party": party,
            "url": url,
            "scopes": json.dumps(sorted(scope.value for scope in wanted)),
            "added_at": at,
            "revoked_at": None,
        }
        if not await self._write(tx, row):
            raise Refused("oauth.followed", "/party")
        mark("oauth.followed")
        # Crash here: the transaction is gone, row and entry; the operator says it again.
        self._recorder.record(tx, FactKind.KEY_ADDED, at, recipient=party, detail=row_digest("client_key_sets", row))
        return KeySet(party, url, wanted, at, None)

    async def _write(self, tx: Transaction, row: Mapping[str, Any]) -> bool:
        """One that stands and does not count would stop a new address: it gives its place."""
        mine = (client_key_sets.c.party == row["party"], client_key_sets.c.revoked_at.is_(None))
        there = (await tx.execute(select(client_key_sets).where(*mine))).one_or_none()
        if there is None or self._rows.one(client_key_sets.name, there) is not None:
            return await self._signer.insert(tx, client_key_sets, row)
        await self._signer.renew(tx, client_key_sets, there, row)
        return True

    async def unfollow(self, tx: Transaction, party: PartyId, at: Instant) -> KeySet:
        """Let in by it no more. What was got before ends within ten minutes. Raises Refused `oauth.not-followed`."""
        mine = (client_key_sets.c.party == party) & client_key_sets.c.revoked_at.is_(None)
        return await self._end(tx, mine, at)

    async def complete(self, tx: Transaction, ending: Ending) -> KeySet:
        """End what the journal of endings says has ended. Raises Refused `oauth.not-followed`: it has here, too."""
        party, _, added = ending.key.rpartition(b"\x00")
        mine = (client_key_sets.c.party == party.decode()) & (client_key_sets.c.added_at == int(added))
        return await self._end(tx, mine, ending.at)

    async def _end(self, tx: Transaction, mine: ColumnElement[bool], at: Instant) -> KeySet:
        missing = Refused("oauth.not-followed", "/party")
        row = await revoke(
            tx, self._recorder, self._signer, client_key_sets, mine, at=at, unknown=missing, before=missing
        )
        return KeySet(PartyId(row.party), row.url, scopes_of(row.scopes), Instant(row.added_at), at)

    async def list(self, tx: Transaction, party: PartyId | None = None) -> list[KeySet]:
        """Every address that is or was followed, or a party's."""
        mine = [] if party is None else [client_key_sets.c.party == party]
        order = (client_key_sets.c.added_at, client_key_sets.c.party)
        rows = await tx.execute(select(client_key_sets).where(*mine).order_by(*order))
        return [_set(row) for row in self._rows.valid(client_key_sets.name, rows)]

    async def key(self, followed: KeySet, name: str) -> Key | None:
        """The key of this name (its `kid`, or its thumbprint) that is published there; None when there is none.

        Call it while no transaction is open: it may ask the network. Raises Unavailable `oauth.keys-away`.
        """
        seen = self._remembered(followed.url)
        if not (_within(seen.read_at, self._clock(), FRESH_MS) and name in seen.keys):
            await self._ask(followed, seen)
        if not _within(seen.read_at, self._clock(), STALE_MS):
            raise Unavailable("oauth.keys-away")
        return seen.keys.get(name)

    async def look(self, followed: KeySet) -> int:
        """How many names of keys are published there now. Raises as `Outbound.fetch` does, and `oauth.key-set`."""
        return len(key_set((await self._outbound.fetch(followed.url, limit=BYTES, seconds=SECONDS)).body))

    def _remembered(self, url: str) -> _Seen:
        seen = self._seen.setdefault(url, _Seen())
        self._seen.move_to_end(url)
        if len(self._seen) > SETS:
            self._seen.popitem(last=False)
        return seen

    async def _ask(self, followed: KeySet, seen: _Seen) -> None:
        """Ask the address, or wait for who asks already; or do nothing where that was a moment ago."""
        if seen.asking is None:
            if _within(seen.asked_at, self._clock(), APART_MS):
                return
            seen.asked_at = self._clock()
            seen.asking = asyncio.create_task(self._read(followed, seen))
        await asyncio.shield(seen.asking)  # who gives up waiting does not give up for the others

    async def _read(self, followed: KeySet, seen: _Seen) -> None:
        """Never raises: who waits looks at what is there now."""
        try:
            reply = await self._outbound.fetch(followed.url, limit=BYTES, seconds=SECONDS)
            seen.keys, seen.read_at = key_set(reply.body), self._clock()
        except (Refused, Unavailable) as fault:
            logger().warning("oauth.keys-unread", party=followed.party, code=fault.code)
        finally:
            seen.asking = None


async def standing(tx: Transaction, rows: RowReader, party: PartyId) -> KeySet | None:
    """What is followed of an administration now."""
    mine = (client_key_sets.c.party == party, client_key_sets.c.revoked_at.is_(None))
    row = rows.one(client_key_sets.name, (await tx.execute(select(client_key_sets).where(*mine))).one_or_none())
    if row is None or (await tx.endings()).ended(client_key_sets.name, row_key(client_key_sets, row)):
        return None
    return _set(row)


def _within(then: Instant | None, now: Instant, span: int) -> bool:
    """Whether that was less than a span ago; a clock that went back makes everything long ago."""
    return then is not None and 0 <= now - then < span


def _set(row: Row[Any]) -> KeySet:
    added, revoked = Instant(row.added_at), instant_of(row.revoked_at)
    return KeySet(PartyId(row.party), row.url, scopes_of(row.scopes), added, revoked)

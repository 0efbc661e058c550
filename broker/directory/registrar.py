"""Registrar: who is who. Adds parties, keys, rights and policies, and ends them, in the caller's transaction.

Refuses: a key that nobody should trust, or that somebody has; a policy that the party's own keys cannot meet.
Keeps: nothing is deleted: what ends gets an end, so yesterday's declaration is judged by yesterday's directory. Every
change takes the directory's lock and counts its version up, so nobody decides from an older picture. A key's coming and
its revocation have their ledger entries: `recipient` is the party, `detail` the key's id. Every row is signed as it is
written (`broker.store.rows`), and one that does not count is never changed into one that does.
"""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Table, or_, select, update

from broker.directory import reading
from broker.directory.reading import VERSION, Party, PartyKind
from broker.ended import Ending, key_of
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowSigner
from broker.store.tables import meta, parties, publishing_rights, sealing_keys, signature_policies, signing_keys
from schemas import hpke, pseudonym, signing
from schemas.catalogue import Catalogue
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import EventType, Instant, Kid, PartyId

LOCK = b"directory"
"""Held exclusively by whoever changes the directory."""
TRUST = b"directory/trust"
"""Held exclusively, after LOCK, by whoever changes what a signature is worth: keys, rights, policies. Shared by whoever
may only decide from those in force, and need not wait for a subscription that ends with all its deliveries.
"""
TEXT_CHARACTERS = 300
OVERLAP_MS = 400 * 86_400_000
"""The longest that an old key stays beside a new one: what nobody dares to end is not rotated."""


async def changing(tx: Transaction) -> None:
    """Take the directory's lock and count its version up: call this before reading what a change depends on."""
    await tx.lock_exclusive([LOCK])
    if await tx.insert_new(meta, {"name": VERSION, "value": "1"}):
        return
    now = await reading.version(tx)
    await tx.execute(update(meta).where(meta.c.name == VERSION).values(value=str(now + 1)))


async def holding_trust(tx: Transaction) -> None:
    """What a signature is worth stays as it is while this transaction reads, until it changes it."""
    await tx.lock_exclusive([LOCK])
    await tx.lock_exclusive([TRUST])


async def changing_trust(tx: Transaction) -> None:
    """As `changing`, before a change of keys, rights or policies."""
    await holding_trust(tx)
    await changing(tx)


class Registrar:
    """The only writer of the directory's tables."""

    def __init__(self, recorder: Recorder, catalogue: Catalogue, signer: RowSigner) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier
        self._catalogue = catalogue

    async def add_party(self, tx: Transaction, party: Party) -> None:
        """Raises Refused: `registrar.party-exists`, `registrar.broker-exists`, `registrar.text`, `pseudonym.sector`."""
        for name in ("name", "address", "contact", "retention"):
            _check_text(name, getattr(party, name))
        pseudonym.sector_key(bytes(pseudonym.MASTER_SIZE), party.sector)
        await changing(tx)
        if party.kind is PartyKind.BROKER:
            others = select(parties).where(parties.c.kind == PartyKind.BROKER.value)
            if self._rows.valid(parties.name, await tx.execute(others)):
                raise Refused("registrar.broker-exists", "/kind")
        row = party_row(party)
        if not await self._signer.insert(tx, parties, row):
            raise Refused("registrar.party-exists", "/id", party=party.id)
        mark("registrar.party")
        # Crash here: the transaction is gone; whoever registers the party does it again. So too for every change below.
        digest = row_digest("parties", row)
        self._recorder.record(tx, FactKind.PARTY_ADDED, party.created_at, recipient=party.id, detail=digest)

    async def change_party(self, tx: Transaction, party: PartyId, changes: Mapping[str, str], at: Instant) -> Party:
        """Other words for its name, address, contact or retention. Its sector and kind are for ever: pseudonyms and
        rights follow from them. Raises Refused: `directory.unknown-party`, `registrar.text`, `registrar.no-change`.
        """
        before = await reading.party(tx, self._rows, party)
        told: dict[str, Any] = dict(changes)
        after = replace(before, **told)
        for name in changes:
            _check_text(name, getattr(after, name))
        if after == before:
            raise Refused("registrar.no-change", party=party)
        await changing(tx)
        row = (await tx.execute(select(parties).where(parties.c.id == party))).one()
        await self._signer.change(tx, parties, row, told)
        detail = row_digest("parties", party_row(after))
        self._recorder.record(tx, FactKind.PARTY_CHANGED, at, recipient=party, detail=detail)
        return after

    async def add_signing_key(
        self,
        tx: Transaction,
        party: PartyId,
        *,
        algorithm: signing.Algorithm,
        public: bytes,
        valid_from: Instant,
        at: Instant,
    ) -> Kid:
        """List a public signing key (raw, protocol 1). Raises Refused: `signing.*`, `registrar.key-exists`."""
        _check_public(lambda: signing.check_public(algorithm, public))
        kid = signing.kid_of(algorithm, public)
        await self._add_key(
            tx, signing_keys, _key_row(kid, party, public, valid_from) | {"algorithm": int(algorithm)}, at
        )
        return kid

    async def add_sealing_key(
        self, tx: Transaction, party: PartyId, *, suite: hpke.Suite, public: bytes, valid_from: Instant, at: Instant
    ) -> Kid:
        """List a public HPKE key (raw, protocol 1). Raises Refused: `hpke.*`, `registrar.key-exists`."""
        _check_public(lambda: hpke.check_public(suite, public))
        kid = hpke.kid_of(suite, public)
        await self._add_key(tx, sealing_keys, _key_row(kid, party, public, valid_from) | {"suite": int(suite)}, at)
        return kid

    async def add_key(
        self, tx: Transaction, party: PartyId, *, kind: signing.Algorithm | hpke.Suite, public: bytes, at: Instant
    ) -> Kid:
        """List a public key of either use from now on. Raises as the two above."""
        if isinstance(kind, signing.Algorithm):
            return await self.add_signing_key(tx, party, algorithm=kind, public=public, valid_from=at, at=at)
        return await self.add_sealing_key(tx, party, suite=kind, public=public, valid_from=at, at=at)

    async def rotate_signing(
        self,
        tx: Transaction,
        party: PartyId,
        *,
        algorithm: signing.Algorithm,
        public: bytes,
        at: Instant,
        overlap_ms: int,
    ) -> Kid:
        """A new key from now on; the party's other keys of this algorithm end `overlap_ms` later.

        Raises as adding a key does, and Refused `registrar.overlap` beyond 400 days.
        """
        _check_overlap(overlap_ms)
        kid = await self.add_signing_key(tx, party, algorithm=algorithm, public=public, valid_from=at, at=at)
        mine = (signing_keys.c.party == party) & (signing_keys.c.algorithm == int(algorithm))
        await self._end_others(tx, signing_keys, mine, kid, Instant(at + overlap_ms))
        return kid

    async def rotate_sealing(
        self, tx: Transaction, party: PartyId, *, suite: hpke.Suite, public: bytes, at: Instant, overlap_ms: int
    ) -> Kid:
        """A new key from now on; the party's other sealing keys, of any suite, end `overlap_ms` later."""
        _check_overlap(overlap_ms)
        kid = await self.add_sealing_key(tx, party, suite=suite, public=public, valid_from=at, at=at)
        await self._end_others(tx, sealing_keys, sealing_keys.c.party == party, kid, Instant(at + overlap_ms))
        return kid

    async def revoke_key(self, tx: Transaction, kid: Kid, clock: Clock, since: Instant | None = None) -> None:
        """Trust a key no more, from the next millisecond on, or since an earlier instant when a thief has it since
        then.

        `clock` is read under the lock, which every intake shares while it writes down what it accepted: all that was
        accepted under this key has an instant of receipt up to this millisecond, and stays good.
        Raises Refused: `registrar.unknown-key`, `registrar.already-revoked`, `registrar.revoked-later`.
        """
        await changing_trust(tx)
        at = clock()
        if since is not None and since > at:
            raise Refused("registrar.revoked-later", "/since")
        revoked_at = Instant(at + 1) if since is None else since
        for table in (signing_keys, sealing_keys):
            there = (await tx.execute(select(table).where(table.c.kid == kid))).one_or_none()
            found = self._rows.one(table.name, there)
            if found is None:
                continue
            if found.revoked_at is not None and found.revoked_at <= revoked_at:
                raise Refused("registrar.already-revoked", "/kid", kid=kid.hex())
            tx.end(Ending.of(table.name, kid, at=at, revoked_at=revoked_at))
            await self._signer.change(tx, table, found, {"revoked_at": revoked_at})
            mark("registrar.key-revoked")
            self._recorder.record(tx, FactKind.KEY_REVOKED, at, recipient=PartyId(found.party), detail=kid)
            return
        raise Refused("registrar.unknown-key", "/kid", kid=kid.hex())

    async def allow_publishing(
        self,
        tx: Transaction,
        party: PartyId,
        event_type: EventType,
        valid_from: Instant,
        valid_to: Instant | None = None,
    ) -> None:
        """The party may declare events of this type.

        Raises Refused: `catalogue.unknown-type`, `directory.unknown-party`, `registrar.period`,
        `registrar.right-exists`.
        """
        self._catalogue.by_type(event_type)
        if valid_to is not None and valid_to < valid_from:
            raise Refused("registrar.period", "/valid_to")
        await changing_trust(tx)
        await reading.party(tx, self._rows, party)
        row = {"party": party, "event_type": event_type, "valid_from": valid_from, "valid_to": valid_to}
        if not await self._signer.insert(tx, publishing_rights, row):
            raise Refused("registrar.right-exists", "/event_type", party=party, event_type=event_type)
        mark("registrar.right")
        self._record_right(tx, FactKind.RIGHT_GRANTED, row, valid_from)

    async def end_publishing(self, tx: Transaction, party: PartyId, event_type: EventType, clock: Clock) -> None:
        """The party's rights to this type end with this millisecond. Raises Refused `registrar.no-right`.

        `clock`: as for `revoke_key`.
        """
        await changing_trust(tx)
        at = clock()
        table = publishing_rights
        running = or_(table.c.valid_to.is_(None), table.c.valid_to > at)
        mine = (table.c.party == party) & (table.c.event_type == event_type) & running & (table.c.valid_from <= at)
        ended = self._rows.valid(table.name, await tx.execute(select(table).where(mine)))
        if not ended:
            raise Refused("registrar.no-right", "/event_type", party=party, event_type=event_type)
        for row in ended:
            await self._signer.change(tx, table, row, {"valid_to": at})
        mark("registrar.right-ended")
        for row in ended:
            place = key_of(row.party, row.event_type, row.valid_from)
            told = {name: row._mapping[name] for name in ("party", "event_type", "valid_from")}
            tx.end(Ending.of(table.name, place, at=at, valid_to=at, **told))
            self._record_right(tx, FactKind.RIGHT_ENDED, dict(row._mapping) | {"valid_to": at}, at)

    async def forbid(
        self, tx: Transaction, party: PartyId, event_type: EventType | None, clock: Clock
    ) -> list[EventType]:
        """As `end_publishing`, for one type or for all that the party may declare now. Returns them. Raises Refused
        `registrar.no-right`, `directory.unknown-party`.
        """
        await changing_trust(tx)
        await reading.party(tx, self._rows, party)
        at = clock()
        running = await self.running(tx, party, at)
        ended = [each for each in running if event_type in (None, each)]
        if not ended:
            raise Refused("registrar.no-right", "/event_type", party=party, event_type=event_type or "*")
        for each in ended:
            await self.end_publishing(tx, party, each, lambda: at)  # at one instant: so they are given again together
        return ended

    async def running(self, tx: Transaction, party: PartyId, at: Instant) -> list[EventType]:
        """What the party may declare at this instant."""
        table = publishing_rights
        lasts = or_(table.c.valid_to.is_(None), table.c.valid_to > at)
        mine = select(table).where(table.c.party == party, table.c.valid_from <= at, lasts)
        rows = self._rows.valid(table.name, await tx.execute(mine))
        return sorted({EventType(row.event_type) for row in rows})

    async def set_policy(self, tx: Transaction, party: PartyId, policy: int, valid_from: Instant) -> None:
        """Which signatures the party's declarations need from this instant (`signing.POLICIES`).

        Raises Refused: `registrar.unknown-policy`, `registrar.policy-exists`, `registrar.policy-without-keys`.
        """
        if policy not in signing.POLICIES:
            raise Refused("registrar.unknown-policy", "/policy", policy=policy)
        await changing_trust(tx)
        living = select(signing_keys).where(signing_keys.c.party == party, signing_keys.c.revoked_at.is_(None))
        held = self._rows.valid(signing_keys.name, await tx.execute(living))
        missing = signing.POLICIES[policy] - {signing.Algorithm(row.algorithm) for row in held}
        if missing:
            raise Refused("registrar.policy-without-keys", "/policy", missing=min(missing).name)
        row: dict[str, Any] = {"party": party, "policy": policy, "valid_from": valid_from}
        mine = select(signature_policies.c.policy).where(signature_policies.c.party == party).limit(1)
        first = (await tx.execute(mine)).first() is None
        if not await self._signer.insert(tx, signature_policies, row):
            raise Refused("registrar.policy-exists", "/valid_from", party=party)
        if not first:  # what sufficed before has ended
            tx.end(Ending.of(signature_policies.name, key_of(party, valid_from), at=valid_from, **row))
        mark("registrar.policy")
        digest = row_digest("signature_policies", row)
        self._recorder.record(tx, FactKind.POLICY_SET, valid_from, recipient=party, detail=digest)

    def _record_right(self, tx: Transaction, kind: FactKind, row: Mapping[str, Any], at: Instant) -> None:
        party, event_type = PartyId(row["party"]), EventType(row["event_type"])
        digest = row_digest("publishing_rights", row)
        self._recorder.record(tx, kind, at, recipient=party, event_type=event_type, detail=digest)

    async def _add_key(self, tx: Transaction, table: Table, row: dict[str, Any], at: Instant) -> None:
        await changing_trust(tx)
        await reading.party(tx, self._rows, row["party"])
        if not await self._signer.insert(tx, table, row):
            raise Refused("registrar.key-exists", "/public", kid=row["kid"].hex())
        mark("registrar.key-added")
        self._recorder.record(tx, FactKind.KEY_ADDED, at, recipient=row["party"], detail=row["kid"])

    async def _end_others(
        self, tx: Transaction, table: Table, mine: ColumnElement[bool], new: Kid, end: Instant
    ) -> None:
        """What ends earlier keeps its end; what begins later was planned on purpose and stays."""
        later = or_(table.c.valid_to.is_(None), table.c.valid_to > end)
        others = select(table).where(mine, later, table.c.kid != new, table.c.valid_from <= end)
        for row in self._rows.valid(table.name, await tx.execute(others)):
            await self._signer.change(tx, table, row, {"valid_to": end})
        mark("registrar.rotated")


def party_row(party: Party) -> dict[str, Any]:
    """The row of a party."""
    names = ("id", "name", "sector", "address", "contact", "retention", "created_at")
    return {name: getattr(party, name) for name in names} | {"kind": party.kind.value}


def _key_row(kid: Kid, party: PartyId, public: bytes, valid_from: Instant) -> dict[str, Any]:
    dates = {"valid_from": valid_from, "valid_to": None, "revoked_at": None}
    return {"kid": kid, "party": party, "public": public, **dates}


def _check_public(look: Callable[[], None]) -> None:
    try:
        look()
    except Refused as fault:
        raise fault.under("/public") from None


def _check_overlap(overlap_ms: int) -> None:
    if not 0 <= overlap_ms <= OVERLAP_MS:
        raise Refused("registrar.overlap", "/overlap", days=overlap_ms // 86_400_000, limit=OVERLAP_MS // 86_400_000)


def _check_text(name: str, text: str) -> None:
    plain = text.isprintable() and unicodedata.is_normalized("NFC", text) and text == text.strip()
    if not plain or not 1 <= len(text) <= TEXT_CHARACTERS:
        raise Refused("registrar.text", f"/{name}", length=len(text), limit=TEXT_CHARACTERS)

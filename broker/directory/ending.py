"""Ending: what the journal of endings says of keys, rights and policies is written into the directory's tables again.

Refuses: nothing; what is not in the tables, or has ended there as early, needs nothing.
Keeps: as `registrar`: the directory's lock, its version, an entry for each change.
"""

from sqlalchemy import select

from broker.directory.registrar import changing_trust
from broker.ended import Ending
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowSigner
from broker.store.tables import parties, publishing_rights, sealing_keys, signature_policies, signing_keys
from schemas.facts import FactKind
from schemas.names import EventType, Instant, PartyId

KEYS = {table.name: table for table in (signing_keys, sealing_keys)}


async def complete(tx: Transaction, recorder: Recorder, signer: RowSigner, ending: Ending, at: Instant) -> bool:
    """Do what a record says of a key, a right or a policy and the tables do not. Whether there was anything to do.

    Of a row that does not count nothing is done: it gives nobody anything (`broker.store.rows`).
    """
    await changing_trust(tx)
    if ending.table == publishing_rights.name:
        done = await _right(tx, recorder, signer, ending, at)
    elif ending.table == signature_policies.name:
        done = await _policy(tx, recorder, signer, ending)
    else:
        done = await _key(tx, recorder, signer, ending, at)
    mark("directory.completed")
    # Crash here: the transaction is gone; the next start does it.
    return done


async def _key(tx: Transaction, recorder: Recorder, signer: RowSigner, ending: Ending, at: Instant) -> bool:
    table, revoked_at = KEYS[ending.table], ending.told["revoked_at"]
    there = (await tx.execute(select(table).where(table.c.kid == ending.key))).one_or_none()
    row = signer.verifier.one(table.name, there)
    if row is None or (row.revoked_at is not None and row.revoked_at <= revoked_at):
        return False
    await signer.change(tx, table, row, {"revoked_at": revoked_at})
    recorder.record(tx, FactKind.KEY_REVOKED, at, recipient=PartyId(row.party), detail=ending.key)
    return True


async def _right(tx: Transaction, recorder: Recorder, signer: RowSigner, ending: Ending, at: Instant) -> bool:
    table, told = publishing_rights, ending.told
    mine = (table.c.party == told["party"]) & (table.c.event_type == told["event_type"])
    mine &= table.c.valid_from == told["valid_from"]
    row = signer.verifier.one(table.name, (await tx.execute(select(table).where(mine))).one_or_none())
    if row is None or (row.valid_to is not None and row.valid_to <= told["valid_to"]):
        return False
    await signer.change(tx, table, row, {"valid_to": told["valid_to"]})
    whole = dict(row._mapping) | {"valid_to": told["valid_to"]}
    party, event_type, detail = PartyId(row.party), EventType(row.event_type), row_digest(table.name, whole)
    recorder.record(tx, FactKind.RIGHT_ENDED, at, recipient=party, event_type=event_type, detail=detail)
    return True


async def _policy(tx: Transaction, recorder: Recorder, signer: RowSigner, ending: Ending) -> bool:
    row = {name: ending.told[name] for name in ("party", "policy", "valid_from")}
    known = (await tx.execute(select(parties.c.id).where(parties.c.id == row["party"]))).first() is not None
    if not known or not await signer.insert(tx, signature_policies, row):
        return False
    at, party = Instant(row["valid_from"]), PartyId(row["party"])
    recorder.record(tx, FactKind.POLICY_SET, at, recipient=party, detail=row_digest(signature_policies.name, row))
    return True

"""Revoking: a bank account is on its way to two funds when Maëlle says no to one of them.

Refuses: nothing.
Keeps: each attempt to open has its counterpart that succeeds, before the revocation or under the other consent: a check
that can only say no would prove nothing.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from broker.cli.demo import cast, systems
from broker.cli.demo.acts.allowing import Allowed
from broker.cli.demo.facts import facts_of, of_kind
from broker.cli.demo.stage import Stage
from broker.flow.deliveries import Delivery
from broker.ports import KeyKind
from consent import keyring, registry
from consent.explain import explain_reason
from schemas.assurance import SURE
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.hpke import SealingKey
from schemas.names import DeliveryId, GrantId, LeafHash, Reason, uuid_text
from schemas.release import LockedDelivery, open_locked


@dataclass(frozen=True, slots=True)
class Revoked:
    """What the act leaves for later ones: the entry of the revocation, and the bytes that were in flight."""

    entry: LeafHash
    grant: GrantId
    delivery: DeliveryId


async def revoke(stage: Stage, allowed: Allowed) -> Revoked:
    """Declare, let the fund fetch the sealed delivery, revoke, let it ask for the keys."""
    home, words = stage.home, stage.words
    accepted = await home.desk.declare(cast.PORTAL, cast.BANK, cast.account(), provenance=SURE)
    await home.router.route()
    inbox = home.inbox(cast.by_key("family").party)
    (leased,) = await inbox.lease(10)
    grant = allowed.grants["family", cast.BANK].grant.id
    backup = await stage.back_up(stage.root / "backup.db")
    before = home.clock()
    recorded = await home.consents.revoke(grant, allowed.voice)
    took = home.clock() - before
    pulled = await inbox.release([leased.id])
    fetched = await stage.ring()
    reasons = [Reason(each.word) for each in pulled.withheld]
    stage.telling.steps(
        [
            ("1", words("revoke.declared", id=accepted.declaration_id.hex()[:13])),
            ("2", words("revoke.leased", size=len(leased.locked))),
            ("3", words("revoke.revoked", ms=max(took, 1))),
            ("4", words("revoke.asked", why=explain_reason(reasons[0], words.language) if reasons else "?")),
            ("5", words("revoke.other")),
        ]
    )
    closed = reasons == [Reason.REVOKED] and not pulled.locked
    nothing = not systems.csv_files(stage.folder("family") / "accounts")
    stage.claim("revoke.refused", held=closed and nothing, evidence=reasons[0].value if reasons else "released")
    kept = [each["record"]["iban"] for each in stage.health.kept() if "iban" in each["record"]]
    stage.claim("revoke.only_that", held=fetched == 1 and kept == [cast.IBAN])
    await _claim_noise(stage, leased, grant)
    await _claim_backup(stage, leased, grant, backup)
    await _claim_ledger(stage, leased, grant)
    return Revoked(recorded.entry, grant, leased.id)


async def _claim_noise(stage: Stage, leased: Delivery, grant: GrantId) -> None:
    """The consent's key is gone; with the gate's private key, and every consent key there is, it does not open."""
    home = stage.home
    async with home.store.read() as tx:
        gone = grant not in {row.grant_id async for batch in registry.keys(tx.conn) for row in batch}
        others = [key for _, key in (await _living_keys(stage)).items()]
        gate = home.keyring.gate((await home.lookup.directory(tx)).sealing_key(leased.gate_kid))
    if gate is None:
        raise Corrupt("gate.key-missing", delivery=uuid_text(leased.id))
    locked = LockedDelivery.decode(leased.locked)
    opened = [each for each in (*others, bytes(32)) if _opens(locked, each, gate)]
    stage.claim("revoke.noise", held=gone and not opened, count=len(others), evidence="release.cannot-unlock")


async def _claim_backup(stage: Stage, leased: Delivery, grant: GrantId, backup: Path) -> None:
    """A backup from before still has the wrapped key. After the rotation of the consent epoch it opens no more."""
    home = stage.home
    before = _from_backup(backup, grant, home.keyring.consent_epochs())
    rotated = await home.epochs.rotate_consent()
    after = _from_backup(backup, grant, home.keyring.consent_epochs())
    epochs = len(home.keys.names(KeyKind.CONSENT_EPOCH))
    # That it opened before is part of the claim: a check that can only say no would prove nothing.
    held = before is not None and after is None and epochs == 1
    stage.claim("revoke.backup", held=held, evidence=stage.words("revoke.rotated", count=rotated))


async def _claim_ledger(stage: Stage, leased: Delivery, grant: GrantId) -> None:
    facts = await facts_of(stage.home)
    revoked = [fact for fact in of_kind(facts, FactKind.REVOKED) if fact.facts.grant == grant]
    released = [fact for fact in of_kind(facts, FactKind.RELEASED) if fact.facts.delivery == leased.id]
    withheld = [fact for fact in of_kind(facts, FactKind.WITHHELD) if fact.facts.delivery == leased.id]
    told = [fact.facts.reason for fact in withheld]
    stage.claim("revoke.ledger", held=len(revoked) == 1 and not released and told == [Reason.REVOKED])


async def _living_keys(stage: Stage) -> Mapping[GrantId, bytes]:
    """Every consent key that the registry can still give."""
    async with stage.home.store.read() as tx:
        ids = [GrantId(row.grant_id) async for batch in registry.keys(tx.conn) for row in batch]
        heads = await registry.current(tx.conn, ids)
        return await registry.consent_keys_of(tx.conn, heads.values(), stage.home.keyring.consent_epochs())


def _opens(locked: LockedDelivery, consent_key: bytes, gate: SealingKey) -> bool:
    try:
        open_locked(locked, consent_key, gate)
    except Refused:
        return False
    return True


def _from_backup(backup: Path, grant: GrantId, epochs: Mapping[int, bytes]) -> bytes | None:
    """The consent key of a grant, from a backup of the database and the epoch keys that are alive now."""
    query = "SELECT epoch, digest, wrapped FROM consent_keys WHERE grant_id = ?"
    with closing(sqlite3.connect(backup)) as database:
        row = database.execute(query, (bytes(grant),)).fetchone()
    if row is None:
        return None
    for key in epochs.values():
        try:
            return keyring.unwrap(row[2], keyring.Bound(grant, row[1], row[0]), key).key
        except Corrupt:
            continue
    return None

"""A home from before: each row is compared with the ledger before the first key signs it; what was forged stays out."""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from broker.access.credentials import Scope
from broker.ports import KeyKind
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store import access_tables, tables
from broker.store.engine import Store
from broker.store.rows import adopting, seals
from broker.store.rows.adopting import Adopted
from broker.store.rows.agreeing import agrees, told
from broker.store.rows.layouts import LAYOUTS
from consent.tables import metadata
from schemas.errors import Corrupt, Refused
from schemas.hpke import SealingKey, Suite
from schemas.names import Instant
from schemas.signing import Algorithm, PrivateKey
from tests.clients import Client
from tests.memory import MemoryKeys
from tests.signed import sign_rows
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, MOVED, PORTAL, World, settings, world

SEALED = [metadata.tables[name] for name in LAYOUTS]


async def lived(here: World) -> None:
    """A row in every table, what began and what ended."""
    home, at = here.home, here.clock()
    client = Client(here, CAF)
    await client.pin()
    async with home.store.begin() as tx:
        for party in (CAF, CPAM):
            await home.credentials.issue(tx, party, [Scope.READ], expires_at=Instant(at + DAY), at=at)
        gone = await home.credentials.issue(tx, CAF, [Scope.READ], expires_at=Instant(at + DAY), at=at)
        await home.credentials.revoke(tx, gone.credential.id, at)
        await home.key_sets.follow(tx, CAF, "https://caf.example/jwks", [Scope.READ], at)
        await home.topic_users.allow(tx, CAF, "caf", receives=True, declares=False, at=at)
        await home.topic_users.end(tx, CAF, at)
        await home.topic_users.allow(tx, CPAM, "cpam", receives=True, declares=False, at=at)
        await home.webhooks.add(tx, CAF, "https://caf.example/", at)
        over = await home.webhooks.add(tx, CAF, "https://caf.example/over", at)
        await home.webhooks.end(tx, CAF, over.id, at)
        await home.registrar.end_publishing(tx, PORTAL, BANK, here.clock)
        await home.subscribing.end(tx, here.subscriptions[CAF, BANK].id, at)
    await home.parties.rotate(PORTAL, DAY)
    async with home.store.begin() as tx:
        newest = max(await _keys(tx, PORTAL), key=lambda row: row.valid_to is not None)
        await home.registrar.revoke_key(tx, newest.kid, here.clock)
    await home.epochs.rotate_consent()
    await home.epochs.open_gate(Suite.X25519, 0)
    await home.ledger.sequence_unfinished()


async def _keys(tx: Any, party: str) -> Any:
    return (await tx.execute(select(tables.signing_keys).where(tables.signing_keys.c.party == party))).all()


async def of_before(here: World) -> MemoryKeys:
    """The home as the version before left it: no seal, and no key that makes one."""
    async with here.home.store.begin() as tx:
        for table in SEALED:
            await tx.execute(update(table).values(row_version=None, seal=None))
    keys, made = here.home.keys, MemoryKeys()
    for kind in KeyKind:
        for name in keys.names(kind) if kind not in (KeyKind.ROWS, KeyKind.ROWS_PUBLIC) else ():
            made.write(kind, name, keys.read(kind, name))
    return made


async def a_key(tx: Any) -> None:
    key = PrivateKey.generate(Algorithm.ED25519)
    row = {"kid": key.kid, "party": PORTAL, "algorithm": 1, "public": key.public, "valid_from": 1}
    await tx.execute(insert(tables.signing_keys).values(**row))


async def a_sealing_key(tx: Any) -> None:
    key = SealingKey.generate(Suite.X25519)
    row = {"kid": key.kid, "party": CAF, "suite": int(Suite.X25519), "public": key.public, "valid_from": 1}
    await tx.execute(insert(tables.sealing_keys).values(**row))


async def another_public_key_under_a_known_id(tx: Any) -> None:
    mine = tables.sealing_keys.c.party == CAF
    await tx.execute(update(tables.sealing_keys).where(mine).values(public=SealingKey.generate(Suite.X25519).public))


async def a_revocation_undone(tx: Any) -> None:
    mine = tables.signing_keys.c.revoked_at.is_not(None)
    await tx.execute(update(tables.signing_keys).where(mine).values(revoked_at=None))


async def a_revocation_put_off(tx: Any) -> None:
    mine = tables.signing_keys.c.revoked_at.is_not(None)
    await tx.execute(update(tables.signing_keys).where(mine).values(revoked_at=2**50))


async def an_epoch(tx: Any) -> None:
    await tx.execute(insert(tables.consent_epochs).values(epoch=99, opened_at=1))


async def a_gate_undone(tx: Any) -> None:
    await tx.execute(update(tables.gate_epochs).values(destroyed_at=1))


def edited(table: str, **values: Any) -> Callable[[Any], Awaitable[None]]:
    """All of its rows."""

    async def work(tx: Any) -> None:
        await tx.execute(update(metadata.tables[table]).values(**values))

    return work


FORGED: dict[str, tuple[str, Callable[[Any], Awaitable[None]]]] = {
    "a signing key": ("signing_keys", a_key),
    "a sealing key": ("sealing_keys", a_sealing_key),
    "another public key": ("sealing_keys", another_public_key_under_a_known_id),
    "a revocation undone": ("signing_keys", a_revocation_undone),
    "a revocation put off": ("signing_keys", a_revocation_put_off),
    "a consent epoch": ("consent_epochs", an_epoch),
    "a gate epoch destroyed": ("gate_epochs", a_gate_undone),
    "parties moved": ("parties", edited("parties", sector="health")),
    "rights prolonged": ("publishing_rights", edited("publishing_rights", valid_to=2**50)),
    "policies changed": ("signature_policies", edited("signature_policies", policy=2)),
    "subscriptions widened": ("subscriptions", edited("subscriptions", fields='["iban"]')),
    "subscriptions brought back": ("subscriptions", edited("subscriptions", status="approved", ended_at=None)),
    "tokens widened": ("api_tokens", edited("api_tokens", scopes='["publish"]')),
    "tokens brought back": ("api_tokens", edited("api_tokens", revoked_at=None)),
    "client keys widened": ("client_keys", edited("client_keys", scopes='["publish"]')),
    "addresses of keys turned": ("client_key_sets", edited("client_key_sets", url="https://thief.example/")),
    "users renamed": ("topic_users", edited("topic_users", principal="thief")),
    "users brought back": ("topic_users", edited("topic_users", ended_at=None)),
    "webhooks turned": ("webhooks", edited("webhooks", url="https://thief.example/")),
    "webhooks brought back": ("webhooks", edited("webhooks", status="active")),
}


@pytest.mark.asyncio
@pytest.mark.databases
async def test_a_home_of_before_is_signed_and_works_on(tmp_path: Path, home_settings: dict[str, Any]) -> None:
    async with world(tmp_path, **home_settings) as here:
        await lived(here)
        keys = await of_before(here)
        home, chosen = here.home, here.home.settings
        done = await sign_rows(keys, home.store)
        assert ((), False) == (done.unsigned, adopting.pending(keys))
        async with home.store.read() as tx:
            counted = sum([len((await tx.execute(select(table))).all()) for table in SEALED])
        assert counted - 1 == done.signed  # a webhook that ended needs none
        async with open_log(chosen, home.store, home.clock) as log:
            again = Home(
                chosen,
                store=home.store,
                log=log,
                keys=keys,
                endings=home.endings,
                clock=home.clock,
                entropy=home.entropy,
            )
            after = World(again, here.clock, tmp_path, here.subscriptions)
            await after.step()
            await after.give(CAF, MOVED, FAMILY, ["subject"])
            await after.declare(MOVED, after.moved())
            assert 1 == len(await after.take(CAF))
            await after.step()


@pytest.mark.asyncio
@pytest.mark.parametrize("what", FORGED)
async def test_what_the_ledger_does_not_say_is_not_signed_and_is_named(tmp_path: Path, what: str) -> None:
    table, forge = FORGED[what]
    async with world(tmp_path) as here:
        await lived(here)
        keys = await of_before(here)
        async with here.home.store.begin() as tx:
            await forge(tx)
        done = await sign_rows(keys, here.home.store)
        verifier = seals.verifier_of(keys)
        async with here.home.store.read() as tx:
            without = {
                one.name
                for one in SEALED
                for row in await tx.execute(select(one))
                if not verifier.holds(one.name, row._mapping) and getattr(row, "status", None) != "ended"
            }
    assert {("rows.not-told", table)} == {(fault.code, fault.details["table"]) for fault in done.unsigned}
    assert {table} == without


@pytest.mark.asyncio
async def test_nothing_is_signed_once_more_because_the_ledger_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await lived(here)
        async with here.home.store.begin() as tx:
            await tx.execute(update(access_tables.api_tokens).values(row_version=None, seal=None))
        assert Adopted(0, ()) == await sign_rows(here.home.keys, here.home.store)
        async with here.home.store.read() as tx:
            assert [] == await here.home.credentials.list(tx)


@pytest.mark.asyncio
async def test_a_signing_that_was_broken_off_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        if name == "rows.committed":
            raise RuntimeError("the power went")

    async with world(tmp_path) as here:
        keys = await of_before(here)
        with monkeypatch.context() as patched:
            patched.setattr(adopting, "mark", broken)
            with pytest.raises(RuntimeError):
                await sign_rows(keys, here.home.store)
        assert adopting.pending(keys)
        with pytest.raises(Refused, match=r"rows\.not-signed"):
            seals.check_ready(keys)
        with pytest.raises(Refused, match=r"rows\.not-signed"):
            seals.signer_of(keys, seals.verifier_of(keys)).sealed("consent_epochs", {})
        assert () == (await sign_rows(keys, here.home.store)).unsigned
        seals.check_ready(keys)


@pytest.mark.asyncio
async def test_rows_of_no_shape_agree_with_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        said = told(await here.entries(), ["1"])
    assert not any(agrees(table, {}, said) for table in LAYOUTS)
    assert not agrees("signing_keys", {"public": "x", "kid": 1, "algorithm": 9}, said)


@pytest.mark.asyncio
async def test_a_home_of_before_is_not_opened(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        keys = await of_before(here)
        chosen = settings(tmp_path)
        async with Store.open(chosen.database_url) as store, open_log(chosen, store, here.clock) as log:
            parts = {"clock": here.clock, "entropy": secrets.token_bytes}
            home = Home(chosen, store=store, log=log, keys=keys, endings=here.home.endings, **parts)
            async with store.read() as tx:
                with pytest.raises(Corrupt, match="no-broker"):
                    await home.lookup.directory(tx)

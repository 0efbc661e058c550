"""Whoever writes to the database, and has no key, lets nobody in: each forged row is tried at the door that it is for.

An attacker here counts the directory's version up, as the broker does: what he wrote is read.
"""

import base64
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Table, delete, insert, select, update

from broker.access.credentials import Issued, Scope
from broker.directory import reading
from broker.directory.reading import VERSION
from broker.observability.observe import configure
from broker.ports import KeyKind
from broker.store import access_tables, tables
from broker.store.rows.seals import RowVerifier
from broker.topics.served import users
from schemas.errors import Corrupt, Fault, Refused
from schemas.hpke import SealingKey, Suite
from schemas.names import Instant, PartyId, Reason
from schemas.signing import Algorithm, PrivateKey
from tests.clients import Client
from tests.endpoints import Endpoints, send
from tests.world import BANK, CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, PORTAL, RENNES, World, world

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]
READ = '["read"]'


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker. fsck is not clean after: it finds what was forged."""
    async with world(tmp_path, stepped=True, **home_settings) as made:
        yield made


async def forge(here: World, table: Table, **row: Any) -> None:
    """Insert a row, with the seal of another one, and have everybody read it."""
    async with here.home.store.begin() as tx:
        seal = (await tx.execute(select(tables.parties.c.seal).limit(1))).scalar_one()
        await tx.execute(insert(table).values(**row, row_version=1, seal=seal))
        await told_to_all(tx)


async def edit(here: World, table: Table, *where: Any, **values: Any) -> None:
    async with here.home.store.begin() as tx:
        assert (await tx.execute(update(table).where(*where).values(**values))).rowcount > 0
        await told_to_all(tx)


async def told_to_all(tx: Any) -> None:
    mine = tables.meta.c.name == VERSION
    await tx.execute(update(tables.meta).where(mine).values(value=str(await reading.version(tx) + 1)))


async def refusal(call: Any) -> str:
    with pytest.raises(Refused) as raised:
        await call
    return raised.value.code


async def unsigned(here: World) -> set[str]:
    """Which tables fsck names."""
    await here.home.ledger.sequence_unfinished()
    return {one.place.partition("/")[0] for one in await here.home.fsck.check() if one.check == "rows.unsigned"}


# ── who comes in ────────────────────────────────────────────────────────────────────────────────────────────────────


async def issued(here: World, party: PartyId = CAF) -> Issued:
    at = here.clock()
    async with here.home.store.begin() as tx:
        return await here.home.credentials.issue(tx, party, [Scope.RECEIVE], expires_at=Instant(at + DAY), at=at)


async def comes_in(here: World, token: str) -> set[Scope]:
    async with here.home.store.read() as tx:
        return set((await here.home.credentials.verify(tx, token, here.clock())).scopes)


async def test_a_token_that_was_slipped_in_lets_nobody_in_and_is_an_alarm(here: World) -> None:
    stream, secret = StringIO(), b"s" * 32
    configure("info", here.clock, stream)
    row = {"id": bytes(8), "party": CAF, "digest": sha256(secret).digest(), "scopes": '["receive"]'}
    await forge(here, access_tables.api_tokens, **row, issued_at=1, expires_at=2**50)
    good = await issued(here)

    token = f"unefois_{'00' * 8}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"
    assert "credentials.unknown" == await refusal(comes_in(here, token))

    (line,) = [json.loads(one) for one in stream.getvalue().splitlines() if "rows.unsigned" in one]
    assert ("error", "api_tokens/0300000008" + "00" * 8) == (line["level"], line["row"])
    assert {Scope.RECEIVE} == await comes_in(here, good.token)
    async with here.home.store.read() as tx:
        assert [good.credential] == await here.home.credentials.list(tx)
    assert {"api_tokens"} == await unsigned(here)


async def test_a_token_that_was_widened_prolonged_or_brought_back_lets_nobody_in(here: World) -> None:
    table, other = access_tables.api_tokens, await issued(here, CPAM)
    for change in ({"scopes": '["publish"]'}, {"expires_at": 2**50}, {"party": CPAM}, {"row_version": 2}):
        token = await issued(here)
        await edit(here, table, table.c.id == token.credential.id, **change)
        assert "credentials.unknown" == await refusal(comes_in(here, token.token))
    token = await issued(here)
    async with here.home.store.begin() as tx:
        await here.home.credentials.revoke(tx, token.credential.id, here.clock())
    assert "credentials.revoked" == await refusal(comes_in(here, token.token))
    await edit(here, table, table.c.id == token.credential.id, revoked_at=None)
    assert "credentials.unknown" == await refusal(comes_in(here, token.token))
    assert {Scope.RECEIVE} == await comes_in(here, other.token)


async def test_a_token_put_back_with_its_old_seal_is_stopped_by_the_journal_of_endings(here: World) -> None:
    home, table, token = here.home, access_tables.api_tokens, await issued(here)
    mine = table.c.id == token.credential.id
    async with home.store.begin() as tx:
        before = (await tx.execute(select(table).where(mine))).one()._mapping
        await home.credentials.revoke(tx, token.credential.id, here.clock())
    await edit(here, table, mine, **before)
    assert "credentials.revoked" == await refusal(comes_in(here, token.token))


async def test_a_client_key_that_was_slipped_in_proves_nothing(here: World) -> None:
    thief = Client(here, CAF)
    kid = base64.urlsafe_b64decode(thief.key.thumbprint() + "=")
    row = {"kid": kid, "party": CAF, "jwk": thief.public.decode(), "scopes": READ, "added_at": 1}
    await forge(here, access_tables.client_keys, **row)
    assert "oauth.assertion" == await refusal(thief.redeem())
    honest = Client(here, CAF)
    await honest.pin()
    assert await honest.redeem()
    assert {"client_keys"} == await unsigned(here)


async def test_a_pinned_key_whose_row_was_deleted_does_not_count_where_it_is_published(here: World) -> None:
    home, client = here.home, Client(here, CAF)
    await client.pin()
    kid = base64.urlsafe_b64decode(client.key.thumbprint() + "=")
    async with home.store.begin() as tx:
        await home.key_sets.follow(tx, CAF, "https://caf.example/jwks", [Scope.READ], here.clock())
        await home.oauth.unpin(tx, kid, here.clock())
        await tx.execute(delete(access_tables.client_keys))
    async with home.store.read() as tx:
        assert "oauth.assertion" == await refusal(home.oauth.named(tx, client.assertion()))


async def test_an_address_of_keys_that_was_slipped_in_is_never_asked(here: World) -> None:
    home, thief = here.home, Client(here, CAF)
    row = {"party": CAF, "url": "https://thief.example/jwks", "scopes": READ, "added_at": 1}
    await forge(here, access_tables.client_key_sets, **row)
    async with home.store.begin() as tx:
        assert "oauth.assertion" == await refusal(home.oauth.named(tx, thief.assertion()))
        assert [] == await home.key_sets.list(tx, CAF)
    async with home.store.begin() as tx:  # and it stops nobody
        kept = await home.key_sets.follow(tx, CAF, "https://caf.example/jwks", [Scope.READ], here.clock())
    async with home.store.read() as tx:
        assert kept == (await home.oauth.named(tx, thief.assertion())).source
    assert set() == await unsigned(here)


async def test_a_user_of_topics_that_was_slipped_in_is_not_served(here: World) -> None:
    home = here.home
    row = {"party": CAF, "principal": "thief", "receives": 1, "declares": 1, "since": 1}
    await forge(here, access_tables.topic_users, **row)
    async with home.store.begin() as tx:
        assert () == await users(tx, home.rows, ended=True)
        told = await home.topic_users.allow(tx, CAF, "caf", receives=True, declares=False, at=here.clock())
        assert (told,) == await users(tx, home.rows)


async def test_a_webhook_that_was_slipped_in_or_turned_elsewhere_is_told_nothing(here: World) -> None:
    home, table, endpoints = here.home, access_tables.webhooks, Endpoints()
    rest = {"status": "active", "changed_at": 1, "version": 1, "told_seq": 0, "waiting": 0, "attempts": 0}
    row = {"id": bytes(16), "party": CAF, "url": "https://thief.example/", "symmetric": 0, "created_at": 1}
    await forge(here, table, **row, **rest, reminders=0)
    async with home.store.begin() as tx:
        mine = await home.webhooks.add(tx, CPAM, "https://cpam.example/", here.clock())
        turned = await home.webhooks.add(tx, CPAM, "https://cpam.example/2", here.clock())
    await edit(here, table, table.c.id == turned.id, url="https://thief.example/2")
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())

    for _ in range(3):
        await send(here, endpoints)

    assert {"https://cpam.example/"} == {heard.url for heard in endpoints.heard}
    async with home.store.read() as tx:
        assert [mine.id] == [one.id for one in await home.webhooks.list(tx)]
        assert "webhooks.unknown" == await refusal(home.webhooks.one(tx, CPAM, turned.id))
    assert {"webhooks"} == await unsigned(here)


async def test_a_webhook_that_ended_has_no_seal_to_live_again_with(here: World) -> None:
    home, table, endpoints = here.home, access_tables.webhooks, Endpoints()
    async with home.store.begin() as tx:
        hook = await home.webhooks.add(tx, CAF, "https://caf.example/", here.clock())
        await home.webhooks.end(tx, CAF, hook.id, here.clock())
    assert set() == await unsigned(here)
    await edit(here, table, table.c.id == hook.id, status="active")
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await send(here, endpoints)
    assert [] == endpoints.heard
    assert {"webhooks"} == await unsigned(here)


# ── whose keys count ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_signing_key_that_was_slipped_in_signs_for_nobody(here: World) -> None:
    thief = PrivateKey.generate(Algorithm.ED25519)
    row = {"kid": thief.kid, "party": PORTAL, "algorithm": 1, "public": thief.public, "valid_from": 1}
    await forge(here, tables.signing_keys, **row)
    directory = await here.home.lookup.newest(here.home.store)
    with pytest.raises(Refused):
        directory.check_signer(PORTAL, thief.kid, here.clock())
    await here.declare(MOVED, here.moved())
    assert {"signing_keys"} == await unsigned(here)
    assert "registrar.unknown-key" == await refusal(revoke(here, thief.kid))


async def revoke(here: World, kid: Any) -> None:
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, kid, here.clock)


async def test_a_revoked_key_is_not_brought_back_by_its_row(here: World) -> None:
    table = tables.signing_keys
    (kid,) = [one.kid for one in (await here.home.lookup.newest(here.home.store)).signing if one.party == PORTAL]
    await revoke(here, kid)
    await edit(here, table, table.c.kid == kid, revoked_at=None)
    assert "keyring.no-signing-key" == await refusal(here.home.desk.declare(PORTAL, MOVED, here.moved()))


async def test_a_directory_in_memory_is_not_kept_by_putting_its_version_back(here: World) -> None:
    home, mine = here.home, tables.meta.c.name == VERSION
    (kid,) = [one.kid for one in (await home.lookup.newest(home.store)).signing if one.party == PORTAL]
    async with home.store.read() as tx:
        before = await reading.version(tx)
    await revoke(here, kid)
    async with home.store.begin() as tx:
        await tx.execute(update(tables.meta).where(mine).values(value=str(before)))
    home.rows._endings = lambda: 1  # the journal has the revocation
    here.clock.pass_(1)
    assert (await home.lookup.newest(home.store)).signing_key(kid).revoked_at is not None
    async with home.store.read() as tx:
        assert (await home.lookup.directory(tx)).signing_key(kid).revoked_at is not None


async def test_nothing_is_sealed_to_a_key_that_was_slipped_in(here: World) -> None:
    thief = SealingKey.generate(Suite.X25519)
    row = {"kid": thief.kid, "party": CAF, "suite": int(Suite.X25519), "public": thief.public}
    await forge(here, tables.sealing_keys, **row, valid_from=here.clock())
    directory = await here.home.lookup.newest(here.home.store)
    assert thief.kid != directory.current_sealing_key(CAF, here.clock()).kid
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    assert 1 == len(await here.take(CAF))
    assert {"sealing_keys"} == await unsigned(here)


async def test_a_right_that_was_slipped_in_or_prolonged_lets_nobody_publish(here: World) -> None:
    home, table = here.home, tables.publishing_rights
    await forge(here, table, party=CAF, event_type=MOVED, valid_from=1)
    assert "directory.not-entitled" == await refusal(home.desk.declare(CAF, MOVED, here.moved()))
    async with home.store.begin() as tx:
        await home.registrar.end_publishing(tx, PORTAL, BANK, here.clock)
    here.clock.pass_(1)
    await edit(here, table, table.c.event_type == BANK, valid_to=None)
    assert "directory.not-entitled" == await refusal(home.desk.declare(PORTAL, BANK, here.bank()))
    await here.declare(MOVED, here.moved())
    assert {"publishing_rights"} == await unsigned(here)


async def test_a_policy_that_was_slipped_in_changes_nothing(here: World) -> None:
    await forge(here, tables.signature_policies, party=PORTAL, policy=4, valid_from=here.clock() + 1)
    here.clock.pass_(1)
    assert 1 == (await here.home.lookup.newest(here.home.store)).policy(PORTAL, here.clock())


async def test_a_party_whose_row_was_edited_is_nobody_and_the_others_go_on(here: World) -> None:
    home, table = here.home, tables.parties
    for party, purpose in ((CAF, FAMILY), (CPAM, HEALTH)):
        await here.give(party, MOVED, purpose, ["subject"])
    await here.declare(MOVED, here.moved())
    handed = await here.inbox(CAF).pull(1)
    assert handed.locked
    await edit(here, table, table.c.id == CAF, sector="health")

    async with home.store.read() as tx:
        assert "directory.unknown-party" == await refusal(home.lookup.sector(tx, CAF))
    (one,) = handed.locked
    assert "directory.no-sealing-key" == await refusal(home.gate.release(CAF, [one.delivery_id]))
    assert 1 == len(await here.take(CPAM))
    assert "directory.unknown-party" == await refusal(issued(here))
    assert {"parties"} == await unsigned(here)


async def test_a_second_broker_and_another_name_for_the_first_stop_nobody(here: World) -> None:
    texts = dict.fromkeys(("name", "sector", "address", "contact", "retention"), "x")
    await forge(here, tables.parties, id="urn:unefois:second", kind="broker", created_at=1, **texts)
    assert here.home.party == (await here.home.lookup.newest(here.home.store)).broker


# ── who receives ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_subscription_that_was_slipped_in_receives_nothing(here: World) -> None:
    row = {"id": bytes(16), "recipient": RENNES, "event_type": BANK, "purpose": "local-services", "fields": '["iban"]'}
    more = {"status": "approved", "legal_reference": "none", "approved_at": 1}
    await forge(here, tables.subscriptions, **row, **more)
    await here.give(RENNES, BANK, "local-services", ["iban"])
    await here.declare(BANK, here.bank())
    assert [] == await here.take(RENNES)
    assert {"subscriptions"} == await unsigned(here)


async def test_what_was_planned_stays_closed_when_its_subscription_is_widened(here: World) -> None:
    table, mine = tables.subscriptions, here.subscriptions[CAF, MOVED]
    for party, purpose in ((CAF, FAMILY), (CPAM, HEALTH)):
        await here.give(party, MOVED, purpose, ["subject"])
    await here.declare(MOVED, here.moved())
    await edit(here, table, table.c.id == mine.id, fields='["phone", "subject"]')
    pulled = await here.inbox(CAF).pull(1)
    assert ((), [Reason.ENDED]) == (pulled.locked, [one.reason for one in pulled.withheld])
    assert 1 == len(await here.take(CPAM))


async def test_a_subscription_that_was_ended_is_not_brought_back_and_may_be_asked_for_anew(here: World) -> None:
    home, table, mine = here.home, tables.subscriptions, here.subscriptions[CAF, MOVED]
    async with home.store.begin() as tx:
        await home.subscribing.end(tx, mine.id, here.clock())
    await edit(here, table, table.c.id == mine.id, status="approved", ended_at=None)
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    assert [] == await here.take(CAF)
    async with home.store.read() as tx:
        assert mine.id not in await home.lookup.subscriptions_by_id(tx)
    here.clock.pass_(1)
    again = await here.subscribe(CAF, MOVED, FAMILY, ("subject",))
    assert (mine.id, {"subject"}) == (again.id, again.fields)
    await here.declare(MOVED, here.moved(ELISE, occupants=2))
    assert 1 == len(await here.take(CAF))
    assert set() == await unsigned(here)


# ── epochs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_epoch_that_was_slipped_in_is_not_wrapped_under(here: World) -> None:
    await forge(here, tables.consent_epochs, epoch=99, opened_at=1)
    assert [1] == [one.epoch for one in await here.home.epochs.consent_epochs()]
    assert await here.give(CAF, MOVED, FAMILY, ["subject"])
    assert 0 == await here.home.epochs.retire_consent()


async def test_no_key_is_destroyed_because_an_edited_row_says_so(here: World) -> None:
    home, gates, consents = here.home, tables.gate_epochs, tables.consent_epochs
    held = {kind: home.keys.names(kind) for kind in KeyKind}
    (kid,) = [one.kid for one in await home.epochs.gate_epochs()]
    await edit(here, gates, gates.c.kid == kid, destroyed_at=1, closed_at=1)
    await edit(here, consents, destroyed_at=1)
    assert 0 == await home.epochs.finish()
    assert "epochs.unknown" == await refusal(home.epochs.destroy_gate(kid))
    assert held == {kind: home.keys.names(kind) for kind in held}
    assert {"gate_epochs", "consent_epochs"} == await unsigned(here)


# ── signer and verifier ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_good_seal_of_another_row_or_table_is_none(here: World) -> None:
    async with here.home.store.read() as tx:
        rows = (await tx.execute(select(tables.parties))).all()
        other = (await tx.execute(select(tables.signature_policies))).first()
    assert rows == here.home.rows.valid("parties", rows)
    for row in rows:
        others = [one.seal for one in rows if one.id != row.id]
        flipped = row.seal[:9] + bytes([row.seal[9] ^ 1]) + row.seal[10:]
        for seal in (*others, other.seal, b"", row.seal[:-1], b"\x02" + row.seal[1:], flipped):
            assert not here.home.rows.holds("parties", dict(row._mapping) | {"seal": seal})


async def test_without_a_public_key_no_row_counts(here: World) -> None:
    async with here.home.store.read() as tx:
        rows = (await tx.execute(select(tables.parties))).all()
        with pytest.raises(Corrupt, match="no-broker"):
            await reading.snapshot(tx, RowVerifier(None))
    assert [] == RowVerifier(None).valid("parties", rows)


async def test_a_row_that_does_not_count_is_never_signed_by_who_changes_it(here: World) -> None:
    signer, table = here.home.registrar._signer, tables.sealing_keys
    mine = table.c.party == CAF
    await edit(here, table, mine, valid_to=2**50)
    async with here.home.store.begin() as tx:
        row = (await tx.execute(select(table).where(mine))).one()
        with pytest.raises(Corrupt, match=r"rows\.unsigned"):
            await signer.change(tx, table, row, {"valid_to": 1})


async def test_of_two_who_change_a_row_one_begins_again(here: World) -> None:
    signer, table = here.home.registrar._signer, tables.sealing_keys
    async with here.home.store.begin() as tx:
        row = (await tx.execute(select(table).where(table.c.party == CAF))).one()
        await signer.change(tx, table, row, {"valid_to": 2**50})
        with pytest.raises(Fault, match=r"rows\.changed"):
            await signer.change(tx, table, row, {"valid_to": 2**51})
        there = (await tx.execute(select(table).where(table.c.party == CAF))).one()
    assert (2, 2**50, True) == (there.row_version, there.valid_to, here.home.rows.holds(table.name, there._mapping))


async def test_who_holds_a_place_with_a_forged_row_stops_nobody(here: World) -> None:
    key = PrivateKey.generate(Algorithm.ED25519)
    row = {"kid": key.kid, "party": PORTAL, "algorithm": 1, "public": key.public, "valid_from": 1}
    await forge(here, tables.signing_keys, **row)
    await edit(here, tables.signing_keys, tables.signing_keys.c.kid == key.kid, row_version=2**31 - 1)
    async with here.home.store.begin() as tx:
        told = {"algorithm": key.algorithm, "public": key.public, "valid_from": here.clock(), "at": here.clock()}
        await here.home.registrar.add_signing_key(tx, CAF, **told)
    assert CAF == (await here.home.lookup.newest(here.home.store)).signing_key(key.kid).party
    assert set() == await unsigned(here)

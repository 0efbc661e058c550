"""Proofs: a receipt for whoever knows an id, checked before it is handed out; the home's own ledger audited."""

import sqlite3
from uuid import UUID

import pytest

from broker.ports import KeyKind
from broker.services.proofs import audit_home, grown_since, prove
from schemas import checkpoint, receipt
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.note import Note
from schemas.signing import Algorithm, PrivateKey
from tests.world import CAF, FAMILY, MOVED, VOICE, World

pytestmark = pytest.mark.asyncio


def kind_of(here: World, text: str) -> FactKind:
    return receipt.check(text, here.home.ledger.verifier_key).facts.kind


async def test_the_newest_fact_about_a_declaration_is_proven(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    accepted = await here.declare(MOVED, here.moved())
    before = await prove(here.home, accepted.declaration_id, None, "en")
    await here.take(CAF)

    after = await prove(here.home, accepted.declaration_id, None, "en")

    assert FactKind.PLANNED is kind_of(here, before)
    assert FactKind.APPLIED is kind_of(here, after)


async def test_a_fact_is_proven_by_its_kind_too(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    accepted = await here.declare(MOVED, here.moved())

    for kind in (FactKind.RECEIVED, FactKind.PLANNED):
        assert kind is kind_of(here, await prove(here.home, accepted.declaration_id, kind, "fr"))


async def test_a_delivery_is_proven_by_its_own_id(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.take(CAF)

    released = await prove(here.home, delivery.delivery_id, FactKind.RELEASED, "en")

    checked = receipt.check(released, here.home.ledger.verifier_key)
    assert checked.entry is not None
    assert (delivery.delivery_id, delivery.ledger_entry) == (checked.facts.delivery, checked.entry.leaf_hash())


async def test_a_revocation_is_proven_though_what_it_withheld_comes_after_it(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.home.consents.revoke(given.grant.id, VOICE)

    text = await prove(here.home, given.grant.id, None, "en")

    assert FactKind.REVOKED is kind_of(here, text)
    assert str(UUID(bytes=given.grant.id)) in text
    withheld = await prove(here.home, given.grant.id, FactKind.WITHHELD, "en")
    assert FactKind.WITHHELD is kind_of(here, withheld)


async def test_another_citizens_facts_and_another_grants_are_not_taken_for_it(here: World) -> None:
    first = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject", "household"])

    text = await prove(here.home, first.grant.id, None, "en")

    assert first.grant.id == receipt.check(text, here.home.ledger.verifier_key).facts.grant


async def test_a_fact_that_is_not_told_is_refused_with_those_that_are(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])

    with pytest.raises(Refused) as refused:
        await prove(here.home, given.grant.id, FactKind.REVOKED, "en")

    assert ("proofs.no-such-fact", {"kinds": "granted"}) == (refused.value.code, refused.value.details)


async def test_an_id_that_nobody_has_is_refused(here: World) -> None:
    accepted = await here.declare(MOVED, here.moved(), route=False)

    for unknown in (bytes(16), accepted.declaration_id):  # what was not routed is in no ledger yet
        with pytest.raises(Refused, match=r"proofs\.unknown-id"):
            await prove(here.home, unknown, None, "en")
    await here.home.router.route()


async def test_the_homes_own_ledger_is_audited_with_the_key_of_the_key_store(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])

    audited = await audit_home(here.home)

    assert ((), True) == (audited.findings, audited.pinned)
    assert audited.tree is not None
    assert len(await here.entries()) == audited.tree.size


@pytest.mark.sqlite
async def test_one_byte_changed_in_the_database_is_found(here: World) -> None:
    await here.home.ledger.sequence_unfinished()
    database = sqlite3.connect(here.folder / "unefois.db")
    (entry,) = database.execute("SELECT entry FROM ledger_entries WHERE position = 2").fetchone()

    def write(content: bytes) -> None:
        with database:
            database.execute("UPDATE ledger_entries SET entry = ? WHERE position = 2", (content,))

    write(entry[:-1] + bytes([entry[-1] ^ 1]))
    audited = await audit_home(here.home)
    write(entry)
    database.close()

    assert ["tiles.hash-differs"] == [fault.code for fault in audited.findings]


async def test_the_ledger_only_grew_since_a_size_a_checkpoint_or_the_last_one(here: World) -> None:
    old = await grown_since(here.home, None)
    signed = checkpoint.sign(old.new, ledger_key(here))
    await here.give(CAF, MOVED, FAMILY, ["subject"])

    for since in (None, old.new.size, signed):
        found = await grown_since(here.home, since)
        assert (old.new, old.new.size + 1) == (found.old, found.new.size)
    assert 0 == (await grown_since(here.home, 0)).old.size
    assert 1 == (await grown_since(here.home, 1)).old.size


async def test_a_checkpoint_of_another_history_is_refused(here: World) -> None:
    false = checkpoint.sign(Checkpoint(here.home.ledger.verifier_key.name, 3, bytes(32)), ledger_key(here))

    with pytest.raises(Refused, match=r"merkle\.old-root-differs"):
        await grown_since(here.home, false)


async def test_a_checkpoint_of_another_log_is_refused(here: World) -> None:
    stranger = PrivateKey.generate(Algorithm.ED25519)
    foreign: Note = checkpoint.sign(Checkpoint("other.example/log", 1, bytes(32)), stranger)

    with pytest.raises(Refused, match=r"checkpoint\.other-log"):
        await grown_since(here.home, foreign)


@pytest.mark.parametrize("size", [-1, 10_000])
async def test_a_size_that_never_was_is_refused(here: World, size: int) -> None:
    with pytest.raises(Refused) as refused:
        await grown_since(here.home, size)

    assert ("proofs.size", size) == (refused.value.code, refused.value.details["size"])


def ledger_key(here: World) -> PrivateKey:
    return PrivateKey.from_raw(Algorithm.ED25519, here.home.keys.read(KeyKind.LEDGER, "ledger"))

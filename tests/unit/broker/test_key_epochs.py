"""Epochs: keys are opened, rotated and destroyed for good; a copy from before opens nothing after."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from sqlalchemy import insert, select

from broker.ended import Ending
from broker.epochs import books
from broker.flow.deliveries import DeliveryState, load
from broker.ports import KeyKind
from broker.store.engine import Transaction
from broker.store.tables import consent_epochs
from connectors.contract import Applied
from consent import keyring, registry
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.hpke import Suite
from schemas.names import GrantId, Instant, Kid
from tests.signed import resign
from tests.world import BANK, CAF, DAY, FAMILY, MOVED, PORTAL, VOICE, YANN, World

pytestmark = pytest.mark.asyncio

SUITE = Suite.X25519


async def refusal(awaitable: Any) -> str:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


def held(here: World, kind: KeyKind) -> set[str]:
    return set(here.home.keys.names(kind))


async def test_a_new_gate_key_takes_what_comes_and_the_old_one_opens_what_came(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved())
    (old,) = await here.home.epochs.gate_epochs()

    here.clock.pass_(1)  # of two keys of the same instant neither is newer
    new = await here.home.epochs.open_gate(SUITE, DAY)
    await here.declare(MOVED, here.moved(YANN))

    async with here.home.store.read() as tx:
        assert [old.kid, new] == [delivery.gate_kid for delivery in await load(tx)]
    assert 2 == len(await here.take(CAF))
    assert [here.clock() + DAY, None] == [epoch.closed_at for epoch in await here.home.epochs.gate_epochs()]


async def test_a_source_that_has_not_heard_yet_seals_to_the_old_key_until_the_overlap_ends(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    in_time = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    late = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    await here.home.epochs.open_gate(SUITE, 1000)

    here.clock.pass_(1000)
    await here.home.intake.accept(in_time)
    here.clock.pass_(1)

    assert "directory.key-expired" == await refusal(here.home.intake.accept(late))
    await here.home.router.route()
    assert 1 == len(await here.take(CAF))


async def test_the_gate_key_that_sources_seal_to_is_not_destroyed(here: World) -> None:
    (old,) = await here.home.epochs.gate_epochs()
    destroy = here.home.epochs.destroy_gate

    assert "epochs.still-open" == await refusal(destroy(old.kid))
    await here.home.epochs.open_gate(SUITE, DAY)
    here.clock.pass_(DAY)  # the last millisecond in which the directory lists it
    assert "epochs.still-open" == await refusal(destroy(old.kid))
    here.clock.pass_(1)
    await destroy(old.kid)

    assert old.kid.hex() not in held(here, KeyKind.GATE)
    assert [old.kid] == [entry.detail for entry in await here.entries(FactKind.EPOCH_DESTROYED)]


async def test_an_epoch_that_never_was_is_not_destroyed(here: World) -> None:
    assert "epochs.unknown" == await refusal(here.home.epochs.destroy_gate(Kid(bytes(32))))


async def test_destroying_a_gate_epoch_again_says_nothing_again(here: World) -> None:
    (old,) = await here.home.epochs.gate_epochs()
    await here.home.epochs.open_gate(SUITE, 0)
    here.clock.pass_(1)
    for _ in range(2):
        await here.home.epochs.destroy_gate(old.kid)

    assert 1 == len(await here.entries(FactKind.EPOCH_DESTROYED))


async def test_a_destroyed_epoch_closes_what_waits_and_spares_what_was_applied(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.declare(MOVED, here.moved())
    (old,) = await here.home.epochs.gate_epochs()
    await here.home.epochs.open_gate(SUITE, 0)
    here.clock.pass_(1)

    await here.home.epochs.destroy_gate(old.kid)

    assert [] == await here.take(CAF)
    async with here.home.store.read() as tx:
        assert [DeliveryState.APPLIED, DeliveryState.WITHHELD] == [delivery.state for delivery in await load(tx)]


async def test_what_was_released_before_the_destruction_is_still_acknowledged(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    (old,) = await here.home.epochs.gate_epochs()
    await here.home.epochs.open_gate(SUITE, 0)
    here.clock.pass_(1)
    await here.home.epochs.destroy_gate(old.kid)

    assert {} == await here.inbox(CAF).acknowledge_all({delivery.delivery_id: Applied(None)})


async def test_a_rotation_wraps_the_living_anew_and_changes_no_consent(here: World) -> None:
    kept = await here.give(CAF, MOVED, FAMILY, ["subject"])
    gone = await here.give(CAF, BANK, FAMILY, ["iban"])
    await here.declare(MOVED, here.moved())
    await here.home.consents.revoke(gone.grant.id, VOICE)
    before = await consent_keys(here)

    assert 1 == await here.home.epochs.rotate_consent()

    assert before == await consent_keys(here)
    assert {kept.grant.id} == set(before)
    assert {"2"} == held(here, KeyKind.CONSENT_EPOCH)
    assert [(1, 0, True), (2, 1, False)] == [
        (epoch.epoch, epoch.keys, epoch.destroyed_at is not None) for epoch in await here.home.epochs.consent_epochs()
    ]
    assert 1 == len(await here.take(CAF))


async def consent_keys(here: World) -> dict[GrantId, bytes]:
    """Every living consent key, in clear."""
    async with here.home.store.read() as tx:
        found = await registry.of_subject(tx.conn, here.subject())
        epochs = here.home.keyring.consent_epochs()
        return await registry.consent_keys_of(tx.conn, found, epochs)


@pytest.mark.sqlite
async def test_a_copy_from_before_with_the_keys_from_after_opens_nothing(here: World, tmp_path: Path) -> None:
    revoked = await here.give(CAF, MOVED, FAMILY, ["subject"])
    living = await here.give(CAF, BANK, FAMILY, ["iban"])
    await here.declare(MOVED, here.moved())
    copy = tmp_path / "backup.db"
    source = sqlite3.connect(next(tmp_path.glob("*.db")))
    with sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    await here.home.consents.revoke(revoked.grant.id, VOICE)

    await here.home.epochs.rotate_consent()

    left = here.home.keyring.consent_epochs()
    rows = target.execute("SELECT grant_id, epoch, digest, wrapped FROM consent_keys").fetchall()
    target.close()
    assert {revoked.grant.id, living.grant.id} == {grant for grant, _, _, _ in rows}
    for grant, epoch, digest, wrapped in rows:
        assert epoch not in left
        for key in left.values():
            for number in (epoch, *left):
                with pytest.raises(Corrupt):
                    keyring.unwrap(wrapped, keyring.Bound(GrantId(grant), digest, number), key)


@pytest.mark.sqlite
async def test_a_rotation_leaves_no_old_wrapping_in_the_databases_files(here: World, tmp_path: Path) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    async with here.home.store.read() as tx:
        (wrapped,) = (await tx.execute(select(registry.consent_keys.c.wrapped))).scalars()
    assert any(wrapped in path.read_bytes() for path in tmp_path.glob("*.db*"))

    await here.home.epochs.rotate_consent()

    assert not any(wrapped in path.read_bytes() for path in tmp_path.glob("*.db*"))


@pytest.mark.sqlite
async def test_a_revoked_consents_wrapped_key_is_overwritten_not_only_let_go(here: World, tmp_path: Path) -> None:
    grants = [(await here.give(CAF, MOVED, FAMILY, ["subject"])).grant.id for _ in range(3)]
    async with here.home.store.read() as tx:
        rows = await tx.execute(select(registry.consent_keys.c.grant_id, registry.consent_keys.c.wrapped))
        wrapped = {GrantId(row.grant_id): row.wrapped for row in rows}

    await here.home.consents.revoke(grants[1], VOICE)
    await here.home.store.forget()

    left = b"".join(path.read_bytes() for path in tmp_path.glob("*.db*"))
    assert [True, False, True] == [wrapped[grant] in left for grant in grants]


async def test_two_rotations_at_once_lose_no_key_and_tell_each_end_once(here: World) -> None:
    for _ in range(5):
        await here.give(CAF, MOVED, FAMILY, ["subject"])
    before = await consent_keys(here)

    await asyncio.gather(*(here.home.epochs.rotate_consent() for _ in range(3)))
    await here.home.epochs.retire_consent()

    assert before == await consent_keys(here)
    assert 1 == len(held(here, KeyKind.CONSENT_EPOCH))
    assert 3 == len(await here.entries(FactKind.EPOCH_DESTROYED))


async def test_an_epoch_that_still_wraps_something_is_not_destroyed(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])

    assert "epochs.in-use" == await refusal(here.home.epochs._destroy_consent(1))

    assert {"1"} == held(here, KeyKind.CONSENT_EPOCH)


async def begun(here: World, kind: KeyKind, name: str) -> None:
    """What a crash leaves between a key and its row."""
    async with here.home.store.begin() as tx:
        await books.begin(tx, kind, name, here.clock())
    here.home.keys.write(kind, name, bytes(32))


async def test_the_leftovers_of_crashes_are_destroyed_and_their_numbers_never_used_again(here: World) -> None:
    home = here.home
    await begun(here, KeyKind.CONSENT_EPOCH, "2")
    await begun(here, KeyKind.GATE, "ab" * 32)
    (old,) = await home.epochs.gate_epochs()

    assert [] == await home.fsck.check()
    assert 2 == await home.epochs.finish()
    assert 0 == await home.epochs.finish()

    assert {old.kid.hex()} == held(here, KeyKind.GATE)
    assert 3 == await home.epochs.open_consent()
    assert {"1", "3"} == held(here, KeyKind.CONSENT_EPOCH)


async def test_a_rotation_after_a_crash_takes_the_next_free_number(here: World) -> None:
    await begun(here, KeyKind.CONSENT_EPOCH, "2")
    here.home.keys.write(KeyKind.CONSENT_EPOCH, "3", bytes(32))

    assert 4 == await here.home.epochs.open_consent()

    await here.home.epochs.destroy_unknown("3")
    assert {"1", "4"} == held(here, KeyKind.CONSENT_EPOCH)


async def test_keys_that_no_book_knows_live_through_every_turn_and_are_told(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, said = here.home, structlog.testing.CapturingLogger()
    monkeypatch.setattr("broker.epochs.epochs.logger", lambda: said)
    for kind, name in ((KeyKind.CONSENT_EPOCH, "77"), (KeyKind.GATE, "ab" * 32)):
        home.keys.write(kind, name, bytes(32))
    for days in (0, 8, 600):
        here.clock.pass_(days * DAY)
        await home.upkeep.turn()
        await home.upkeep.turn()

    assert "77" in held(here, KeyKind.CONSENT_EPOCH)
    assert "ab" * 32 in held(here, KeyKind.GATE)
    assert {(KeyKind.CONSENT_EPOCH, "77"), (KeyKind.GATE, "ab" * 32)} == set(await home.epochs.unknown())
    assert [("error", ("epochs.unknown-keys",), {"count": 2})] == [tuple(one) for one in said.calls]
    assert {"keys.orphan"} == {one.check for one in await home.fsck.check()}
    for _, name in await home.epochs.unknown():
        await home.epochs.destroy_unknown(name)
    assert [] == await home.epochs.unknown()


async def test_only_a_key_that_no_book_knows_is_destroyed_by_its_name(here: World) -> None:
    (gate,) = await here.home.epochs.gate_epochs()
    for name in ("1", "2", gate.kid.hex()):
        assert "epochs.unknown" == await refusal(here.home.epochs.destroy_unknown(name))
    assert {gate.kid.hex()} == held(here, KeyKind.GATE)
    assert {"1"} == held(here, KeyKind.CONSENT_EPOCH)


async def test_a_key_that_was_begun_and_tidied_up_by_another_is_begun_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, begin = here.home, books.begin

    async def late(tx: Transaction, kind: KeyKind, name: str, at: Instant) -> None:
        await begin(tx, kind, name, at)
        monkeypatch.setattr(books, "begin", begin)
        await books.end_begun(tx, kind, name)

    monkeypatch.setattr(books, "begin", late)
    kid = await home.epochs.open_gate(SUITE, DAY)
    monkeypatch.setattr(books, "begin", late)
    number = await home.epochs.open_consent()

    assert kid.hex() in held(here, KeyKind.GATE)
    assert {"1", str(number)} == held(here, KeyKind.CONSENT_EPOCH)


async def test_a_destruction_that_was_written_but_not_done_is_finished(here: World) -> None:
    async with here.home.store.begin() as tx:
        row = {"epoch": 2, "opened_at": here.clock(), "destroyed_at": here.clock()}
        await tx.execute(insert(consent_epochs), row)
        tx.end(Ending.of("consent_epochs", b"2", at=here.clock()))
    await resign(here.home)
    here.home.keys.write(KeyKind.CONSENT_EPOCH, "2", bytes(32))

    assert 1 == await here.home.epochs.finish()

    assert {"1"} == held(here, KeyKind.CONSENT_EPOCH)


async def test_a_key_whose_row_is_about_to_be_written_is_no_leftover(here: World) -> None:
    home = here.home

    async def opened_meanwhile() -> int:
        return await home.epochs.open_consent()

    results = await asyncio.gather(opened_meanwhile(), home.epochs.finish(), opened_meanwhile(), home.epochs.finish())

    assert [0, 0] == [results[1], results[3]]
    assert {"1", "2", "3"} == held(here, KeyKind.CONSENT_EPOCH)

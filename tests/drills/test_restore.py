"""Drills: Monday's database is put back on Tuesday, by the documented way, and nothing that ended opens again."""

import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from broker.access.credentials import Scope
from broker.ports import KeyKind
from broker.services.backups import DATABASE, MANIFEST, backup
from consent.grant import Status
from schemas.errors import Corrupt, Fault, Refused
from schemas.facts import FactKind
from schemas.names import Instant
from tests.clients import Client
from tests.drills.homes import Place
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, PORTAL, RENNES, VOICE, World

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "home")
    await made.found()
    return made


async def code_of(call: Any, kind: type[Fault] = Refused) -> str:
    with pytest.raises(kind) as raised:
        await call
    return raised.value.code


async def monday(here: World) -> dict[str, Any]:
    """Something of everything that can end."""
    home, at = here.home, here.clock()
    told = {
        "revoked": (await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])).grant.id,
        "paused": (await here.give(CPAM, MOVED, HEALTH, ["subject"])).grant.id,
        "narrowed": (await here.give(CAF, BANK, FAMILY, ["iban", "holder"])).grant.id,
    }
    async with home.store.begin() as tx:
        token = await home.credentials.issue(tx, CAF, [Scope.RECEIVE], expires_at=Instant(at + 30 * DAY), at=at)
    client = Client(here, CAF)
    await client.pin()
    await here.declare(MOVED, here.moved())
    await here.declare(BANK, here.bank())
    await here.step()
    return told | {"token": token, "client": client, "kid": (await client.prove()).kid}


async def tuesday(here: World, of: dict[str, Any]) -> None:
    """All of it ends."""
    home = here.home
    await home.consents.revoke(of["revoked"], VOICE)
    await home.consents.pause(of["paused"], VOICE)
    await home.consents.resume(of["paused"], VOICE)
    await home.consents.pause(of["paused"], VOICE)
    await home.consents.narrow(of["narrowed"], frozenset({"iban"}), VOICE)
    async with home.store.begin() as tx:
        await home.credentials.revoke(tx, of["token"].credential.id, here.clock())
    async with home.store.begin() as tx:
        await home.oauth.unpin(tx, of["kid"], here.clock())
    async with home.store.begin() as tx:
        directory = await home.lookup.directory(tx)
        kid = next(one.kid for one in directory.signing if one.party == PORTAL)
    async with home.store.begin() as tx:
        await home.registrar.revoke_key(tx, kid, here.clock)
    async with home.store.begin() as tx:
        await home.subscribing.end(tx, here.subscriptions[RENNES, MOVED].id, here.clock())
    await home.ledger.sequence_unfinished()


async def states(here: World, of: dict[str, Any]) -> dict[str, Any]:
    """What the rows say of each of them."""
    home = here.home
    grants = {one.id: one for one in await home.consents.of(here.subject())}
    async with home.store.begin() as tx:
        (token,) = await home.credentials.list(tx, CAF)
        (client,) = await home.oauth.keys(tx, CAF)
        directory = await home.lookup.directory(tx)
        ended = (await home.lookup.subscriptions_by_id(tx))[here.subscriptions[RENNES, MOVED].id]
    return {
        "revoked": grants[of["revoked"]].status,
        "paused": grants[of["paused"]].status,
        "narrowed": grants[of["narrowed"]].fields,
        "token": token.revoked_at is not None,
        "client": client.revoked_at is not None,
        "key": [one.revoked_at is not None for one in directory.signing if one.party == PORTAL],
        "subscription": ended.status.value,
    }


ENDED = {
    "revoked": Status.REVOKED,
    "paused": Status.PAUSED,
    "narrowed": frozenset({"iban"}),
    "token": True,
    "client": True,
    "key": [True],
    "subscription": "ended",
}


async def test_a_database_that_is_put_back_ends_again_what_has_ended_since(place: Place, tmp_path: Path) -> None:
    async with place.opened() as here:
        of = await monday(here)
        await backup(here.home, tmp_path / "monday")
    place.clock.pass_(DAY)
    async with place.opened() as here:
        await tuesday(here, of)
        before = await states(here, of)
        assert ENDED == before

    assert "backup.below-mark" == await code_of(place.restore(tmp_path / "monday", yes=True))
    assert "backup.newer-database" == await code_of(place.restore(tmp_path / "monday", ledger_lost=True))
    done = await place.restore(tmp_path / "monday", yes=True, ledger_lost=True)

    assert {"grants", "api_tokens", "client_keys", "signing_keys", "subscriptions"} == {one.table for one in done.again}
    assert all(one.done for one in done.again)
    assert done.needs_successor
    assert ["ledger.stands-still"] == [one.check for one in done.findings]
    async with place.opened() as here:
        assert before == await states(here, of)
        assert [] == await here.home.completion.finish()
        assert "ledger.needs-successor" == await code_of(here.take(CAF))
        assert "ledger.needs-successor" == await code_of(here.home.ledger.sequence_unfinished())
        assert "credentials.revoked" == await code_of(verified(here, of["token"].token))
        assert "oauth.assertion" == await code_of(replace(of["client"], here=here).prove())
        given = await here.give(CAF, BANK, FAMILY, ["bic"])
        await here.home.consents.revoke(given.grant.id, VOICE)  # who wants to end something still can


async def verified(here: World, token: str) -> None:
    async with here.home.store.read() as tx:
        await here.home.credentials.verify(tx, token, here.clock())


async def test_a_database_copied_over_by_hand_obeys_before_anybody_has_restored_anything(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened() as here:
        of = await monday(here)
        await backup(here.home, tmp_path / "monday")
    async with place.opened() as here:
        await tuesday(here, of)
    shutil.copy(tmp_path / "monday" / DATABASE, place.folder / "unefois.db")

    async with place.opened(checked=False) as here:
        assert "ledger.rolled-back" == await code_of(here.home.ledger.sequence_unfinished(), Corrupt)
        assert "ledger.rolled-back" == await code_of(here.take(CAF), Corrupt)
        assert "credentials.revoked" == await code_of(verified(here, of["token"].token))
        assert {"endings.behind", "ledger.stands-still"} <= {one.check for one in await here.home.fsck.check()}
    async with place.opened() as here:
        assert ENDED == await states(here, of)


async def test_mondays_keys_beside_mondays_database_are_destroyed_again_and_what_they_wrap_is_wrapped_anew(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened() as here:
        of = await monday(here)
        await backup(here.home, tmp_path / "monday")
    place.keep_keys("keys-of-monday")
    async with place.opened() as here:
        await tuesday(here, of)
        await here.home.epochs.rotate_consent()
    monday_only = {"yes": True, "ledger_lost": True}
    assert "backup.no-epoch-key" == await code_of(place.restore(tmp_path / "monday", **monday_only))

    place.put_keys_back("keys-of-monday")
    done = await place.restore(tmp_path / "monday", **monday_only)

    assert "consent_epochs" in {one.table for one in done.again}
    assert ["ledger.stands-still"] == [one.check for one in done.findings]
    async with place.opened() as here:
        assert ENDED == await states(here, of)
        assert ("3",) == here.home.keys.names(KeyKind.CONSENT_EPOCH)
        living = {one.grant_id for one in await consent_key_rows(here)}
        assert {of["paused"], of["narrowed"]} == living


async def consent_key_rows(here: World) -> list[Any]:
    from sqlalchemy import select

    from consent.tables import consent_keys

    async with here.home.store.read() as tx:
        return list((await tx.execute(select(consent_keys))).all())


async def test_keys_that_were_made_after_the_backup_are_destroyed_with_what_was_lost(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened() as here:
        await backup(here.home, tmp_path / "monday")
    async with place.opened() as here:
        await here.home.epochs.open_gate(here.home.settings.hpke_suite, DAY)
        await here.home.upkeep.turn()
        await here.home.ledger.sequence_unfinished()
    done = await place.restore(tmp_path / "monday", yes=True, ledger_lost=True)
    assert 1 == done.burned
    assert ["ledger.stands-still"] == [one.check for one in done.findings]


async def test_a_backup_that_knows_the_whole_ledger_is_put_back_and_everything_goes_on(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened() as here:
        of = await monday(here)
        told = await backup(here.home, tmp_path / "monday")
        assert 1 == len(told.epochs)
    (place.folder / "unefois.db").unlink()

    done = await place.restore(tmp_path / "monday")

    assert ([], [], False) == (list(done.again), list(done.findings), done.needs_successor)
    async with place.opened() as here:
        assert 1 == len(await here.take(CAF))  # a citizen's second waits for the first
        assert 1 == len(await here.take(CAF))
        await here.home.consents.revoke(of["revoked"], VOICE)
        await here.step()


async def test_a_ledger_that_stood_still_goes_on_with_a_database_that_knows_it_all(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened() as here:
        await monday(here)
        await backup(here.home, tmp_path / "monday")
    async with place.opened() as here:
        await here.give(CAF, BANK, FAMILY, ["bic"])
        await here.home.ledger.sequence_unfinished()
        await backup(here.home, tmp_path / "tuesday")
    await place.restore(tmp_path / "monday", yes=True, ledger_lost=True)

    done = await place.restore(tmp_path / "tuesday")

    assert ([], False) == (list(done.findings), done.needs_successor)
    async with place.opened() as here:
        await here.take(CAF)
        await here.step()


async def test_a_backup_holds_no_key_and_no_journal_and_nobody_else_may_open_it(place: Place, tmp_path: Path) -> None:
    async with place.opened() as here:
        await monday(here)
        told = await backup(here.home, tmp_path / "monday")
        assert "backup.exists" == await code_of(backup(here.home, tmp_path / "monday"))
        root = here.home.keys.read(KeyKind.CONSENT_EPOCH, "1")
    assert {MANIFEST, DATABASE} == {one.name for one in (tmp_path / "monday").iterdir()}
    assert all(0o600 == stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "monday").iterdir())
    assert 0o700 == stat.S_IMODE((tmp_path / "monday").stat().st_mode)
    assert root not in (tmp_path / "monday" / DATABASE).read_bytes()
    with closing(sqlite3.connect(tmp_path / "monday" / DATABASE)) as copy:
        ((size,),) = copy.execute("SELECT max(size) FROM ledger_checkpoints").fetchall()
        assert [("ok",)] == copy.execute("PRAGMA integrity_check").fetchall()
    assert (size, (1,)) == (told.size, told.epochs)


def edit(folder: Path, **changes: Any) -> None:
    """Change what a manifest says."""
    text = (folder / MANIFEST).read_text()
    head, told, *rest = text.split("\n")
    (folder / MANIFEST).write_text("\n".join([head, json.dumps(json.loads(told) | changes, sort_keys=True), *rest]))


async def test_what_is_no_whole_backup_of_this_home_is_refused_and_nothing_is_touched(
    place: Place, tmp_path: Path
) -> None:
    other = Place(tmp_path / "other")
    await other.found()
    for one, name in ((place, "mine"), (other, "theirs")):
        async with one.opened() as here:
            await backup(here.home, tmp_path / name)
    before = (place.folder / "unefois.db").read_bytes()
    for name in ("unfinished", "damaged", "edited"):
        shutil.copytree(tmp_path / "mine", tmp_path / name)
    (tmp_path / "unfinished" / MANIFEST).unlink()
    with (tmp_path / "damaged" / DATABASE).open("ab") as file:
        file.write(b"x")
    edit(tmp_path / "edited", size=10_000)
    codes = {
        "theirs": "backup.other-home",
        "unfinished": "backup.no-manifest",
        "nowhere": "backup.no-manifest",
        "damaged": "backup.damaged",
        "edited": "backup.no-manifest",
    }
    found = {name: await code_of(place.restore(tmp_path / name, yes=True)) for name in codes}
    assert codes == found
    assert before == (place.folder / "unefois.db").read_bytes()


async def test_a_journal_that_is_older_than_the_backup_or_another_one_restores_nothing(
    place: Place, tmp_path: Path
) -> None:
    shutil.copytree(place.folder / "endings", tmp_path / "old-endings")
    async with place.opened() as here:
        of = await monday(here)
        await tuesday(here, of)
        await here.home.upkeep.turn()
        await backup(here.home, tmp_path / "tuesday")
    shutil.rmtree(place.folder / "endings")
    shutil.copytree(tmp_path / "old-endings", place.folder / "endings")
    assert "endings.cut" == await code_of(place.restore(tmp_path / "tuesday", yes=True), Corrupt)
    with pytest.raises(Corrupt, match=r"endings\.cut"):
        async with place.opened():
            pass
    shutil.rmtree(place.folder / "endings")
    with pytest.raises(Corrupt, match=r"endings\.lost"):
        async with place.opened():
            pass


async def test_what_was_replaced_stays_beside_until_the_next_restore(place: Place, tmp_path: Path) -> None:
    async with place.opened() as here:
        await backup(here.home, tmp_path / "monday")
    async with place.opened() as here:
        await monday(here)
    await place.restore(tmp_path / "monday", yes=True, ledger_lost=True)
    with closing(sqlite3.connect(place.folder / "unefois.db.before-restore")) as replaced:
        assert 3 == len(replaced.execute("SELECT id FROM grants").fetchall())
    assert not os.path.exists(place.folder / "unefois.db.restoring")


async def test_every_change_of_a_consent_keeps_its_number_over_a_restore(place: Place, tmp_path: Path) -> None:
    async with place.opened() as here:
        given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
        await here.home.ledger.sequence_unfinished()
        await backup(here.home, tmp_path / "monday")
    async with place.opened() as here:
        for act in (here.home.consents.pause, here.home.consents.resume):
            await act(given.grant.id, VOICE)
        await here.home.ledger.sequence_unfinished()
    await place.restore(tmp_path / "monday", yes=True, ledger_lost=True)
    async with place.opened() as here:
        (grant,) = await here.home.consents.of(here.subject())
        assert (3, Status.ACTIVE) == (grant.version, grant.status)
        revoked = await here.home.consents.revoke(given.grant.id, VOICE)
        assert 4 == revoked.grant.version
        told = await here.entries(FactKind.CHANGED, FactKind.REVOKED)
        assert [2, 3, 4] == [one.grant_version for one in told]
        assert ["ledger.stands-still"] == [one.check for one in await here.home.fsck.check()]

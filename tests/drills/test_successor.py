"""Drills: a ledger's end is lost with its database; it goes on as its successor, and everybody sees one history."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from broker.ended import LEDGER, Ending
from broker.keys.pair import Pair
from broker.ledger.highwater import ROLLED_BACK
from broker.observability import crashpoints
from broker.services import succeeding
from broker.services.backups import backup
from broker.services.proofs import audit_home, prove, show
from broker.store.tables import ledger_entries, meta
from broker.transparency.audits import audit_folder, files_in
from broker.transparency.export import export
from broker.transparency.monitor import Monitor
from schemas import checkpoint, following, note, receipt
from schemas.checkpoint import Checkpoint
from schemas.errors import Corrupt, Fault, Refused
from schemas.facts import FactKind, Facts
from schemas.names import GrantId, Instant, PartyId
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.drills.homes import Place
from tests.drills.test_failover import replica
from tests.services.databases import Databases
from tests.unit.broker.test_disclosing import opened_for
from tests.world import BANK, CAF, DAY, FAMILY, MOVED, VOICE, World

FIRST = "unefois.example/ledger"
NEXT, THIRD = "log.example.org/second", "log.example.org/third"
STRANGER = PrivateKey.from_raw(Algorithm.ED25519, bytes([7] * 32))


@dataclass(frozen=True)
class Told:
    """A folder with a home whose ledger's end is lost, what was kept of it, and a grant that lives through it."""

    folder: Path
    grant: GrantId
    now: Instant


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Made once; nobody works in it."""
    return asyncio.run(_told(tmp_path_factory.mktemp("lost")))


async def _told(folder: Path) -> Told:
    place = Place(folder / "home")
    await place.found()
    place.keep_keys("keys-of-before")
    grant = await lose(place, folder)
    return Told(folder, grant, place.clock.now)


@pytest.fixture
def place(told: Told, tmp_path: Path) -> Place:
    """A copy of one's own: `kept` is the backup, `kept-log` what had been shown of the ledger."""
    shutil.copytree(told.folder, tmp_path, dirs_exist_ok=True)
    place = Place(tmp_path / "home")
    place.clock.now = told.now
    return place


async def code_of(call: Any, kind: type[Fault] = Refused) -> str:
    with pytest.raises(kind) as raised:
        await call
    return raised.value.code


async def some(here: World) -> GrantId:
    """A consent, and a delivery that waits under it. Returns the grant's id."""
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    await here.step()
    return given.grant.id


async def lose(place: Place, tmp_path: Path, name: str = "kept") -> GrantId:
    """A backup, more that is signed and shown, and the restore that loses it. Returns a grant that lives through it.

    What was lost lies in another backup, which nobody has found.
    """
    async with place.opened() as here:
        grant = await some(here)
        await backup(here.home, tmp_path / name)
    async with place.opened() as here:
        await here.give(CAF, BANK, FAMILY, ["iban"])
        await here.take(CAF)
        await here.home.ledger.sequence_unfinished()
        await export(here.home.store, here.home.ledger.verifier_key, tmp_path / f"{name}-log")
        await backup(here.home, tmp_path / f"{name}-later")
    done = await place.restore(tmp_path / name, yes=True, ledger_lost=True)
    assert done.needs_successor
    return grant


@contextmanager
def dying(name: str | None) -> Iterator[None]:
    """A process that ends at this crash point, with everything that it had open."""

    class Trap:
        left = 1

        def __init__(self) -> None:
            self.name = self

        def __eq__(self, passing: object) -> bool:
            if passing == name:
                raise Died
            return False

        __hash__ = None  # type: ignore[assignment]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crashpoints, "_trap", Trap())
        yield


class Died(BaseException):
    """A process did."""


@asynccontextmanager
async def well(place: Place) -> AsyncIterator[World]:
    """The home, of which nothing is wrong before and after."""
    async with place.opened() as here:
        assert [] == await here.home.fsck.check()
        yield here
        await here.home.ledger.sequence_unfinished()
        assert [] == await here.home.fsck.check()


def watcher(folder: Path, key: VerifierKey, state: Path) -> Monitor:
    return Monitor(files_in(folder), key, state)


@pytest.mark.asyncio
async def test_a_lost_ledger_is_succeeded_and_everything_goes_on(place: Place, told: Told, tmp_path: Path) -> None:
    grant = told.grant
    async with place.opened() as here:
        old, end = here.home.ledger.verifier_key, await here.home.endings.marked()
        leaf = next(leaf for leaf, one in await here.told(FactKind.GRANTED) if one.grant == grant)
    assert end is not None
    state = tmp_path / "seen"
    assert end.size == watcher(tmp_path / "kept-log", old, state).turn().tree.size
    place.clock.pass_(DAY)

    done = await place.succeed(NEXT)

    (before,) = done.follows
    assert (FIRST, end.size, end.root) == (before.tree.origin, before.tree.size, before.tree.root)
    assert 0 < before.lost == end.size - before.kept
    assert before.kept + 1 == done.tree.size
    async with well(place) as here:
        (first,) = await here.entries(FactKind.LEDGER_OPENED)
        assert (FactKind.LEDGER_OPENED, following.commit(before.tree), before.kept) == (
            first.kind,
            first.detail,
            first.count,
        )
        assert 1 == len(await here.take(CAF))  # what the lost days had released already is released once more
        await some(here)
        assert 1 == len(await here.take(CAF))
        await here.home.consents.revoke(grant, VOICE)
        await here.home.ledger.sequence_unfinished()
        for kind in (FactKind.GRANTED, FactKind.REVOKED):  # of before the loss, and since
            checked = receipt.check(await prove(here.home, grant, kind, "en"), done.key)
            assert (NEXT, kind) == (checked.origin, checked.facts.kind)
        audited = await audit_home(here.home)
        assert ((), done.follows) == (audited.findings, audited.follows)
        assert "export.other-log" == await code_of(export(here.home.store, done.key, tmp_path / "kept-log"))
        await export(here.home.store, done.key, tmp_path / "log")
        opened = await opened_for(here, 0, place.clock() + DAY)
        full = await audit_home(here.home, opened)
        assert ((), done.follows) == (full.findings, full.follows)
        assert leaf in opened.openings
    assert () == audit_folder(tmp_path / "log", done.key).findings
    assert done.follows == audit_folder(tmp_path / "log", done.key).follows
    with pytest.raises(Refused, match=r"monitor\.followed"):
        watcher(tmp_path / "log", old, state).turn()
    assert before == watcher(tmp_path / "log", done.key, state).turn().follows
    assert () == audit_folder(tmp_path / "kept-log", old).findings  # the old one stays what it was


@pytest.mark.asyncio
async def test_a_crash_at_any_point_is_finished_by_doing_it_again(place: Place, tmp_path: Path) -> None:
    points = ["origins.end-kept", "origins.successor-named", "succeeding.signed", "succeeding.entered"]
    marks = []
    for point in (*points, "succeeding.lifted"):
        with dying(point), pytest.raises(Died):
            await place.succeed(NEXT)
        place.clock.pass_(1)
        async with place.opened(checked=False) as here:
            marks.append(await here.home.endings.marked())
            stopped = (await here.home.endings.look()).ended(*LEDGER)
            assert (point != "succeeding.lifted") is stopped

    done = await place.succeed(NEXT)

    assert not done.fresh
    assert [FIRST, FIRST, NEXT, NEXT, NEXT] == [one.origin for one in marks if one is not None]
    assert marks[2] == marks[3] == marks[4]
    assert (done.tree.size, done.tree.root) == (marks[2].size, marks[2].root)
    async with well(place) as here:
        assert 1 == len(await here.take(CAF))
        assert 1 == len(await here.entries(FactKind.LEDGER_OPENED))


@pytest.mark.asyncio
async def test_another_name_may_be_chosen_while_nothing_was_signed_under_the_first(
    place: Place, tmp_path: Path
) -> None:
    with dying("origins.successor-named"), pytest.raises(Died):
        await place.succeed("log.example.org/mistyped")

    done = await place.succeed(NEXT)

    assert [FIRST] == [one.tree.origin for one in done.follows]
    async with well(place):
        pass


@pytest.mark.asyncio
async def test_a_name_that_something_was_signed_under_is_refused_and_nothing_changes(
    place: Place, tmp_path: Path
) -> None:
    assert "ledger.name-used" == await code_of(place.succeed(FIRST))
    await place.succeed(NEXT)
    assert not (await place.succeed(NEXT)).fresh
    assert "ledger.no-successor-needed" == await code_of(place.succeed(THIRD))
    place.more["ledger_origin"] = NEXT
    await lose(place, tmp_path, "again")
    for used in (FIRST, NEXT):
        assert "ledger.name-used" == await code_of(place.succeed(used))
        place.more["ledger_origin"] = NEXT

    done = await place.succeed(THIRD)

    assert [(NEXT, 0), (FIRST, 1)] == [(one.tree.origin, one.index) for one in done.follows]
    assert all(one.lost > 0 for one in done.follows)
    async with well(place) as here:
        assert done.follows == (await audit_home(here.home)).follows
        await here.take(CAF)


@pytest.mark.asyncio
async def test_a_database_of_before_the_succession_that_is_put_back_later_is_succeeded_too(
    place: Place, tmp_path: Path
) -> None:
    await place.succeed(NEXT)
    async with place.opened() as here:
        await here.give(CAF, BANK, FAMILY, ["bic"])
        await here.home.ledger.sequence_unfinished()
    assert "backup.below-mark" == await code_of(place.restore(tmp_path / "kept", yes=True))
    assert (await place.restore(tmp_path / "kept", yes=True, ledger_lost=True)).needs_successor
    assert "ledger.name-used" == await code_of(place.succeed(NEXT))

    done = await place.succeed(THIRD)

    assert [(NEXT, 0), (FIRST, done.tree.size - 2)] == [(one.tree.origin, one.kept) for one in done.follows]
    async with well(place) as here:
        assert (await audit_home(here.home)).findings == ()
        assert 1 == len(await here.take(CAF))


@pytest.mark.asyncio
async def test_what_was_lost_and_is_found_after_the_succession_is_not_what_the_ledger_goes_on_from(
    place: Place, tmp_path: Path
) -> None:
    done = await place.succeed(NEXT)
    (old,) = done.follows
    assert old.tree.size > done.tree.size  # under the old name more was signed than the new one has by now

    assert "backup.below-mark" == await code_of(place.restore(tmp_path / "kept-later", yes=True))
    async with well(place) as here:
        assert NEXT == here.home.ledger.verifier_key.name


@pytest.mark.asyncio
async def test_keys_of_before_a_succession_do_not_know_what_the_ledger_is_called(place: Place, tmp_path: Path) -> None:
    await place.succeed(NEXT)
    async with place.opened() as here:
        await here.home.ledger.sequence_unfinished()
    place.put_keys_back("keys-of-before")
    place.more["ledger_origin"] = FIRST
    await place.restore(tmp_path / "kept", yes=True, ledger_lost=True)

    assert "ledger.name-unknown" == await code_of(place.succeed(THIRD), Corrupt)


@pytest.mark.asyncio
async def test_a_process_of_before_the_succession_signs_nothing_under_the_old_name(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.opened() as here:
        assert "keys.in-use" == await code_of(place.succeed(NEXT))
        monkeypatch.setattr("broker.services.succeeding.Presence", lambda *_, **__: _Nobody())
        await place.succeed(NEXT)
        await here.give(CAF, BANK, FAMILY, ["bic"])
        assert "ledger.other-name" == await code_of(here.home.ledger.sequence_unfinished())
    async with well(place) as here:
        assert NEXT == here.home.ledger.verifier_key.name


class _Nobody:
    """A process on another machine is not seen."""

    def end(self) -> None:
        return


@pytest.mark.parametrize(
    "tamper",
    [
        update(ledger_entries).where(ledger_entries.c.position == 3).values(entry=b"another"),
        delete(ledger_entries).where(ledger_entries.c.position == 3),
        update(meta).where(meta.c.name == "ledger-origin").values(value="log.example.org/theirs"),
    ],
    ids=["an entry edited", "an entry taken away", "another ledger's name"],
)
@pytest.mark.asyncio
async def test_what_somebody_has_written_into_the_database_is_not_signed_anew(
    place: Place, tmp_path: Path, tamper: Any
) -> None:
    async with place.opened() as here, here.home.store.begin() as tx:
        await tx.execute(tamper)

    assert "ledger.not-as-signed" == await code_of(place.succeed(NEXT), Corrupt)
    async with place.opened(checked=False) as here:
        assert (await here.home.endings.look()).ended(*LEDGER)
        assert FIRST == here.home.ledger.verifier_key.name


@pytest.mark.asyncio
async def test_a_database_that_nobody_has_restored_gets_no_successor(place: Place) -> None:
    async with place.opened() as here:
        await here.home.endings.write([Ending.of(*LEDGER, at=1, least=1, why=ROLLED_BACK, size=9, found=7)])

    assert "ledger.rolled-back" == await code_of(place.succeed(NEXT), Corrupt)


def end(origin: str) -> Checkpoint:
    return Checkpoint(origin, 9, bytes(32))


def names(origin: str) -> Facts:
    told = {"detail": following.commit(end(origin)), "count": 5, "actor": PartyId("urn:unefois:broker")}
    return Facts(Instant(1), FactKind.LEDGER_OPENED, **told)


@pytest.mark.parametrize(
    ("here", "named", "ends"),
    [
        (NEXT, [names(THIRD)], [end(NEXT), end(FIRST)]),
        (NEXT, [names(NEXT), names(FIRST)], [end(FIRST)]),
        (THIRD, [], [end(FIRST)]),
        (FIRST, [], [end(FIRST), end(NEXT)]),
    ],
    ids=["another predecessor", "one too many", "of another ledger", "not of the oldest that is unnamed"],
)
def test_a_database_that_does_not_fit_what_the_key_store_remembers_is_not_signed_anew(
    here: str, named: list[Facts], ends: list[Checkpoint]
) -> None:
    with pytest.raises(Corrupt, match=r"ledger\.not-as-signed"):
        succeeding._unnamed(succeeding._Held(end(here), named), ends)


@pytest.mark.asyncio
async def test_a_placeholder_is_no_name_where_others_rely_on_it(place: Place, tmp_path: Path) -> None:
    place.more["listen"] = "0.0.0.0:8470"
    assert "home.placeholder-origin" == await code_of(place.succeed("unefois.example/second"))


@pytest.mark.asyncio
async def test_a_succession_that_the_database_tells_otherwise_is_found(place: Place) -> None:
    (old,) = (await place.succeed(NEXT)).follows
    mine = meta.c.name == "followed.1"
    async with place.opened() as here:
        key = Pair.ledger(here.home.keys).private
        true = checkpoint.sign(old.tree, key)
        others = {
            "nothing": (None, 2, "following.absent"),
            "not signed": (true.encode().decode().replace(f"\n{old.tree.size}\n", "\n9\n", 1), 2, "note.bad-signature"),
            "another end": (
                checkpoint.sign(replace(old.tree, size=9), key).encode().decode(),
                2,
                "following.other-end",
            ),
            "another's line more": (
                true.plus(note.sign(true.text, "x", STRANGER).signatures).encode().decode(),
                1,
                None,
            ),
        }
        for name, (told, findings, code) in others.items():
            async with here.home.store.begin() as tx:
                await tx.execute(delete(meta).where(mine))
                if told is not None:
                    await tx.execute(insert(meta).values(name="followed.1", value=told))
            assert ["ledger.predecessor"] * findings == [one.check for one in await here.home.fsck.check()], name
            audited = await audit_home(here.home)
            assert ([] if code is None else [code]) == [one.code for one in audited.findings], name


@pytest.mark.proof
@pytest.mark.asyncio
async def test_on_postgresql_a_replica_that_lags_for_ever_is_succeeded(postgres: Databases, tmp_path: Path) -> None:
    async with postgres.empty() as url, postgres.empty() as journal:
        place = Place(tmp_path / "home", more={"database_url": url, "endings_database_url": journal})
        await place.found()
        async with place.opened() as here:
            grant = await some(here)
            await backup(here.home, tmp_path / "kept")
        lagging = await replica(postgres, url, "lagging_succeeded")
        try:
            async with place.opened() as here:
                await here.home.consents.pause(grant, VOICE)
                await here.home.ledger.sequence_unfinished()
            place.more["database_url"] = lagging
            assert (await place.restore(tmp_path / "kept", ledger_lost=True)).needs_successor
            with dying("succeeding.signed"), pytest.raises(Died):
                await place.succeed(NEXT)
            done = await place.succeed(NEXT)
            assert [FIRST] == [one.tree.origin for one in done.follows]
            async with well(place) as here:
                await here.home.consents.resume(grant, VOICE)
                assert 1 == len(await here.take(CAF))
                await show_after(here, grant)
        finally:
            await postgres._dropped("lagging_succeeded")


async def show_after(here: World, grant: GrantId) -> None:
    await here.home.ledger.sequence_unfinished()
    text = await show(here.home, grant, FactKind.GRANTED, "en")
    assert NEXT == receipt.check(text, here.home.ledger.verifier_key).origin

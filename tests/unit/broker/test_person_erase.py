"""Person erase: what can go is gone, what stays is told with its reason, and nothing is lost that was on its way."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from broker.flow import backfill
from broker.services.citizens import codes, signing_in
from broker.services.person_erase import Erasure, erase, look
from broker.services.person_export import person_export
from broker.services.person_kept import KEPT
from broker.services.person_rows import HELD
from broker.services.proofs import audit_home
from broker.setup.wiring import Home
from broker.store.citizen_tables import citizen_drafts, told_already
from broker.store.message_tables import channels, messages
from broker.store.tables import declarations, deliveries, ledger_openings, log_record
from connectors.contract import Rejected
from consent.basis import law
from consent.tables import consent_keys
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Reason
from tests.citizens import sign_in
from tests.told import EMAIL, Taken, by_mail
from tests.unit.broker.test_disclosing import opened_for
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, RENNES, TOWN, VOICE, YANN, World, world

pytestmark = pytest.mark.asyncio
FIELDS = ["subject", "new_address"]
ADDRESS = "elise@example.fr"


async def told(here: World, person: dict[str, Any] = ELISE, address: str = ADDRESS) -> Home:
    """Somebody is told by mail, consents, declares, and CAF has it."""
    home = by_mail(here, Taken())
    await home.channels.add(here.subject(person), EMAIL, address, "fr")
    here.clock.pass_(2 * 60_000)
    await here.give(CAF, MOVED, FAMILY, FIELDS, person=person)
    declared = await here.declare(MOVED, here.moved(person))
    await home.drafts.write(here.subject(person), "moving", {"street": "1 rue d'Essai"})
    async with home.store.begin() as tx:
        given = {"of": declared.declaration_id, "at": here.clock()}
        await home.fingerprints.keep(tx, here.subject(person), MOVED, here.moved(person), **given)
    await here.step()
    await home.outbox.plan()
    return home


async def finished(here: World) -> Home:
    """The same, and nothing is on its way."""
    home = await told(here)
    await here.take(CAF)
    await here.step()
    await home.outbox.plan()
    return home


async def go(home: Home, here: World, person: dict[str, Any] = ELISE) -> Erasure:
    return await erase(home, here.subject(person), VOICE)


async def test_what_can_go_is_gone_and_everything_is_sound(here: World) -> None:
    home = await finished(here)
    before = await look(home, here.subject())
    done = await go(home, here)
    await here.step()

    expected = {"consents": 1, "declarations": 1, "deliveries": 1, "dead_letters": 0, "channels": 1, "entries": 1}
    expected |= {"told_already": 1, "drafts": 1}
    expected |= {"sessions": 0, "accounts": 0, "codes": 0}
    assert expected == {name: count for name, count in done.gone.items() if name != "messages"}
    assert (before.gone, before.under_way) == (done.gone, 0)
    assert done.gone["messages"] > 0
    async with here.home.store.read() as tx:
        for table in (channels, messages, consent_keys, citizen_drafts, told_already):
            assert [] == (await tx.execute(select(table))).all()
        assert [b""] == list((await tx.execute(select(declarations.c.envelope))).scalars())
        assert [b""] == list((await tx.execute(select(deliveries.c.locked))).scalars())
    assert 1 == len(await here.entries(FactKind.DECLARATION_ERASED))
    assert [] == await here.entries(FactKind.CHANNEL_ADDED, FactKind.CHANNEL_ENDED)


async def test_sessions_codes_and_identifiers_of_providers_go_and_let_nobody_in_any_more(here: World) -> None:
    token, citizen = await sign_in(here)
    code = await codes.give(here.home, ELISE)
    alias = here.home.accounts.alias("https://fc.example", "ours", "sub")
    async with here.home.store.begin() as tx:
        kin = await here.home.lookup.kin(tx, [citizen.subject], here.clock())
        await here.home.accounts.of(tx, alias, citizen.subject, kin, here.clock())

    done = await go(here.home, here)

    assert {"sessions": 1, "accounts": 1, "codes": 1}.items() <= done.gone.items()
    with pytest.raises(Refused, match="signed-out"):
        await signing_in.current(here.home, token)
    with pytest.raises(Refused, match=r"citizens\.code"):
        await signing_in.with_code(here.home, code.code, language="fr", address="192.0.2.1")
    async with here.home.store.read() as tx:
        assert await here.home.accounts.known(tx, alias) is None
    await here.step()


async def test_what_stays_is_told_with_why_and_until_when(here: World) -> None:
    home = await finished(here)
    done = await go(home, here)
    after = await person_export(home, here.subject())

    names = {one["what"] for one in done.stays}
    assert {"consents", "submissions", "declarations", "deliveries", "entries"} <= names
    assert set() == names & {"channels", "messages"}
    assert all(one["why"]["fr"] and one["until"]["en"] and "{" not in one["until"]["en"] for one in done.stays)
    assert {(one["what"], one["count"]) for one in done.stays} == {(one["what"], one["count"]) for one in after["kept"]}
    assert [False] == [one["envelope"] for one in after["held"]["declarations"]]
    assert "declaration_erased" in {one["kind"] for one in after["entries"]}
    assert ADDRESS not in json.dumps(after)


async def test_each_section_of_an_export_has_its_reason() -> None:
    assert set(HELD) | {"entries", "drafts"} == set(KEPT)


async def test_asked_again_nothing_is_left_and_nothing_is_written(here: World) -> None:
    home = await finished(here)
    await go(home, here)
    entries = len(await here.told())

    again = await go(home, here)
    assert again.nothing
    assert entries == len(await here.told())


async def test_of_somebody_unknown_there_is_nothing(here: World) -> None:
    done = await go(here.home, here, YANN)

    assert (True, []) == (done.nothing, done.stays)


async def test_a_look_before_changes_nothing_but_that_it_was_a_look(here: World) -> None:
    home = await finished(here)
    before = await person_export(home, here.subject())
    await look(home, here.subject())
    after = await person_export(home, here.subject())

    assert before["held"] == after["held"]
    assert 2 == len(after["looks"])


@pytest.mark.parametrize("routed", [True, False])
async def test_while_something_is_on_its_way_nothing_goes_and_nothing_is_lost(here: World, routed: bool) -> None:
    home = await finished(here)
    await here.declare(MOVED, here.moved(effective_date="2026-12-02"), route=routed)
    before = await person_export(home, here.subject())

    with pytest.raises(Refused) as refused:
        await go(home, here)
    assert ("rights.under-way", {"count": 1}) == (refused.value.code, dict(refused.value.details))
    after = await person_export(home, here.subject())
    assert before["held"] == after["held"]
    assert 1 == (await look(home, here.subject())).under_way
    await here.home.router.route()
    assert 1 == len(await here.take(CAF))
    await here.step()
    assert 2 == (await go(home, here)).gone["declarations"]


async def test_what_comes_between_two_batches_stops_it_and_is_delivered(here: World) -> None:
    home = await finished(here)
    await here.give(RENNES, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))
    revoke_all = home.consents.revoke_all

    async def meanwhile(*given: Any) -> Any:
        done = await revoke_all(*given)
        await here.declare(MOVED, here.moved())
        return done

    home.consents.revoke_all = meanwhile  # type: ignore[method-assign]
    with pytest.raises(Refused, match=r"rights\.under-way"):
        await go(home, here)
    home.consents.revoke_all = revoke_all  # type: ignore[method-assign]
    assert 1 == len(await here.take(RENNES))
    await here.step()
    assert not (await go(home, here)).nothing


async def test_an_auditor_finds_nothing_wrong_before_and_after_with_and_without_the_openings(here: World) -> None:
    home = await finished(here)
    await told(here, YANN, "yann@example.fr")
    await here.take(CAF)
    await go(home, here)
    await here.step()
    bundle = await opened_for(here, 0, here.clock() + DAY)

    assert () == (await audit_home(here.home, None)).findings
    assert () == (await audit_home(here.home, bundle)).findings
    assert FactKind.DECLARATION_ERASED in {one.facts.kind for one in bundle.openings.values()}


async def test_nobody_else_loses_anything(here: World) -> None:
    home = await finished(here)
    await told(here, YANN, "yann@example.fr")
    before = await person_export(home, here.subject(YANN))
    await go(home, here)
    await here.step()
    after = await person_export(home, here.subject(YANN))

    assert before["held"] == after["held"]
    assert [one["entry"] for one in before["entries"]] == [
        one["entry"] for one in after["entries"] if one["kind"] != "viewed"
    ]
    assert 1 == len(await here.take(CAF))


async def test_a_mandate_by_law_stays_and_its_next_declaration_goes_out(here: World) -> None:
    home = await finished(here)
    await here.give(RENNES, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))
    await go(home, here)
    await here.step()

    await here.declare(MOVED, here.moved())
    assert 1 == len(await here.take(RENNES))


async def test_who_may_hear_of_the_latest_from_now_on_hears_of_nothing_erased(here: World) -> None:
    home = await finished(here)
    await go(home, here)

    await here.give(CAF, MOVED, FAMILY, FIELDS, include_latest=True)
    assert [] == await here.take(CAF)


async def test_a_letter_of_what_is_erased_waits_for_nobody(here: World) -> None:
    home = await told(here)
    (opened,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    await here.inbox(CAF).acknowledge(opened.delivery_id, Rejected("table.too-long", Reason.SYSTEM_REFUSED))
    (letter,) = await here.home.dead_letters.list()
    await go(home, here)
    await here.step()

    assert [] == await here.home.dead_letters.list()
    with pytest.raises(Refused, match=r"dead\.replayed"):
        await here.home.dead_letters.replay(letter.id)


class TestWhoeverWritesRows:
    """Or puts a backup back: nothing that was erased comes back into use."""

    async def test_a_row_that_is_put_back_is_found_plans_nothing_and_is_emptied_again(self, tmp_path: Path) -> None:
        async with world(tmp_path, stepped=True) as here:
            home = await finished(here)
            before = await _row(here)
            await go(home, here)
            await _put(here, envelope=before.envelope, mac=before.mac)

            assert {"declarations.came-back"} == {one.check for one in await here.home.fsck.check()}
            await here.give(CAF, MOVED, FAMILY, FIELDS, include_latest=True)
            assert [] == await here.take(CAF)
            assert [("declarations", True)] == [
                (one.table, one.done) for one in await here.home.completion.finish(all_of_it=True)
            ]
            await here.step()
            assert b"" == (await _row(here)).envelope

    async def test_a_channel_that_is_put_back_hears_nothing_and_is_found(self, tmp_path: Path) -> None:
        async with world(tmp_path, stepped=True) as here:
            home = await finished(here)
            async with here.home.store.read() as tx:
                kept = dict((await tx.execute(select(channels))).one()._mapping)
            await go(home, here)
            async with here.home.store.begin() as tx:
                await tx.execute(channels.insert(), kept)
            here.clock.pass_(DAY)
            await here.give(CAF, MOVED, FAMILY, FIELDS)
            await here.declare(MOVED, here.moved())
            await here.home.ledger.sequence_unfinished()
            await home.outbox.plan()
            async with here.home.store.read() as tx:
                ended = [one.ended_at is not None for one in await home.channels.of(tx, [here.subject()])]
                waiting = (await tx.execute(select(messages.c.at).where(messages.c.at > kept["held_since"]))).all()
            found = {one.check for one in await here.home.fsck.check()}

        assert [True] == ended
        assert [] == [one for one in waiting if one.at >= here.clock()]
        assert "channels.untold" in found

    async def test_what_went_is_in_no_file_of_the_database(self, tmp_path: Path) -> None:
        """Nor in its write-ahead log; sealed copies in the log of declarations stay for their time."""
        async with world(tmp_path, stepped=True) as here:
            home = await finished(here)
            async with here.home.store.read() as tx:
                gone = [*(await tx.execute(select(channels.c.sealed))).scalars()]
                gone += (await tx.execute(select(deliveries.c.locked))).scalars()
            assert all(_in_files(tmp_path, one[-64:]) for one in gone)
            await go(home, here)
            left = [one for one in gone if _in_files(tmp_path, one[-64:])]

        assert [] == left

    async def test_a_journal_that_begins_anew_knows_what_was_erased(self, tmp_path: Path) -> None:
        async with world(tmp_path, stepped=True) as here:
            await go(await finished(here), here)
            of = (await _row(here)).declaration_id
            async with here.home.store.read() as tx:
                found = [(one.table, one.key) async for one in backfill.endings(tx)]

        assert ("declarations", of) in found

    async def test_a_row_that_somebody_empties_is_found(self, tmp_path: Path) -> None:
        async with world(tmp_path, stepped=True) as here:
            await finished(here)
            await _put(here, envelope=b"")
            found = {one.check for one in await here.home.fsck.check()}

        assert {"declarations.mac", "declarations.emptied"} <= found

    async def test_an_erasure_by_right_hides_no_other_row(self, tmp_path: Path) -> None:
        """By their age the openings of everybody go; then fsck may demand nothing of older rows. Not so here."""
        async with world(tmp_path, stepped=True) as here:
            home = await finished(here)
            await told(here, YANN, "yann@example.fr")
            await go(home, here)
            mine = (ledger_openings.c.subject == here.subject(YANN), ledger_openings.c.kind == "granted")
            async with here.home.store.begin() as tx:
                await tx.execute(ledger_openings.delete().where(*mine))
            found = {one.check for one in await here.home.fsck.check()}

        assert "grants.untold" in found

    async def test_what_a_copy_of_database_and_keys_holds_afterwards_says_nothing_of_what_went(
        self, here: World
    ) -> None:
        home = await finished(here)
        sealed = (await _row(here)).envelope
        await go(home, here)
        here.clock.pass_(40 * DAY)
        await here.declare(MOVED, here.moved(YANN))  # the newest record of the log stays, and is another's
        await here.home.pruning.prune()

        async with here.home.store.read() as tx:
            rows = [row for table in tx_tables() for row in (await tx.execute(select(table))).all()]
            logged = list((await tx.execute(select(log_record.c.value))).scalars())
        there = b"\x00".join(value for row in rows for value in row if isinstance(value, bytes))
        assert sealed not in there
        assert sealed not in logged
        assert ADDRESS.encode() not in there


def tx_tables() -> list[Any]:
    return list(declarations.metadata.sorted_tables)


def _in_files(folder: Path, raw: bytes) -> bool:
    return any(raw in file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def _row(here: World) -> Any:
    async with here.home.store.read() as tx:
        return (await tx.execute(select(declarations).order_by(declarations.c.seq).limit(1))).one()


async def _put(here: World, **values: Any) -> None:
    async with here.home.store.begin() as tx:
        await tx.execute(update(declarations).values(**values))

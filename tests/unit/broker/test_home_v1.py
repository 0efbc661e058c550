"""A home of version 1, with a month behind it, in the hands of today's code: all of it is there, and it works on."""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import OKPKey
from sqlalchemy import select

from broker.cli.exits import Exit
from broker.flow.deliveries import load as loaded
from broker.ledger import first_ledger
from broker.services.backups import backup
from broker.services.proofs import audit_home
from broker.services.restoring import restore
from broker.services.succeeding import succeed
from broker.services.viewing import subject_of
from broker.settings.choices import load
from broker.setup.opening import open_home
from broker.store.tables import declarations, submissions, withholdings
from broker.transparency.audits import audit_folder, files_in, grown
from broker.web.app import build
from connectors.contract import Pulled
from consent import registry
from consent.receipt import verify_receipt
from schemas import checkpoint, following, intake_receipt, receipt
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, GrantId, ManifestDigest, PartyId
from schemas.note import Note, VerifierKey
from schemas.release import LockedDelivery, indices
from tests.clients import Client
from tests.home_v1 import Kept, reopened, unpacked
from tests.program import Program
from tests.world import CAF, MOVED, World

pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """For who looks only at what lies beside the home."""
    return unpacked(tmp_path_factory.mktemp("v1"))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """A copy of one's own."""
    return unpacked(tmp_path)


def told(ones: Iterable[dict[str, Any]], *names: str) -> set[tuple[object, ...]]:
    """These facts of each."""
    return {tuple(one[name] for name in names) for one in ones}


@pytest.mark.asyncio
async def test_nothing_is_wrong_with_it(kept: Kept) -> None:
    async with reopened(kept) as here:
        assert [] == await here.home.fsck.check()
        await here.step()


def test_the_command_line_opens_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNEFOIS_HOME", str(kept.home))
    unefois = Program(kept.home)

    assert "store.not-migrated" == unefois.error("fsck", code=Exit.REFUSED)["code"]
    assert unefois.told("migrate")["done"]
    told = unefois.told("fsck")
    assert (True, []) == (told["clean"], told["findings"])
    assert [(kept.story["ledger"]["size"], None, 0)] == [
        (one["size"], one["kept"], one["lost"]) for one in told["follows"]
    ]
    tokens = unefois.told("token", "list")["tokens"]
    assert {one["id"] for one in kept.story["tokens"]} == {one["id"] for one in tokens}


def test_what_its_ledger_does_not_say_is_not_signed_and_is_named(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNEFOIS_HOME", str(kept.home))
    with sqlite3.connect(kept.home / "unefois.db") as database:
        database.execute("UPDATE parties SET sector = 'health' WHERE id = ?", (CAF,))
    database.close()
    unefois = Program(kept.home)

    result = unefois.run("migrate", "--json")

    told = json.loads(result.stdout)
    assert (Exit.FINDINGS, [("rows.not-told", "parties")]) == (
        result.exit_code,
        [(one["code"], one["row"].partition("/")[0]) for one in told["unsigned"]],
    )
    assert told["signed"] > 0


def test_a_ledger_that_is_not_what_was_signed_last_is_not_carried(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNEFOIS_HOME", str(kept.home))
    with sqlite3.connect(kept.home / "unefois.db") as database:
        last = "(SELECT max(position) FROM ledger_entries)"
        database.execute(f"UPDATE ledger_entries SET entry = zeroblob(9) WHERE position = {last}")
    database.close()
    unefois = Program(kept.home)

    assert "carrying.first-ledger" == unefois.error("migrate", code=Exit.CORRUPT)["code"]
    assert "store.not-carried" == unefois.error("fsck", code=Exit.REFUSED)["code"]


def test_a_ledger_that_is_not_ordered_to_its_end_is_left_as_it_is(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNEFOIS_HOME", str(kept.home))
    with sqlite3.connect(kept.home / "unefois.db") as database:
        database.execute("INSERT INTO ledger_entries (leaf, entry) SELECT leaf, entry FROM ledger_entries LIMIT 1")
    database.close()
    unefois = Program(kept.home)

    assert "carrying.unordered" == unefois.error("migrate", code=Exit.REFUSED)["code"]
    assert "store.not-migrated" == unefois.error("fsck", code=Exit.REFUSED)["code"]


@pytest.mark.asyncio
async def test_every_consent_is_as_the_citizen_left_it(kept: Kept) -> None:
    async with reopened(kept) as here:
        story = {GrantId(bytes.fromhex(one["id"])): one for one in kept.story["grants"]}
        async with here.home.store.read() as tx:
            found = await registry.current(tx.conn, list(story))
        told = {one: await subject_of(here.home, facts) for one, facts in kept.story["citizens"].items()}
    for id_, one in story.items():
        grant = found[id_]
        assert (one["status"], one["version"], one["recipient"]) == (grant.status.value, grant.version, grant.recipient)
        assert (one["fields"], one["basis"]) == (sorted(grant.fields), grant.basis.text)
        assert one["once_for"] == (None if grant.once_for is None else grant.once_for.hex())
        assert told[one["citizen"]] == grant.subject


@pytest.mark.asyncio
async def test_every_declaration_and_delivery_is_where_it_was(kept: Kept) -> None:
    async with reopened(kept) as here, here.home.store.read() as tx:
        accepted = {row.declaration_id.hex() for row in await tx.execute(select(submissions))}
        routed = {row.declaration_id.hex(): row.seq for row in await tx.execute(select(declarations))}
        held_back = (await tx.execute(select(withholdings))).all()
        found = await loaded(tx)
    story = kept.story
    assert {one["id"] for one in story["declarations"]} == accepted
    assert {one["id"] for one in story["declarations"] if one["state"] == "routed"} == set(routed)
    by_seq = {seq: id_ for id_, seq in routed.items()}
    assert told(story["withholdings"], "declaration", "recipient", "purpose", "reason") == {
        (by_seq[row.declaration], row.recipient, row.purpose, row.reason) for row in held_back
    }
    names = {one.id: here.home.catalogue.by_id(one.schema).names for one in found}
    now = {
        one.id.hex(): (
            one.state.value,
            None if one.reason is None else one.reason.value,
            one.grant_version,
            [names[one.id][index] for index in indices(one.fields, len(names[one.id]))],
        )
        for one in found
    }
    facts = ("state", "reason", "grant_version", "fields")
    expected = {one["id"]: tuple(one[fact] for fact in facts) for one in story["deliveries"]}
    (late,) = [one["id"] for one in story["deliveries"] if one["name"] == "ended-late"]
    # Released before its consent was revoked, and not acknowledged: that was left as it was, and is closed today.
    assert ("released", None) == expected[late][:2]
    assert expected | {late: ("withheld", "revoked", *expected[late][2:])} == now


def test_its_proofs_verify_offline_and_the_last_is_witnessed(untouched: Kept) -> None:
    log = VerifierKey.parse(untouched.read("vkey").decode().strip())
    assert untouched.story["ledger"]["vkey"] == log.text
    witness = VerifierKey.parse(untouched.story["ledger"]["witness"])
    proofs = untouched.receipts("proof")

    for one in proofs:
        checked = receipt.check(untouched.read(one["file"]).decode(), log)
        assert one["kind"] == checked.facts.kind.value
    last = receipt.check(untouched.read(proofs[-1]["file"]).decode(), log, [witness], 1)
    assert [witness.name] == [one.name for one in last.witnesses]


@pytest.mark.asyncio
async def test_its_consent_receipts_verify_with_the_brokers_key(kept: Kept) -> None:
    async with reopened(kept) as here:
        directory = await here.home.lookup.newest(here.home.store)
    (key,) = [one for one in directory.signing if one.party == directory.broker]
    grants = {one["name"]: one["id"] for one in kept.story["grants"]}
    for one in kept.receipts("consent"):
        read = verify_receipt(kept.read(one["file"]), key.algorithm, key.public)
        assert (grants[one["grant"]], one["entry"]) == (read.grant_id.hex(), read.ledger_entry.hex())


@pytest.mark.asyncio
async def test_its_intake_receipts_verify_against_the_directory(kept: Kept) -> None:
    async with reopened(kept) as here:
        directory = await here.home.lookup.newest(here.home.store)
    ids = {one["name"]: one["id"] for one in kept.story["declarations"]}
    for one in kept.receipts("intake"):
        read = intake_receipt.verify(json.loads(kept.read(one["file"])), directory)
        assert ids[one["declaration"]] == read.declaration_id.hex()
        assert (ManifestDigest(bytes.fromhex(one["manifest"])), one["received_at"]) == (read.manifest, read.received_at)


def test_its_exported_ledger_verifies_and_continues_an_earlier_checkpoint(untouched: Kept) -> None:
    key = VerifierKey.parse(untouched.story["ledger"]["vkey"])

    audited = audit_folder(untouched.folder / "log", key)

    assert () == audited.findings
    assert audited.tree is not None
    assert untouched.story["ledger"]["size"] == audited.tree.size
    early = checkpoint.verify(Note.parse(untouched.read("checkpoint-early")), key).checkpoint
    assert untouched.story["ledger"]["early_size"] == early.size
    grown(early, audited.tree, files_in(untouched.folder / "log"))


@pytest.mark.asyncio
async def test_the_ledger_of_today_continues_the_one_that_was_exported(kept: Kept) -> None:
    key = VerifierKey.parse(kept.story["ledger"]["vkey"])
    exported = checkpoint.verify(Note.parse(kept.read("log/checkpoint")), key).checkpoint
    async with reopened(kept) as here:
        await here.declare(MOVED, here.moved(kept.story["citizens"]["Nobody"]))
        await here.step()
        async with here.home.store.read() as tx:
            old = await first_ledger.tree(tx, key.name)
            opened = (await here.entries())[0]
        audited = await audit_home(here.home)

    assert exported == old
    assert (FactKind.LEDGER_OPENED, following.commit(exported)) == (opened.kind, opened.detail)
    assert (f"{key.name}/2", ()) == (audited.key.name, audited.findings)


@pytest.mark.asyncio
async def test_its_ledger_of_today_may_be_lost_too_and_the_successor_names_both(kept: Kept, tmp_path: Path) -> None:
    first = kept.story["ledger"]["size"]
    async with reopened(kept) as here:
        await backup(here.home, tmp_path / "backup")
        clock = here.clock
        await here.declare(MOVED, here.moved(kept.story["citizens"]["Nobody"]))
        await here.home.ledger.sequence_unfinished()
        end = await here.home.endings.marked()
    assert end is not None
    chosen = load(home=kept.home)
    await restore(chosen, tmp_path / "backup", yes=True, ledger_lost=True, clock=clock)
    renamed = load(home=kept.home, ledger_origin="log.example.org/third")

    done = await succeed(renamed, clock=clock)

    assert [("unefois.example/ledger/2", end.size, True), ("unefois.example/ledger", first, False)] == [
        (one.tree.origin, one.tree.size, one.lost > 0) for one in done.follows
    ]
    async with open_home(renamed, clock) as home:
        assert [] == await home.fsck.check()
        audited = await audit_home(home)
        await World(home, clock, kept.folder).step()
    assert ((), done.follows) == (audited.findings, audited.follows)


@pytest.mark.asyncio
async def test_what_an_agency_kept_of_a_pull_still_opens(kept: Kept) -> None:
    async with reopened(kept) as here:
        for held in kept.story["held"]:
            raws = [kept.read(f"held/{held['name']}-{number}.locked") for number in range(len(held["deliveries"]))]
            pulled = Pulled(tuple(map(LockedDelivery.decode, raws)), kept.read(f"held/{held['name']}.keys"))
            here.clock.now = held["at"]
            opened = await here.open(PartyId(held["recipient"]), pulled)
            assert held["deliveries"] == [one.delivery_id.hex() for one in opened]


@pytest.mark.asyncio
async def test_who_was_let_in_is_let_in_and_nobody_else(kept: Kept) -> None:
    story = kept.story
    async with reopened(kept) as here, here.home.store.begin() as tx:
        for one in story["tokens"]:
            if one["state"] == "revoked":
                with pytest.raises(Refused):
                    await here.home.credentials.verify(tx, one["token"], here.clock())
                continue
            credential = await here.home.credentials.verify(tx, one["token"], here.clock())
            assert (one["party"], one["scopes"]) == (credential.party, sorted(each.value for each in credential.scopes))
    async with reopened(kept) as here:
        clients = {one["state"]: one for one in story["clients"]}
        pinned = clients["good"]
        client = Client(here, PartyId(pinned["party"]), OKPKey.import_key(pinned["private_jwk"]), 10)
        assert await client.redeem()
        ended = clients["revoked"]
        client = Client(here, PartyId(ended["party"]), OKPKey.import_key(ended["private_jwk"]), 10)
        with pytest.raises(Refused):
            await client.redeem()


@pytest.mark.asyncio
async def test_what_waited_goes_out_and_what_was_ended_does_not(kept: Kept) -> None:
    story = kept.story
    waited = {"handed", "pending", "released", "narrowed-late", "correction", "unrouted"}
    async with reopened(kept) as here:
        await here.home.router.route()
        taken = {one.declaration_id for one in await here.take(CAF)}
        await here.step()
    names = {DeclarationId(bytes.fromhex(one["id"])): one["name"] for one in story["declarations"]}
    assert waited == {names[one] for one in taken}


@pytest.mark.asyncio
async def test_its_ledger_is_served_beside_the_first_one_whose_tiles_caches_hold_for_ever(kept: Kept) -> None:
    first = VerifierKey.parse(kept.story["ledger"]["vkey"])
    async with reopened(kept) as here:
        transport = httpx2.ASGITransport(build(here.home))
        async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as client:
            places = ("vkey", "2/vkey", "2/checkpoint", "tile/entries/000.p/1", "2/tile/entries/000.p/1")
            told = {path: await client.get(f"/log/{path}") for path in places}

    assert [200, 200, 200, 404, 200] == [one.status_code for one in told.values()]
    assert first.text == told["vkey"].text.strip()  # the directory is signed under the first name, and so pinned
    key = VerifierKey.parse(told["2/vkey"].text.strip())
    signed = checkpoint.verify(Note.parse(told["2/checkpoint"].content), key).checkpoint
    assert f"{first.name}/2" == key.name == signed.origin

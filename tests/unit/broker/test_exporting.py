"""Export: everything of a home, read by libraries that are not ours, with counts and digests that hold."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import fastavro
import pytest
from avro.datafile import DataFileReader
from avro.io import DatumReader
from sqlalchemy import func, select

from broker.services.consent_receipts import principal
from broker.services.export_rows import CONTAINERS, ELSEWHERE, LEFT, LINES
from broker.services.exporting import MANIFEST, NOTE, export_home
from broker.store.tables import declarations, deliveries, metadata
from consent.tables import grant_versions
from schemas import directory_note, merkle, note
from schemas.entry import Entry, Opening
from schemas.envelope import SignedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.note import Note
from tests.world import CAF, FAMILY, MOVED, RENNES, TOWN, VOICE, YANN, World

pytestmark = pytest.mark.asyncio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leaving"


async def lived(here: World) -> None:
    """Two persons, deliveries taken and waiting, a consent that was withdrawn."""
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    given = await here.give(RENNES, MOVED, TOWN, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    await here.take(CAF)
    await here.home.consents.revoke(given.grant.id, VOICE)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def containers(path: Path) -> list[dict[str, Any]]:
    """By two readers, which have to agree."""
    with path.open("rb") as file:
        ours = list(fastavro.reader(file))
    with DataFileReader(path.open("rb"), DatumReader()) as reader:
        theirs: list[Any] = list(reader)
    assert [{**one} for one in theirs] == ours
    return ours


async def count(here: World, table: Any) -> int:
    async with here.home.store.read() as tx:
        return (await tx.execute(select(func.count()).select_from(table))).scalar_one()


async def test_other_libraries_read_as_many_records_as_the_database_has(here: World, folder: Path) -> None:
    await lived(here)
    done = await export_home(here.home, folder)

    told = {one["path"]: one.get("records") for one in done.manifest["files"]}
    for name, each in LINES.items():
        assert told[f"{name}.jsonl"] == len(lines(folder / f"{name}.jsonl")) == await count(here, each.table)
    for name, table in (("declarations", declarations), ("deliveries", deliveries)):
        assert told[f"{name}.avro"] == len(containers(folder / f"{name}.avro")) == await count(here, table)
    assert (4, 2) == (told["consents.jsonl"], told["declarations.avro"])
    assert 0 == done.manifest["not_routed"]


async def test_every_file_has_the_digest_that_the_manifest_gives_and_the_ledgers_key_signs_it(
    here: World, folder: Path
) -> None:
    await lived(here)
    done = await export_home(here.home, folder)

    raw = (folder / MANIFEST).read_bytes()
    manifest = json.loads(raw)
    assert done.manifest == manifest
    named = {one["path"]: (one["bytes"], one["sha256"]) for one in manifest["files"]}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {*named, MANIFEST, NOTE}
    for name, (size, digest) in named.items():
        content = (folder / name).read_bytes()
        assert (size, digest) == (len(content), sha256(content).hexdigest())
    signed = Note.parse((folder / NOTE).read_bytes())
    assert note.verify(signed, here.home.ledger.attestation_key)
    assert sha256(raw).hexdigest() == signed.text.splitlines()[1]
    assert all(
        0o077 & path.stat().st_mode == 0 for path in folder.rglob("*") if path.is_file() and "ledger" not in path.parts
    )


async def test_the_ledger_says_that_everything_was_opened(here: World, folder: Path) -> None:
    await lived(here)
    done = await export_home(here.home, folder)

    (facts,) = await here.entries(FactKind.DISCLOSED)
    assert (here.home.party, sha256((folder / MANIFEST).read_bytes()).digest()) == (facts.recipient, facts.detail)
    opened = [one for one in lines(folder / "facts.jsonl") if one["opening"] is not None]
    assert facts.count == len(opened) > 0
    assert done.entry


async def test_each_fact_is_proven_by_its_opening_and_stands_in_the_exported_ledger(here: World, folder: Path) -> None:
    await lived(here)
    await export_home(here.home, folder)

    told = sorted(lines(folder / "facts.jsonl"), key=lambda one: one["position"])
    (bundle,) = (folder / "ledger/tile/entries").glob("*/*")
    raws = _bundled(bundle.read_bytes())
    assert len(raws) == len(told)
    for raw, one in zip(raws, told, strict=True):
        assert one["leaf"] == merkle.leaf_hash(raw).hex()
        if one["opening"] is not None:
            facts = Opening.decode(bytes.fromhex(one["opening"])).check(Entry.decode(raw))
            assert facts.kind.value == one["facts"]["kind"]


def _bundled(raw: bytes) -> list[bytes]:
    """Entries, each behind its length in two bytes (c2sp.org/tlog-tiles)."""
    found = []
    while raw:
        size = int.from_bytes(raw[:2], "big")
        found.append(raw[2 : 2 + size])
        raw = raw[2 + size :]
    return found


async def test_a_citizen_is_the_number_of_their_receipts_everywhere_and_the_reference_nowhere(
    here: World, folder: Path
) -> None:
    await lived(here)
    await export_home(here.home, folder)

    mine = principal(here.home, here.subject())
    held = {
        "consents.jsonl": [one["person"] for one in lines(folder / "consents.jsonl")],
        "facts.jsonl": [one["person"] for one in lines(folder / "facts.jsonl")],
        "declarations.avro": [one["person"] for one in containers(folder / "declarations.avro")],
        "deliveries.avro": [one["person"] for one in containers(folder / "deliveries.avro")],
    }
    assert [] == [name for name, persons in held.items() if mine not in persons]
    reference = here.subject()
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert reference not in content, path
        assert reference.hex().encode() not in content, path


async def test_no_value_and_no_secret_is_in_it(here: World, folder: Path) -> None:
    await lived(here)
    await export_home(here.home, folder)

    held = here.home.keys._secrets.values()  # type: ignore[attr-defined]
    secrets = [secret for secret in held if not secret.isascii()]  # a key store keeps the ledger's name, too
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in secrets:
            assert secret not in content, path
            assert secret.hex().encode() not in content, path
        assert [] == [value for value in ("Martin", "Élise", "Monnaie") if value.encode() in content], path


async def test_a_declaration_is_as_the_source_signed_it_and_the_directory_is_the_one_that_verifies_it(
    here: World, folder: Path
) -> None:
    await lived(here)
    await export_home(here.home, folder)

    told = json.loads((folder / "directory.json").read_text())
    key = here.home.ledger.attestation_key
    directory, _ = directory_note.verify(told["directory"], Note.parse(told["note"].encode()), key, None)
    (first, _) = containers(folder / "declarations.avro")
    verified = verify_declaration(
        SignedDeclaration.decode(first["envelope"]), directory, here.home.catalogue, here.clock()
    )
    assert first["manifest_digest"] == verified.digest
    assert first["schema_id"] in {sha256(path.read_bytes()).digest() for path in (folder / "schemas").iterdir()}
    assert len(here.home.catalogue.schemas) == len(list((folder / "schemas").iterdir()))


async def test_what_waits_is_counted_for_it_is_missing(here: World, folder: Path) -> None:
    await here.declare(MOVED, here.moved(), route=False)

    assert 1 == (await export_home(here.home, folder)).manifest["not_routed"]
    await here.home.router.route()


async def test_nothing_is_written_over_and_what_was_left_unfinished_is_taken_away(here: World, folder: Path) -> None:
    (folder.parent / "leaving.unfinished").mkdir()
    (folder.parent / "leaving.unfinished/old").write_text("x")
    await export_home(here.home, folder)
    with pytest.raises(Refused, match=r"^export\.exists"):
        await export_home(here.home, folder)

    assert not (folder / "old").exists()
    assert not (folder.parent / "leaving.unfinished").exists()


async def test_every_table_is_taken_along_or_says_where_or_why_not() -> None:
    taken = {each.table.name for each in LINES.values()} | set(CONTAINERS)
    named = [*taken, *ELSEWHERE, *(name for name in LEFT if name in metadata.tables)]

    assert sorted(metadata.tables) == sorted(named)
    assert grant_versions.name in taken

"""Proving: receipts checked by another process, the ledger exported and checked by a stranger, one byte changed.

Refuses: nothing.
Keeps: whoever checks is believed only because it also refuses what was changed; changes are made to copies.
"""

import asyncio
import json
import re
import sqlite3
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import schemas
from broker.cli.demo import offline, stranger
from broker.cli.demo.acts.declaring import Declared, claim_unreadable
from broker.cli.demo.acts.revoking import Revoked
from broker.cli.demo.facts import facts_of, of_kind
from broker.cli.demo.stage import Stage
from broker.ledger.sequencer import newest_checkpoint
from broker.maintenance.checks.finding import Finding
from broker.services import proofs
from broker.setup import opening
from broker.transparency import export
from schemas.facts import FactKind
from schemas.note import Note

CHILD_S = 30
"""What another process may take, in seconds."""


async def prove(stage: Stage, declared: Declared, revoked: Revoked) -> None:
    """A receipt for each administration that took the move, and for the revocation; another process checks them."""
    facts = of_kind(await facts_of(stage.home), FactKind.RELEASED)
    ours = [fact.facts for fact in facts if fact.facts.declaration == declared.accepted.digest]
    paths = [await _receipt(stage, "revoked", revoked.grant, FactKind.REVOKED)]
    for entry in ours:
        name = f"released-{(entry.recipient or '').rpartition(':')[2]}"
        paths.append(await _receipt(stage, name, entry.delivery or b"", FactKind.RELEASED))
    shown = paths[0].read_text("utf-8")
    stage.telling.lines(shown.split("\n\n")[2].splitlines())
    false = paths[0].with_name("false.txt")
    false.write_text(shown.replace("revoked", "granted"), "utf-8")
    key = paths[0].with_name("vkey")
    key.write_text(stage.home.ledger.verifier_key.text, "utf-8")
    child = await _child(Path(offline.__file__), key, *paths, false)
    answer = json.loads(child.told or "{}")
    *verdicts, last = answer.get("verdicts", [child.wrong])
    good = verdicts == [FactKind.REVOKED.value, *[FactKind.RELEASED.value] * len(ours)]
    stage.claim("prove.offline", held=good and len(ours) == 5, count=len(verdicts))
    stage.claim("prove.only_schemas", held=answer.get("imported") == ["schemas"], evidence="import schemas")
    stage.claim("prove.false", held=last == "receipt.meaning-differs", evidence=last)


async def newest(stage: Stage) -> Note:
    """The newest checkpoint, signed, as a witness keeps it."""
    async with stage.home.store.read() as tx:
        _, signed = await newest_checkpoint(tx)
    return Note.parse(signed.encode())


async def publish(stage: Stage, kept: Note) -> None:
    """Export the ledger, let the stranger check it, change one bit of the copy, let it look again."""
    home = stage.home
    folder = stage.folder("ledger")
    await home.ledger.sequence_unfinished()
    exported = await export.export(home.store, home.ledger.verifier_key, folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    stage.telling.lines(["  ".join(files), "", *(folder / "checkpoint").read_text("utf-8").splitlines()])
    found = await _child(Path(stranger.__file__), folder)
    held = found.status == 0 and found.told.split()[:1] == [str(exported.size)]
    root = found.told.split()[-1] if held else found.wrong
    stage.claim("publish.stranger", held=held, count=exported.size, evidence=f"{root[:24]}…")
    bundle = folder / next(name for name in files if name.startswith("tile/entries/"))
    whole = bundle.read_bytes()
    bundle.write_bytes(_flipped(whole, len(whole) // 2))
    refused = await _child(Path(stranger.__file__), folder)
    bundle.write_bytes(whole)
    stage.claim("publish.changed", held=refused.status == 1, evidence=refused.wrong)
    grown = await proofs.grown_since(home, kept)
    grew = grown.old.size < grown.new.size and grown.new.root.hex() == root
    stage.claim("publish.grew", held=grew, old=grown.old.size, new=grown.new.size)
    audited = await proofs.audit_home(home)
    broken = ", ".join(map(str, audited.findings))
    stage.claim("publish.invariants", held=audited.tree == grown.new and not broken, evidence=broken)


@dataclass(frozen=True, slots=True)
class Change:
    """One byte of one value that somebody with the database file changes; `at` counts from the value's start."""

    key: str
    area: str
    query: str
    at: int


CHANGES = (
    Change("ledger", "ledger.", "SELECT entry FROM ledger_entries ORDER BY id DESC LIMIT 1", 12),
    Change("grant", "grants.", "SELECT fields FROM grants WHERE fields LIKE '%phone%' LIMIT 1", 3),
    Change("sealed", "deliveries.", "SELECT locked FROM deliveries ORDER BY seq DESC LIMIT 1", -200),
    Change("key", "directory.", "SELECT public FROM signing_keys WHERE algorithm = 1 LIMIT 1", 5),
)


async def tamper(stage: Stage) -> None:
    """Change one byte of a copy, four times in four places; the check finds each and says where."""
    rows = []
    right = []
    for change in CHANGES:
        offset, findings = await _changed(stage, change)
        first = next((each for each in findings if each.check.startswith(change.area)), None)
        right.append(first is not None)
        told = _short(first) if first is not None else stage.words("tamper.not_found")
        rows.append((stage.words(f"tamper.{change.key}"), f"{offset:,}".replace(",", " "), told))
    stage.telling.table([stage.words(f"tamper.{name}") for name in ("what", "byte", "found")], rows)
    stage.claim("tamper.all_found", held=all(right), count=sum(right), total=len(CHANGES))
    untouched = await _fsck_of(stage, await _copy(stage))
    stage.claim("tamper.copy_clean", held=not untouched)
    await claim_unreadable(stage)


def _short(finding: Finding) -> str:
    """The check and its place, a long identifier cut."""
    place = re.sub(r"([0-9a-f]{12})[0-9a-f]{20,}", r"\1…", finding.place)
    return f"{finding.check} @ {place}"


async def _receipt(stage: Stage, name: str, id_: bytes, kind: FactKind) -> Path:
    path = stage.folder("receipts") / f"{name}.txt"
    path.write_text(await proofs.prove(stage.home, id_, kind, stage.words.language), "utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Answer:
    """What another process said."""

    status: int
    told: str
    wrong: str


async def _child(script: Path, *arguments: Path) -> Answer:
    """Another process of the same Python. It finds `schemas` where this one did, and nothing else by accident."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(script),
        *map(str, arguments),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env={"PYTHONPATH": str(Path(schemas.__file__).parents[1]), "PYTHONUTF8": "1"},
    )
    told, wrong = await asyncio.wait_for(child.communicate(), CHILD_S)
    return Answer(child.returncode or 0, told.decode(), wrong.decode().strip())


async def _changed(stage: Stage, change: Change) -> tuple[int, Sequence[Finding]]:
    """The offset in the file of the byte that was changed, and what fsck says of that copy."""
    file = await _copy(stage)
    raw = _value(file, change.query)
    content = file.read_bytes()
    piece = raw[change.at :][:24] if change.at < 0 else raw[: change.at + 24]
    for found in re.finditer(re.escape(piece), content):  # a page may hold older copies, which nobody reads
        offset = found.start() + max(change.at, 0)
        file.write_bytes(_flipped(content, offset))
        if _value(file, change.query) != raw:
            return offset, await _fsck_of(stage, file)
    raise ValueError("the value that was read stands nowhere in the file")


def _value(file: Path, query: str) -> bytes:
    with closing(sqlite3.connect(file)) as database:
        value = database.execute(query).fetchone()[0]
    return value.encode() if isinstance(value, str) else bytes(value)


def _flipped(content: bytes, offset: int) -> bytes:
    """The same with one bit of one byte changed."""
    changed = bytearray(content)
    changed[offset] ^= 1
    return bytes(changed)


async def _copy(stage: Stage) -> Path:
    """A copy of the broker's database in one file of a folder of its own."""
    folder = stage.folder("copy")
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    file = await stage.back_up(folder / "unefois.db")
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return file


async def _fsck_of(stage: Stage, database: Path) -> Sequence[Finding]:
    """What fsck finds when the broker is opened on another database, with its own keys."""
    chosen = stage.settings.model_copy(update={"database_url": f"sqlite+aiosqlite:///{database}"})
    async with opening.open_home(chosen) as home:
        return await home.fsck.check()

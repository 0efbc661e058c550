"""Exporting: everything of a home in open formats, so that an administration can leave, or look with other tools.

    DIR/manifest.json      what this is, of whom, of when; records, bytes, SHA-256 of each file; what is left, and why
    DIR/manifest.json.note the ledger's key signs the manifest's SHA-256 (C2SP signed note)
    DIR/*.jsonl            JSON lines: parties, consents, subscriptions, facts of the ledger, opened ...
    DIR/*.avro             object containers: declarations and deliveries, as sealed as they lie here
    DIR/directory.json     the directory and its signed note; DIR/schemas/*.avsc: each schema, its exact bytes
    DIR/ledger/            the ledger as C2SP tlog-tiles

Refuses: a folder in which there is something; a home whose ledger is empty.
Keeps: rows are of one snapshot of the database; the ledger may have grown a little more. The ledger says that
everything was opened before the folder has its name: a folder `DIR.unfinished` is no export.
"""

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from fastavro.write import Writer
from sqlalchemy import select

from broker.flow.offsets import next_offsets
from broker.flow.router import TOPIC
from broker.observability.build import this_build
from broker.services.consent_receipts import principal
from broker.services.disclosing import tell
from broker.services.export_rows import CONTAINERS, LEFT, LINES, Person
from broker.setup.wiring import Home
from broker.shapes import Json, time_of
from broker.store.engine import Transaction
from broker.store.tables import ledger_entries, ledger_openings
from broker.transparency.export import export as export_ledger
from schemas.entry import Entry, Opening
from schemas.errors import Refused, Unavailable
from schemas.facts import Facts
from schemas.names import Instant, LeafHash, SubjectRef

FORMAT: Final = "unefois-export/1"
MANIFEST: Final = "manifest.json"
NOTE: Final = "manifest.json.note"
UNFINISHED: Final = ".unfinished"
PAGE: Final = 500
PERSONS: Final = 10_000
"""How many citizens' numbers are remembered while rows go by."""

_FACTS: Final = (
    select(ledger_entries.c.leaf, ledger_entries.c.entry, ledger_entries.c.position, ledger_openings)
    .outerjoin(ledger_openings, ledger_openings.c.leaf == ledger_entries.c.leaf)
    .order_by(ledger_entries.c.id)
)


@dataclass(frozen=True, slots=True)
class Exported:
    """The manifest as it was written, and the leaf of the entry that tells of it."""

    manifest: Json
    entry: LeafHash


async def export_home(home: Home, folder: Path) -> Exported:
    """Write everything into a folder that is made. The broker may run meanwhile.

    Raises Refused: `export.exists`, `ledger.empty`; Unavailable `export.away`; Corrupt `openings.damaged`.
    """
    try:
        unfinished = _begun(folder)
        counts, opened = await _write_all(home, unfinished)
        manifest = await _manifest(home, unfinished, counts)
        raw = json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n"
        digest = sha256(raw)
        _write(unfinished / MANIFEST, raw)
        _write(unfinished / NOTE, home.ledger.attest(f"{FORMAT}\n{digest.hexdigest()}\n").encode())
        entry = await tell(home, home.party, max(1, opened), digest.digest(), None)
        # Crash here: the ledger says it, and there is an unfinished folder, which the next export takes away.
        unfinished.replace(folder)
    except OSError as error:
        raise Unavailable("export.away", error=type(error).__name__) from None
    return Exported(manifest, entry)


def _begun(folder: Path) -> Path:
    """The unfinished folder, empty. Raises Refused `export.exists`; OSError."""
    if folder.exists() and any(folder.iterdir()):
        raise Refused("export.exists", file=str(folder))
    unfinished = folder.with_name(f"{folder.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    return unfinished


async def _write_all(home: Home, folder: Path) -> tuple[dict[str, int], int]:
    """Every file but the manifest; how many records are in which, and how many entries were opened."""
    await home.ledger.sequence_unfinished()
    (folder / "ledger").mkdir(mode=0o700)
    size = (await export_ledger(home.store, home.ledger.verifier_key, folder / "ledger")).size
    published = await home.publication.newest()
    told = {"directory": published.content, "note": published.note}
    _write(folder / "directory.json", json.dumps(told, ensure_ascii=False).encode() + b"\n")
    (folder / "schemas").mkdir(mode=0o700)
    for event in home.catalogue:
        _write(folder / f"schemas/{event.event_type}-{event.schema.id.hex()[:8]}.avsc", event.schema.raw)
    person = lru_cache(PERSONS)(lambda subject: principal(home, SubjectRef(subject)))
    counts = {"ledger/checkpoint": size}
    async with home.store.read(patient=True) as tx:
        for name, lines in LINES.items():
            made = _lines(tx, lines.question, partial(lines.line, person=person))
            counts[f"{name}.jsonl"] = await _write_lines(folder / f"{name}.jsonl", made)
        for name in CONTAINERS:
            counts[f"{name}.avro"] = await _write_container(tx, folder / f"{name}.avro", name, person)
        facts = _Facts(home, person)
        counts["facts.jsonl"] = await _write_lines(folder / "facts.jsonl", _lines(tx, _FACTS, facts.line))
    return counts, facts.opened


async def _manifest(home: Home, folder: Path, counts: Mapping[str, int]) -> Json:
    of = this_build()
    ends = [await home.log.end(TOPIC, each) for each in range(await home.log.partitions(TOPIC))]
    async with home.store.read() as tx:
        read = await next_offsets(tx, TOPIC)
    return {
        "format": FORMAT,
        "at": time_of(home.clock()),
        "version": of.version,
        "commit": of.commit,
        "broker": home.party,
        "ledger": home.ledger.verifier_key.text,
        "not_routed": sum(max(0, end - read.get(partition, 0)) for partition, end in enumerate(ends)),
        "files": _described_all(folder, counts),
        "left": dict(LEFT),
    }


def _described_all(folder: Path, counts: Mapping[str, int]) -> list[Json]:
    return [_described(folder, path, counts) for path in sorted(folder.rglob("*")) if path.is_file()]


def _described(folder: Path, path: Path, counts: Mapping[str, int]) -> Json:
    """One file: its records, where it has any, its size and its digest."""
    name, digest = path.relative_to(folder).as_posix(), sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    told = {"path": name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
    return told | ({"records": counts[name]} if name in counts else {})


class _Facts:
    """What each entry of the ledger says, with what proves that it says so."""

    def __init__(self, home: Home, person: Person) -> None:
        self.opened = 0
        self._openings = home.openings
        self._person = person

    def line(self, row: Any) -> Json:
        """`opening`: what opens the entry (docs/protocol.md, section 8), for who does not believe us; null: it is open,
        or nobody can open it any more.
        """
        entry = Entry.decode(row.entry)
        opening = None if entry.open is not None else self._opening(row, entry)
        facts = entry.open if opening is None else opening.facts
        return {
            "leaf": bytes(row.leaf).hex(),
            "position": row.position,
            "window": time_of(entry.window),
            "person": self._person(row.subject) if row.subject else None,
            "facts": None if facts is None else _told(facts),
            "opening": None if opening is None else opening.encode().hex(),
        }

    def _opening(self, row: Any, entry: Entry) -> Opening | None:
        if row.sealed is None:
            return None
        try:
            found = self._openings.open(row.leaf, entry, row).opening
        except Refused as fault:
            if fault.code != "keys.missing":
                raise
            return None
        self.opened += 1
        return found


def _told(facts: Facts) -> Json:
    """Facts as JSON, without what does not apply."""
    told: Json = {}
    for name in Facts.__slots__:
        value = getattr(facts, name)
        if value is None:
            continue
        if name == "at":
            told[name] = time_of(Instant(value))
        elif isinstance(value, bytes):
            told[name] = value.hex()
        else:
            told[name] = getattr(value, "value", value)
    return told


async def _lines(tx: Transaction, question: Any, line: Callable[[Any], Json]) -> AsyncIterator[Json]:
    async with aclosing(tx.pages(question, PAGE)) as pages:
        async for rows in pages:
            for row in rows:
                yield line(row)


async def _write_lines(path: Path, made: AsyncIterator[Json]) -> int:
    count = 0
    with _opened(path) as file:
        async for line in made:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


async def _write_container(tx: Transaction, path: Path, name: str, person: Person) -> int:
    container, count = CONTAINERS[name], 0
    with _opened(path) as file:
        writer = Writer(file, dict(container.schema), codec="deflate")
        async for record in _lines(tx, container.question, partial(container.record, person=person)):
            writer.write(record)
            count += 1
        writer.flush()
    return count


def _write(path: Path, content: bytes) -> None:
    with _opened(path) as file:
        file.write(content)


def _opened(path: Path) -> BinaryIO:
    """A new file for its owner's eyes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")

"""Source: a program that declares, under trial: what it is told to declare, what arrived, what it said.

    {"reference": "...", "event_type": "...", "record": {...}, "corrects": null | "<declaration id>"}

The program is called with one more argument, the path of such a file. It ends with 0 only if the broker has taken the
declaration and its receipt is good. The same reference again is the same declaration.

Refuses: nothing; what goes wrong is written down.
Keeps: what the source has handed in is opened with the gate's key and compared with what it was told, field by field.
"""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from broker.lab.conformance.finding import Finding
from broker.lab.conformance.program import run
from broker.lab.conformance.trial import MOVED, Stop, Words
from broker.lab.sandbox import people
from broker.lab.sandbox.playground import Playground
from broker.lab.sandbox.process import Live
from broker.shapes import uuid_of
from broker.store.tables import declarations
from schemas import avro, sealing
from schemas.envelope import SignedDeclaration
from schemas.manifest import Manifest
from schemas.names import Kid, SchemaId
from schemas.samples import as_json


@dataclass(frozen=True, slots=True)
class Arrived:
    """One declaration of the source, as the broker has it."""

    id: str
    corrects: str | None
    schema: SchemaId
    record: Mapping[str, Any] = field(repr=False)


@dataclass(slots=True)
class SourceTrial:
    """The source and its sandbox. `begin` starts a case."""

    live: Live
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    seconds: float
    words: Words = field(default_factory=lambda: Words(used=10_000))
    findings: list[Finding] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    @property
    def play(self) -> Playground:
        """The sandbox."""
        return self.live.play

    def begin(self) -> list[Finding]:
        """A new case: nothing found yet."""
        self.findings = []
        return self.findings

    def found(self, key: str, **details: object) -> None:
        """Write down what is wrong."""
        self.findings.append(Finding(key, details))

    def task(self, corrects: str | None = None, person: str | None = None) -> dict[str, Any]:
        """Something new to declare."""
        word = person or self.words.new()
        record = people.record(MOVED, word, {"new_address": {"street": people.street(self.words.new())}})
        told = {"reference": self.words.new(), "event_type": MOVED, "record": as_json(record, nulls=True)}
        return {**told, "corrects": corrects}

    async def call(self, task: Mapping[str, Any]) -> int:
        """Let it declare. Returns its exit status. Raises Stop, with a finding, if it does not end."""
        path = self.live.folder / f"{task['reference']}.json"
        path.write_text(json.dumps(task, ensure_ascii=False), "utf-8")
        process = await run([*self.command, str(path)], self.folder, self.environment, self.log)

        async def ended() -> bool:
            return process.returncode is not None

        try:
            if not await self.play.door.until(ended, self.seconds):
                self.found("not-ending", seconds=f"{self.seconds:g}")
                raise Stop
        finally:  # also when the kit itself is asked to end
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
        return status

    async def arrived(self) -> list[Arrived]:
        """What is new at the broker since this was asked last."""
        await self.play.route()
        home, party = self.play.home, self.play.wanted.party
        async with home.store.read() as tx:
            rows = (await tx.execute(select(declarations).where(declarations.c.source == party))).all()
        found = [self._opened(row) for row in rows if uuid_of(row.declaration_id) not in self.known]
        self.known |= {one.id for one in found}
        return found

    async def one(self, task: Mapping[str, Any]) -> Arrived:
        """It declares, and one declaration arrives. Raises Stop, with a finding, if not."""
        status = await self.call(task)
        found = await self.arrived()
        self.expect_one(found)
        if status:
            self.found("source-failed", status=status)
        return found[0]

    def expect_one(self, found: Sequence[Arrived]) -> None:
        """One declaration and no more. Raises Stop, with a finding, if there is none."""
        if len(found) > 1:
            self.found("several-declarations", count=len(found))
        if not found:
            refused = [one.code for one in self.play.door.seen if one.code is not None]
            if refused:
                self.found("refused-declaration", code=refused[-1])
            else:
                self.found("no-declaration")
            raise Stop

    def _opened(self, row: Any) -> Arrived:
        signed = SignedDeclaration.decode(row.envelope)
        manifest = Manifest.decode(signed.payload)
        event = self.play.home.catalogue.by_id(manifest.schema)
        key = self._gate_key(signed.gate_kid)
        dek = sealing.open_dek(key, signed.sealed_dek, manifest.declaration_id, signed.payload)
        record = {}
        for each in event.schema.fields:
            _, value = sealing.open_field(
                sealing.field_key(dek, manifest.declaration_id, each.index),
                signed.sealed_fields[each.index],
                declaration_id=manifest.declaration_id,
                index=each.index,
                commitment=manifest.digests[each.index],
            )
            record[each.name] = avro.decode_field(event.schema, each.index, value)
        corrects = None if manifest.corrects is None else uuid_of(manifest.corrects)
        return Arrived(uuid_of(manifest.declaration_id), corrects, manifest.schema, record)

    def _gate_key(self, kid: Kid) -> Any:
        from broker.ports import KeyKind
        from schemas.hpke import SealingKey, Suite

        return SealingKey.from_raw(Suite.X25519, self.play.home.keys.read(KeyKind.GATE, kid.hex()))

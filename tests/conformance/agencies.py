"""Receivers for the kit to try: a careful one, written on `schemas` alone, and one for each way of being careless.

Each careless one differs from the careful one in the one method that its name is about.
"""

import asyncio
import json
import sqlite3
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2

from broker.lab.conformance import observed
from broker.lab.conformance.observed import Observed
from schemas import avro, catalogue, directory_note
from schemas.catalogue import EventSchema, event_schema
from schemas.delivery import ReleasedDelivery, VerifiedDelivery, open_release, verify_delivery
from schemas.directory import Directory
from schemas.directory_note import Pinned
from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.locked import LockedDelivery
from schemas.manifest import Manifest
from schemas.names import Instant, PartyId, SchemaId
from schemas.note import Note, VerifierKey
from schemas.release import KeyRelease

TABLES = """
CREATE TABLE IF NOT EXISTS applied (delivery TEXT);
CREATE TABLE IF NOT EXISTS held (person BLOB, field TEXT, value TEXT, at INTEGER, PRIMARY KEY (person, field));
"""


class Careful:
    """Does all of it. `told`: what is in the agency's file."""

    limit = 50

    def __init__(self, told: dict[str, Any], database: Path) -> None:
        self.party = PartyId(told["party"])
        keys = (SealingKey.from_raw(Suite[one["suite"].upper()], bytes.fromhex(one["private"]))
                for one in told["sealing_keys"])  # fmt: skip
        self.keys = {key.kid: key for key in keys}
        self.http = httpx2.AsyncClient(
            base_url=told["url"], headers={"Authorization": f"Bearer {told['token']}"}, trust_env=False, timeout=60
        )
        self.database = database
        self.learned: dict[SchemaId, EventSchema] = {}
        self.directory: Directory | None = None
        self.log: VerifierKey | None = None
        self.pinned: Pinned | None = None
        with self.opened() as db:
            db.executescript(TABLES)

    def opened(self) -> "closing[sqlite3.Connection]":
        return closing(sqlite3.connect(self.database))

    async def run(self) -> None:
        """Pull for ever; a broker that fails is asked again."""
        await self.read_directory()
        while True:
            pulled = await self.ask("/v1/deliveries:pull", {"max": self.limit, "wait": 20})
            if pulled is not None:
                await self.take(pulled)

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        try:
            answer = await self.http.post(path, json=body)
        except httpx2.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    async def read_directory(self) -> None:
        """By protocol 13: the ledger's key is asked for once, and every directory follows from the one before."""
        if self.log is None:
            self.log = VerifierKey.parse((await self.http.get("/log/vkey")).text.strip())
        since = 0 if self.pinned is None else self.pinned.version
        for one in (await self.http.get(f"/v1/directory/notes?since={since}")).json()["notes"] if since else ():
            assert self.pinned is not None
            self.pinned = directory_note.follow(Note.parse(one["note"].encode()), self.log, self.pinned)
        told = (await self.http.get("/v1/directory:signed")).json()
        signed = Note.parse(told["note"].encode())
        self.directory, self.pinned = directory_note.verify(told["directory"], signed, self.log, self.pinned)

    async def take(self, pulled: dict[str, Any]) -> None:
        ends = []
        for released in self.released(pulled):
            try:
                delivery = await self.verified(released)
                self.write(delivery)
                end = {"outcome": "applied"}
            except Refused as fault:
                end = {"outcome": "rejected", "code": fault.code, "reason": "invalid-delivery"}
            ends.append({"delivery": _uuid(released.locked.delivery_id), **end})
        if ends:
            await self.ask("/v1/deliveries:ack", {"acknowledgements": ends})

    def released(self, pulled: dict[str, Any]) -> tuple[ReleasedDelivery, ...]:
        if not pulled["deliveries"]:
            return ()
        sealed = _raw(pulled["key_release"])
        locked = [LockedDelivery.decode(_raw(one["locked"])) for one in pulled["deliveries"]]
        return open_release(locked, sealed, self.keys[KeyRelease.decode(sealed).recipient_kid])

    async def verified(self, released: ReleasedDelivery) -> VerifiedDelivery:
        """Verified; what is not known is asked for once."""
        try:
            return self.verify(released)
        except Refused as fault:
            if fault.code == "catalogue.unknown-schema":
                await self.read_schema(Manifest.decode(released.locked.payload).schema)
            elif fault.code == "directory.unknown-key":
                await self.read_directory()
            else:
                raise
        return self.verify(released)

    async def read_schema(self, schema: SchemaId) -> None:
        raw = (await self.http.get(f"/v1/schemas/{schema.hex()}")).content
        self.learned[schema] = event_schema(avro.parse(raw))

    def verify(self, released: ReleasedDelivery) -> VerifiedDelivery:
        assert self.directory is not None
        return verify_delivery(
            released,
            recipient=self.party,
            directory=self.directory,
            catalogue=self,
            at=self.now(released),
            seen=lambda *_: None,
        )

    def by_id(self, schema: SchemaId) -> EventSchema:
        return self.learned[schema] if schema in self.learned else catalogue.builtin().by_id(schema)

    def now(self, released: ReleasedDelivery) -> Instant:
        return Instant(time.time_ns() // 1_000_000)

    def write(self, delivery: VerifiedDelivery) -> None:
        """The effect and the delivery's id, in one transaction."""
        with self.opened() as db, db:
            if self.is_known(db, delivery):
                return
            db.execute("INSERT INTO applied VALUES (?)", (_uuid(delivery.delivery_id),))
            for name, value in self.values(delivery).items():
                self.keep(db, delivery, name, value)

    def is_known(self, db: sqlite3.Connection, delivery: VerifiedDelivery) -> bool:
        query = "SELECT 1 FROM applied WHERE delivery = ?"
        return db.execute(query, (_uuid(delivery.delivery_id),)).fetchone() is not None

    def values(self, delivery: VerifiedDelivery) -> dict[str, Any]:
        return {name: delivery.record[name] for name in delivery.disclosed}

    def keep(self, db: sqlite3.Connection, delivery: VerifiedDelivery, name: str, value: Any) -> None:
        """One field of a person, unless something newer is known."""
        db.execute(
            "INSERT INTO held VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at"
            " WHERE excluded.at >= held.at",
            (delivery.pseudonym, name, json.dumps(value, default=str), delivery.issued_at),
        )

    def observe(self) -> Observed:
        return observed.read(json.dumps(self.shown()).encode())

    def shown(self) -> dict[str, Any]:
        """What the kit asks for."""
        with self.opened() as db:
            applied = [row[0] for row in db.execute("SELECT delivery FROM applied")]
            people: dict[bytes, dict[str, Any]] = {}
            for person, name, value in db.execute("SELECT person, field, value FROM held"):
                people.setdefault(person, {})[name] = json.loads(value)
        return {"applied": applied, "held": list(people.values())}


class IgnoresSignatures(Careful):
    """Opens, and believes whatever the source is said to have signed."""

    def verify(self, released: ReleasedDelivery) -> VerifiedDelivery:
        try:
            return super().verify(released)
        except Refused as fault:
            if fault.code != "manifest.signature":
                raise
            return _believed(self, released)


class IgnoresStatements(Careful):
    """Checks the source's signature and not the broker's statement."""

    def verify(self, released: ReleasedDelivery) -> VerifiedDelivery:
        try:
            return super().verify(released)
        except Refused as fault:
            if not fault.pointer.startswith("/statement"):
                raise
            return _believed(self, released)


class AppliesTwice(Careful):
    """Does not look whether it has done it before."""

    def is_known(self, db: sqlite3.Connection, delivery: VerifiedDelivery) -> bool:
        return False


class AcknowledgesFirst(Careful):
    """Says that it is done, then does it."""

    async def take(self, pulled: dict[str, Any]) -> None:
        released = self.released(pulled)
        ends = [{"delivery": _uuid(one.locked.delivery_id), "outcome": "applied"} for one in released]
        if ends:
            await self.ask("/v1/deliveries:ack", {"acknowledgements": ends})
        for one in released:
            self.write(await self.verified(one))


class WritesWithheldAsNull(Careful):
    """Takes every field of the record, disclosed or not."""

    def values(self, delivery: VerifiedDelivery) -> dict[str, Any]:
        return {name: value if name in delivery.disclosed else None for name, value in delivery.record.items()}


class KeepsWhatBecameNull(Careful):
    """Takes null for nothing said."""

    def values(self, delivery: VerifiedDelivery) -> dict[str, Any]:
        return {name: value for name, value in super().values(delivery).items() if value is not None}


class StopsAtUnknownValues(Careful):
    """Has a list of its own of what a field may be, and no word for the rest."""

    def write(self, delivery: VerifiedDelivery) -> None:
        occupancy = delivery.record["occupancy"]
        known = {None: 0, "owner": 1, "tenant": 2, "subtenant": 3, "hosted": 4, "collective": 5, "other": 6}
        assert occupancy in known, occupancy
        super().write(delivery)


class StopsAtUnknownSchemas(Careful):
    """Does not ask for a schema, and ends."""

    async def read_schema(self, schema: SchemaId) -> None:
        raise KeyError(schema)


class IgnoresCorrections(Careful):
    """Takes a correction for a repetition."""

    def write(self, delivery: VerifiedDelivery) -> None:
        if delivery.corrects is None:
            super().write(delivery)


class IgnoresOrder(Careful):
    """What came last is right."""

    def keep(self, db: sqlite3.Connection, delivery: VerifiedDelivery, name: str, value: Any) -> None:
        db.execute("DELETE FROM held WHERE person = ? AND field = ?", (delivery.pseudonym, name))
        super().keep(db, delivery, name, value)


class LeavesTheOlderOpen(Careful):
    """Passes over what is older than what it knows, and says nothing of it."""

    async def take(self, pulled: dict[str, Any]) -> None:
        for released in self.released(pulled):
            delivery = await self.verified(released)
            with self.opened() as db:
                newest = "SELECT max(at) FROM held WHERE person = ?"
                at = db.execute(newest, (delivery.pseudonym,)).fetchone()[0]
            if at is None or at <= delivery.issued_at:
                self.write(delivery)
                end = {"delivery": _uuid(delivery.delivery_id), "outcome": "applied"}
                await self.ask("/v1/deliveries:ack", {"acknowledgements": [end]})


class RefusesTheFuture(Careful):
    """Allows no clock to be ahead of its own."""

    def verify(self, released: ReleasedDelivery) -> VerifiedDelivery:
        delivery = super().verify(released)
        if delivery.issued_at > self.now(released) + 1000:
            raise Refused("manifest.ahead")
        return delivery


class BelievesTheFuture(Careful):
    """Asks the declaration what time it is."""

    def now(self, released: ReleasedDelivery) -> Instant:
        return Manifest.decode(released.locked.payload).issued_at


class BelievesAnyDirectory(Careful):
    """Reads the directory that nobody has signed."""

    async def read_directory(self) -> None:
        self.directory = Directory.from_json((await self.http.get("/v1/directory")).text)


class NeverReadsTheDirectoryAgain(Careful):
    """Knows the keys of its first day."""

    async def read_directory(self) -> None:
        if self.directory is None:
            await super().read_directory()


class StumblesOverWithheld(Careful):
    """Expects a key for every delivery that a pull names."""

    async def take(self, pulled: dict[str, Any]) -> None:
        keys = {one["id"]: one["locked"] for one in pulled["deliveries"]}
        assert all(keys[one["id"]] for one in pulled["withheld"])
        await super().take(pulled)


class ForgetsWithheld(Careful):
    """Counts a delivery that was withheld among those that are done."""

    async def take(self, pulled: dict[str, Any]) -> None:
        with self.opened() as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS dropped (delivery TEXT)")
            db.executemany("INSERT INTO dropped VALUES (?)", [(one["id"],) for one in pulled["withheld"]])
        await super().take(pulled)

    def write(self, delivery: VerifiedDelivery) -> None:
        with self.opened() as db:
            row = db.execute("SELECT 1 FROM dropped WHERE delivery = ?", (_uuid(delivery.delivery_id),)).fetchone()
        if row is None:
            super().write(delivery)


class NeverAcknowledges(Careful):
    """Applies, and leaves it at that."""

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        return None if path.endswith(":ack") else await super().ask(path, body)


class TakesOnePage(Careful):
    """Applies the first ones of what a pull gives, and says that it was all."""

    def write(self, delivery: VerifiedDelivery) -> None:
        if self.page > 0:
            self.page -= 1
            super().write(delivery)

    page = 0

    async def take(self, pulled: dict[str, Any]) -> None:
        self.page = 10
        await super().take(pulled)


class GivesUpAt503(Careful):
    """Ends when the broker is away for a moment."""

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        return (await self.http.post(path, json=body)).raise_for_status().json()


def _believed(agency: Careful, released: ReleasedDelivery) -> VerifiedDelivery:
    """A delivery that nobody verified, as a careless program would make it up: by stepping around the checks."""
    from unittest.mock import patch

    with (
        patch("schemas.signing.verify", lambda *_: True),
        patch("schemas.delivery._check_statement", lambda one, *_: _statement(one)),
    ):
        return Careful.verify(agency, released)


def _statement(released: ReleasedDelivery) -> Any:
    from schemas.release import Statement

    return Statement.decode(released.release.statement)


class InProcess:
    """A receiver as a task of this process: quick to start, and killed at whatever it waits for."""

    forever = True
    sees_itself = False

    def __init__(self, make: Callable[[], Careful]) -> None:
        self._make = make
        self._receiver: Careful | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._task is None or self._task.done():
            await self.kill()
            self._receiver = self._make()
            self._task = asyncio.create_task(self._receiver.run())

    async def ended(self) -> int | None:
        return None if self._task is None or not self._task.done() else 1

    async def wait(self, seconds: float) -> int | None:
        return None

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()
            self._task = None
        if self._receiver is not None:
            await self._receiver.http.aclose()

    async def observe(self) -> Observed:
        assert self._receiver is not None
        return self._receiver.observe()


def _raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _uuid(raw: bytes) -> str:
    from uuid import UUID

    return str(UUID(bytes=bytes(raw)))

"""The promise of `connectors.contract.Connector`, kept by every connector that writes.

One class of behaviour. Each connector adds how it is opened, how many rows its system holds, and a row that it cannot
take. `Seen` counts rows in the agency's own system, looked at from outside the connector.
"""

import asyncio
import sqlite3
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from connectors import registry
from connectors.contract import Applied, Connector, Ground, Reject
from connectors.file.connector import FileConnector
from connectors.file.sftp import SftpConnector
from connectors.kit.rest_system import RestSystem
from connectors.kit.sftp_served import SftpServed
from connectors.mapping import load
from connectors.publik.connector import PublikConnector
from connectors.rehearsal import Rehearsal
from connectors.rest.connector import RestConnector
from connectors.retry import Backoff
from connectors.runner import Route, run_routes
from connectors.table import TableConnector
from schemas.catalogue import builtin
from schemas.delivery import VerifiedDelivery
from schemas.names import EventType, Instant, PartyId
from tests.publik.rules import Access, Door
from tests.publik.server import Served, serving
from tests.publik.site import Form, Site

ROOT = Path(__file__).parents[2]
NOW = Instant(1_793_610_000_000)
TOWN = PartyId("urn:fr:siret:21350238800019")
MOVED = EventType("fr.unefois.contact.changed.v1")
MAPPING = load(
    b"name: t\nversion: 1\nevent_type: fr.unefois.contact.changed.v1\ndirection: out\n"
    b"fields: {name: record.subject.family_name, mail: keep_if_withheld(record.email)}"
)
SUBJECT = {
    "family_name": "Aubin",
    "given_names": ["Lise"],
    "birthdate": "1987-05-19",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}


class Bytes:
    """Bytes that look random, and are the same in every run."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return b"".join(sha256(f"{self.count}/{part}".encode()).digest() for part in range(-(-size // 32)))[:size]


def record_of(name: str) -> dict[str, Any]:
    event = builtin().by_type(MOVED)
    record: dict[str, Any] = {each.name: None for each in event.fields}
    return (
        record
        | {
            "subject": SUBJECT | {"family_name": name},
            "capacity": "self",
            "effective_date": "2026-11-02",
            "email": "lise@exemple.fr",
        }
        | {each.name: [] for each in event.fields if not each.nullable and each.name not in _GIVEN}
    )


_GIVEN = {"subject", "capacity", "effective_date", "email"}


class Behaviour(ABC):
    """What every writing connector does."""

    connector: type[Connector]
    too_much: Mapping[str, object] = {"name": ["a"], "mail": None}

    @abstractmethod
    def settings(self, place: Path) -> dict[str, Any]:
        """Settings for the system at this place."""

    @abstractmethod
    def rows(self, place: Path) -> list[str]:
        """The names that the agency's system holds, sorted."""

    @pytest.fixture
    def rehearsal(self) -> Rehearsal:
        return Rehearsal(TOWN, lambda: NOW, Bytes())

    @asynccontextmanager
    async def opened(self, place: Path) -> Any:
        connector = await self.connector.open(self.settings(place), MAPPING.targets, Ground(lambda: NOW, Bytes()))
        try:
            yield connector
        finally:
            await connector.close()

    def delivery(self, rehearsal: Rehearsal, name: str = "Aubin") -> VerifiedDelivery:
        return rehearsal.verified(rehearsal.declare(MOVED, record_of(name), {"subject", "email"}))

    @pytest.mark.asyncio
    async def test_after_a_flush_the_row_is_in_the_agencys_system(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        async with self.opened(tmp_path) as connector:
            delivery = self.delivery(rehearsal)
            await connector.write(delivery, MAPPING.row_of(delivery))
            await connector.flush()
            assert ["Aubin"] == self.rows(tmp_path)
        assert ["Aubin"] == self.rows(tmp_path)

    @pytest.mark.asyncio
    async def test_a_delivery_is_written_once_in_one_run(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        async with self.opened(tmp_path) as connector:
            delivery = self.delivery(rehearsal)
            first = await connector.write(delivery, {"name": "Aubin"})
            second = await connector.write(delivery, {"name": "Aubin"})
            await connector.flush()
            third = await connector.write(delivery, {"name": "Other"})
            await connector.flush()
        assert ((first, first), ["Aubin"]) == ((second, third), self.rows(tmp_path))

    @pytest.mark.asyncio
    async def test_a_delivery_is_written_once_in_several_runs(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        delivery, references = self.delivery(rehearsal), []
        for _ in range(3):
            async with self.opened(tmp_path) as connector:
                references.append(await connector.write(delivery, {"name": "Aubin"}))
                await connector.flush()
        assert (1, ["Aubin"]) == (len(set(references)), self.rows(tmp_path))

    @pytest.mark.asyncio
    async def test_a_flushed_delivery_is_found_with_its_reference(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        delivery, other = self.delivery(rehearsal), self.delivery(rehearsal)
        async with self.opened(tmp_path) as connector:
            assert None is await connector.find(delivery.delivery_id)
            reference = await connector.write(delivery, {"name": "Aubin"})
            await connector.flush()
        async with self.opened(tmp_path) as connector:
            assert Applied(reference) == await connector.find(delivery.delivery_id)
            assert None is await connector.find(other.delivery_id)

    @pytest.mark.asyncio
    async def test_a_written_declaration_is_seen_under_its_manifest(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        delivery = self.delivery(rehearsal)
        async with self.opened(tmp_path) as connector:
            assert None is await connector.seen(delivery.source, delivery.declaration_id)
            await connector.write(delivery, {"name": "Aubin"})
            assert delivery.manifest_digest == await connector.seen(delivery.source, delivery.declaration_id)
            await connector.flush()
        async with self.opened(tmp_path) as connector:
            assert delivery.manifest_digest == await connector.seen(delivery.source, delivery.declaration_id)
            assert None is await connector.seen(TOWN, delivery.declaration_id)

    @pytest.mark.asyncio
    async def test_two_deliveries_of_one_declaration_are_two_rows(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        one = self.delivery(rehearsal)
        two = rehearsal.verified(rehearsal.deliver_again(one.delivery_id, {"subject"}))
        async with self.opened(tmp_path) as connector:
            for delivery in (one, two):
                await connector.write(delivery, MAPPING.row_of(delivery))
            await connector.flush()
        assert ["Aubin", "Aubin"] == self.rows(tmp_path)

    @pytest.mark.asyncio
    async def test_a_row_that_the_system_cannot_take_is_rejected_and_leaves_nothing(
        self, tmp_path: Path, rehearsal: Rehearsal
    ) -> None:
        bad, good = self.delivery(rehearsal), self.delivery(rehearsal)
        async with self.opened(tmp_path) as connector:
            with pytest.raises(Reject) as caught:
                await connector.write(bad, self.too_much)
            await connector.write(good, {"name": "Good"})
            await connector.flush()
            assert ("/name", None) == (caught.value.pointer, await connector.find(bad.delivery_id))
            assert None is await connector.seen(bad.source, bad.declaration_id)
        assert ["Good"] == self.rows(tmp_path)

    @pytest.mark.asyncio
    async def test_a_rejected_delivery_may_be_written_when_it_fits(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        delivery = self.delivery(rehearsal)
        async with self.opened(tmp_path) as connector:
            with pytest.raises(Reject):
                await connector.write(delivery, self.too_much)
            await connector.write(delivery, {"name": "Aubin"})
            await connector.flush()
        assert ["Aubin"] == self.rows(tmp_path)

    @pytest.mark.asyncio
    async def test_writing_at_the_same_time_loses_and_doubles_nothing(
        self, tmp_path: Path, rehearsal: Rehearsal
    ) -> None:
        deliveries = [self.delivery(rehearsal, name) for name in "ABCDE"]
        async with self.opened(tmp_path) as connector:
            await asyncio.gather(*(connector.write(each, MAPPING.row_of(each)) for each in deliveries * 2))
            await connector.flush()
        assert list("ABCDE") == self.rows(tmp_path)

    @pytest.mark.asyncio
    async def test_closing_twice_and_flushing_nothing_are_harmless(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as connector:
            await connector.flush()
            await connector.close()
        assert [] == self.rows(tmp_path)

    @pytest.mark.asyncio
    async def test_no_reference_and_no_fault_tells_a_value(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        delivery = self.delivery(rehearsal, "Zzyzx")
        async with self.opened(tmp_path) as connector:
            with pytest.raises(Reject) as caught:
                await connector.write(delivery, {"name": ["Zzyzx"]})
            reference = await connector.write(delivery, {"name": "Zzyzx"})
        assert "Zzyzx" not in f"{reference}{caught.value!r}{caught.value}"

    @pytest.mark.asyncio
    async def test_the_runner_brings_a_whole_pull_into_the_system(self, tmp_path: Path, rehearsal: Rehearsal) -> None:
        ids = [rehearsal.declare(MOVED, record_of(name), {"subject", "email"}) for name in ("Aubin", "Brocely")]
        for _ in range(2):
            async with self.opened(tmp_path) as connector:
                report = await run_routes(
                    rehearsal,
                    rehearsal.agency,
                    (Route(MAPPING, connector),),
                    clock=lambda: NOW,
                    limit=9,
                    backoff=Backoff(bytes),
                )
        assert (0, tuple(ids), ["Aubin", "Brocely"]) == (report.pulled, rehearsal.applied(), self.rows(tmp_path))

    @pytest.mark.asyncio
    async def test_a_run_that_died_before_it_acknowledged_is_finished_by_the_next(
        self, tmp_path: Path, rehearsal: Rehearsal
    ) -> None:
        delivery = self.delivery(rehearsal)
        async with self.opened(tmp_path) as connector:
            reference = await connector.write(delivery, MAPPING.row_of(delivery))
            await connector.flush()
        async with self.opened(tmp_path) as connector:
            await run_routes(
                rehearsal,
                rehearsal.agency,
                (Route(MAPPING, connector),),
                clock=lambda: NOW,
                limit=9,
                backoff=Backoff(bytes),
            )
        assert ({delivery.delivery_id: Applied(reference)}, ["Aubin"]) == (rehearsal.outcomes, self.rows(tmp_path))


def _behaviours(above: type[Behaviour]) -> Iterator[type[Behaviour]]:
    for each in above.__subclasses__():
        yield each
        yield from _behaviours(each)


def test_every_connector_that_is_announced_is_held_to_the_promise() -> None:
    announced = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"][registry.GROUP]
    classes = {
        getattr(import_module(place), name) for place, _, name in (one.partition(":") for one in announced.values())
    }

    example = {TestExample.connector}  # of a package of its own
    assert {each for each in classes if issubclass(each, Connector)} | example == {
        each.connector for each in _behaviours(Behaviour)
    }


class TestFile(Behaviour):
    """CSV files in a folder."""

    connector = FileConnector

    def settings(self, place: Path) -> dict[str, Any]:
        return {"folder": str(place)}

    def rows(self, place: Path) -> list[str]:
        lines = (line for file in place.glob("*.csv") for line in file.read_text("utf-8").splitlines()[1:])
        return sorted(line.split(";")[0] for line in lines)


class TestSftp(Behaviour):
    """CSV files in a folder of an SFTP server."""

    connector = SftpConnector

    @asynccontextmanager
    async def opened(self, place: Path) -> Any:
        (place / "server" / "in").mkdir(parents=True, exist_ok=True)
        async with SftpServed(place / "server") as self.served, super().opened(place) as connector:
            yield connector

    def settings(self, place: Path) -> dict[str, Any]:
        told = {"host": "127.0.0.1", "port": self.served.port, "user": "unefois", "password": "open sesame"}
        return told | {"host_keys": [self.served.host_key], "folder": "/in", "journal": str(place / "journal")}

    def rows(self, place: Path) -> list[str]:
        return TestFile().rows(place / "server" / "in")


class TestTable(Behaviour):
    """A table of the agency's own database, one row for each delivery."""

    connector = TableConnector

    def settings(self, place: Path) -> dict[str, Any]:
        return {"url": f"sqlite+aiosqlite:///{place}/town.db", "table": "t", "create": True}

    def rows(self, place: Path) -> list[str]:
        connection = sqlite3.connect(place / "town.db")
        found = sorted(name for (name,) in connection.execute("SELECT name FROM t"))
        connection.close()
        return found


class TestTableWithReference(TestTable):
    """A table whose own row number is told to the broker."""

    def settings(self, place: Path) -> dict[str, Any]:
        connection = sqlite3.connect(place / "town.db")
        connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, mail TEXT)")
        connection.close()
        return super().settings(place) | {"reference": "id"}


class TestPublik(Behaviour):
    """Forms of a w.c.s., one for each delivery; the double of `tests.publik` is as careless with them as a real one."""

    connector = PublikConnector

    @pytest.fixture(autouse=True)
    def served(self, tmp_path: Path) -> Iterator[Served]:
        fields = [{"type": "string", "varname": name} for name in ("name", "mail", "reference")]
        door = Door(datetime.fromtimestamp(NOW / 1000, UTC), [Access("pont", "cle")])
        (tmp_path / "key").write_text("cle\n")
        (tmp_path / "key").chmod(0o600)
        self.entropy = Bytes()  # of one machine: a nonce does not come again with a restart
        with serving(Site(door, {"demande": Form("demande", fields)})) as self.double:
            yield self.double

    @asynccontextmanager
    async def opened(self, place: Path) -> Any:
        ground = Ground(lambda: NOW, self.entropy)
        connector = await self.connector.open(self.settings(place), MAPPING.targets, ground)
        try:
            yield connector
        finally:
            await connector.close()

    def settings(self, place: Path) -> dict[str, Any]:
        told = {"url": self.double.url, "form": "demande", "access": "pont", "field": "reference"}
        return told | {"key_file": str(place / "key"), "journal": str(place / "publik.db")}

    def rows(self, place: Path) -> list[str]:
        return sorted(one.values["name"] for one in self.double.site.forms["demande"].data)


class TestRest(Behaviour):
    """Moves of a system with an API that remembers the key of each call."""

    connector = RestConnector
    more: Mapping[str, Any] = {"remembers_key": True}

    @pytest.fixture(autouse=True)
    def system(self) -> None:
        self.double = RestSystem()

    @asynccontextmanager
    async def opened(self, place: Path) -> Any:
        async with self.double.serving(), super().opened(place) as connector:
            yield connector

    def settings(self, place: Path) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.double.port}"
        return {"url": url, "path": "/moves", "reference": "/id", "journal": str(place / "rest.db"), **self.more}

    def rows(self, place: Path) -> list[str]:
        return sorted(self.double.names)


class TestRestByLooking(TestRest):
    """The same system without keys: what was asked for before is looked for."""

    more: ClassVar = {"find": {"path": "/moves?ref={delivery_id}", "entries": "/items"}}

    @pytest.fixture(autouse=True)
    def system(self) -> None:
        self.double = RestSystem(remembers=False)


def _of_the_example() -> type[Connector]:
    """The connector of `examples/connector`, on this checkout's packages in place of the wheel's."""
    path = ROOT / "examples/connector/register_connector/connector.py"
    module = ModuleType("register_connector_here")
    exec(compile(path.read_text("utf-8").replace("from unefois_agency.", "from "), path, "exec"), vars(module))
    found: type[Connector] = module.RegisterConnector
    return found


class TestExample(Behaviour):
    """The example of a connector of one's own: what its page says of the six methods is what they do."""

    connector = _of_the_example()

    def settings(self, place: Path) -> dict[str, Any]:
        return {"database": str(place / "register.db")}

    def rows(self, place: Path) -> list[str]:
        connection = sqlite3.connect(place / "register.db")
        found = sorted(name for (name,) in connection.execute("SELECT name FROM move"))
        connection.close()
        return found

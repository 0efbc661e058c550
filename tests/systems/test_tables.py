"""The table connector on the servers that administrations have: PostgreSQL and MariaDB, whatever they are set to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from connectors import table
from connectors.contract import Connector, Ground, Otherwise, Reject, Retry, Unknown
from connectors.description import Case, check
from connectors.kit import cases
from connectors.kit.bench import MOVED, START, TOWN
from connectors.kit.rigs import TableRig
from connectors.rehearsal import Rehearsal
from connectors.table_shape import inbox_ddl
from schemas.errors import Refused
from schemas.names import Reason
from schemas.samples import sample
from tests.conftest import service
from tests.contract import test_connectors as contract
from tests.systems.tables import Base, base

SERVERS = ("postgres", "mariadb")
GROUND = Ground(lambda: START, bytes)


@pytest.fixture(params=SERVERS)
def town(request: pytest.FixtureRequest, services_folder: Path) -> Iterator[Base]:
    """A database of a town."""
    with base(service(request.param, services_folder, request.config)) as made:
        yield made


@pytest.fixture
def maria(request: pytest.FixtureRequest, services_folder: Path) -> Iterator[Base]:
    """A database of a town, on MariaDB."""
    with base(service("mariadb", services_folder, request.config)) as made:
        yield made


class _OnServer(contract.Behaviour):
    connector: type[Connector] = table.TableConnector

    @pytest.fixture(autouse=True)
    def here(self, town: Base) -> None:
        self.town = town

    def settings(self, place: Path) -> dict[str, Any]:
        return {"url": self.town.url, "table": "t", "create": True}

    def rows(self, place: Path) -> list[str]:
        return sorted(name for (name,) in self.town.do("SELECT name FROM t"))


class TestTable(_OnServer):
    """One row for each delivery."""


class TestTableWithNumber(_OnServer):
    """A table whose own row number is told to the broker."""

    def settings(self, place: Path) -> dict[str, Any]:
        number = "SERIAL" if self.town.kind == "postgresql" else "INT AUTO_INCREMENT"
        self.town.do(
            f"CREATE TABLE IF NOT EXISTS t (id {number} PRIMARY KEY, name VARCHAR(40) NOT NULL, mail VARCHAR(40))"
        )
        return super().settings(place) | {"reference": "id"}


def rig_of(town: Base) -> type[TableRig]:
    """The kit's rig on this database."""

    class OnServer(TableRig):
        plays = TableRig.plays | {Case.WRONG_CREDENTIALS}
        spared: ClassVar = {}
        deadline_s = 1
        wrong_url: str | None = None

        async def __aenter__(self) -> Self:
            number = "SERIAL" if town.kind == "postgresql" else "INT AUTO_INCREMENT"
            more = "" if town.kind == "postgresql" else " CHARSET utf8mb4"
            self._do(f"CREATE TABLE moves (id {number} PRIMARY KEY, name VARCHAR(40) NOT NULL, phone TEXT){more}")
            self._do(inbox_ddl(town.url))
            return self

        def settings(self) -> dict[str, Any]:
            return {"url": self.wrong_url or town.url, "table": "moves", **self._mode}

        def held(self) -> Sequence[str]:
            return [name for (name,) in self._do("SELECT name FROM moves ORDER BY id")]

        @contextmanager
        def inflicted(self, case: Case) -> Iterator[None]:
            if case not in {Case.PEER_AWAY, Case.WRONG_CREDENTIALS}:
                with super().inflicted(case):
                    yield
                return
            away = {"port": 9} if case is Case.PEER_AWAY else {"password": "wrong"}
            self.wrong_url = town.with_url(**away)
            yield
            self.wrong_url = None

        def _do(self, statement: str) -> list[tuple[Any, ...]]:
            return town.do(statement)

    return OnServer


@pytest.mark.parametrize("case", [one for one in Case if one not in cases.spared(rig_of(Base("", None)))], ids=str)
def test_the_kit_on_a_real_server(case: Case, town: Base, tmp_path: Path) -> None:
    assert () == cases.undeclared(rig_of(town))
    cases.play(case, rig_of(town), tmp_path)


class Desk:
    """The connector on one table of MariaDB, and deliveries for it."""

    def __init__(self, town: Base, columns: str, **settings: Any) -> None:
        self.town, self.drawn = town, 0
        self.rehearsal = Rehearsal(TOWN, lambda: START, self.bytes)
        town.do(f"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, {columns})", inbox_ddl(town.url))
        self.told = {"url": town.url, "table": "t", **settings}

    def bytes(self, size: int) -> bytes:
        self.drawn += 1
        return (self.drawn.to_bytes(4, "big") * size)[:size]

    async def write(self, **row: object) -> str | None:
        delivery = self.rehearsal.verified(self.rehearsal.declare(MOVED, sample(MOVED), ("subject",)))
        connector = await table.TableConnector.open(self.told, tuple(row), GROUND)
        try:
            return await connector.write(delivery, row)
        finally:
            await connector.close()


@pytest.mark.asyncio
async def test_no_letter_is_lost_where_the_servers_charset_is_old(maria: Base) -> None:
    desk = Desk(maria, "name VARCHAR(40) CHARACTER SET utf8mb4")
    for name in ("Šárka Œuvrard", "Maëlys-Ñ ’ 𝒜 😀", "Αθηνά"):
        await desk.write(name=name)
    assert ["Šárka Œuvrard", "Maëlys-Ñ ’ 𝒜 😀", "Αθηνά"] == [
        name for (name,) in maria.do("SET NAMES utf8mb4", "SELECT name FROM t ORDER BY id")
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("VARCHAR(20) CHARACTER SET latin1", "Dvořák"),
        ("TINYTEXT", "a" * 256),
        ("TINYINT", 128),
        ("DECIMAL(5,2)", "1.239"),
        ("DECIMAL(5,2)", "12345"),
        ("ENUM('a', 'b')", "c"),
        ("VARCHAR(3) CHECK (x <> 'bad')", "bad"),
        ("INT NOT NULL", None),
        ("DATE", "2026-02-30"),
    ],
)
async def test_what_does_not_fit_is_refused_and_not_cut_whatever_the_server_is_set_to(
    maria: Base, column: str, value: object
) -> None:
    desk = Desk(maria, f"x {column}")
    with pytest.raises(Reject) as refused:
        await desk.write(x=value)
    assert ([], [], False) == (
        maria.do("SELECT x FROM t"),
        maria.do("SELECT 1 FROM unefois_inbox"),
        str(value) in str(refused.value),
    )


@pytest.mark.asyncio
async def test_values_keep_their_kind(maria: Base) -> None:
    desk = Desk(maria, "yes TINYINT(1), n DECIMAL(9,3), at DATETIME, stamp TIMESTAMP NULL, big BIGINT")
    moment = "2026-07-01T12:00:00+02:00"
    await desk.write(yes=True, n="1.250", at=moment, stamp=moment, big=2**62)
    (row,) = maria.do("SET time_zone = '+00:00'", "SELECT yes, n, at, stamp, big FROM t")
    noon = datetime(2026, 7, 1, 10)  # noqa: DTZ001
    assert (1, Decimal("1.250"), noon, noon, 2**62) == row


@pytest.mark.asyncio
async def test_who_has_an_accent_is_not_taken_for_who_has_none(maria: Base) -> None:
    """By the collation both are one; and a row that is the same already counts as found."""
    desk = Desk(maria, "name VARCHAR(40) CHARACTER SET utf8mb4, phone TEXT", mode="update", key=["name"])
    maria.do("SET NAMES utf8mb4", "INSERT INTO t (name, phone) VALUES ('Helene', '1')")
    with pytest.raises(Otherwise) as answered:
        await desk.write(name="Hélène", phone="2")
    assert Reason.UNKNOWN_PERSON is answered.value.outcome.reason  # type: ignore[union-attr]
    await desk.write(name="Helene", phone="1")
    maria.do("SET NAMES utf8mb4", "INSERT INTO t (name, phone) VALUES ('Hélène', '3')")
    await desk.write(name="Hélène", phone="2")
    assert [("1",), ("2",)] == maria.do("SELECT phone FROM t ORDER BY id")


@pytest.mark.asyncio
async def test_a_table_without_transactions_is_refused_before_the_first_row(maria: Base) -> None:
    desk = Desk(maria, "name VARCHAR(40)")
    maria.do("ALTER TABLE t ENGINE = MyISAM")
    with pytest.raises(Refused, match=r"table.no-transactions"):
        await desk.write(name="Aubin")
    found = await check(table.TableConnector, desk.told, ("name",), GROUND)
    assert ["table.no-transactions"] == [one.code for one in found]


@pytest.mark.asyncio
async def test_a_row_that_somebody_holds_is_waited_for_and_then_tried_again_later(maria: Base) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    desk = Desk(maria, "name VARCHAR(40), phone TEXT", mode="update", key=["name"])
    maria.do("INSERT INTO t (name) VALUES ('Aubin')")
    other = create_async_engine(maria.url)
    async with other.begin() as connection:
        await connection.execute(text("UPDATE t SET phone = '1'"))
        with pytest.raises((Retry, Unknown)):
            await desk.write(name="Aubin", phone="2")
    await other.dispose()
    await desk.write(name="Aubin", phone="2")
    assert [("2",)] == maria.do("SELECT phone FROM t")


@pytest.mark.asyncio
async def test_the_connection_is_encrypted_and_the_server_known_by_its_certificate(maria: Base, tmp_path: Path) -> None:
    from tests.services import certificates

    desk = Desk(maria, "name VARCHAR(40)")
    desk.told["ca_file"] = maria.ca
    await desk.write(name="Aubin")
    desk.told["ca_file"] = str(certificates.make(tmp_path)[1])
    with pytest.raises(Retry, match=r"table.away"):
        await desk.write(name="Brocely")
    assert [("Aubin",)] == maria.do("SELECT name FROM t")

"""The connector's own tests, on a broker in memory: the same delivery twice is one row, wherever it stopped."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from register_connector.connector import RegisterConnector
from register_connector.receive import Place, opened
from unefois_agency.connectors import registry
from unefois_agency.connectors.client import HttpInbox
from unefois_agency.connectors.contract import Ground, Retry
from unefois_agency.connectors.mapping import load
from unefois_agency.connectors.mapping_check import run_tests
from unefois_agency.connectors.runner import RunReport
from unefois_agency.connectors.sdk import AddressChanged, PartyId, Pin, Refused, TestBroker
from unefois_agency.schemas import samples

TOWN = PartyId("urn:fr:siret:21350238800019")
MOVED = AddressChanged.event_type
MAPPING = Path(__file__).parents[1] / "register_connector/moves.out.yaml"


class Here:
    """A broker in memory, somebody who moved, and the register."""

    def __init__(self, folder: Path) -> None:
        self.broker = TestBroker()
        agency = self.broker.agency(TOWN)
        self.place = Place(
            self.broker.url, self.broker.token(TOWN), TOWN, agency.sealing_keys, folder / "register.db", Pin(None)
        )
        self.broker.grant(TOWN, MOVED, ["subject", "new_address"])
        self.broker.declare(samples.sample(MOVED), MOVED)

    def take(self) -> RunReport:
        """One round of the receiver, in a process that is new as far as it can tell."""

        async def once() -> RunReport:
            how = {"transport": self.broker.transport, "clock": lambda: self.broker.now}
            async with opened(self.place, **how) as receiver:
                return await receiver.round()

        return asyncio.run(once())

    def rows(self) -> list[tuple[str, ...]]:
        """What the register holds, seen from outside."""
        with sqlite3.connect(self.place.database) as database:
            return database.execute("SELECT reference, name, town, mail FROM move").fetchall()

    def states(self) -> list[str]:
        """What the broker knows of the town's deliveries."""
        return list(self.broker.deliveries(TOWN).values())


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_a_move_is_one_row_and_what_was_not_allowed_is_not_there(here: Here) -> None:
    assert len(here.take().applied) == 1
    ((_, name, town, mail),) = here.rows()
    assert (name, town, mail) == (samples.sample(MOVED)["subject"]["family_name"].upper(), "Rennes", None)
    assert here.states() == ["applied"]
    assert here.take().pulled == 0


def test_killed_between_write_and_acknowledgement_it_is_one_row(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HttpInbox, "acknowledge_all", dies)
        with pytest.raises(KeyboardInterrupt):
            here.take()
    assert len(here.rows()) == 1
    here.broker.advance(61_000)  # the lease ends: the delivery comes again
    assert len(here.take().applied) == 1
    assert len(here.rows()) == 1
    assert here.states() == ["applied"]


def test_an_acknowledgement_whose_answer_was_lost_is_one_row(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = HttpInbox.acknowledge_all

    async def lost(*told: object) -> object:
        await sound(*told)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HttpInbox, "acknowledge_all", lost)
        with pytest.raises(KeyboardInterrupt):
            here.take()
    here.broker.advance(61_000)
    assert here.take().pulled == 0
    assert len(here.rows()) == 1


def test_killed_before_the_commit_there_is_no_row_and_it_comes_again(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Retry("register.away")

    with monkeypatch.context() as patch:
        patch.setattr(RegisterConnector, "write", away)
        assert len(here.take().retried) == 1
    assert here.rows() == []
    here.broker.advance(10 * 86_400_000)
    assert len(here.take().applied) == 1


def test_without_a_reference_that_is_unique_it_would_double(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule is for: the same connector over a table that does not know its references."""

    async def forgets(*_: object) -> None:
        return None

    with sqlite3.connect(here.place.database) as database:
        database.execute("CREATE TABLE move (reference, source, declaration, manifest, citizen, name, street, town,"
                         " from_day, mail)")  # fmt: skip
    doubling = "INSERT INTO move (name, reference) VALUES (?, ?)"

    async def appends(self: RegisterConnector, delivery: object, row: dict[str, str]) -> None:
        self._database.execute(doubling, (row["name"], ""))

    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RegisterConnector, "find", forgets)
        patch.setattr(RegisterConnector, "write", appends)
        with monkeypatch.context() as inner:
            inner.setattr(HttpInbox, "acknowledge_all", dies)
            with pytest.raises(KeyboardInterrupt):
                here.take()
        here.broker.advance(61_000)
        here.take()
    assert len(here.rows()) == 2


def test_a_register_without_a_place_for_a_target_is_refused_at_the_start(tmp_path: Path) -> None:
    ground = Ground(lambda: TestBroker().now, bytes)
    with pytest.raises(Refused, match=r"register.no-column at /fields/colour"):
        asyncio.run(RegisterConnector.open({"database": str(tmp_path / "r.db")}, ["name", "colour"], ground))
    with pytest.raises(Retry, match=r"register.away"):
        asyncio.run(RegisterConnector.open({"database": str(tmp_path / "none/r.db")}, ["name"], ground))


def test_it_is_found_by_its_kind_and_its_mapping_is_sound() -> None:
    assert registry.connector("register") is RegisterConnector
    assert all(one.passed for one in run_tests(load(MAPPING.read_bytes())))

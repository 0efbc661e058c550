"""The town's own tests, on a broker in memory: no port, no network."""

import sqlite3
from pathlib import Path

import pytest
from town import match, system
from town.receive import receive
from town.settings import Settings
from unefois_agency.connectors.sdk import AddressChanged, PartyId, PersonReference, Pin, TestBroker
from unefois_agency.schemas import samples

TOWN = PartyId("urn:fr:siret:21350238800019")


class Here:
    """A broker, the town, and its database."""

    def __init__(self, folder: Path) -> None:
        self.broker = TestBroker()
        agency = self.broker.agency(TOWN)
        token = self.broker.token(TOWN)
        self.settings = Settings(
            self.broker.url, token, TOWN, agency.sealing_keys, folder / "t.db", folder / "e.db", Pin(folder / "pin")
        )
        self.database = system.opened(self.settings.database)

    def declare(self, fields: list[str], **changes: object) -> None:
        """Somebody who lets the town see these fields moves."""
        self.broker.grant(TOWN, AddressChanged.event_type, fields)
        self.broker.declare(samples.sample(AddressChanged.event_type) | changes, AddressChanged.event_type)

    def take(self) -> int:
        """Whatever waits."""
        clock = lambda: self.broker.now  # noqa: E731
        return receive(self.settings, self.database, once=True, transport=self.broker.transport, clock=clock)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_a_move_is_written_once_and_acknowledged(here: Here) -> None:
    here.declare(["subject", "new_address"])
    assert here.take() == 1
    assert here.take() == 0
    (resident,) = system.residents(here.database)
    assert {"subject", "new_address"} == set(resident)  # what was withheld is not there, not even as null
    assert list(here.broker.deliveries(TOWN).values()) == ["applied"]


def test_a_crash_before_the_acknowledgement_writes_nothing_twice(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.declare(["subject", "new_address"])

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unefois_agency.connectors.blocking.BlockingDelivery.applied", dies)
        with pytest.raises(KeyboardInterrupt):
            here.take()
    assert len(system.residents(here.database)) == 1
    here.broker.advance(61_000)
    assert here.take() == 0
    assert list(here.broker.deliveries(TOWN).values()) == ["applied"]


def test_a_system_that_fails_gets_it_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.declare(["subject", "new_address"])

    def away(*_: object) -> bool:
        raise sqlite3.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(system, "moved", away)
        with pytest.raises(sqlite3.OperationalError):
            here.take()
    here.broker.advance(61_000)
    assert here.take() == 1


def test_a_key_that_its_owner_renewed_is_believed_without_a_person(here: Here) -> None:
    here.declare(["subject", "new_address"])
    assert here.take() == 1
    here.broker.rotate_source()
    here.declare(["subject", "new_address"])
    assert here.take() == 2


REGISTER = """number,family_name,given_names,birthdate,birthplace
F-1,KEROUEDAN,MAIWENN ANNE,1988-03-14,29232
F-2,Kérouedan,Erwan,1990-01-02,29232
"""
PERSON = samples.sample(AddressChanged.event_type)["subject"]
MOVED, REFERENCE = AddressChanged.event_type, PersonReference.event_type


def registered(here: Here, folder: Path, more: str = "") -> None:
    """The town has a register, and may hear of numbers."""
    (folder / "people.csv").write_text(REGISTER + more, "utf-8")
    match.learn(here.database, folder / "people.csv")
    here.broker.grant(TOWN, REFERENCE, ["subject", "number", "repairs"])


def say(here: Here, number: str, **changes: object) -> None:
    """Somebody adds their number."""
    told = samples.sample(REFERENCE) | {"number": number, "subject": PERSON | changes}
    here.broker.declare(told, REFERENCE)


def states(here: Here) -> list[str]:
    return list(here.broker.deliveries(TOWN).values())


@pytest.mark.parametrize("spelled", ["Kerouédan", "KEROUEDAN", "kerouedan"])
def test_somebody_of_the_register_is_found_however_they_are_spelled(here: Here, tmp_path: Path, spelled: str) -> None:
    registered(here, tmp_path)
    here.declare(
        ["subject", "new_address"], subject=PERSON | {"family_name": spelled, "given_names": ["Maïwenn", "Anne"]}
    )

    assert here.take() == 1
    assert states(here) == ["applied"]


def test_who_is_not_found_adds_their_number_and_is(here: Here, tmp_path: Path) -> None:
    registered(here, tmp_path)
    here.declare(["subject", "new_address"], subject=PERSON | {"given_names": ["Maïwenn"]})
    assert here.take() == 0
    assert states(here) == ["answered"]
    (unknown,) = here.broker.deliveries(TOWN)
    say(here, "F-1", given_names=["Maïwenn"])
    here.take()
    here.broker.repaired(unknown)

    assert here.take() == 1
    assert states(here) == ["applied", "applied"]


def test_a_number_of_somebody_else_is_for_a_colleague(here: Here, tmp_path: Path) -> None:
    registered(here, tmp_path)
    for wrong in ("F-2", "F-9"):
        say(here, wrong)
    here.take()

    assert states(here) == ["awaiting", "awaiting"]
    assert here.database.execute("SELECT * FROM link").fetchall() == []


def test_two_of_the_same_name_and_birthday_are_for_the_person_to_tell_apart(here: Here, tmp_path: Path) -> None:
    registered(here, tmp_path, "F-3,Kerouedan,Maiwenn Anne,1988-03-14,29232\n")
    here.declare(["subject", "new_address"])
    here.take()

    assert states(here) == ["answered"]
    (unknown,) = here.broker.deliveries(TOWN)
    say(here, "F-3")
    here.take()
    here.broker.repaired(unknown)
    assert here.take() == 1

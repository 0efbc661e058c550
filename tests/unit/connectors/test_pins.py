"""What is not pinned is not believed, whoever says it."""

import pytest

from connectors.pins import Pins
from connectors.testing import TestBroker
from schemas.errors import Refused
from schemas.names import PartyId

TOWN = PartyId("urn:fr:siret:21350238800019")


@pytest.fixture
def broker() -> TestBroker:
    made = TestBroker()
    made.agency(TOWN)
    return made


def test_a_new_signing_key_is_held_back_until_it_is_accepted(broker: TestBroker) -> None:
    pins = Pins.of(broker.directory())
    new = broker.rotate_source()
    later = broker.directory()

    assert [new.kid] == [one.kid for one in pins.unknown(later)]
    assert new.kid not in [one.kid for one in pins.trusted(later).signing]
    assert later == pins.accept([new.kid]).trusted(later)


def test_a_revocation_of_a_pinned_key_is_heard(broker: TestBroker) -> None:
    key = broker.rotate_source()
    pins = Pins.of(broker.directory())
    broker.revoke_key(key)

    assert broker.now == pins.trusted(broker.directory()).signing_key(key.kid).revoked_at


def test_another_brokers_directory_is_refused(broker: TestBroker) -> None:
    pins = Pins(PartyId("urn:unefois:other"), frozenset())

    with pytest.raises(Refused) as refused:
        pins.trusted(broker.directory())

    assert "pins.other-broker" == refused.value.code


def test_pins_are_kept_as_text(broker: TestBroker) -> None:
    pins = Pins.of(broker.directory())

    assert pins == Pins.from_json(pins.to_json())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"broker": "x", "signing": []}', '{"broker": "urn:a:b", "signing": 3}']
)
def test_what_is_no_file_of_pins_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        Pins.from_json(text)

    assert "pins.malformed" == refused.value.code

"""What is not pinned is not believed, whoever says it."""

import pytest

from connectors.pins import Pins
from connectors.testing import BROKER, TestBroker
from schemas.errors import Refused
from schemas.names import Instant, PartyId

TOWN = PartyId("urn:fr:siret:21350238800019")
LEDGER = "log.example.fr/unefois+8fe4b09f+AWW1LViwxsRA2/1GQIhCk6X/Tfyhw1FvDtb7ho9Fk8tG"


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


def test_the_gates_keys_are_held_to_the_pinned_ones_where_that_is_asked(broker: TestBroker) -> None:
    before = broker.directory()
    broker.agency(BROKER)
    later = broker.directory()
    loose, strict = Pins.of(before), Pins.of(before, gates=True)

    assert 2 == len([one for one in loose.trusted(later).sealing if one.party == BROKER])
    assert before == strict.trusted(later)
    (held,) = strict.unknown(later)
    assert later == strict.accept([held.kid]).trusted(later)


def test_another_brokers_directory_is_refused(broker: TestBroker) -> None:
    pins = Pins(PartyId("urn:unefois:other"), frozenset())

    with pytest.raises(Refused) as refused:
        pins.trusted(broker.directory())

    assert "pins.other-broker" == refused.value.code


@pytest.mark.parametrize("gates", [True, False])
def test_pins_are_kept_as_text(broker: TestBroker, gates: bool) -> None:
    pins = Pins.of(broker.directory(), ledger=LEDGER, gates=gates)

    assert pins == Pins.from_json(pins.to_json())
    assert "log.example.fr/unefois" == pins.ledger_key().name


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"broker": "x", "signing": [], "gates": null, "ledger": ""}'])
def test_what_is_no_file_of_pins_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        Pins.from_json(text)

    assert "pins.malformed" == refused.value.code


def test_a_ledger_key_is_checked_when_it_is_pinned_and_asked_for_when_it_is_not(broker: TestBroker) -> None:
    with pytest.raises(Refused):
        Pins.of(broker.directory(), ledger="no key")
    with pytest.raises(Refused) as refused:
        Pins.of(broker.directory()).ledger_key()

    assert "pins.no-ledger" == refused.value.code
    assert Instant(broker.now) == broker.now

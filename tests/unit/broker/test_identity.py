"""References, tokens and pseudonyms: who may learn what about whom."""

import hmac
import itertools
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from broker.people.identity import OPAQUE, REFERENCE, Identity, make_secrets
from broker.people.pivot import PivotIdentity, canonical
from broker.ports import KeyKind
from broker.setup.roles import check_secrets
from consent.representation import Acting
from schemas.errors import Corrupt, Fault, Refused
from schemas.names import Capacity, Instant, PartyId, SubjectRef
from tests.memory import MemoryKeys

PERSON = PivotIdentity("Lévêque", ("Zoë",), "1962-08-24", "female", "44109", "99100")
TOWN, FUND = PartyId("urn:fr:siret:21440109300015"), PartyId("urn:unefois:caf-44")
NOW = Instant(1_700_000_000_000)


def counted(start: int = 1) -> Callable[[int], bytes]:
    numbers = itertools.count(start)
    return lambda size: next(numbers).to_bytes(size, "big")


@pytest.fixture
def keys() -> MemoryKeys:
    made = MemoryKeys()
    make_secrets(made, counted())
    return made


@pytest.fixture
def identity(keys: MemoryKeys) -> Identity:
    return Identity(keys, counted(1000))


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Fault) as raised:
        call()
    return raised.value.code


def test_a_reference_is_the_mac_of_the_canonical_identity(identity: Identity, keys: MemoryKeys) -> None:
    secret = keys.read(KeyKind.IDENTITY, "reference")
    assert hmac.new(secret, canonical(PERSON), sha256).digest() == identity.reference(PERSON)


def test_one_person_has_one_reference_however_written(identity: Identity) -> None:
    assert identity.reference(PERSON) == identity.reference(replace(PERSON, family_name="LEVEQUE"))
    assert identity.reference(PERSON) != identity.reference(replace(PERSON, birthdate="1962-08-25"))


def test_another_brokers_references_do_not_match(identity: Identity) -> None:
    other = MemoryKeys()
    make_secrets(other, counted(500))
    assert identity.reference(PERSON) != Identity(other, counted()).reference(PERSON)


def test_a_token_resolves_to_its_reference_until_its_last_millisecond(identity: Identity) -> None:
    subject = identity.reference(PERSON)
    token = identity.token(subject, TOWN, NOW)
    assert subject == identity.resolve(token, TOWN, NOW)
    assert "identity.token-expired" == code_of(lambda: identity.resolve(token, TOWN, Instant(NOW + 1)))


def test_a_token_of_another_source_is_refused(identity: Identity) -> None:
    token = identity.token(identity.reference(PERSON), TOWN, NOW)
    assert "identity.token-foreign" == code_of(lambda: identity.resolve(token, FUND, NOW))


def test_a_token_with_any_bit_changed_is_refused(identity: Identity) -> None:
    token = identity.token(identity.reference(PERSON), TOWN, NOW)
    for bit in range(8 * len(token)):
        forged = bytearray(token)
        forged[bit // 8] ^= 1 << bit % 8
        assert "identity.token-forged" == code_of(lambda forged=bytes(forged): identity.resolve(forged, TOWN, NOW))


@pytest.mark.parametrize("length", [0, 1, 13, 40, 69, 70])
def test_a_token_cut_short_is_refused(identity: Identity, length: int) -> None:
    token = identity.token(identity.reference(PERSON), TOWN, NOW)
    assert "identity.token-forged" == code_of(lambda: identity.resolve(token[:length], TOWN, NOW))


def test_a_token_of_a_replaced_key_is_refused(identity: Identity, keys: MemoryKeys) -> None:
    subject = identity.reference(PERSON)
    token = identity.token(subject, TOWN, NOW)
    keys.destroy(KeyKind.IDENTITY, OPAQUE)
    make_secrets(keys, counted(900))
    renewed = Identity(keys, counted())
    assert "identity.token-forged" == code_of(lambda: renewed.resolve(token, TOWN, NOW))
    assert subject == renewed.reference(PERSON)


def test_two_tokens_for_one_person_cannot_be_told_to_be_the_same(identity: Identity) -> None:
    subject = identity.reference(PERSON)
    one, other = (identity.token(subject, TOWN, NOW) for _ in range(2))
    assert one[1:13] != other[1:13]
    assert one[13:] != other[13:]
    assert subject not in one


@pytest.mark.parametrize("capacity", [one for one in Capacity if one is not Capacity.SELF])
@pytest.mark.parametrize("until", [None, Instant(NOW + 1)])
def test_a_token_says_who_acts_for_its_person(identity: Identity, capacity: Capacity, until: Instant | None) -> None:
    subject = identity.reference(PERSON)
    acting = Acting(identity.reference(replace(PERSON, given_names=("Luc",))), capacity, until)
    token = identity.token(subject, TOWN, NOW, acting)

    assert (subject, acting) == (identity.resolve(token, TOWN, NOW), identity.acting(token, TOWN, NOW))
    assert identity.acting(identity.token(subject, TOWN, NOW), TOWN, NOW) is None
    assert "identity.token-foreign" == code_of(lambda: identity.acting(token, FUND, NOW))
    assert "identity.token-expired" == code_of(lambda: identity.acting(token, TOWN, Instant(NOW + 1)))


def test_a_token_that_says_who_acts_is_taken_for_none_that_does_not(identity: Identity) -> None:
    subject = identity.reference(PERSON)
    token = identity.token(subject, TOWN, NOW, Acting(subject, Capacity.AGENT))
    for forged in (b"\x01" + token[1:], b"\x03" + token[1:], *(token[:length] for length in range(len(token)))):
        assert "identity.token-forged" == code_of(lambda forged=forged: identity.resolve(forged, TOWN, NOW))  # type: ignore[misc]
    plain = identity.token(subject, TOWN, NOW)
    assert "identity.token-forged" == code_of(lambda: identity.acting(b"\x02" + plain[1:], TOWN, NOW))


def test_a_pseudonym_is_stable_in_its_sector_and_of_no_use_in_another(identity: Identity) -> None:
    subject = identity.reference(PERSON)
    town, version = identity.pseudonym(subject, "town")
    assert (1, 20) == (version, len(town))
    assert (town, 1) == identity.pseudonym(subject, "town")
    assert town != identity.pseudonym(subject, "health")[0]
    assert town != identity.pseudonym(SubjectRef(bytes(32)), "town")[0]


def test_a_new_master_key_gives_new_pseudonyms_and_the_old_ones_on_demand(identity: Identity, keys: MemoryKeys) -> None:
    subject = identity.reference(PERSON)
    old, _ = identity.pseudonym(subject, "town")
    for version in (2, 10):
        keys.write(KeyKind.PSEUDONYM, str(version), bytes([version]) * 32)
    new, version = identity.pseudonym(subject, "town")
    assert (10, True) == (version, new != old)
    assert (old, 1) == identity.pseudonym(subject, "town", 1)


def test_an_unknown_version_of_pseudonyms_is_missing(identity: Identity) -> None:
    assert "keys.missing" == code_of(lambda: identity.pseudonym(SubjectRef(bytes(32)), "town", 7))


def test_without_its_secrets_nothing_starts() -> None:
    assert "keys.missing" == code_of(lambda: check_secrets(MemoryKeys()))


def test_a_secret_of_another_length_stops_everything(keys: MemoryKeys) -> None:
    keys.destroy(KeyKind.IDENTITY, REFERENCE)
    keys.write(KeyKind.IDENTITY, REFERENCE, bytes(31))
    with pytest.raises(Corrupt) as raised:
        check_secrets(keys)
    assert "identity.secret" == raised.value.code


def test_making_secrets_again_makes_only_what_is_missing(keys: MemoryKeys) -> None:
    before = keys.read(KeyKind.IDENTITY, REFERENCE)
    keys.destroy(KeyKind.IDENTITY, OPAQUE)
    make_secrets(keys, counted(700))
    assert (before, ("1",)) == (keys.read(KeyKind.IDENTITY, REFERENCE), keys.names(KeyKind.PSEUDONYM))
    assert 32 == len(keys.read(KeyKind.IDENTITY, OPAQUE))


def test_the_secrets_differ_from_each_other(keys: MemoryKeys) -> None:
    secrets = {
        keys.read(KeyKind.IDENTITY, REFERENCE),
        keys.read(KeyKind.IDENTITY, OPAQUE),
        keys.read(KeyKind.PSEUDONYM, "1"),
    }
    assert 3 == len(secrets)


def test_a_refusal_shows_no_reference(identity: Identity) -> None:
    subject = identity.reference(PERSON)
    token = identity.token(subject, TOWN, NOW)
    with pytest.raises(Refused) as raised:
        identity.resolve(token, FUND, NOW)
    shown = f"{raised.value} {raised.value!r} {identity!r}"
    assert subject.hex() not in shown
    assert str(bytes(subject)) not in shown

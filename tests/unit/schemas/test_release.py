"""The gate's answer: a statement that says what the delivery says, the keys of its fields, sealed for one pull."""

from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest

from schemas import avro, hpke, sealing, signing
from schemas import release as module
from schemas.errors import Corrupt, Refused
from schemas.hpke import Suite
from schemas.names import DeliveryId, GrantId, Instant, ManifestDigest, PartyId
from schemas.release import (
    STATEMENT_TYPE,
    KeyRelease,
    Release,
    Statement,
    make_release,
    open_releases,
    seal_releases,
)

IDS = (DeliveryId(b"\x01" * 16), DeliveryId(b"\x02" * 16))


@pytest.fixture(scope="module")
def locked(world: Any) -> Any:
    """A delivery of fields 0 and 2."""
    return world.locked(world.signed())


@pytest.fixture(scope="module")
def releases(world: Any, locked: Any) -> tuple[Release, ...]:
    """Two releases, as two deliveries of a pull would have."""
    one = world.release(locked, world.statement(locked))
    return one, replace(one, keys=(bytes(32),))


def test_a_statement_survives_being_written_down(locked: Any, world: Any) -> None:
    for one in (world.statement(locked), world.statement(locked, pseudonym=b"", basis="law:CSS L114-8")):
        assert one == Statement.decode(one.encode())


def test_a_statement_has_the_members_of_the_protocol_in_their_order() -> None:
    expected = (
        "delivery_id recipient declaration_id manifest fields sealed purpose basis grant_id grant_version pseudonym "
        "pseudonym_version released_at ledger_entry"
    )
    assert expected.split() == [each.name for each in module._STATEMENT.fields]
    assert expected.split() == [each.name for each in fields(Statement)]


@pytest.mark.parametrize(
    ("over", "code", "pointer"),
    [
        ({"purpose": ""}, "release.purpose", "/purpose"),
        ({"grant_version": 0}, "release.grant-version", "/grant_version"),
        ({"basis": ""}, "release.basis", "/basis"),
        ({"basis": "because"}, "release.basis", "/basis"),
        ({"basis": "law:"}, "release.basis", "/basis"),
        ({"basis": "law:\x07"}, "release.basis", "/basis"),
        ({"basis": "law:" + "x" * 253}, "release.basis", "/basis"),
        ({"basis": "consent or not"}, "release.basis", "/basis"),
        ({"pseudonym": bytes(19)}, "release.pseudonym", "/pseudonym"),
        ({"released_at": Instant(-1)}, "release.released-at", "/released_at"),
        ({"recipient": "nobody"}, "name.party", "/recipient"),
    ],
)
def test_a_statement_that_makes_no_sense_is_refused(
    over: Any, code: str, pointer: str, locked: Any, world: Any
) -> None:
    with pytest.raises(Refused) as caught:
        Statement.decode(world.statement(locked, **over).encode())
    assert (code, pointer) == (caught.value.code, caught.value.pointer)


def test_the_statement_of_a_delivery_says_what_the_delivery_says(locked: Any, world: Any) -> None:
    expected = world.statement(locked)
    found = Statement.of(
        locked,
        fields=b"\xa0",
        basis="consent",
        pseudonym=expected.pseudonym,
        pseudonym_version=1,
        released_at=expected.released_at,
        ledger_entry=expected.ledger_entry,
    )
    assert expected == found
    assert b"\xa0" == expected.fields
    assert sha256(locked.payload).digest() == found.manifest


def test_a_release_is_signed_like_a_manifest_with_a_type_of_its_own(locked: Any, world: Any) -> None:
    statement = world.statement(locked)
    found = make_release(locked, world.dek, statement, world.broker)
    assert (statement.encode(), world.broker.kid) == (found.statement, found.kid)
    assert "application/vnd.unefois.statement.v1+avro" == STATEMENT_TYPE
    message = signing.pae(STATEMENT_TYPE, found.statement)
    assert signing.verify(world.broker.algorithm, world.broker.public, found.signature, message)


def test_a_release_has_the_keys_of_the_delivered_fields_and_no_other(locked: Any, world: Any) -> None:
    found = make_release(locked, world.dek, world.statement(locked), world.broker)
    keys = tuple(sealing.field_key(world.dek, world.declaration_id, index) for index in (0, 2))
    assert keys == found.keys


@pytest.mark.parametrize(
    "over",
    [
        {"delivery_id": IDS[0]},
        {"recipient": PartyId("urn:unefois:other")},
        {"declaration_id": IDS[0]},
        {"manifest": ManifestDigest(bytes(32))},
        {"fields": b"\xe0"},
        {"sealed": bytes(32)},
        {"purpose": "other"},
        {"grant_id": GrantId(bytes(16))},
        {"grant_version": 3},
    ],
)
def test_the_gate_signs_no_statement_that_says_other_than_the_delivery(over: Any, locked: Any, world: Any) -> None:
    with pytest.raises(Corrupt) as caught:
        make_release(locked, world.dek, world.statement(locked, **over), world.broker)
    assert "release.statement" == caught.value.code


@pytest.mark.parametrize("suite", list(Suite))
def test_the_releases_of_a_pull_open_for_its_deliveries(suite: Suite, releases: Any, world: Any) -> None:
    key = world.sealing_key("fund", suite)
    sealed = seal_releases(releases, suite, key.public, IDS)
    assert (suite, key.kid) == (sealed.suite, sealed.recipient_kid)
    again = KeyRelease.decode(sealed.encode())
    assert sealed == again
    assert releases == open_releases(again, key, IDS)


def test_a_pull_of_nothing_opens_to_nothing(world: Any) -> None:
    assert () == open_releases(seal_releases((), world.fund.suite, world.fund.public, ()), world.fund, ())


@pytest.mark.parametrize("ids", [IDS[::-1], IDS[:1], (*IDS, DeliveryId(bytes(16))), ()])
def test_the_releases_open_for_no_other_deliveries_and_in_no_other_order(ids: Any, releases: Any, world: Any) -> None:
    sealed = seal_releases(releases, world.fund.suite, world.fund.public, IDS)
    assert "release.cannot-open" == world.code_of(lambda: open_releases(sealed, world.fund, ids))


def test_the_releases_do_not_open_for_another_recipient(releases: Any, world: Any) -> None:
    other = world.sealing_key("another fund")
    sealed = seal_releases(releases, world.fund.suite, world.fund.public, IDS)
    assert "release.other-key" == world.code_of(lambda: open_releases(sealed, other, IDS))
    readdressed = replace(sealed, recipient_kid=other.kid)
    assert "release.cannot-open" == world.code_of(lambda: open_releases(readdressed, other, IDS))


def test_the_suite_is_that_of_the_recipient_s_key(releases: Any, world: Any) -> None:
    sealed = replace(seal_releases(releases, world.fund.suite, world.fund.public, IDS), suite=Suite.MLKEM768_X25519)
    assert "release.other-key" == world.code_of(lambda: open_releases(sealed, world.fund, IDS))


def test_as_many_releases_as_deliveries(releases: Any, world: Any) -> None:
    sealed = seal_releases(releases[:1], world.fund.suite, world.fund.public, IDS)
    assert "release.count" == world.code_of(lambda: open_releases(sealed, world.fund, IDS))


def test_what_is_sealed_is_exactly_releases(releases: Any, world: Any) -> None:
    info = module._release_info(world.fund.suite, world.fund.kid, IDS)
    sealed = KeyRelease(
        world.fund.suite, world.fund.kid, hpke.seal(world.fund.suite, world.fund.public, b"\x00\x00", info)
    )
    assert "avro.trailing-bytes" == world.code_of(lambda: open_releases(sealed, world.fund, IDS))


def test_the_info_is_the_one_of_the_protocol(world: Any) -> None:
    hashed = sha256(b"\x01" * 16 + b"\x02" * 16).digest()
    expected = b"unefois/release/v1\x00" + b"\x00\x20" + world.fund.kid + hashed
    assert expected == module._release_info(Suite.X25519, world.fund.kid, IDS)


def test_a_suite_that_is_not_known_is_refused(world: Any) -> None:
    raw = avro.encode(module._KEY_RELEASE, {"suite": 0x0010, "recipient_kid": world.fund.kid, "sealed": b""})
    assert "release.unknown-suite" == world.code_of(lambda: KeyRelease.decode(raw))


def test_a_key_release_in_other_bytes_is_refused(releases: Any, world: Any) -> None:
    raw = seal_releases(releases, world.fund.suite, world.fund.public, IDS).encode()
    assert "avro.trailing-bytes" == world.code_of(lambda: KeyRelease.decode(raw + b"\x00"))
    assert "avro.truncated" == world.code_of(lambda: KeyRelease.decode(raw[:-1]))


def test_five_hundred_deliveries_of_quantum_signed_statements_fit_into_one_release(releases: Any, world: Any) -> None:
    many = (replace(releases[0], signature=bytes(2420), keys=(bytes(32),) * 24),) * 500
    ids = IDS[:1] * 500
    sealed = seal_releases(many, world.fund.suite, world.fund.public, ids)
    assert many == open_releases(KeyRelease.decode(sealed.encode()), world.fund, ids)


def test_printing_shows_neither_keys_nor_pseudonym(locked: Any, releases: Any, world: Any) -> None:
    shown = repr(world.statement(locked)) + repr(releases)
    assert "pseudonym=" not in shown
    assert "keys" not in shown

"""What differs in its first byte or in its last one only is different: every comparison reads to the end.

Each case is signed and sealed by those who may, so that nothing but the one comparison stands in its way.
`test_seeded_weaknesses.py` puts a comparison in its place that looks at the beginning only: these tests turn red.
"""

import ast
import hmac
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from types import ModuleType

import pytest

from schemas import delivery, envelope
from schemas.delivery import ReleasedDelivery, open_release, verify_delivery
from schemas.envelope import verify_declaration
from schemas.errors import Refused
from schemas.locked import LockedDelivery, bitmap
from schemas.manifest import Manifest
from schemas.names import DeclarationId, DeliveryId, GrantId, ManifestDigest
from schemas.release import seal_releases
from schemas.sealing import COMMITMENT_SIZE
from tests.unit.schemas.conftest import World

ENDS = (0, -1)


def off_by_one(raw: bytes, at: int) -> bytes:
    """The bytes with one bit of one byte flipped."""
    place = at % len(raw)
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


@pytest.fixture(scope="module")
def there() -> World:
    """Everybody's keys, and a type of twelve fields, so that a bitmap has two bytes."""
    made = World()
    fields = b",".join(b'{"name":"f%d","type":"int"}' % number for number in range(12))
    made.kind = made.kind_of(made.MOVED, made.schema_of(made.MOVED, fields))
    made.catalogue = made.holding(made.kind)
    made.encoded = lambda: [b"\x02"] * 12  # type: ignore[method-assign]
    return made


def taken(
    there: World,
    locked: LockedDelivery,
    seen: Callable[..., ManifestDigest | None] = lambda *_: None,
    **statement: object,
) -> None:
    """A delivery with a statement that the broker truly signed, as the recipient takes it."""
    release = there.release(locked, there.statement(locked, **statement))
    key_release = seal_releases([release], there.fund.suite, there.fund.public, [locked.delivery_id]).encode()
    (released,) = open_release([locked], key_release, there.fund)
    verify(there, released, seen)


def verify(there: World, released: ReleasedDelivery, seen: Callable[..., ManifestDigest | None]) -> None:
    """The ten steps."""
    verify_delivery(
        released,
        recipient=there.FUND,
        directory=there.directory(),
        catalogue=there.catalogue,
        at=there.NOW,
        seen=seen,
    )


def refused(call: Callable[[], object]) -> str:
    """The code of a refusal."""
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


def test_the_delivery_as_it_should_be_is_taken(there: World) -> None:
    taken(there, there.locked(there.signed(), fields=(0, 11)))


@pytest.mark.parametrize("at", ENDS)
def test_a_commitment_is_compared_to_its_end(there: World, at: int) -> None:
    """The source signs, and seals under, a commitment that is not the one of its value."""
    sound = there.digests()
    bent = (off_by_one(sound[0], at), *sound[1:])
    locked = there.locked(there.signed(digests=bent), fields=(0,))

    assert COMMITMENT_SIZE == len(bent[0])
    assert "delivery.commitment-mismatch" == refused(lambda: taken(there, locked))


@pytest.mark.parametrize("at", ENDS)
def test_the_slip_s_commitment_is_compared_to_its_end(there: World, at: int) -> None:
    signed = there.signed(routing=off_by_one(there.slip.commitment(), at))

    assert "envelope.slip" == refused(lambda: verify_declaration(signed, there.directory(), there.catalogue, there.NOW))


@pytest.mark.parametrize("at", ENDS)
def test_the_manifest_that_a_statement_names_is_compared_to_its_end(there: World, at: int) -> None:
    locked = there.locked(there.signed())
    other = ManifestDigest(off_by_one(sha256(locked.payload).digest(), at))

    assert "delivery.other-manifest" == refused(lambda: taken(there, locked, manifest=other))


@pytest.mark.parametrize("at", ENDS)
def test_the_ciphertexts_that_a_statement_names_are_compared_to_their_end(there: World, at: int) -> None:
    locked = there.locked(there.signed())

    assert "delivery.other-fields" == refused(lambda: taken(there, locked, sealed=off_by_one(locked.sealed_set(), at)))


@pytest.mark.parametrize("at", ENDS)
@pytest.mark.parametrize(
    ("name", "kind"), [("delivery_id", DeliveryId), ("grant_id", GrantId), ("declaration_id", DeclarationId)]
)
def test_the_ids_that_a_statement_names_are_compared_to_their_end(
    there: World, name: str, kind: type[DeliveryId | GrantId | DeclarationId], at: int
) -> None:
    locked = there.locked(there.signed())
    other = kind(off_by_one(getattr(there.statement(locked), name), at))

    assert "delivery.other-delivery" == refused(lambda: taken(there, locked, **{name: other}))


@pytest.mark.parametrize("more", [(0, 1, 11), (0, 10, 11), (0,)], ids=["first-byte", "last-byte", "one-fewer"])
def test_the_fields_that_a_statement_names_are_compared_to_their_end(there: World, more: Sequence[int]) -> None:
    locked = there.locked(there.signed(), fields=(0, 11))

    assert "delivery.bitmap" == refused(lambda: taken(there, locked, fields=bitmap(12, more)))


@pytest.mark.parametrize("at", ENDS)
def test_the_manifest_that_a_recipient_has_seen_is_compared_to_its_end(there: World, at: int) -> None:
    locked = there.locked(there.signed())
    before = ManifestDigest(off_by_one(sha256(locked.payload).digest(), at))

    assert "delivery.another-manifest-before" == refused(lambda: taken(there, locked, seen=lambda *_: before))
    taken(there, locked, seen=lambda *_: ManifestDigest(sha256(locked.payload).digest()))


@pytest.mark.parametrize("at", ENDS)
def test_the_bytes_that_were_signed_are_compared_to_their_end(there: World, at: int) -> None:
    """A signature of all but one byte of a manifest is none of the whole."""
    signed = there.signed()
    other = off_by_one(signed.payload, at)

    assert Manifest.decode(signed.payload)
    assert "manifest.signature" == refused(
        lambda: verify_declaration(replace(signed, payload=other), there.directory(), there.catalogue, there.NOW)
    )


@pytest.mark.parametrize("module", [delivery, envelope], ids=["delivery", "envelope"])
def test_no_digest_is_compared_by_equals(module: ModuleType) -> None:
    digests = ("sha256(", "commit(", "commitment(", "sealed_set(")
    plain = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Compare) and any(word in ast.unparse(node) for word in digests)
    ]

    assert [] == plain


def test_digests_are_compared_in_a_time_that_tells_nothing() -> None:
    assert hmac.compare_digest is delivery.compare_digest
    assert hmac.compare_digest is envelope.compare_digest

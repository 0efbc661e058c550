"""Assurance: more is never taken for less; a manifest states it, signed; one that states nothing stays as it was."""

from typing import Any

import pytest

from schemas import avro, manifest
from schemas.assurance import ANY, SURE, Assurance, Least, Provenance, Quality
from schemas.errors import Refused
from schemas.manifest import STATED, Manifest
from schemas.messages import explain
from schemas.names import Channel

STATEMENT = Provenance(Assurance.SUBSTANTIAL, Quality.CERTIFIED, Channel.COUNTER)


@pytest.mark.parametrize(
    ("least", "stated", "enough"),
    [
        (ANY, None, True),
        (Least(Assurance.LOW), None, False),
        (Least(Assurance.LOW), Provenance(Assurance.NONE, Quality.AUTHENTIC, Channel.ONLINE), False),
        (Least(Assurance.SUBSTANTIAL), Provenance(Assurance.LOW, Quality.DECLARED, Channel.ONLINE), False),
        (Least(Assurance.SUBSTANTIAL), Provenance(Assurance.COUNTER, Quality.DECLARED, Channel.COUNTER), True),
        (Least(Assurance.COUNTER), Provenance(Assurance.SUBSTANTIAL, Quality.DECLARED, Channel.ONLINE), True),
        (Least(Assurance.HIGH), Provenance(Assurance.SUBSTANTIAL, Quality.DECLARED, Channel.ONLINE), False),
        (Least(Assurance.HIGH), SURE, True),
        (Least(quality=Quality.CERTIFIED), None, False),
        (Least(quality=Quality.CERTIFIED), Provenance(Assurance.HIGH, Quality.DECLARED, Channel.ONLINE), False),
        (Least(quality=Quality.CERTIFIED), Provenance(Assurance.NONE, Quality.AUTHENTIC, Channel.SYSTEM), True),
        (Least(Assurance.LOW, Quality.CERTIFIED), STATEMENT, True),
    ],
)
def test_enough_is_enough_in_both_and_nothing_stated_is_the_least(
    least: Least, stated: Provenance | None, *, enough: bool
) -> None:
    assert enough is least.met_by(stated)


def test_what_meets_two_demands_meets_each() -> None:
    for one in (Least(a, q) for a in Assurance for q in Quality):
        for other in (Least(a, q) for a in Assurance for q in Quality):
            for stated in (None, *(Provenance(a, q, Channel.ONLINE) for a in Assurance for q in Quality)):
                both = one.met_by(stated) and other.met_by(stated)
                assert both is one.and_(other).met_by(stated)


@pytest.mark.parametrize(
    ("words", "pointer"),
    [
        (("sure", "declared", "online"), "/assurance"),
        (("low", "said", "online"), "/quality"),
        (("low", "declared", "pigeon"), "/channel"),
    ],
)
def test_a_word_that_is_none_is_refused_in_its_place_with_those_that_are(
    words: tuple[str, str, str], pointer: str
) -> None:
    with pytest.raises(Refused) as refused:
        Provenance.read(*words)

    assert ("assurance.unknown", pointer) == (refused.value.code, refused.value.pointer)
    assert "declared" in explain(refused.value, "fr").wrong or pointer != "/quality"


def test_a_manifest_that_states_something_is_of_version_2_and_comes_back(world: Any) -> None:
    stated = world.manifest(version=STATED, provenance=STATEMENT)

    assert stated == Manifest.decode(stated.encode())
    assert b"\x04" == stated.encode()[:1]
    assert b"\x16substantial\x12certified\x0ecounter" == stated.encode()[-30:]
    assert stated.encode()[1:-30] == world.manifest().encode()[1:]


def test_a_manifest_that_states_nothing_is_of_version_1_byte_for_byte(world: Any) -> None:
    told = world.manifest()

    assert b"\x02" == told.encode()[:1]
    assert None is Manifest.decode(told.encode()).provenance


@pytest.mark.parametrize(("version", "provenance"), [(STATED, None), (1, STATEMENT)])
def test_version_and_statement_go_together(world: Any, version: int, provenance: Provenance | None) -> None:
    with pytest.raises(Refused, match=r"manifest\.version"):
        world.manifest(version=version, provenance=provenance).check()


@pytest.mark.parametrize("member", ["assurance", "quality", "channel"])
def test_a_statement_that_nobody_knows_is_refused_before_anything_else_is_believed(world: Any, member: str) -> None:
    raw = avro.decode(manifest._MANIFESTS[STATED], world.manifest(version=STATED, provenance=STATEMENT).encode())

    with pytest.raises(Refused) as refused:
        Manifest.decode(avro.encode(manifest._MANIFESTS[STATED], raw | {member: "sure"}))

    assert ("assurance.unknown", f"/{member}") == (refused.value.code, refused.value.pointer)


def test_a_statement_cannot_be_taken_away(world: Any) -> None:
    """Version 1 made of version 2's bytes is another payload: the signature is over other bytes."""
    stated = world.manifest(version=STATED, provenance=STATEMENT).encode()

    with pytest.raises(Refused, match=r"avro\.trailing-bytes"):
        Manifest.decode(b"\x02" + stated[1:])
    assert b"\x02" + stated[1:-30] != stated

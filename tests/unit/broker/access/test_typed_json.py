"""Values of our own types come back as they were, and nothing else is taken for one."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.typed_json import of_json, parsed, written
from consent.basis import Basis, BasisKind
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import EventType, GrantId, Instant, PartyId


class Kind(Enum):
    """A word."""

    ONE = "one"
    TWO = "two"


@dataclass(frozen=True)
class Inner:
    """Every form but those of `All`."""

    kind: Kind
    at: Instant
    language: Language
    yes: bool


@dataclass(frozen=True)
class All:
    """Every form that there is."""

    id: GrantId
    party: PartyId
    names: frozenset[str]
    raw: bytes
    maybe: Instant | None
    inner: tuple[Inner, ...]
    pair: tuple[int, str]
    basis: Basis


inners = st.builds(
    Inner,
    kind=st.sampled_from(Kind),
    at=st.integers(0, 2**53).map(Instant),
    language=st.sampled_from(["fr", "en"]),
    yes=st.booleans(),
)
values = st.builds(
    All,
    id=st.binary(min_size=16, max_size=16).map(GrantId),
    party=st.just(PartyId("urn:unefois:caf")),
    names=st.frozensets(st.text()),
    raw=st.binary(),
    maybe=st.none() | st.integers(0, 2**53).map(Instant),
    inner=st.lists(inners).map(tuple),
    pair=st.tuples(st.integers(), st.text()),
    basis=st.just(Basis(BasisKind.CONSENT)) | st.just(Basis(BasisKind.LAW, "CSS, art. 1")),
)


@given(values)
def test_a_value_comes_back_as_it_was_and_always_has_the_same_bytes(value: All) -> None:
    again = of_json(All, parsed(written(value)))

    assert value == again
    assert written(value) == written(again)
    assert (GrantId, PartyId) == (type(again.id), type(again.party))


GOOD: dict[str, Any] = {"kind": "one", "at": 1, "language": "fr", "yes": True}


@pytest.mark.parametrize(
    ("found", "pointer"),
    [
        ([], ""),
        ({**GOOD, "more": 1}, ""),
        ({name: told for name, told in GOOD.items() if name != "at"}, ""),
        ({**GOOD, "kind": "three"}, "/kind"),
        ({**GOOD, "kind": None}, "/kind"),
        ({**GOOD, "kind": []}, "/kind"),
        ({**GOOD, "at": "1"}, "/at"),
        ({**GOOD, "at": 1.0}, "/at"),
        ({**GOOD, "at": True}, "/at"),
        ({**GOOD, "language": "de"}, "/language"),
        ({**GOOD, "language": ["fr"]}, "/language"),
        ({**GOOD, "yes": 1}, "/yes"),
    ],
)
def test_what_is_not_exactly_of_the_type_is_refused_at_its_place(found: object, pointer: str) -> None:
    with pytest.raises(Refused, match=r"typed-json\.malformed") as refused:
        of_json(Inner, found)
    assert pointer == refused.value.pointer


@pytest.mark.parametrize(
    ("kind", "found", "pointer"),
    [
        (bytes, "AB", ""),
        (bytes, "0", ""),
        (bytes, " 00", ""),
        (bytes, 1, ""),
        (frozenset[str], ["a", "a"], ""),
        (frozenset[str], "a", ""),
        (tuple[int, ...], [1, "2"], "/1"),
        (tuple[int, str], [1], ""),
        (str, None, ""),
        (type(None), 0, ""),
    ],
)
def test_nothing_is_converted(kind: Any, found: object, pointer: str) -> None:
    with pytest.raises(Refused, match=r"typed-json\.malformed") as refused:
        of_json(kind, found)
    assert pointer == refused.value.pointer


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":1,"a":2}', b"NaN", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused, match=r"typed-json\.malformed"):
        parsed(raw)


def test_what_a_type_itself_refuses_is_refused_in_its_words() -> None:
    with pytest.raises(Refused, match=r"name\.grant-id"):
        of_json(GrantId, "00")
    with pytest.raises(Refused, match=r"name\.event-type"):
        of_json(EventType, "moved")
    with pytest.raises(Refused, match=r"grant\.article"):
        of_json(Basis, {"kind": "law", "article": None})


@pytest.mark.parametrize("kind", [int | str, dict[str, int], list[float]])
def test_a_type_that_has_no_form_is_a_mistake_of_ours(kind: Any) -> None:
    with pytest.raises(TypeError):
        of_json(kind, [1.5])
    with pytest.raises(TypeError):
        written(1.5)

"""The first format: what it told in clear is still read, byte for byte as it was, and nothing new is said in it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas import facts_v1, merkle
from schemas.entry import Entry
from schemas.errors import Refused
from schemas.facts import KINDS, REASONS, FactKind, Facts
from schemas.names import Instant, Kid, PartyId, Reason

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "protocol" / "ledger-v1.json").read_text("utf-8")
)
ENTRIES: list[dict[str, Any]] = VECTORS["entries"]


def code_of(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("told", ENTRIES, ids=lambda told: told["name"])
def test_an_entry_of_then_is_read_and_is_the_same_bytes_again(told: dict[str, Any]) -> None:
    raw = bytes.fromhex(told["entry"])
    facts = facts_v1.decode(raw)

    assert (told["kind"], told["actor"]) == (facts.kind.value, facts.actor)
    assert told["leaf"] == merkle.leaf_hash(raw).hex()
    assert raw == facts_v1.encode(facts)
    assert (None, None, None) == (facts.basis, facts.sealed_to, facts.count)


def test_every_kind_and_every_reason_that_there_was_is_among_them() -> None:
    facts = [facts_v1.decode(bytes.fromhex(told["entry"])) for told in ENTRIES]

    assert set(KINDS[: facts_v1.FIRST_KINDS]) == {one.kind.value for one in facts}
    assert set(REASONS[: facts_v1.FIRST_REASONS]) == {one.reason.value.replace("-", "_") for one in facts if one.reason}


@pytest.mark.parametrize("told", ENTRIES[:3], ids=lambda told: told["name"])
def test_neither_format_takes_the_others_bytes(told: dict[str, Any]) -> None:
    raw = bytes.fromhex(told["entry"])
    assert code_of(lambda: Entry.decode(raw)) == "entry.version"
    with pytest.raises(Refused):
        Facts.decode(raw)
    assert code_of(lambda: facts_v1.decode(b"\x04" + raw[1:])) == "entry.version"


FIRST = Facts(Instant(1), FactKind.REFUSED, PartyId("urn:unefois:gate"), reason=Reason.STALE)


@pytest.mark.parametrize(
    "later",
    [
        {"basis": "consent"},
        {"sealed_to": Kid(bytes(32))},
        {"count": 1},
        {"reason": Reason.UNSOUND},
        {"kind": FactKind.MIGRATED},
    ],
)
def test_what_that_format_had_no_word_for_is_not_written_in_it(later: dict[str, Any]) -> None:
    assert FIRST == facts_v1.decode(facts_v1.encode(FIRST))
    assert code_of(lambda: facts_v1.encode(replace(FIRST, **later))) == "entry.version"


def test_bytes_that_are_not_exactly_one_are_refused() -> None:
    raw = facts_v1.encode(FIRST)
    for wrong in (b"", raw[:-1], raw + b"\x00"):
        assert code_of(lambda wrong=wrong: facts_v1.decode(wrong)).startswith("avro.")

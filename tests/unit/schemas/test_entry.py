"""Ledger entries: exact bytes, what each kind has, what an opening proves, and each refusal alone."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import entry as module
from schemas.entry import (
    KINDS,
    OPEN_FACTS,
    Entry,
    EntryKind,
    Head,
    Opening,
    commit_erased,
    kind_of,
    opened,
    window_of,
)
from schemas.errors import Refused
from schemas.facts import PLAN, FactKind, Facts
from schemas.names import INSTANT_MAX, Instant, Kid, PartyId
from tests.examples import examples
from tests.unit.schemas.test_facts import AT, PLANNED_BY_HAND, WHOLE, refuses, text, zigzag

WINDOW = Instant(1_789_999_980_000)
TAG, BLIND, PLAN_BLIND = b"t" * 16, b"b" * 32, b"p" * 32
PARTY = PartyId("urn:unefois:caf")
ADDED = Facts(AT, FactKind.KEY_ADDED, PartyId("urn:unefois:broker"), recipient=PARTY, detail=b"k" * 32)
PLAIN: dict[EntryKind, dict[str, Any]] = {
    EntryKind.RECEIVED: {"facts": b"f" * 32},
    EntryKind.PLANNED: {"tag": TAG, "content": b"c" * 32, "facts": b"f" * 32},
    EntryKind.RELEASED: {"tag": TAG, "content": b"c" * 32, "facts": b"f" * 32},
    EntryKind.CLOSED: {"tag": TAG, "facts": b"f" * 32},
    EntryKind.APPLIED: {"tag": TAG, "facts": b"f" * 32},
    EntryKind.REJECTED: {"tag": TAG, "facts": b"f" * 32},
    EntryKind.FACT: {"facts": b"f" * 32},
    EntryKind.OPEN: {"open": ADDED},
}
"""Each kind with what it has, and no more."""
SPARE: dict[str, Any] = {"tag": TAG, "content": b"c" * 32, "facts": b"f" * 32, "open": ADDED}

KIND_OF = {
    FactKind.RECEIVED: EntryKind.RECEIVED,
    FactKind.CORRECTED: EntryKind.RECEIVED,
    FactKind.PLANNED: EntryKind.PLANNED,
    FactKind.WITHHELD: EntryKind.CLOSED,
    FactKind.RELEASED: EntryKind.RELEASED,
    FactKind.APPLIED: EntryKind.APPLIED,
    FactKind.REJECTED: EntryKind.REJECTED,
    **dict.fromkeys(OPEN_FACTS, EntryKind.OPEN),
}
"""Everything else is a `fact`."""


def opening_of(kind: FactKind, **more: Any) -> Opening:
    facts = replace(WHOLE, kind=kind, **more)
    with_plan = kind in {FactKind.PLANNED, FactKind.RELEASED}
    return Opening(BLIND, PLAN_BLIND if with_plan else None, facts)


RELEASED = opening_of(FactKind.RELEASED)
ENTRY = RELEASED.seal(WINDOW, TAG)


# Bytes.


@pytest.mark.parametrize("kind", EntryKind)
def test_an_entry_is_the_avro_of_protocol_8_field_by_field(kind: EntryKind) -> None:
    has = PLAIN[kind]
    told = ADDED.encode()
    by_hand = zigzag(2) + zigzag(WINDOW) + zigzag(KINDS.index(kind.value))
    for name in ("tag", "content", "facts"):
        by_hand += b"\x02" + has[name] if name in has else b"\x00"
    by_hand += b"\x02" + zigzag(len(told)) + told if kind is EntryKind.OPEN else b"\x00"

    made = Entry(WINDOW, kind, **has)
    assert by_hand == made.encode()
    assert made == Entry.decode(by_hand)
    assert sha256(b"\x00" + by_hand).digest() == made.leaf_hash()


def test_an_opening_is_the_avro_of_protocol_8_field_by_field() -> None:
    told = WHOLE.encode()
    assert b"b" * 32 + b"\x02" + b"p" * 32 + zigzag(len(told)) + told == RELEASED.encode()
    assert b"b" * 32 + b"\x00" + zigzag(len(told)) + told == replace(RELEASED, plan_blind=None).encode()
    assert RELEASED == Opening.decode(RELEASED.encode())


def test_what_an_entry_commits_to_is_under_its_own_label_and_its_own_blind() -> None:
    facts = sha256(b"unefois/ledger-facts/v2\0" + b"b" * 32 + WHOLE.encode()).digest()
    content = sha256(b"unefois/ledger-plan/v2\0" + b"p" * 32 + PLANNED_BY_HAND).digest()

    assert Entry(WINDOW, EntryKind.RELEASED, TAG, content, facts) == ENTRY


def test_a_release_repeats_the_content_of_its_plan_and_nothing_else() -> None:
    planned = opening_of(FactKind.PLANNED, sealed_to=None, at=Instant(AT - 5000)).seal(WINDOW, TAG)

    assert planned.content == ENTRY.content
    assert planned.facts != ENTRY.facts


@given(st.integers(0, INSTANT_MAX), st.sampled_from(EntryKind), st.binary(min_size=16, max_size=16))
@examples(60)
def test_entries_round_trip(window: int, kind: EntryKind, tag: bytes) -> None:
    has = PLAIN[kind] | ({"tag": tag} if "tag" in PLAIN[kind] else {})
    made = Entry(Instant(window), kind, **has)
    assert made == Entry.decode(made.encode())


def test_sealed_entries_of_one_kind_are_of_one_length_whatever_they_seal() -> None:
    short = opening_of(FactKind.APPLIED, fields=None, basis=None, detail=None, subject=None)
    long = opening_of(FactKind.APPLIED, fields=b"\xff" * 500, basis="law:" + "x" * 200)

    assert len(short.seal(WINDOW, TAG).encode()) == len(long.seal(WINDOW, TAG).encode())


def test_an_entry_is_at_most_65535_bytes() -> None:
    article = replace(ADDED, basis="law:" + "x" * 200).encode()
    assert len(article) < module.ENTRY_BYTES
    largest = opened(WINDOW, ADDED).encode() + bytes(module.ENTRY_BYTES)
    refuses("avro.too-large", "", lambda: Entry.decode(largest))


def test_bytes_that_are_not_exactly_one_entry_are_refused() -> None:
    raw = ENTRY.encode()
    for wrong in (raw[:1], raw[:-1], raw + b"\x00", raw[:-1] + b"\x04"):
        with pytest.raises(Refused) as caught:
            Entry.decode(wrong)
        assert caught.value.code.startswith("avro.")


@pytest.mark.parametrize("version", [0, 1, 3, 64])
def test_another_version_is_refused_before_anything_else_is_read(version: int) -> None:
    refuses("entry.version", "/version", lambda: Entry.decode(zigzag(version) + ENTRY.encode()[1:]))
    refuses("entry.version", "/version", lambda: Entry.decode(zigzag(version) + b"of another form"))
    refuses("entry.version", "/version", lambda: Entry.decode(b""))


def test_what_an_open_entry_carries_is_checked_and_pointed_at() -> None:
    raw = opened(WINDOW, ADDED).encode()
    refuses("name.party", "/open/recipient", lambda: Entry.decode(raw.replace(b"urn:unefois:caf", b"urn:unefois:CAF")))
    told = ADDED.encode()
    spelled = zigzag(len(told)) + told
    longer = zigzag(len(told) + 1) + told + b"\x00"
    refuses("avro.trailing-bytes", "/open", lambda: Entry.decode(raw.replace(spelled, longer)))


# Symbols and shapes.


def test_the_kinds_are_those_of_protocol_8_in_its_order() -> None:
    written = ("received", "planned", "released", "closed", "applied", "rejected", "fact", "open")
    told = {field["name"]: field["type"] for field in json.loads(module.SCHEMA.raw)["fields"]}

    assert written == KINDS[: len(written)]
    assert sorted(kind.value for kind in EntryKind) == sorted(KINDS)
    assert list(KINDS) == told["kind"]["symbols"]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in EntryKind for name in SPARE])
def test_a_kind_has_its_parts_and_no_other(kind: EntryKind, name: str) -> None:
    has = dict(PLAIN[kind])
    wrong = {**has, name: None} if name in has else {**has, name: SPARE[name]}

    refuses("entry.shape", f"/{name}", lambda: Entry(WINDOW, kind, **wrong))


@pytest.mark.parametrize(("name", "size"), [("tag", 15), ("tag", 32), ("content", 31), ("facts", 33), ("facts", 0)])
def test_a_part_of_another_length_is_refused(name: str, size: int) -> None:
    wrong = PLAIN[EntryKind.PLANNED] | {name: bytes(size)}
    refuses("entry.commitment", f"/{name}", lambda: Entry(WINDOW, EntryKind.PLANNED, **wrong))


@pytest.mark.parametrize("at", [-1, INSTANT_MAX + 1])
def test_a_window_outside_every_calendar_is_refused(at: int) -> None:
    refuses("entry.instant", "/window", lambda: replace(ENTRY, window=Instant(at)))


@pytest.mark.parametrize("kind", FactKind)
def test_each_fact_has_its_kind_of_entry(kind: FactKind) -> None:
    assert KIND_OF.get(kind, EntryKind.FACT) is kind_of(replace(WHOLE, kind=kind))


def test_what_was_withheld_before_anything_was_planned_closes_nothing_in_anybodys_sight() -> None:
    never = replace(WHOLE, kind=FactKind.WITHHELD, delivery=None, grant=None, grant_version=None)
    assert EntryKind.FACT is kind_of(never)


def test_a_window_begins_at_a_multiple_of_its_length() -> None:
    assert window_of(Instant(119_999), 60_000) == 60_000
    assert window_of(Instant(120_000), 60_000) == 120_000


# What is public tells nothing of a citizen.


def test_what_is_public_by_right_is_this_and_nothing_else() -> None:
    written = (
        "key_added key_revoked subscription_approved subscription_ended epoch_destroyed party_added party_changed "
        "right_granted right_ended policy_set rule_approved rule_narrowed rule_ended purpose_approved "
        "ledger_opened migrated erased disclosed"
    )
    assert sorted(written.split()) == sorted(kind.value for kind in OPEN_FACTS)


@pytest.mark.parametrize("kind", [kind for kind in FactKind if kind not in OPEN_FACTS])
def test_what_is_a_citizens_is_in_no_open_entry(kind: FactKind) -> None:
    refuses("entry.not-public", "/open", lambda: opened(WINDOW, replace(WHOLE, kind=kind)))


@pytest.mark.parametrize("name", ["declaration", "delivery", "grant", "fields", "subject"])
def test_a_public_fact_names_nothing_that_leads_to_a_citizen(name: str) -> None:
    led: dict[str, Any] = {name: getattr(WHOLE, name)}
    refuses("entry.not-public", f"/open/{name}", lambda: opened(WINDOW, replace(ADDED, **led)))


def test_a_list_of_what_was_erased_is_committed_to_under_a_blind_in_one_order() -> None:
    leaves = [opening_of(kind).seal(WINDOW, TAG).leaf_hash() for kind in (FactKind.GRANTED, FactKind.APPLIED)]
    by_hand = sha256(b"unefois/ledger-erased/v2\0" + BLIND + min(leaves) + max(leaves)).digest()

    assert by_hand == commit_erased(BLIND, leaves) == commit_erased(BLIND, reversed(leaves))
    assert by_hand != commit_erased(PLAN_BLIND, leaves)
    refuses("entry.blind", "/blind", lambda: commit_erased(b"", leaves))


# Openings.


@pytest.mark.parametrize("kind", [kind for kind in FactKind if kind not in OPEN_FACTS])
def test_an_opening_opens_its_entry(kind: FactKind) -> None:
    opening = opening_of(kind)
    assert opening.facts == opening.check(opening.seal(WINDOW, TAG))


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("another instant", {"at": Instant(AT + 1)}),
    ("another actor", {"actor": PARTY}),
    ("another recipient", {"recipient": PARTY}),
    ("another version of the grant", {"grant_version": 4}),
    ("other fields", {"fields": b"\xa0\x03"}),
    ("another spelling of the fields", {"fields": b"\xa0\x01\x00"}),
    ("another basis", {"basis": "law:x"}),
    ("another key", {"sealed_to": Kid(b"K" * 32)}),
    ("another citizen", {"subject": b"S" * 32}),
    ("no reason", {"reason": None}),
]


@pytest.mark.parametrize("more", [more for _, more in OTHERS], ids=[name for name, _ in OTHERS])
def test_other_facts_under_the_same_blinds_do_not_open_it(more: dict[str, Any]) -> None:
    refuses("entry.other-opening", "", lambda: opening_of(FactKind.RELEASED, **more).check(ENTRY))


def test_other_blinds_do_not_open_it() -> None:
    refuses("entry.other-opening", "", lambda: replace(RELEASED, blind=b"B" * 32).check(ENTRY))
    refuses("entry.other-opening", "", lambda: replace(RELEASED, plan_blind=b"P" * 32).check(ENTRY))
    refuses("entry.other-opening", "", lambda: replace(RELEASED, blind=PLAN_BLIND, plan_blind=BLIND).check(ENTRY))


def test_the_opening_of_a_plan_does_not_open_its_release() -> None:
    planned = opening_of(FactKind.PLANNED)
    refuses("entry.other-opening", "", lambda: planned.check(ENTRY))
    refuses("entry.other-opening", "", lambda: RELEASED.check(planned.seal(WINDOW, TAG)))


def test_one_step_of_a_delivery_does_not_open_as_another() -> None:
    """Same tag, same shape: the kind is in the facts, and so in the commitment."""
    closed = opening_of(FactKind.WITHHELD)
    entry = closed.seal(WINDOW, TAG)
    for kind in (EntryKind.APPLIED, EntryKind.REJECTED):
        refuses("entry.other-opening", "", lambda kind=kind: closed.check(replace(entry, kind=kind)))


def test_a_release_without_what_opens_its_plan_is_no_opening_of_it() -> None:
    refuses("entry.shape", "/content", lambda: replace(RELEASED, plan_blind=None).check(ENTRY))


@pytest.mark.parametrize("kind", [FactKind.WITHHELD, FactKind.APPLIED, FactKind.GRANTED, FactKind.RECEIVED])
def test_a_blind_too_many_is_refused(kind: FactKind) -> None:
    entry = opening_of(kind).seal(WINDOW, TAG)
    refuses("entry.shape", "/content", lambda: replace(opening_of(kind), plan_blind=PLAN_BLIND).check(entry))


@pytest.mark.parametrize("name", [name for name in PLAN if name == "basis"])
def test_a_plan_that_is_not_whole_seals_nothing(name: str) -> None:
    refuses("entry.incomplete", f"/{name}", lambda: opening_of(FactKind.RELEASED, basis=None).seal(WINDOW, TAG))
    refuses("entry.incomplete", f"/{name}", lambda: opening_of(FactKind.RELEASED, basis=None).check(ENTRY))


def test_a_step_of_a_delivery_without_its_tag_seals_nothing() -> None:
    refuses("entry.shape", "/tag", lambda: RELEASED.seal(WINDOW))


def test_a_tag_is_not_put_on_what_is_no_step_of_a_delivery() -> None:
    assert opening_of(FactKind.REPLAYED).seal(WINDOW, TAG).tag is None


def test_what_is_open_needs_no_opening_and_takes_none() -> None:
    refuses("entry.shape", "/facts", lambda: Opening(BLIND, None, ADDED).seal(WINDOW))
    refuses("entry.shape", "/facts", lambda: Opening(BLIND, None, ADDED).check(opened(WINDOW, ADDED)))
    refuses("entry.other-opening", "", lambda: opening_of(FactKind.GRANTED).check(opened(WINDOW, ADDED)))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_blind_of_another_length_is_refused(size: int) -> None:
    refuses("entry.blind", "/blind", lambda: Opening(bytes(size), None, WHOLE))
    refuses("entry.blind", "/plan_blind", lambda: Opening(BLIND, bytes(size), WHOLE))


def test_an_opening_has_one_spelling() -> None:
    raw = RELEASED.encode()
    told = WHOLE.encode()
    for wrong in (b"", raw[:-1], raw + b"\x00", raw.replace(b"\x02" + PLAN_BLIND, b"\x03" + PLAN_BLIND)):
        with pytest.raises(Refused) as caught:
            Opening.decode(wrong)
        assert caught.value.code.startswith("avro.")
    refuses("entry.version", "/version", lambda: Opening.decode(raw.replace(told, zigzag(1) + told[1:])))


def test_an_entry_gives_away_nothing_of_what_it_seals() -> None:
    raw = ENTRY.encode()
    for part in (b"12345678901234", text("family-benefits"), b"m" * 16, b"d" * 16, b"g" * 16, b"s" * 16, b"k" * 16):
        assert part not in raw


@pytest.mark.parametrize("kind", EntryKind)
@pytest.mark.parametrize("window", [0, 63, 64, WINDOW, INSTANT_MAX - 1])
def test_the_head_of_an_entry_is_what_the_entry_says(kind: EntryKind, window: int) -> None:
    entry = Entry(Instant(window), kind, **PLAIN[kind])
    assert Head(kind, entry.tag, entry.content) == Head.of(entry.encode())


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "entry.version"),
        (b"\x02\x00", "entry.version"),
        (b"\x04\x00", "entry.shape"),
        (b"\x04\x00\x10", "entry.shape"),
    ],
    ids=["nothing", "another version", "no kind", "a kind that is none"],
)
def test_what_has_no_head_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(Refused) as raised:
        Head.of(raw)
    assert code == raised.value.code

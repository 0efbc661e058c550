"""The ledger's vectors: bytes of entries, openings and commitments that do not change, checked with hashlib alone."""

import json
from hashlib import sha256
from typing import Any

import pytest

from consent.rows import DIGESTED, digest_of
from schemas import receipt
from schemas.entry import Entry, Opening
from schemas.errors import Refused
from schemas.facts import Facts
from schemas.note import VerifierKey
from tests.vectors.ledger import FILE, GRANT, TOLD, made

VECTORS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
ENTRIES: list[dict[str, Any]] = VECTORS["entries"]
SEALED = [one for one in ENTRIES if "opening" in one]


def name_of(told: dict[str, Any]) -> str:
    return f"{told['told']['kind']}-{told['kind']}"


def raw(told: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(told[name])


each = pytest.mark.parametrize("told", ENTRIES, ids=name_of)
each_sealed = pytest.mark.parametrize("told", SEALED, ids=name_of)


def test_they_are_what_is_made_today() -> None:
    assert made() == VECTORS


@each
def test_an_entry_and_its_facts_are_read_and_written_as_the_same_bytes(told: dict[str, Any]) -> None:
    entry, facts = Entry.decode(raw(told, "entry")), Facts.decode(raw(told, "facts"))

    assert raw(told, "entry") == entry.encode()
    assert raw(told, "facts") == facts.encode()
    assert facts in TOLD
    assert told["kind"] == entry.kind.value
    assert sha256(b"\0" + raw(told, "entry")).hexdigest() == told["leaf"]


@each_sealed
def test_a_sealed_entry_holds_its_two_commitments_and_nothing_of_its_facts(told: dict[str, Any]) -> None:
    facts = sha256(b"unefois/ledger-facts/v2\0" + raw(told, "blind") + raw(told, "facts"))
    assert facts.hexdigest() == told["commitment"]
    assert facts.digest() in raw(told, "entry")
    if "plan" in told:
        content = sha256(b"unefois/ledger-plan/v2\0" + raw(told, "plan_blind") + raw(told, "plan"))
        assert content.hexdigest() == told["content"]
        assert content.digest() in raw(told, "entry")
    for part in (raw(told, "facts")[-20:], raw(told, "blind"), b"urn:", b"consent"):
        assert part not in raw(told, "entry")


@each_sealed
def test_an_opening_opens_its_own_entry_and_no_other(told: dict[str, Any]) -> None:
    opening = Opening.decode(raw(told, "opening"))
    opens = [one["leaf"] for one in ENTRIES if _opens(opening, Entry.decode(raw(one, "entry")))]

    assert raw(told, "opening") == opening.encode()
    assert [told["leaf"]] == opens


def _opens(opening: Opening, entry: Entry) -> bool:
    try:
        return opening.check(entry) is opening.facts
    except Refused:
        return False


def test_a_release_shows_the_content_of_its_plan() -> None:
    planned, released = (one for one in ENTRIES if "content" in one)

    assert planned["content"] == released["content"]
    assert planned["commitment"] != released["commitment"]


def test_a_subject_is_committed_to_under_its_salt() -> None:
    told = VECTORS["subject"]
    hashed = sha256(b"unefois/ledger-subject/v1\0" + raw(told, "salt") + raw(told, "reference"))

    assert told["commitment"] == hashed.hexdigest()


class TestTheDigestOfAGrant:
    """It stands in the ledger and beside the consent's key: no column is added to it without a label of its own."""

    def test_it_is_sha_256_of_canonical_json(self) -> None:
        text = (
            '{"capacity":"self","changed_at":1790000000123,"channel":"online",'
            '"event_type":"fr.unefois.address.changed.v1","expires_at":null,'
            '"fields":"[\\"household\\", \\"new_address\\", \\"subject\\"]","given_by":"self",'
            '"granted_at":1789999991123,"id":"0190d3a47b6c7e8f9a0b1c2d3e4f5061","language":"fr",'
            f'"once_for":"{"09" * 16}","purpose":"family-benefits","recipient":"urn:unefois:caf",'
            f'"schema":"{"07" * 32}","scope":"once","starts_at":1789999991123,"status":"active",'
            '"subject":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",'
            f'"text_hash":"{"05" * 32}","version":2,"basis":"consent"}}'
        )
        ordered = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))

        assert ordered == VECTORS["grant"]["json"]
        assert sha256(ordered.encode()).hexdigest() == VECTORS["grant"]["digest"] == digest_of(GRANT).hex()

    def test_its_columns_are_these(self) -> None:
        written = (
            "id version subject recipient event_type schema fields purpose basis granted_at starts_at expires_at scope "
            "once_for status given_by capacity channel language text_hash changed_at"
        )
        assert tuple(written.split()) == DIGESTED


@pytest.mark.parametrize("told", VECTORS["receipts"], ids=lambda told: f"{told['index']}-{told['language']}")
def test_a_receipt_proves_its_fact(told: dict[str, Any]) -> None:
    checked = receipt.check(told["text"], VerifierKey.parse(VECTORS["vkey"]))

    assert (TOLD[told["index"]], told["index"], len(ENTRIES)) == (checked.facts, checked.index, checked.size)

"""What a seal covers is literal: vectors made once, by hand and by another program, and no more columns than listed."""

from hashlib import sha256
from typing import Any

import pytest

from broker.store import access_tables, tables
from broker.store.rows import layouts
from broker.store.rows.layouts import ADDED, FORMAT, LAYOUTS, canonical, covered, format_of, key_of, written_key
from consent.tables import metadata

SAMPLES: dict[str, dict[str, Any]] = {
    "parties": {
        "id": "urn:unefois:caf",
        "name": "Caf",
        "sector": "family",
        "kind": "administration",
        "address": "1 rue d'Essai",
        "contact": "c@caf.example",
        "retention": "un an",
        "created_at": 1_795_521_493_000,
    },
    "signing_keys": {
        "kid": bytes(32),
        "party": "urn:unefois:caf",
        "algorithm": 1,
        "public": bytes(range(32)),
        "valid_from": 1,
        "valid_to": None,
        "revoked_at": None,
    },
    "sealing_keys": {
        "kid": bytes(32),
        "party": "urn:unefois:caf",
        "suite": 1,
        "public": bytes(range(32)),
        "valid_from": 1,
        "valid_to": 2,
        "revoked_at": 3,
    },
    "publishing_rights": {"party": "urn:unefois:caf", "event_type": "a.b.v1", "valid_from": 1, "valid_to": None},
    "signature_policies": {"party": "urn:unefois:caf", "policy": 4, "valid_from": 1},
    "subscriptions": {
        "id": bytes(16),
        "recipient": "urn:unefois:caf",
        "event_type": "a.b.v1",
        "purpose": "family-benefits",
        "fields": '["subject"]',
        "territories": None,
        "status": "approved",
        "legal_reference": "CSS",
        "approved_at": 1,
        "ended_at": None,
    },
    "gate_epochs": {"kid": bytes(32), "opened_at": 1, "closed_at": None, "destroyed_at": None},
    "consent_epochs": {"epoch": 7, "opened_at": 1, "destroyed_at": None},
    "api_tokens": {
        "id": bytes(8),
        "party": "urn:unefois:caf",
        "digest": bytes(32),
        "scopes": '["read"]',
        "issued_at": 1,
        "expires_at": 2,
        "revoked_at": None,
    },
    "client_keys": {
        "kid": bytes(32),
        "party": "urn:unefois:caf",
        "jwk": "{}",
        "scopes": '["read"]',
        "added_at": 1,
        "revoked_at": None,
    },
    "client_key_sets": {
        "party": "urn:unefois:caf",
        "url": "https://caf.example/jwks",
        "scopes": '["read"]',
        "added_at": 1,
        "revoked_at": None,
    },
    "topic_users": {
        "party": "urn:unefois:caf",
        "principal": "caf",
        "receives": 1,
        "declares": 0,
        "since": 1,
        "ended_at": None,
    },
    "operators": {
        "id": "anne.martin",
        "roles": '["operator"]',
        "public": bytes(range(32)),
        "issuer": None,
        "subject": None,
        "version": 1,
        "added_at": 1,
        "changed_at": 2,
        "ended_at": None,
    },
    "approval_requests": {
        "id": bytes(8),
        "act": "{}",
        "asked_by": "anne.martin",
        "asked_at": 1,
        "expires_at": 2,
        "state": "asked",
        "decided_by": None,
        "decided_at": None,
        "signature": None,
    },
    "rules": {
        "id": b"r" * 16,
        "recipient": "urn:unefois:caf",
        "event_type": "fr.unefois.address.changed.v1",
        "purpose": "family-benefits",
        "fields": '["subject"]',
        "article": "CSS, art. L114-19",
        "objection": 1,
        "status": "approved",
        "asked_at": 1,
        "begins_at": None,
        "ends_at": None,
        "approved_at": 2,
        "acts_from": 3,
        "ended_at": None,
    },
    "representations": {
        "id": b"i" * 16,
        "representative": b"r" * 32,
        "subject": b"s" * 32,
        "measure": "guardianship",
        "proof": "TJ Rennes 25/01234",
        "event_types": None,
        "purposes": None,
        "begins_at": 1,
        "ends_at": None,
        "given_by": "urn:unefois:broker",
        "recorded_at": 1,
        "ended_at": None,
    },
    "purposes": {
        "id": "school-meals-v2",
        "version": 2,
        "families": '["consent"]',
        "label_fr": "Cantine",
        "label_en": "School meals",
        "sentence_fr": "Inscrire vos enfants à la cantine.",
        "sentence_en": "Enrol your children for school meals.",
        "legal_fr": "Code de l'éducation, art. R531-52",
        "legal_en": "Education code, art. R531-52",
        "retention_fr": "un an",
        "retention_en": "one year",
        "contact": "dpo@ville.example",
        "asked_at": 1,
        "approved_at": None,
    },
    "reference_links": {
        "id": b"l" * 16,
        "alias": b"n" * 32,
        "kept": b"o" * 32,
        "ground": "operators",
        "evidence": "2026-123",
        "asked_by": "operators",
        "asked_at": 1,
        "confirmed_at": 2,
        "acts_from": 3,
        "ended_at": None,
        "ended_by": None,
    },
    "webhooks": {
        "id": bytes(16),
        "party": "urn:unefois:caf",
        "url": "https://caf.example/",
        "symmetric": 0,
        "created_at": 1,
    },
}

PINNED: dict[str, str] = {
    "parties": "4442724f2c26097684f9b2b3cd5963f82ab6b79b60a78110c9e1746a0b8de3d0",
    "signing_keys": "dd89233dfa7bf93119c7884460ef53cfce61e5e72904f9edf50105425199c9ce",
    "sealing_keys": "0fc98b06f90a69ac0c96bbb749ffba149520b02225105afc240091506b84c5f7",
    "publishing_rights": "dd562ed8870fe9d0396fb9c9d356f01e89e2dd5f0d6a19e1c801e3bf5676ac3d",
    "signature_policies": "9c995cc8abbe89ff2946952df36a47824808a6c8d70161494a199024e6670bdd",
    "subscriptions": "0e39d0380bc9c111771b89606512c5a16228b156def7d7e61b9ead07ef8e9ced",
    "gate_epochs": "c922618446b9c13fa3e7a29103ba961df9d825c2b17976144f5fd461506469d0",
    "consent_epochs": "9d94fb6157b6db8b6da7d52f04ae2f2e1d9cee9cd1fc2cd3815cb9d3c4b39f16",
    "api_tokens": "114b79fd73986b60226bd68e1ebb4543d834e3331c7ea29530588d1bf4ea1d22",
    "client_keys": "9c1c5c3bfabc4f3fedc8ab0f143c6d288f8d78810c6421ce5bf3d4e183c6b228",
    "client_key_sets": "3ff02a3a93b11fb436a83ddfbda9b8082658bc003f62c35ab0cdd249fb974e46",
    "topic_users": "34a0008f6175dd49da3d6d74dd0c0eb9d4373971a8d734494362ad956dc62bc7",
    "operators": "826d14eeb59b831d26a833c77de583898f416acbb43f4f563e21a78b915a3c81",
    "approval_requests": "04afb5338091fe8ba9bcc842268ec731f75a46f5bed50a6cc682d1afb47dacd2",
    "representations": "c5bacc885af3c10b555b955c5a4820ce8a7f4e91982ac4f8d02e9c3bf6ce44ff",
    "rules": "f383283d4630370bf949e6d202bb261ed30ef9066b393c784da849280d72eb74",
    "purposes": "f8be2a5d5e64fc6d1d2df8103195d51a67852eba7d2427a68e6f83fc7c58d53c",
    "reference_links": "562053981dffb02021eea9bf2ad7322aa6ecadf27d31b62cecc5a2f189406474",
    "webhooks": "c60740ccbdd7441f1e10813d095059641a97baf7d81bb521a344b8b18815d4a9",
}
"""SHA-256 of the canonical bytes of each sample in version 1. A change here makes every row of every home worthless."""

WITHOUT = {
    *("meta", "directory_notes", "paused_subscriptions", "log_record", "consumed", "submissions", "declarations"),
    *(
        "deliveries",
        "withholdings",
        "dead_letters",
        "ledger_entries",
        "ledger_openings",
        "ledger_erased",
        "ledger_erasures",
        "first_ledger",
        "ledger_tiles",
    ),
    *("ledger_checkpoints", "cosignatures", "kept_answers", "webhook_attempts"),
    *(
        "objections",
        "repairs",
        "retractions",
        "operator_acts",
        "webhook_notices",
        "grants",
        "grant_versions",
        "consent_keys",
    ),
    *("credential_uses", "tallies", "expiry_notices", "channels", "messages", "acted_for", "households"),
    *("citizen_sessions", "citizen_accounts", "citizen_codes"),
    *("citizen_drafts", "told_already"),
}
"""Tables whose rows have no seal of their own: the reasons stand in `layouts`, or the ledger and its keys sign them."""

UNCOVERED = {
    "webhooks": {
        *("status", "reason", "changed_at", "version", "previous_until", "told_seq", "message", "message_at"),
        *("waiting", "attempts", "next_at", "remind_at", "reminders", "lease_until"),
    }
}


def test_the_bytes_of_a_small_row_are_these() -> None:
    expected = (
        b"unefois/row/v1\x00"  # label
        b"\x01"  # format
        b"\x0econsent_epochs"
        b"\x00\x00\x00\x02"  # its second version
        b"\x03"  # columns
        b"\x05epoch\x01\x00\x00\x00\x00\x00\x00\x00\x07"
        b"\x09opened_at\x01\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x0cdestroyed_at\x00"
    )
    assert expected == canonical("consent_epochs", SAMPLES["consent_epochs"], 2)


def test_text_and_bytes_tell_their_type_and_their_length() -> None:
    made = canonical("client_keys", SAMPLES["client_keys"], 1)
    assert b"\x03kid\x03\x00\x00\x00\x20" + bytes(32) in made
    assert b"\x03jwk\x02\x00\x00\x00\x02{}" in made


@pytest.mark.parametrize("table", sorted(LAYOUTS))
def test_the_bytes_of_every_table_are_pinned(table: str) -> None:
    assert PINNED[table] == sha256(canonical(table, SAMPLES[table], 1)).hexdigest()


_SURE = {"least_assurance": "substantial", "least_quality": "declared"}
SECOND = {
    "subscriptions": SAMPLES["subscriptions"] | _SURE,
    "rules": SAMPLES["rules"] | _SURE | {"territories": '["35"]', "narrowed_at": 4},
}
"""Rows of which a column is told that only the second format covers."""


def test_a_row_has_the_first_format_unless_it_tells_what_only_the_second_covers() -> None:
    assert (1, 2) == (FORMAT, layouts.SECOND)
    for table, row in SECOND.items():
        assert (1, 2) == (format_of(table, SAMPLES[table]), format_of(table, row))
        empty = dict.fromkeys(name for name, _ in ADDED[table])
        assert canonical(table, SAMPLES[table], 1) == canonical(table, SAMPLES[table] | empty, 1)
        assert row == covered(table, row)
    assert (
        "13ca9bff4eb19f95ef9018d1f99f115aba71ce4b4203fe6ff7d8d56168e87598"
        == sha256(canonical("subscriptions", SECOND["subscriptions"], 1)).hexdigest()
    )
    assert (
        "3bacc6957f2b4c791f8e0ee3ed6e5e32ee2d71071bb6867502a0e9163f795b71"
        == sha256(canonical("rules", SECOND["rules"], 1)).hexdigest()
    )
    assert set(SECOND) == set(ADDED)


@pytest.mark.parametrize("table", sorted(ADDED))
def test_whoever_edits_or_takes_away_what_the_second_format_covers_takes_the_seal_away(table: str) -> None:
    row = SECOND[table]
    others = [canonical(table, row, 1)]
    for name, kind in ADDED[table]:
        others += [canonical(table, row | {name: told}, 1) for told in (None, {str: "x", int: 99}[kind])]
    others.append(canonical(table, row | dict.fromkeys(name for name, _ in ADDED[table]), 1))
    assert len(others) == len(set(others))


@pytest.mark.parametrize("table", sorted(LAYOUTS))
def test_another_value_another_version_and_another_null_are_other_bytes(table: str) -> None:
    sample = SAMPLES[table]
    others = [canonical(table, sample, 1), canonical(table, sample, 2)]
    for name, kind in LAYOUTS[table].columns:
        for value in (None, {int: 99, str: "x", bytes: b"x"}[kind]):
            if value != sample[name]:
                others.append(canonical(table, sample | {name: value}, 1))
    assert len(others) == len(set(others))


@pytest.mark.parametrize("table", sorted(LAYOUTS))
def test_a_value_of_another_type_or_a_column_that_is_missing_has_no_bytes(table: str) -> None:
    for name, kind in LAYOUTS[table].columns:
        for value in {int: ("1", 2**63, 1.0), str: (b"x", 1), bytes: ("x", 1)}[kind]:
            with pytest.raises(ValueError, match=r"type|signed"):
                canonical(table, SAMPLES[table] | {name: value}, 1)
        with pytest.raises(ValueError, match="signed"):
            canonical(table, {key: told for key, told in SAMPLES[table].items() if key != name}, 1)


def test_a_column_that_a_table_gets_is_not_covered_before_a_format_lists_it() -> None:
    row = SAMPLES["api_tokens"]
    assert canonical("api_tokens", row, 1) == canonical("api_tokens", row | {"new": 1}, 1)
    assert row == covered("api_tokens", row | {"new": 1})


def test_every_table_is_signed_or_says_why_not() -> None:
    assert set(metadata.tables) == set(LAYOUTS) | WITHOUT
    assert tables.meta.metadata is access_tables.api_tokens.metadata is metadata


@pytest.mark.parametrize("table", sorted(LAYOUTS))
def test_every_column_of_a_signed_table_is_covered(table: str) -> None:
    listed = {name for name, _ in LAYOUTS[table].columns + ADDED.get(table, ())}
    there = {column.name for column in metadata.tables[table].columns} - {"row_version", "seal"}
    assert there == listed | UNCOVERED.get(table, set())
    assert {column.name for column in metadata.tables[table].primary_key} == set(LAYOUTS[table].key)


def test_a_key_names_its_row_for_the_journal_and_for_a_person() -> None:
    right = SAMPLES["publishing_rights"]
    expected = b"\x02\x00\x00\x00\x0furn:unefois:caf\x02\x00\x00\x00\x06a.b.v1\x01\x00\x00\x00\x00\x00\x00\x00\x01"
    assert expected == key_of("publishing_rights", right)
    assert "urn:unefois:caf/a.b.v1/1" == written_key("publishing_rights", right)
    assert "0000000000000000" == written_key("api_tokens", SAMPLES["api_tokens"])
    with pytest.raises(ValueError, match="key"):
        key_of("api_tokens", {})

"""Digests of rows: version 1 is what stands in the ledgers of today, whatever columns a table gets."""

import json
from hashlib import sha256
from typing import Any

import pytest

from broker.store.rows.digests import COLUMNS, row_digest
from tests.unit.broker.rows.test_layouts import SAMPLES as SIGNED
from tests.unit.broker.rows.test_layouts import SECOND

OBJECTION = {
    "subject": b"s" * 32,
    "rule": b"r" * 16,
    "objected_at": 1,
    "reason": "personal-situation",
    "given_by": "self",
    "withdrawn_at": None,
}
RETRACTION = {
    "declaration": b"d" * 16,
    "subject": b"s" * 32,
    "kind": "cancelled",
    "given_by": "urn:unefois:portal",
    "retracted_at": 1,
    "notice": b"n" * 16,
    "lifted_at": None,
}
CHANNEL = {
    "id": b"c" * 16,
    "subject": b"s" * 32,
    "kind": "email",
    "language": "fr",
    "sealed": b"noise",
    "held_since": 1,
    "ended_at": None,
}
ACTED_FOR = {
    "declaration": b"d" * 16,
    "subject": b"s" * 32,
    "representative": b"r" * 32,
    "capacity": "parent",
    "known": "record",
    "representation": b"i" * 16,
    "at": 1,
}
SAMPLES: dict[str, dict[str, Any]] = {
    **SIGNED,
    "objections": OBJECTION,
    "retractions": RETRACTION,
    "channels": CHANNEL,
    "acted_for": ACTED_FOR,
}

PINNED: dict[tuple[str, int], str] = {
    ("api_tokens", 1): "532f25aa133a4ecd535971d3684b2421c7eb6dec53bf11ff84fb2ce16888f5e6",
    ("client_key_sets", 1): "8ab292e67c3c2b1dda8d491c3259796aa6f7cf09bec7fb07e869d7dd0ce5c1f8",
    ("client_keys", 1): "e637947e26331e03ecf74f753c1f4401829cff146e13929a787a3f30e486695f",
    ("parties", 1): "71072970d7e7326b7b25f68d5abb86fe45ca90deb34886666050afd03d494413",
    ("publishing_rights", 1): "83e9f66983d1d639000a72a2fbc2b9850c5a1af56542fb4cb54c960d1a3ac1bd",
    ("signature_policies", 1): "af38d64639a5f4a28290cd4992445e6e30d6269abb05b82287a7edac19549b9f",
    ("subscriptions", 1): "c58d85671dd02eacbc369949612786a7e5db493fdaea1467589456405de45df4",
    ("subscriptions", 2): "676455fa90559b1c65a5e5a78c1fa130beb84abf1f481f4fb00e445ac55e29af",
    ("topic_users", 1): "d592afe03d05de466b67762c56277af17226a30313c81a717d281cbe5283b703",
    ("operators", 1): "639673231b7f89d95dd3c8731612c6d3eb59c8670b38e36c5d7d2dc8d40ed566",
    ("rules", 1): "007c5d67be9231be313f0dab0ce50b60f8b721f6885cff2ae29b26c7b2d713e5",
    ("rules", 2): "4d0a167ff6d6a05c33cb4ea9eba1019bd4e55c4d93645062306eacff92298121",
    ("purposes", 1): "6cc24cf63f6cb7689e06fcde93aba8ee9cb54e86779d407b719c01d2c3d71f44",
    ("objections", 1): "1b35c9383ca8fdb47ff0f1582febd7dd3332ff8a45bf288a0846280658faf4e5",
    ("retractions", 1): "333324fc2290fb91e561916581260cd86753d6c9db044e6d7fac0427493e4929",
    ("representations", 1): "56ce7671848e35bd14236610ca4293bfe2d3edc1cbdb31d35a4dd8924b1a54fd",
    ("acted_for", 1): "645ce34677bb4605be3f25d9f3dcbf309df89572db2c6919ccebb2a02026d957",
    ("channels", 1): "343b14523f5cb18f35d9c10b829d4e4647d3e73ea3a927930054db66b55bcd3f",
    ("reference_links", 1): "350d4c15d58b69c9ec97c24f1fc564f0f19575ed88dc1708d842c54f3e4d2c77",
    ("webhooks", 1): "b82aaee8b87823bd378c9e095598c0ea7003d11f2994a417e7c2c2774215998b",
}
"""Made by the code before versions, of the same samples; of operators by the first that had them."""


def as_it_was(row: dict[str, Any]) -> bytes:
    """What the code before versions wrote down, of the columns that there were."""
    told = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
    return sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).digest()


@pytest.mark.parametrize(("table", "version"), sorted(COLUMNS))
def test_every_digest_is_pinned(table: str, version: int) -> None:
    sample = SAMPLES[table] if version == 1 else SECOND[table]
    assert PINNED[table, version] == row_digest(table, sample, version).hex() == row_digest(table, sample).hex()


@pytest.mark.parametrize("table", sorted({table for table, _ in COLUMNS}))
def test_a_new_column_changes_no_digest_and_a_listed_one_does(table: str) -> None:
    sample = SAMPLES[table]
    before = row_digest(table, sample)
    assert before == row_digest(table, sample | {"row_version": 1, "seal": bytes(65)})
    assert all(before != row_digest(table, sample | {name: "other"}) for name in COLUMNS[table, 1])


@pytest.mark.parametrize("table", ["parties", "publishing_rights", "signature_policies", "subscriptions"])
def test_version_1_of_a_whole_row_is_what_was_written_before_versions(table: str) -> None:
    assert as_it_was(SAMPLES[table]) == row_digest(table, SAMPLES[table])


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("api_tokens", {"revoked_at"}),
        ("client_keys", {"revoked_at"}),
        ("client_key_sets", {"revoked_at"}),
        ("topic_users", {"ended_at"}),
        ("operators", {"ended_at"}),
        ("webhooks", set()),
    ],
)
def test_version_1_of_a_credential_is_what_was_written_of_what_never_changes(table: str, changes: set[str]) -> None:
    kept = {name: value for name, value in SAMPLES[table].items() if name not in changes}
    assert as_it_was(kept) == row_digest(table, SAMPLES[table])
